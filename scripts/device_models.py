"""Whole models on a card: what `onemodel bench --json` wrote, and the same work in PyTorch, in one run.

    python3 scripts/device_models.py show FILE.json..           our rows as a table
    python3 scripts/device_models.py torch SAVED FILE.json..    PyTorch's rows, each beside ours

SAVED is the folder that `onemodel bench --save` left: the same weights fill PyTorch's networks, and what these make of its
images is compared with ours first. The forms, of benchmarks/compare_models.py:

    grouped    as published: a weight for each sample, contiguous, eager
    shared     one weight for the batch, channels_last, eager; reconstruction as a CUDA graph too
    compiled   the same through torch.compile, the whole step (Adam and clipping included) as a CUDA graph

A ratio is PyTorch's time over ours in the same precision: 2 means that PyTorch takes twice as long. Rows that compile come
last and are left out, with a line, once the time for them (ONEMODEL_TORCH_SECONDS, 300) is over; ONEMODEL_TORCH_FORMS names
the forms that are wanted, compiled alone for one.
"""
import json
import os
import statistics
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "benchmarks"))
SECONDS = float(os.environ.get("ONEMODEL_TORCH_SECONDS", "300"))
BOUNDS = {"fp32": 1e-3, "tf32": 3e-2, "bf16": 2e-1}  # relative L2 of a reconstruction; bf16 rounds every activation


def read(paths):
    files = []
    for path in paths:
        with open(path) as file:
            files.append(json.load(file))
    return files


def line(name, precision, batch, seconds, peak, more=""):
    print(f"{name:<34} {precision:<5} {batch:>4} {1e3 * seconds:10.3f} ms {batch / seconds:9.1f} img/s "
          f"{1 / seconds:8.2f} steps/s  peak {peak / 2**30:6.2f} GiB{more}", flush=True)


def show(paths):
    for file in read(paths):
        print(file["device"], file["model"], sep="\n")
        for peak in file["peaks"]:
            print(f"{peak['precision']}: a 3x3 convolution makes {peak['convolution_gflops'] / 1e3:.1f} TFLOP/s, "
                  f"a copy {peak['copy_gigabytes']:.0f} GB/s")
        for row in file["rows"]:
            spread = row["seconds"]["most"] / row["seconds"]["least"] - 1
            line("onemodel " + row["task"], row["precision"], row["batch"], row["seconds"]["median"], row["peak_bytes"],
                 f", held {row['held_bytes'] / 2**30:.2f}, conv {100 * row['convolution_share']:.0f}%, "
                 f"copy {100 * row['copy_share']:.0f}%, spread {100 * spread:.1f}%, first {row['first_seconds']:.1f} s")
            print("   ", ", ".join(f"{part['name']} {1e3 * part['seconds']['median']:.3f}" for part in row["parts"]), "ms")
            ops = row.get("profile", [])
            total = sum(op["seconds"] for op in ops)
            for op in ops[:10]:
                rate = f"{op['gflop'] / op['seconds'] / 1e3:8.1f} TFLOP/s" if op["gflop"] else ""
                print(f"      {op['op']:<24} {op['pass']:<8} {op['calls']:>4} {1e3 * op['seconds']:9.3f} ms "
                      f"{100 * op['seconds'] / total:5.1f}% {rate}")


