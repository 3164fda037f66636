#!/usr/bin/env python3
"""Builds of onemodel beside one another, on a quiet machine or beside busy loops: what their threads' waiting costs.

    benchmarks/wait_bench.py --side old=DIR --side passive=DIR,OMP_WAIT_POLICY=passive --side new=DIR [--busy 2]

A side is a folder of a build (build/release), or one that holds `compare` and `onemodel` themselves (and, in lib, libraries
they need), and variables of its environment. The sides take turns; each measurement is a process of its own. Printed are the
median of each side, its quartiles, the ratio to the first side, and what share of the processors was idle before the quiet
runs (/proc/stat). Needs Python alone. Rows are times, less is better; the training rows are whole runs of the program.
"""
import argparse
import array
import json
import math
import os
import random
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

LATENT = 512


def write_safetensors(path, shapes):
    """Values of about unit size, scaled as each tensor's role asks; a block of them serves all."""
    drawn = random.Random(1)
    block = [drawn.gauss(0, 1) for _ in range(1 << 14)]
    header, parts, end = {}, [], 0
    for name, (shape, scale) in shapes.items():
        count = math.prod(shape)
        part = array.array("f", [scale * value for value in block]).tobytes() * (count // len(block) + 1)
        parts.append(part[:4 * count])
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + 4 * count]}
        end += 4 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for part in parts:
            file.write(part)


def generator(channels, latent):
    """StyleGAN 2's names and shapes, 4x4 first."""
    shapes = {"input.input": ((1, channels[0], 4, 4), 1)}

    def conv(name, inputs, outputs, kernel):
        shapes[f"{name}.conv.weight"] = ((1, outputs, inputs, kernel, kernel), 1)
        shapes[f"{name}.conv.modulation.weight"] = ((inputs, latent), 1)
        shapes[f"{name}.conv.modulation.bias"] = ((inputs,), 1)

    def styled(name, inputs, outputs, up):
        conv(name, inputs, outputs, 3)
        shapes[f"{name}.noise.weight"] = ((1,), 0.1)
        shapes[f"{name}.activate.bias"] = ((outputs,), 0.1)
        if up:
            shapes[f"{name}.conv.blur.kernel"] = ((4, 4), 1)

    def rgb(name, inputs, up):
        conv(name, inputs, 3, 1)
        shapes[f"{name}.bias"] = ((1, 3, 1, 1), 0.1)
        if up:
            shapes[f"{name}.upsample.kernel"] = ((4, 4), 1)

    for i in range(1, 9):
        shapes[f"style.{i}.weight"] = ((latent, latent), 100)
        shapes[f"style.{i}.bias"] = ((latent,), 1)
    styled("conv1", channels[0], channels[0], False)
    rgb("to_rgb1", channels[0], False)
    for i, (inputs, outputs) in enumerate(zip(channels, channels[1:])):
        styled(f"convs.{2 * i}", inputs, outputs, True)
        styled(f"convs.{2 * i + 1}", outputs, outputs, False)
        rgb(f"to_rgbs.{i}", outputs, True)
    return shapes


def write_png(path, side, seed):
    lines = b"".join(b"\0" + bytes((x * seed + y * 3 + c * 40) % 256 for x in range(side) for c in range(3))
                     for y in range(side))
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


class Side:
    def __init__(self, text, options):
        self.name, _, rest = text.partition("=")
        self.folder, *variables = rest.split(",")
        self.options = options
        self.environment = dict(os.environ, **dict(variable.split("=", 1) for variable in variables))
        libraries = os.path.join(self.folder, "lib")
        if os.path.isdir(libraries):
            self.environment["LD_LIBRARY_PATH"] = libraries

    def program(self, name):
        for place in ("", "benchmarks", "examples"):
            path = os.path.join(self.folder, place, name)
            if os.access(path, os.X_OK) and os.path.isfile(path):
                return path
        raise SystemExit(f"wait_bench: no {name} in {self.folder}")

    def run(self, command, text=None):
        pinned = ["taskset", "-c", self.options.cpus] if self.options.cpus else []
        begun = time.perf_counter()
        done = subprocess.run(pinned + command, input=text, env=self.environment, text=True, capture_output=True)
        if done.returncode:
            raise SystemExit(f"wait_bench: {' '.join(command)}: {done.stderr}")
        return time.perf_counter() - begun, done.stdout

    def compared(self, line, least):
        """Milliseconds of a row of `compare` after a warm-up."""
        command = [self.program("compare"), "--threads", str(self.options.threads)]
        output = self.run(command, f"load {line}\ntime 0\ntime {least}\n")[1]
        return 1e3 * float(output.split()[-2])

    def trained(self, folder, words):
        """Seconds of a run of the program."""
        with tempfile.TemporaryDirectory(dir=folder) as out:
            command = [self.program("onemodel"), "train", "--out", os.path.join(out, "run"), "--sample-every", "0",
                       "--threads", str(self.options.threads), *words]
            return self.run(command)[0]


