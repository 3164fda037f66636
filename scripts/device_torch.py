"""The rows of tests/tensor/cuda_timings.cpp from PyTorch: channels_last, deterministic, no tf32 where strict."""
import statistics
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


with torch.no_grad():
    print("torch", torch.__version__, "cuDNN", torch.backends.cudnn.version(), torch.cuda.get_device_name())
    for size, channels in ((64, 512), (128, 256)):
        convolutions(size, channels, torch.float32, False)
        convolutions(size, channels, torch.float32, True)
        convolutions(size, channels, torch.bfloat16, False)
    bandwidths()
