"""What the tests of the pages share: runs to look at, a browser a class, and how a page's contrast is measured."""

import json
import re
import subprocess
import unittest
from pathlib import Path

from webdriver import Browser

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOS = ROOT / "examples/photos"
GENERATOR = ROOT / "examples/pretrained/cats128-generator.safetensors"


class given:
    """Of the command line, and the folder to work in."""

    program = None
    pictures = None
    backend = "cpu"
    work = None


def run(*arguments):
    subprocess.run([given.program, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def train(name, *more):
    run("train", "--generator", GENERATOR, "--images", PHOTOS, "--val", PHOTOS, "--batch", "2", "--lr", "2e-3",
        "--encoder-width", "0.25", "--sample-every", "3", "--out", given.work / name, *more)


def long_run(folder, steps):
    """Metrics of a run of that many steps, with one peak."""
    folder.mkdir()
    with open(folder / "metrics.jsonl", "w") as file:
        for i in range(1, steps + 1):
            loss = 7.125 if i == 54321 else 0.3 + 0.1 * ((i * 7919) % 1000) / 1000
            file.write(json.dumps({"iteration": i, "loss": loss, "mse": loss / 2, "lpips": loss / 3, "lr": 1e-4 / i,
                                   "lr_noise_heads": 1e-5 / i, "grad_norm": {"main": loss * 2, "noise_heads": loss * 3},
                                   "stage": 1 if i <= 60000 else 2}) + "\n")


def prepare():
    """What the tests look at."""
    train("plain", "--iterations", "8")
    train("two", "--iterations", "3", "--stage1-iterations", "4", "--strategy", "two-networks", "--seed", "2")
    run("eval", "--model", f"ours={given.work}/plain/model.safetensors", "--data", f"photos={PHOTOS}", "--out", given.work / "plain/eval")
    run("report", given.work / "plain", given.work / "two", "-o", given.work / "report.html")


def is_dark(colour):
    return sum(map(int, re.findall(r"\d+", colour)[:3])) < 3 * 128


LUMINANCE = """
const parse = (name) => { const probe = document.createElement('span');
  probe.style.color = name.startsWith('--') ? `var(${name})` : name;
  document.body.append(probe); const rgb = getComputedStyle(probe).color.match(/\\d+/g).map(Number); probe.remove(); return rgb; };
const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ratio = (a, b) => { const [x, y] = [light(parse(a)), light(parse(b))]; return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
return arguments[0].map(([a, b]) => ratio(a, b));"""

UNNAMED = """return [...document.querySelectorAll('input, select, button, [tabindex]')].filter((e) =>
  !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !(e.tagName === 'BUTTON' && e.textContent.trim()))
  .map((e) => e.outerHTML)"""


class PageTest(unittest.TestCase):
    """One browser for the tests of a class; each begins with an empty page and nothing said."""

    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.go_to(self.browser.tabs()[0])
        self.browser.open("about:blank")
        self.browser.size(1280, 900)
        self.browser.media("light")
        self.browser.console()
        self.browser.requests()

    def keep(self, name, whole=False):
        if given.pictures:
            self.browser.screenshot(f"{given.pictures}/{name}.png", whole)

    def contrasts(self, pairs):
        """WCAG's ratio of each pair of colours or the style sheet's names of them."""
        return self.browser.run(LUMINANCE, pairs)

    def expect_contrast(self):
        """WCAG 2.1, 1.4.3: 4.5 to 1 for text, 1.4.11: 3 to 1 for what is told by colour alone."""
        for scheme in ("light", "dark"):
            self.browser.media(scheme)
            pairs = [[a, b] for a in ("--ink", "--faint", "--accent", "--bad") for b in ("--paper", "--panel")]
            pairs += [["--ink", "--marked"], ["--on-accent", "--accent"]]
            for pair, ratio in zip(pairs, self.contrasts(pairs)):
                self.assertGreaterEqual(ratio, 4.5, f"{scheme}: {pair}")
        self.browser.media("light")