def stat(cpus):
    chosen = {f"cpu{n}" for n in cpus.split(",")} if cpus else {"cpu"}
    with open("/proc/stat") as file:
        lines = [line.split() for line in file if line.split(" ", 1)[0] in chosen]
    return [sum(int(line[i]) for line in lines) for i in range(1, 9)]


def idle(cpus):
    """The share of the processors' time in which they have nothing to do, over a moment."""
    before = stat(cpus)
    time.sleep(0.25)
    passed = [b - a for a, b in zip(before, stat(cpus))]
    return (passed[3] + passed[4]) / max(1, sum(passed))


def rows(options, folder):
    """(name, unit, measure(side))"""
    tiny, large = os.path.join(folder, "tiny"), os.path.join(folder, "large")
    write_safetensors(tiny, generator([8, 6, 4], 12))
    write_safetensors(large, generator([512, 512, 512, 512, 512, 256, 128], LATENT))
    images = os.path.join(folder, "images")
    os.mkdir(images)
    for seed in range(1, 9):
        write_png(os.path.join(images, f"{seed}.png"), 24, seed)
    model = []

    def autoencoder(side):
        if not model:  # made by the first side that comes
            side.run([side.program("onemodel"), "train", "--generator", large, "--images", images, "--iterations", "0",
                      "--out", os.path.join(folder, "made")])
            model.append(os.path.join(folder, "made", "model.safetensors"))
        return side.compared(f"autoencoder 1 {model[0]}", options.least)

    yield "autoencoder, batch 1 @ 256, ms", autoencoder
    yield "conv 3x3 512 @ 64, ms", lambda side: side.compared("conv 1 64 64 512 512 3 1 1 forward", options.least)
    yield "conv 3x3 512 @ 16, ms", lambda side: side.compared("conv 1 16 16 512 512 3 1 1 forward", options.least)
    yield "conv 3x3 32 @ 16, ms", lambda side: side.compared("conv 1 16 16 32 32 3 1 1 forward", options.least)
    words = ["--generator", tiny, "--images", images, "--batch", "2", "--iterations", str(options.steps),
             "--checkpoint-every", str(options.steps)]
    yield f"tiny training, {options.steps} steps, s", lambda side: side.trained(folder, words)
    if options.generator:
        demo = ["--generator", options.generator, "--images", options.images or images, "--batch", "4",
                "--encoder-width", "0.5", "--iterations", "2", "--checkpoint-every", "2"]
        yield "the demo's training, 2 steps, s", lambda side: side.trained(folder, demo)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", action="append", required=True, help="NAME=DIR[,VARIABLE=VALUE..], two or more")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--least", type=float, default=0.5, help="seconds of a measurement by compare")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpus", default="", help="processors to stay on, such as 0,1")
    parser.add_argument("--busy", type=int, default=0, help="busy loops beside them, on the same processors")
    parser.add_argument("--steps", type=int, default=200, help="of the tiny training")
    parser.add_argument("--rows", default="", help="only rows whose name matches")
    parser.add_argument("--generator", help="cats128-generator.safetensors, for the demo's row")
    parser.add_argument("--images", help="photographs for it")
    parser.add_argument("--json", help="keep every measurement in this file")
    options = parser.parse_args()
    sides = [Side(text, options) for text in options.side]
    loops, kept, idles = [], {}, []
    try:
        for _ in range(options.busy):
            pinned = ["taskset", "-c", options.cpus] if options.cpus else []
            loops.append(subprocess.Popen(pinned + ["sh", "-c", "while :; do :; done"]))
        with tempfile.TemporaryDirectory(prefix="wait-bench-") as folder:
            for name, measure in rows(options, folder):
                if not re.search(options.rows, name):
                    continue
                samples = {side.name: [] for side in sides}
                for _ in range(options.turns):
                    for side in sides:
                        if not options.busy:
                            idles.append(idle(options.cpus))
                        samples[side.name].append(measure(side))
                kept[name] = samples
                first = statistics.median(samples[sides[0].name])
                print(f"{name}: " + "; ".join(
                    f"{key} {statistics.median(values):.4g} [{sorted(values)[len(values) // 4]:.4g}, "
                    f"{sorted(values)[-1 - len(values) // 4]:.4g}] {statistics.median(values) / first:.3f}"
                    for key, values in samples.items()), flush=True)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    where = f"processors {options.cpus}" if options.cpus else f"{os.cpu_count()} processors"
    quiet = (f"idle before the runs: median {statistics.median(idles):.0%}, least {min(idles):.0%}" if idles
             else f"beside {options.busy} busy loops")
    print(f"median [quartiles] ratio to {sides[0].name}; {options.turns} turns, {options.threads} threads on {where}; {quiet}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(kept, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
