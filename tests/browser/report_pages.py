"""The page that `onemodel report` writes, and `info --graph`."""

import json
import os
import time

from pages import PHOTOS, UNNAMED, PageTest, given, is_dark, long_run, run
from webdriver import KEYS


class ReportTest(PageTest):
    def open_report(self, file="report.html"):
        self.browser.open((given.work / file).as_uri())
        self.browser.until("return document.documentElement.dataset.ready")

    def pixel_of(self, curve, iteration):
        """Pixels from the canvas's middle at which an iteration stands."""
        return self.browser.run("""const chart = charts[arguments[0]], box = chart.canvas.getBoundingClientRect();
            return chart.scales.x.getPixelForValue(arguments[1]) - box.width / 2""", curve, iteration)

    def test_two_runs(self):
        b = self.browser
        self.open_report()
        losses = {}
        for name in ("plain", "two"):
            for line in map(json.loads, (given.work / name / "metrics.jsonl").read_text().splitlines()):
                if "loss" in line:
                    losses[name, line["iteration"]] = line["loss"]
        # the value under the pointer is the one in the file
        for iteration in (3, 6):
            b.point_at("#curves figure canvas", round(self.pixel_of(0, iteration)), 20)
            says = b.text("#curves output").splitlines()
            for name in ("plain", "two"):
                found = [line for line in says if line.startswith(f"{name} loss at {iteration}: ")]
                self.assertEqual(len(found), 1, says)
                self.assertAlmostEqual(float(found[0].split(": ")[1]), losses[name, iteration], delta=1e-5)
        self.keep("report")
        # the same with keys
        b.run("document.querySelector('.canvas').focus()")
        b.type(".canvas", KEYS["home"] + KEYS["right"])
        self.assertIn("plain loss at 2: ", b.text("#curves output"))
        # both stages are marked in the run that has two
        self.assertEqual(b.run("return runs.map((run) => run.stages.map(([stage]) => stage))"), [[1], [1, 2]])
        # a run is taken away, and back
        b.click("#runs input")
        self.assertNotIn("plain", b.text("#curves output"))
        b.click("#runs input")
        self.assertIn("plain", b.text("#curves output"))
        # logarithmic and smoothed; both stay when the page is read anew
        self.assertEqual(b.run("return charts[0].options.scales.y.type"), "linear")
        b.click("#log")
        b.run("const s = document.querySelector('#smoothing'); s.value = 0.8; s.dispatchEvent(new Event('input'))")
        self.assertIn("(smoothed ", b.text("#curves output"))
        for _ in range(2):
            self.assertEqual(b.run("return [charts[0].options.scales.y.type, settings.smoothing]"), ["logarithmic", 0.8])
            b.run("location.reload()")
            b.until("return document.documentElement.dataset.ready && charts.length > 0")
        # samples along the slider
        image = "return document.querySelector('#samples img').src.length + document.querySelector('#samples img').alt"
        last = b.run(image)
        b.type("#sample", KEYS["home"])
        self.assertNotEqual(b.run(image), last)
        self.assertIn("at iteration 3", b.run(image))
        # settings with their differences, tables, figures
        b.click("#differences")
        shown = b.run("return [...document.querySelectorAll('#settings tbody tr')].filter((r) => r.offsetParent)"
                      ".map((r) => r.firstChild.firstChild.textContent)")
        self.assertEqual(sorted(shown), ["iterations", "seed", "stage1_iterations", "strategy"])
        self.assertIn("plain: eval/table.json", b.text("#tables"))
        self.assertIn("leak, random noise: PSNR dB", b.text("#measured"))
        self.assertEqual(b.run(UNNAMED), [])
        self.assertEqual(b.console(), [])
        self.assertEqual({url.split("#")[0] for url in b.requests()}, {(given.work / "report.html").as_uri()})

    def test_phone_dark_and_paper(self):
        b = self.browser
        self.open_report()
        self.expect_contrast()
        for width in (360, 1280):
            b.size(width, 800)
            time.sleep(0.2)
            self.assertLessEqual(b.run("return document.documentElement.scrollWidth"), width)
        for scheme, dark in (("dark", True), ("light", False)):
            b.media(scheme)
            self.assertEqual(is_dark(b.run("return getComputedStyle(document.body).backgroundColor")), dark)
        b.media("dark", "print")
        self.assertFalse(is_dark(b.run("return getComputedStyle(document.body).backgroundColor")))
        self.assertEqual(b.run("return getComputedStyle(document.querySelector('.controls')).display"), "none")
        # a curve fills the paper's width, whatever the window's was, and covers none of the lines below it
        b.size(360, 800)
        self.open_report()
        b.run("window.dispatchEvent(new Event('beforeprint'))")
        width, height, frame, overlap = b.run("""const canvas = document.querySelector('.curve canvas'), box = canvas.getBoundingClientRect();
            return [box.width, box.height, canvas.parentElement.clientWidth,
              box.bottom - document.querySelector('.curve output').getBoundingClientRect().top]""")
        self.assertAlmostEqual(width, frame, delta=1)
        self.assertAlmostEqual(width / height, 660 / 245, delta=0.05)
        self.assertLessEqual(overlap, 0)
        b.run("window.dispatchEvent(new Event('afterprint'))")
        b.size(1280, 800)
        b.media("dark")
        self.keep("report-dark")
        self.assertEqual(b.console(), [])

    def test_hundred_thousand_steps(self):
        long_run(given.work / "long", 100_000)
        run("report", given.work / "long", "-o", given.work / "long.html")
        self.assertLess((given.work / "long.html").stat().st_size, 5_000_000)
        took = []
        for _ in range(3):
            self.open_report("long.html")
            took.append(int(self.browser.run("return document.documentElement.dataset.ready")))
        print(f"report of 100,000 steps, opened and drawn: {sorted(took)} ms", flush=True)
        self.assertLessEqual(min(took), 1000)
        self.browser.point_at("#curves figure canvas", round(self.pixel_of(0, 54321)), 0)
        self.assertIn("loss at 54321: 7.125", self.browser.text("#curves output"))
        self.keep("report-long")
        self.assertEqual(self.browser.console(), [])


    def lines(self, name, *lines):
        """A run of those lines of metrics, each with its iteration."""
        (given.work / name).mkdir(exist_ok=True)
        (given.work / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return given.work / name

    def test_every_curve_of_twelve_runs_is_told_apart(self):
        b = self.browser
        runs = [self.lines(f"run{i}", *({"iteration": at, "loss": 1 / (i + at), "mse": 1, "lpips": 2, "validation": {"psnr": at / 7},
                                         "grad_norm": {"main": i + at, "noise_heads": at}} for at in range(1, 40)))
                for i in range(12)]
        for folder in runs:
            (folder / "config.json").write_text(json.dumps({"generator": "/a/long/path/to/some/generator.safetensors", "lr": 1e-4}))
        run("report", *runs, "-o", given.work / "twelve.html")
        for width in (360, 1280):
            b.size(width, 900)
            self.open_report("twelve.html")
            says = b.run("return Object.fromEntries([...document.querySelectorAll('#curves output')].map((o) =>"
                         " [o.dataset.curve, o.textContent.trim().split('\\n')]))")
            self.assertEqual(sorted(says["Loss"]), sorted(f"run{i} {name}" for i in range(12) for name in ("loss", "mse", "lpips")))
            self.assertEqual(len(says["Gradient norms before clipping"]), 24)
            # the curves have the height that the page gives them
            self.assertGreater(b.run("return Math.min(...charts.map((c) => (c.chartArea.bottom - c.chartArea.top) / c.height))"), 0.75)
        # on paper, where nothing scrolls, all tables keep its width
        b.media("light", "print")
        b.size(720, 900)
        self.assertLessEqual(b.run("return Math.max(...[...document.querySelectorAll('table')].map((t) => t.getBoundingClientRect().right))"), 720)
        b.media("light")
        self.assertEqual(len(set(b.run("return runs.map((_, i) => colourOf(i))"))), 12)
        for scheme in ("light", "dark"):  # WCAG 2.1, 1.4.11
            b.media(scheme)
            drawn = b.run("return runs.map((_, i) => colourOf(i))")
            for place, ratio in enumerate(self.contrasts([[colour, "--panel"] for colour in drawn])):
                self.assertGreaterEqual(ratio, 3, f"{scheme}: {drawn[place]}")
        b.until("return document.querySelector('#curves .swatch line').getAttribute('stroke') === colourOf(0)")  # as it is now
        self.assertEqual(b.console(), [])

    def test_smoothing_begins_anew_with_a_stage(self):
        b = self.browser
        run("report", self.lines("stages", *({"iteration": i, "loss": 1.0 if i <= 20 else 5.0, "stage": 1 if i <= 20 else 2}
                                             for i in range(1, 41))), "-o", given.work / "stages.html")
        self.open_report("stages.html")
        b.run("const s = document.querySelector('#smoothing'); s.value = 0.9; s.dispatchEvent(new Event('input'))")
        smooth = b.run("return charts[0].data.datasets[0].smooth.y")
        self.assertEqual([round(y, 9) for y in smooth], [1] * 20 + [5] * 20)
        # within a stage it does smooth
        self.assertEqual(b.run("return smoothed({x: [1, 2, 3, 4], y: [0, 0, 0, 8], mx: [], my: []}, 0.5).y[3]"), 8 * 8 / 15)

    def test_a_logarithmic_axis_says_what_it_cannot_show(self):
        b = self.browser
        run("report", self.lines("signs", *({"iteration": i, "loss": value} for i, value in enumerate((2, 0, 3, -1, 4), 1))),
            "-o", given.work / "signs.html")
        self.open_report("signs.html")
        leaves = "return document.querySelector('.curve .faint').textContent"
        self.assertEqual(b.run(leaves), "")
        b.click("#log")
        self.assertEqual(b.run(leaves), "2 values that are not above 0 are not drawn.")
        self.assertEqual(b.run("return charts[0].data.datasets[0].data.map((p) => Number.isNaN(p.y))"),
                         [False, True, False, True, False])
        self.assertGreater(b.run("return charts[0].scales.y.min"), 0)
        # the values are told all the same
        b.type(".canvas", KEYS["home"] + KEYS["right"])
        self.assertIn("loss at 2: 0", b.text("#curves output"))
        self.assertEqual(b.console(), [])

    def test_a_range_that_holds_nothing_is_told(self):
        b = self.browser
        self.open_report()
        put = "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('change'))"
        b.run(put, "#from", 3)
        b.run(put, "#to", 5)
        self.assertEqual(b.run("const x = charts[0].scales.x; return [x.min, x.max]"), [3, 5])
        b.run(put, "#from", 5)
        self.assertEqual(b.text("#range-says"), "from 5 to 5 holds nothing: all is shown")
        self.assertLess(b.run("return charts[0].scales.x.min"), 3)

    def test_what_was_chosen_stays_when_the_page_is_written_anew(self):
        b = self.browser
        self.open_report()
        b.click("#runs tbody tr:nth-child(2) input")
        b.click("#differences")
        b.type("#sample", KEYS["home"])
        b.run("location.reload()")
        b.until("return document.documentElement.dataset.ready && charts.length > 0")
        self.assertEqual(b.run("return runs.map((run) => Boolean(run.hidden))"), [False, True])
        self.assertFalse(b.run("return document.querySelector('#runs tbody tr:nth-child(2) input').checked"))
        self.assertNotIn("two loss", b.text("#curves output"))
        self.assertEqual(b.text("#sample-value"), "3")
        self.assertTrue(b.run("return document.querySelector('#settings').classList.contains('differences-only')"))

    def test_states_and_tables(self):
        b = self.browser
        kept = self.lines("kept", {"iteration": 7, "loss": 1, "validation": {"psnr": 20}})
        (kept / "config.json").write_text(json.dumps({"iterations": 7}))
        broken = self.lines("broken-off", {"iteration": 3, "loss": 1})
        os.utime(broken / "metrics.jsonl", (1_700_000_000, 1_700_000_000))
        run("report", given.work / "plain", kept, broken, broken, "-o", given.work / "states.html")
        self.open_report("states.html")
        cells = b.run("return [...document.querySelectorAll('#runs tbody tr')].map((r) => [r.children[0].textContent.trim(), r.children[1].textContent])")
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(1_700_000_000))
        self.assertEqual(cells[0], ["plain", "finished"])
        self.assertEqual(cells[1], ["kept", "all steps done, no model here"])
        self.assertEqual(cells[2], [str(broken), "not finished, last written " + at])
        self.assertEqual(cells[3], [f"{broken} (2)", "not finished, last written " + at])
        # an eval table in the file's order, rounded, without what was not measured; numbers right with their heads
        head = b.run("return [...document.querySelectorAll('#tables th[scope=col]')].map((t) => [t.textContent, t.className])")
        self.assertEqual(head, [["model", ""], ["data", ""], ["images", "number"], ["psnr", "number"], ["ssim", "number"],
                                ["ssim_wang", "number"]])
        for cell in b.run("return [...document.querySelectorAll('#tables td.number')].map((t) => t.textContent)"):
            self.assertLessEqual(len(cell.replace("0.0", "0.").lstrip("0.")), 8, cell)
        b.media("dark", "print")
        self.assertEqual(b.run("return getComputedStyle(document.querySelector('#runs input')).display"), "none")


