"""The rows of tests/tensor/cuda_timings.cpp from PyTorch: channels_last, deterministic, no tf32 where strict; then those
of benchmarks/cuda_models.cpp: the published form (a weight per sample, contiguous) and the strongest eager one (one
weight for the batch, channels-last; reconstruction as a replayed graph too).

python3 scripts/device_torch.py [models]      models: these rows alone
"""
import os
import statistics
import sys
import time

import torch

torch.backends.cudnn.benchmark = False
torch.backends.cudnn.deterministic = True


def microseconds(call):
    def round_of(calls):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / calls * 1e6

    round_of(3)
    calls = max(3, min(1000, int(30000 / round_of(3))))
    return statistics.median(round_of(calls) for _ in range(7))


def row(name, call, amount, unit):
    took = microseconds(call)
    print(f"{'torch ' + name:<44} {took:10.1f} us {amount / took:9.1f} {unit}")


def convolutions(size, channels, dtype, tf32):
    torch.backends.cudnn.allow_tf32 = tf32
    like = dict(device="cuda", dtype=dtype)
    x = torch.rand(8, channels, size, size, **like).to(memory_format=torch.channels_last)
    w = torch.rand(channels, channels, 3, 3, **like).to(memory_format=torch.channels_last)
    g = torch.rand(8, channels, size, size, **like).to(memory_format=torch.channels_last)
    flops = 2 * 8 * 9 * size * size * channels * channels * 1e-6
    suffix = f" {size}x{size}x{channels} {'bf16' if dtype == torch.bfloat16 else 'f32'}{' tf32' if tf32 else ''}"

    def backward(mask):
        torch.ops.aten.convolution_backward(g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)

    row("conv2d" + suffix, lambda: torch.nn.functional.conv2d(x, w, padding=1), flops, "TFLOP/s")
    row("conv2d_input_grad" + suffix, lambda: backward([True, False, False]), flops, "TFLOP/s")
    row("conv2d_weight_grad" + suffix, lambda: backward([False, True, False]), flops, "TFLOP/s")


def bandwidths():
    x, y = torch.rand(2, 32, 256, 256, 128, device="cuda")
    z, bias, bytes_ = torch.empty_like(x), torch.rand(128, device="cuda"), x.numel() * 4e-3
    row("copy", lambda: z.copy_(x), 2 * bytes_, "GB/s")
    row("add", lambda: torch.add(x, y, out=z), 3 * bytes_, "GB/s")
    row("add bias", lambda: torch.add(x, bias, out=z), 2 * bytes_, "GB/s")
    row("tanh", lambda: torch.tanh(x, out=z), 2 * bytes_, "GB/s")
    row("cast to bf16", lambda: x.to(torch.bfloat16), 1.5 * bytes_, "GB/s")
    row("sum over N, H, W", lambda: x.sum(dim=(0, 1, 2)), bytes_, "GB/s")
    row("sum over C", lambda: x.sum(dim=3), bytes_, "GB/s")
    row("permute NHWC to NCHW", lambda: x.permute(0, 3, 1, 2).contiguous(), 2 * bytes_, "GB/s")


def precision_scope(precision):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    return torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def full_size(form):
    import compare_models
    compare_models.ENCODER = compare_models.GENERATOR
    model, lpips = compare_models.Autoencoder(form), compare_models.LpipsVgg()
    for network in (model, lpips):
        entries = network.state_dict()
        drawn = compare_models.draw({name: tuple(t.shape) for name, t in entries.items()}, 1)
        network.load_state_dict({name: drawn[name] for name in entries})
    if form == "shared":
        for part in model.modules():
            if isinstance(part, compare_models.ModulatedConv):
                part.keep()
    layout = torch.channels_last if form == "shared" else torch.contiguous_format
    return [network.cuda().to(memory_format=layout) for network in (model, lpips)], layout


def model_row(name, precision, batch, call):
    took = microseconds(call)
    print(f"{name:<44} {precision:<5} {took / 1e3:9.3f} ms {batch * 1e6 / took:9.1f} img/s {1e6 / took:7.2f} steps/s  "
          f"peak {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB", flush=True)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def reconstruction(form, model, layout, precision, batch):
    image = torch.rand(batch, 3, 256, 256, device="cuda").to(memory_format=layout)
    model.eval()
    with torch.no_grad(), precision_scope(precision):
        model_row(f"torch {form} reconstruct_{batch} eager", precision, batch, lambda: model(image))
        if form != "shared":
            return
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(image)
        model_row(f"torch {form} reconstruct_{batch} graph", precision, batch, graph.replay)


def training(form, model, lpips, layout, precision, batch):
    image = torch.rand(batch, 3, 256, 256, device="cuda").to(memory_format=layout)
    model.train()
    for frozen in (model.decoder, lpips):
        frozen.eval().requires_grad_(False)
    parameters = list(model.encoder.parameters())
    adam = torch.optim.Adam(parameters, lr=1e-4, fused=True)

    def step():
        with precision_scope(precision):
            y = model(image)
            loss = (y.float() - image).square().sum() / image[0].numel() + lpips(y, image).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adam.step()

    model_row(f"torch {form} train_{batch} eager", precision, batch, step)


def models():
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "benchmarks"))
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark_limit = 4
    for form, precisions in (("grouped", ("tf32",)), ("shared", ("tf32", "bf16"))):
        torch.backends.cudnn.benchmark = form == "shared"  # the search among grouped engines takes minutes
        (model, lpips), layout = full_size(form)
        for precision in precisions:
            for batch in (1, 32):
                reconstruction(form, model, layout, precision, batch)
            for batch in (4, 8):
                training(form, model, lpips, layout, precision, batch)


if "models" in sys.argv[1:]:
    models()
    sys.exit()
with torch.no_grad():
    print("torch", torch.__version__, "cuDNN", torch.backends.cudnn.version(), torch.cuda.get_device_name())
    for size, channels in ((64, 512), (128, 256)):
        convolutions(size, channels, torch.float32, False)
        convolutions(size, channels, torch.float32, True)
        convolutions(size, channels, torch.bfloat16, False)
    bandwidths()
models()
