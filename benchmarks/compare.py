"""onemodel beside PyTorch on this machine's processor: prints the README's tables. scripts/compare builds and calls it.

Every side and form is a process of its own with the same number of threads. They take turns, one measurement each,
so that whatever else slows the machine slows all; a figure is the median of its turns, after a warm-up whose results are
compared: "error" is the largest difference over the largest value. A ratio is PyTorch's time over ours, 2 meaning that
PyTorch takes twice as long. Memory is the high-water mark of a whole process's resident set after the warm-up.
"""
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch

import compare_files
import compare_models
import compare_options

HERE = os.path.dirname(os.path.abspath(__file__))
PASSES = {"forward": "forward", "input": "input gradient", "weight": "weight gradient"}


def operations():
    """(label, line, GFLOP)"""
    def conv(what, side, i, o, kernel=3, stride=1):
        pad, out = kernel // 2, side // stride
        for key, name in PASSES.items():
            yield (f"{what}, {name}", f"conv 1 {side} {side} {i} {o} {kernel} {stride} {pad} {key}",
                   2e-9 * out * out * i * o * kernel * kernel)

    def up(side, i, o):
        for key, name in PASSES.items():
            yield f"conv 3x3 up {i}→{o} @ {side}→{2 * side}, {name}", f"up 1 {side} {i} {o} {key}", 18e-9 * side * side * i * o

    for side, channels in ((32, 512), (64, 512), (128, 256), (256, 128)):
        yield from conv(f"conv 3x3 {channels} @ {side}", side, channels, channels)
    yield from conv("conv 3x3 /2 128→256 @ 256", 256, 128, 256, stride=2)
    yield from conv("conv 3x3 /2 512 @ 64", 64, 512, 512, stride=2)
    yield from conv("conv 1x1 /2 128→256 @ 256", 256, 128, 256, 1, 2)
    yield from up(32, 512, 512)
    yield from up(128, 256, 128)
    yield from conv("to RGB 1x1 128→3 @ 256", 256, 128, 3, 1)
    yield from conv("from RGB 3x3 3→128 @ 256", 256, 3, 128)
    yield from conv("VGG conv 3x3 64 @ 256", 256, 64, 64)
    yield "matmul 2048 x 2048 x 2048", "matmul 2048 2048 2048 nn", 2e-9 * 2048**3
    yield "matmul, mapping, batch 4: 4 x 512 x 512", "matmul 4 512 512 nt", 2e-9 * 4 * 512 * 512
    yield "upfirdn2d, blur 4x4, 128 @ 257", "blur 1 257 128", 0
    yield "upfirdn2d, RGB 128→256", "upsample 1 128 3", 0
    yield "batch norm, train, forward + backward, 128 @ 256", "batch_norm 1 256 128", 0


class Worker:
    def __init__(self, name, command):
        self.name, self.command = name, command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise SystemExit(f"compare: {' '.join(self.command)} broke off at: {line}")
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def largest_error(paths):
    """Between the first path's results and each other's; of a training step: loss, its two parts, the two gradient norms
    and the reconstruction."""
    worst, part = 0.0, 0
    while os.path.exists(f"{paths[0]}.{part}"):
        files = [f"{path}.{part}" for path in paths]
        ours, *others = [compare_files.read_raw(file) for file in files]
        for other in others:
            error = ((ours - other).abs().max() / other.abs().max()).item()
            if not math.isfinite(error):  # max() would lose a NaN
                raise SystemExit(f"compare: {files[0]}: a result holds a number that is not finite")
            worst = max(worst, error)
        for file in files:
            os.unlink(file)
        part += 1
    if part == 0:
        raise SystemExit(f"compare: {paths[0]}: no results")
    return worst


