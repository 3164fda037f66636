"""PyTorch's side of scripts/compare. compare.cpp states the language it speaks on stdin and stdout.

    compare_torch.py THREADS FORM       FORM of operations: nchw, channels_last; of models: grouped, shared, compiled
"""
import ctypes
import gc
import os
import resource
import sys
import time

FORM = sys.argv[2]
if FORM == "compiled":
    os.environ["TORCHINDUCTOR_FREEZING"] = "1"

import torch
import torch.nn.functional as F

import compare_files
import compare_models

LAST = FORM in ("channels_last", "shared", "compiled")


def hashed(shape, seed):
    """The numbers of compare.cpp in its order: images [N, H, W, C], weights [O, H, W, I]."""
    count = 1
    for size in shape:
        count *= size
    h = (torch.arange(count) + (seed * 0x9E3779B9)) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85ebca6b), (13, 0xc2b2ae35)):
        h = ((h ^ (h >> shift)) * factor) & 0xFFFFFFFF
    h ^= h >> 16
    return ((h >> 8).float() / 8388608 - 1).view(shape)


def image(shape, seed):
    """As PyTorch wants it: the same numbers as [N, C, H, W], in the memory order of the form."""
    x = hashed(shape, seed).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last if LAST else torch.contiguous_format)


def backward_of(x, w, g, stride, pad, transposed, which):
    mask = [which == "input", which == "weight", False]
    def run():
        return [torch.ops.aten.convolution_backward(g, x, w, None, [stride] * 2, [pad] * 2, [1, 1], transposed, [0, 0], 1,
                                                    mask)[mask.index(True)]]
    return run


def load_conv(words):
    n, h, w, i, o, k, stride, pad = map(int, words[:8])
    x, weight = image([n, h, w, i], 1), image([o, k, k, i], 2)
    if words[8] == "forward":
        return lambda: [F.conv2d(x, weight, stride=stride, padding=pad)]
    side = [(s + 2 * pad - k) // stride + 1 for s in (h, w)]
    return backward_of(x, weight, image([n, *side, o], 3), stride, pad, False, words[8])


def load_up(words):
    n, s, i, o = map(int, words[:4])
    x, weight = image([n, s, s, i], 1), image([i, 3, 3, o], 2)
    if words[4] == "forward":
        return lambda: [F.conv_transpose2d(x, weight, stride=2)]
    return backward_of(x, weight, image([n, 2 * s + 1, 2 * s + 1, o], 3), 2, 0, True, words[4])


def load_matmul(words):
    m, n, k = map(int, words[:3])
    a = hashed([m, k], 1)
    if words[3] == "nt":
        b = hashed([n, k], 2)
        return lambda: [F.linear(a, b)]
    b = hashed([k, n], 2)
    return lambda: [a @ b]


def load_blur(words):
    n, s, c = map(int, words)
    x, filter = image([n, s, s, c], 1), compare_models.fir()
    if LAST:
        filters = filter.expand(c, 1, 4, 4).contiguous()
        return lambda: [F.conv2d(x, filters, padding=1, groups=c)]
    return lambda: [F.conv2d(x.view(n * c, 1, s, s), filter[None, None], padding=1).view(n, c, s - 1, s - 1)]


def load_upsample(words):
    n, s, c = map(int, words)
    x, filters = image([n, s, s, c], 1), compare_models.fir().expand(c, 1, 4, 4).contiguous()
    return lambda: [F.conv_transpose2d(x, filters, stride=2, padding=1, groups=c)]


def load_batch_norm(words):
    n, s, c = map(int, words)
    x = image([n, s, s, c], 1).requires_grad_()
    weight, bias = hashed([c], 2).requires_grad_(), hashed([c], 3).requires_grad_()
    g = image([n, s, s, c], 4)
    def run():
        with torch.enable_grad():
            y = F.batch_norm(x, None, None, weight, bias, training=True)
            return torch.autograd.grad(y, [x, weight, bias], g)
    return run


def load_autoencoder(words):
    n = int(words[0])
    model = compare_models.Autoencoder("grouped" if FORM == "grouped" else "shared").eval()
    compare_files.fill(model, words[1])
    model.requires_grad_(False)
    if LAST:
        for module in model.modules():
            if isinstance(module, compare_models.ModulatedConv):
                module.keep()
        model.to(memory_format=torch.channels_last)
    if FORM == "compiled":
        # A compiled program of the batch before must not stay: it holds its own copy of the weights.
        torch.compiler.reset()
        model = torch.compile(model, dynamic=False)
    x = image([n, 256, 256, 3], 1)
    return lambda: [model(x)]


def load_train(words):
    n = int(words[0])
    model = compare_models.Autoencoder("grouped" if FORM == "grouped" else "shared").train()
    compare_files.fill(model, words[1])
    lpips = compare_models.LpipsVgg()
    compare_files.fill(lpips, words[2])
    compare_files.fill_heads(lpips, words[3])
    for frozen in (model.decoder, lpips):
        frozen.requires_grad_(False)
    if LAST:
        for module in model.modules():
            if isinstance(module, compare_models.ModulatedConv):
                module.keep()
        model.to(memory_format=torch.channels_last)
        lpips.to(memory_format=torch.channels_last)
    heads = [p for name, p in model.encoder.named_parameters() if "to_noise." in name]
    rest = [p for name, p in model.encoder.named_parameters() if "to_noise." not in name]
    adam = torch.optim.Adam([{"params": rest}, {"params": heads}], lr=1e-4, betas=(0.5, 0.999), eps=1e-8, weight_decay=1e-4)
    x = image([n, 256, 256, 3], 1)
    def run():
        with torch.enable_grad():
            adam.zero_grad()
            y = model(x)
            mse = (y - x).square().mean((1, 2, 3)).sum()
            perceptual = lpips(y, x).sum()
            loss = mse + perceptual
            loss.backward()
        norms = [torch.nn.utils.clip_grad_norm_(group, 1.0) for group in (rest, heads)]
        adam.step()
        return [loss.detach(), mse.detach(), perceptual.detach(), *norms, y.detach()]
    return run


def measure(row, least):
    def processor():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime
    before, start, passed, runs = processor(), time.monotonic(), 0.0, 0
    while runs == 0 or passed < least:
        row()
        runs += 1
        passed = time.monotonic() - start
    return f"{passed / runs} {(processor() - before) / runs}"


def write_results(row, path):
    for i, result in enumerate(row()):
        result = result.detach()
        compare_files.write_raw(f"{path}.{i}", result.permute(0, 2, 3, 1) if result.dim() == 4 else result)


def reset_peak():
    """What is left over from loading and compiling goes back to the system first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def peak():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])


def serve():
    loaders = {"conv": load_conv, "up": load_up, "matmul": load_matmul, "blur": load_blur, "upsample": load_upsample,
               "batch_norm": load_batch_norm, "autoencoder": load_autoencoder, "train": load_train}
    row = None
    for line in sys.stdin:
        command, *words = line.split()
        answer = "ok"
        if command == "load":
            row = None
            row = loaders[words[0]](words[1:])
        elif command == "check":
            write_results(row, words[0])
            reset_peak()
        elif command == "time":
            answer = measure(row, float(words[0]))
        elif command == "peak":
            answer = str(peak())
        print(answer, flush=True)


torch.set_num_threads(int(sys.argv[1]))
with torch.no_grad():
    serve()