class GraphTest(PageTest):
    def test_a_model_as_svg(self):
        for name, more in (("model", []), ("step", ["--step"])):
            run("info", given.work / "two/model.safetensors", "--graph", given.work / f"{name}.svg", *more)
            self.browser.open((given.work / f"{name}.svg").as_uri())
            says = self.browser.run("return [...document.querySelectorAll('text')].map((t) => t.textContent)")
            for word in ("latent_encoder", "noise_encoder", "decoder", "start_block", "conv2d"):
                self.assertIn(word, says)
            self.assertGreater(self.browser.run("return document.querySelectorAll('g.node').length"), 100)
            # all of it at first, at a click the place in full size, and back
            outside = """return [...document.querySelectorAll('g.node')].map((g) => g.getBoundingClientRect()).filter((box) =>
                box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight).length"""
            box = """const box = document.querySelectorAll('g.node')[7].getBoundingClientRect();
                return [box.left + box.width / 2, box.top + box.height / 2, box.height]"""
            self.assertEqual(self.browser.run(outside), 0)
            x, y, small = self.browser.run(box)
            self.browser.run("document.documentElement.dispatchEvent(new MouseEvent('click', {clientX: arguments[0], clientY: arguments[1]}))", x, y)
            self.assertGreater(self.browser.run(outside), 0)
            x, y, large = self.browser.run(box)
            self.assertTrue(0 < x < 1280 and 0 < y < 900, (x, y))
            self.assertGreater(large, 3 * small)
            self.keep(f"graph-{name}-place")
            self.browser.keys(KEYS["enter"])
            self.assertEqual(self.browser.run(outside), 0)
            self.keep(f"graph-{name}")
        self.assertEqual(self.browser.console(), [])