class Comparison:
    def __init__(self, options, folder):
        self.options, self.folder, self.log = options, folder, []

    def ours(self, *arguments, program=None):
        return Worker("ours", [program or self.options.program, "--threads", str(self.options.threads), *self.isa(), *arguments])

    def isa(self):
        return ["--vector", "32"] if self.options.avx2 else []

    def torch(self, form):
        return Worker(form, [sys.executable, os.path.join(HERE, "compare_torch.py"), str(self.options.threads), form])

    def row(self, label, workers, lines, turns, least):
        """Medians by worker, the error, and peak memory by worker."""
        if not re.search(self.options.rows, label):
            return None
        for worker, line in zip(workers, lines):
            worker.ask("load " + line)
            worker.ask("check " + os.path.join(self.folder, f"result-{worker.name}"))
        error = largest_error([os.path.join(self.folder, f"result-{worker.name}") for worker in workers])
        times = [[] for _ in workers]
        for _ in range(turns):
            for worker, samples in zip(workers, times):
                time.sleep(0.05)  # the threads of the one before may still spin
                samples.append([float(word) for word in worker.ask(f"time {least}").split()][self.options.cpu])
        result = {"row": label, "error": error, "seconds": {}, "peak": {}, "all": {}}
        for worker, samples in zip(workers, times):
            result["seconds"][worker.name] = statistics.median(samples)
            result["all"][worker.name] = samples
            result["peak"][worker.name] = int(worker.ask("peak"))
        self.log.append(result)
        print(f"{label}: " + ", ".join(f"{k} {v * 1e3:.4g} ms" for k, v in result["seconds"].items()) + f", error {error:.1e}",
              file=sys.stderr, flush=True)
        return result

    def operations(self):
        workers = [self.ours(), self.torch("nchw"), self.torch("channels_last")]
        yield "| operation (batch 1) | ours ms | GFLOP/s | PyTorch NCHW ms | channels-last ms | ratio to the faster | error |"
        yield "|---|--:|--:|--:|--:|--:|--:|"
        for label, line, work in operations():
            row = self.row(label, workers, [line] * 3, self.options.turns, self.options.least)
            if row:
                ours, nchw, last = row["seconds"].values()
                rate = f"{work / ours:.0f}" if work else ""
                yield (f"| {label} | {milliseconds(ours)} | {rate} | {milliseconds(nchw)} | {milliseconds(last)} | "
                       f"{min(nchw, last) / ours:.2f} | {row['error']:.0e} |")
        for worker in workers:
            worker.close()

    def models(self):
        model, backbone, heads = self.model_files()
        forms = ["grouped", "shared", "compiled"]
        yield ("| 256-pixel model, encoder at the generator's channels | ours s | grouped | shared, channels-last | compiled "
               "| ratio to the faster eager | to the fastest "
               "| peak MiB: ours | grouped | shared | compiled | error |")
        yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
        rows = [("autoencoder, batch 1", f"autoencoder 1 {model}", forms, self.options.model_turns),
                ("autoencoder, batch 4", f"autoencoder 4 {model}", forms, self.options.large_turns),
                ("training step with LPIPS-VGG, batch 1", f"train 1 {model} {backbone} {heads}", forms[:2],
                 self.options.large_turns)]
        for label, line, row_forms in [row[:3] for row in rows if re.search(self.options.rows, row[0])]:
            turns = next(row[3] for row in rows if row[0] == label)
            chosen = [form for form in row_forms if form != "compiled" or self.options.compiled]
            workers = [self.ours(), *map(self.torch, chosen)]
            row = self.row(label, workers, [line] * len(workers), turns, 0)
            for worker in workers:
                worker.close()
            seconds, peak = row["seconds"], row["peak"]
            eager = min(seconds["grouped"], seconds["shared"])
            fastest = min(value for key, value in seconds.items() if key != "ours")
            cells = [f"{seconds[form]:.2f}" if form in seconds else "" for form in forms]
            memory = [f"{peak[form] >> 20}" if form in peak else "" for form in ["ours", *forms]]
            yield (f"| {label} | {seconds['ours']:.2f} | {' | '.join(cells)} | {eager / seconds['ours']:.2f} | "
                   f"{fastest / seconds['ours']:.2f} | {' | '.join(memory)} | {row['error']:.0e} |")

    def eigen(self):
        """Eigen's GEMM (AVX2 code) beside ours in AVX2 and as it runs on this processor."""
        yield "| product | Eigen ms | ours, AVX2 | ours | Eigen / ours, AVX2 | Eigen / ours | error |"
        yield "|---|--:|--:|--:|--:|--:|--:|"
        workers = [self.ours(), self.ours("--vector", "32"), self.ours()]
        for worker, name in zip(workers, ["eigen", "ours-avx2", "ours"]):
            worker.name = name
        for label, eigen, line in (
                ("matmul 2048 x 2048 x 2048, float32", "eigen_matmul 2048 2048 2048", "matmul 2048 2048 2048 nn"),
                ("conv 3x3 512 @ 64: Eigen by im2col, ours as it runs", "eigen_conv 64 512 512",
                 "conv 1 64 64 512 512 3 1 1 forward"),
                ("conv 1x1 /1 256→256 @ 64: one product", "eigen_matmul 4096 256 256", "matmul 4096 256 256 nn")):
            row = self.row(label, workers, [eigen, line, line], self.options.turns, self.options.least)
            if row:
                peer, avx2, ours = row["seconds"].values()
                yield (f"| {label} | {milliseconds(peer)} | {milliseconds(avx2)} | {milliseconds(ours)} | {peer / avx2:.2f} | "
                       f"{peer / ours:.2f} | {row['error']:.0e} |")
        for worker in workers:
            worker.close()

    def before(self):
        """Another build of `compare` beside this one, without PyTorch."""
        workers = [self.ours(), self.ours(program=self.options.before)]
        workers[1].name = "before"
        model, backbone, heads = self.model_files()
        least, options = self.options.least, self.options
        rows = [(label, line, options.turns, least) for label, line, _ in operations()]
        rows += [("autoencoder, batch 1", f"autoencoder 1 {model}", options.model_turns, 0),
                 ("training step with LPIPS-VGG, batch 1", f"train 1 {model} {backbone} {heads}", options.large_turns, 0)]
        yield "| 2 builds | before ms | now ms | now / before | difference |"
        yield "|---|--:|--:|--:|--:|"
        for label, line, turns, seconds in rows:
            row = self.row(label, workers, [line] * 2, turns, seconds)
            if row:
                now, then = row["seconds"].values()
                yield f"| {label} | {milliseconds(then)} | {milliseconds(now)} | {now / then:.2f} | {row['error']:.0e} |"
        for worker in workers:
            worker.close()

    def model_files(self):
        """One set of random weights for both sides: the autoencoder, VGG16, the heads of LPIPS."""
        paths = [os.path.join(self.folder, name) for name in ("model", "backbone", "heads")]
        vgg = {name: tensor.shape for name, tensor in compare_models.LpipsVgg().state_dict().items()}
        shapes = [{name: tensor.shape for name, tensor in compare_models.Autoencoder("grouped").state_dict().items()},
                  {name: shape for name, shape in vgg.items() if not name.startswith("heads")},
                  {f"lin{name[6:]}.model.1.weight": shape for name, shape in vgg.items() if name.startswith("heads")}]
        for i, (path, part) in enumerate(zip(paths, shapes)):
            compare_files.write_safetensors(path, compare_models.draw(part, i))
        return paths