class Peer:
    """PyTorch's side, on the card where there is one (without, the logic alone can be tried on a small model)."""

    def __init__(self, saved, ours):
        import torch
        import compare_files
        import compare_models
        self.torch, self.files, self.models = torch, compare_files, compare_models
        self.saved, self.started = saved, time.perf_counter()
        self.card = torch.cuda.is_available()
        self.device = "cuda" if self.card else "cpu"
        self.ours = {(row["task"], row["precision"], row["batch"]): row for file in ours for row in file["rows"]}
        self.weights = compare_files.read_safetensors(os.path.join(saved, "model.safetensors"))
        self.check = compare_files.read_safetensors(os.path.join(saved, "check.safetensors"))
        self.side = self.check["image"].shape[-1]
        self.take_shapes()
        torch.backends.cudnn.benchmark_limit = 4
        print("torch", torch.__version__, torch.cuda.get_device_name() if self.card else "on the processor", flush=True)

    def take_shapes(self):
        """The saved model's channels, in the place of the published ones."""
        models, weights = self.models, self.weights
        sizes = [4 << i for i in range(self.side.bit_length() - 2)]
        channels = [weights["decoder.conv1.conv.weight"].shape[1]]
        channels += [weights[f"decoder.convs.{2 * i}.conv.weight"].shape[1] for i in range(len(sizes) - 1)]
        models.SIZES, models.GENERATOR = sizes, dict(zip(sizes, channels))
        encoder = [weights[f"encoder.resnet_blocks.{i}.conv1.weight"].shape[0] for i in range(len(sizes))]
        models.ENCODER = dict(zip(reversed(sizes), encoder))
        models.LATENT = weights["decoder.style.1.weight"].shape[1]

    def scope(self, precision):
        torch = self.torch
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        return self.autocast(precision)

    def autocast(self, precision):
        return self.torch.autocast(self.device, self.torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)

    def networks(self, form):
        torch = self.torch
        model, lpips = self.models.Autoencoder(form), self.models.LpipsVgg()
        self.files.fill(model, os.path.join(self.saved, "model.safetensors"))
        path = os.path.join(self.saved, "lpips.safetensors")
        self.files.fill(lpips, path)
        self.files.fill_heads(lpips, path)
        if form == "shared":
            for part in model.modules():
                if isinstance(part, self.models.ModulatedConv):
                    part.keep()
        for frozen in (model.decoder, lpips):
            frozen.eval().requires_grad_(False)
        layout = torch.channels_last if form == "shared" else torch.contiguous_format
        return [network.to(self.device).to(memory_format=layout) for network in (model, lpips)], layout

    def compare(self, form, model, lpips, layout, precisions):
        """SystemExit where the two sides do not compute the same."""
        torch = self.torch
        image = self.check["image"].to(self.device).to(memory_format=layout)
        model.eval()
        for precision in precisions:
            with torch.no_grad(), self.scope(precision):
                output = model(image).float()
                distance = float(lpips(output, image).sum())
            wanted = self.check["output"].to(self.device)
            error = float((output - wanted).norm() / wanted.norm())
            apart = abs(distance / float(self.check["lpips"].sum()) - 1)
            print(f"torch {form} beside onemodel's fp32, {precision}: relative L2 of the reconstruction {error:.1e}, "
                  f"LPIPS {apart:.1e}", flush=True)
            if not (error <= BOUNDS[precision] and apart <= BOUNDS[precision]):
                raise SystemExit("device_models: the two do not compute the same")

    def synchronize(self):
        if self.card:
            self.torch.cuda.synchronize()

    def seconds(self, call):
        def round_of(calls):
            self.synchronize()
            start = time.perf_counter()
            for _ in range(calls):
                call()
            self.synchronize()
            return (time.perf_counter() - start) / calls

        round_of(3)
        calls = max(1, min(1000, int(0.03 / round_of(1))))
        return statistics.median(round_of(calls) for _ in range(7))

    def row(self, form, task, precision, batch, call, result):
        """`result` is a tensor that the last call left: its numbers have to be real ones."""
        torch = self.torch
        took = self.seconds(call)
        value = result().float()
        if not (bool(torch.isfinite(value).all()) and bool((value != 0).any())):
            raise SystemExit(f"device_models: {form} {task}: numbers that mean nothing")
        ours = self.ours.get((task, precision, batch))
        more = f"   onemodel x {took / ours['seconds']['median']:.2f}" if ours else ""
        line(f"torch {form} {task}", precision, batch, took,
             torch.cuda.max_memory_allocated() if self.card else 0, more)

    def fresh(self):
        if self.card:
            self.torch.cuda.empty_cache()
            self.torch.cuda.reset_peak_memory_stats()

    def images(self, batch, layout):
        image = self.torch.rand(batch, 3, self.side, self.side, device=self.device) * 2 - 1
        return image.to(memory_format=layout)

    def graphed(self, body):
        """The body as a CUDA graph, after it ran on a stream beside the main one; without a card the body."""
        torch = self.torch
        if not self.card:
            return body
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                body()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            body()
        return graph.replay

    def reconstruct(self, form, model, layout, precision, batch, graph):
        torch = self.torch
        self.fresh()
        image, kept = self.images(batch, layout), {}
        model.eval()

        def body():
            kept["y"] = model(image)

        with torch.no_grad(), self.scope(precision):
            call = self.graphed(body) if graph else body
            self.row(form + (" graph" if graph else ""), "reconstruct", precision, batch, call, lambda: kept["y"])

    def train(self, form, model, lpips, layout, precision, batch, compiled=False):
        torch = self.torch
        self.fresh()
        image, kept = self.images(batch, layout), {}
        model.encoder.train()
        parameters = [p for p in model.encoder.parameters() if p.requires_grad]
        adam = torch.optim.Adam(parameters, lr=1e-4, fused=True, capturable=compiled and self.card)

        self.scope(precision)  # a compiled function cannot set it

        def loss_of(x):
            with self.autocast(precision):
                y = model(x)
                return (y.float() - x).square().sum() / x[0].numel() + lpips(y, x).float().sum()

        forward = torch.compile(loss_of, fullgraph=True, dynamic=False) if compiled else loss_of

        def body():
            adam.zero_grad(set_to_none=True)
            loss = forward(image)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in parameters if p.grad is not None], 1.0, foreach=True)
            adam.step()
            kept["loss"] = loss.detach()

        call = self.graphed(body) if compiled else body
        self.row(form + (" graph" if compiled else ""), "train", precision, batch, call, lambda: kept["loss"])

    def eager(self, form, precisions, batches):
        torch = self.torch
        torch.backends.cudnn.benchmark = form == "shared"  # the search among grouped engines takes minutes
        (model, lpips), layout = self.networks(form)
        self.compare(form, model, lpips, layout, ("fp32",) + precisions)
        for precision in precisions:
            for batch in batches["reconstruct"]:
                self.reconstruct(form, model, layout, precision, batch, False)
                if form == "shared":
                    self.reconstruct(form, model, layout, precision, batch, True)
            for batch in batches["train"]:
                self.train(form, model, lpips, layout, precision, batch)

    def compiled(self, precision, batches):
        torch = self.torch
        torch.backends.cudnn.benchmark = True
        rows = [("train", batch) for batch in batches["train"]] + [("reconstruct", batch) for batch in batches["reconstruct"]]
        for task, batch in rows:
            spent = time.perf_counter() - self.started
            if spent > SECONDS:
                print(f"torch compiled {task} {precision} batch {batch}: left out after {spent:.0f} s", flush=True)
                continue
            torch._dynamo.reset()
            (model, lpips), layout = self.networks("shared")
            begin = time.perf_counter()
            if task == "train":
                self.train("compiled", model, lpips, layout, precision, batch, compiled=True)
            else:
                self.reconstruct("compiled", torch.compile(model, fullgraph=True, dynamic=False), layout, precision, batch, True)
            print(f"    with compiling {time.perf_counter() - begin:.0f} s", flush=True)


def torch_rows(saved, paths):
    files = read(paths)
    peer = Peer(saved, files)
    asked = {task: sorted({row["batch"] for file in files for row in file["rows"] if row["task"] == task})
             for task in ("reconstruct", "train")}
    # as published a step of 32 does not fit the card
    few = {task: [batch for batch in batches if batch <= 8 or task == "reconstruct"] for task, batches in asked.items()}
    forms = os.environ.get("ONEMODEL_TORCH_FORMS", "grouped,shared,compiled").split(",")
    if "grouped" in forms:
        peer.eager("grouped", ("tf32",), few)
    if "shared" in forms:
        peer.eager("shared", ("tf32", "bf16"), few)
    if "compiled" in forms:
        peer.compiled("bf16", asked)


def main(usage, show, torch_rows):
    if len(sys.argv) > 2 and sys.argv[1] == "show":
        show(sys.argv[2:])
    elif len(sys.argv) > 3 and sys.argv[1] == "torch":
        torch_rows(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(usage)


if __name__ == "__main__":
    main(__doc__, show, torch_rows)