def milliseconds(seconds):
    return f"{seconds * 1e3:.3g}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def load():
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def processor():
    with open("/proc/cpuinfo") as file:
        text = file.read()
    name = re.search(r"model name\s*: (.*)", text)
    return (name.group(1) if name else "unknown processor") + (", AVX-512" if " avx512f" in text else "")


def main():
    options = compare_options.read()
    if options.avx2:
        os.environ.update(ONEDNN_MAX_CPU_ISA="AVX2", ATEN_CPU_CAPABILITY="avx2", MKL_ENABLE_INSTRUCTIONS="AVX2")
    if options.passive:
        os.environ["OMP_WAIT_POLICY"] = "passive"

    start, loads = time.time(), load()
    with tempfile.TemporaryDirectory(prefix="compare-") as folder:
        comparison = Comparison(options, folder)
        for name in ["before"] if options.before else options.only or ["operations", "models", "eigen"]:
            for line in getattr(comparison, name)():
                print(line, flush=True)
            print()
    print(f"{processor()}; {options.threads} threads; PyTorch {torch.__version__}{', AVX2 alone' if options.avx2 else ''}"
          f"{', waiting threads sleep' if options.passive else ''}; "
          f"{'processor' if options.cpu else 'wall-clock'} time; load average {loads} before, {load()} after; "
          f"{time.strftime('%Y-%m-%d')}, {time.time() - start:.0f} s.")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(comparison.log, file, indent=1)


if __name__ == "__main__":
    main()
