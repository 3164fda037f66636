"""Writes a small golden case of StyleGAN 1: PyTorch in float32, formulas from Karras et al. 2019, names as in
rosinality's style-based port. One block upsamples in two steps, two in one, and one block is left unused.

    python tests/golden/make_stylegan1.py [FOLDER]

With FOLDER, cases of kind stylegan1 there (made by the reference implementation) are computed first and compared.
"""
import math
import pathlib
import sys

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
here = pathlib.Path(__file__).parent


def he(weight):
    return weight * math.sqrt(2 / weight[0].numel())


def linear(p, name, x):
    return F.linear(x, he(p[name + ".weight_orig"]), p[name + ".bias"])


def conv(p, name, x, padding):
    return F.conv2d(x, he(p[name + ".weight_orig"]), p[name + ".bias"], padding=padding)


def fused_upsample(p, name, x):
    weight = p[name + ".weight"]
    w = F.pad(weight * math.sqrt(2 / (weight.shape[0] * 9)), [1, 1, 1, 1])
    w = (w[:, :, 1:, 1:] + w[:, :, :-1, 1:] + w[:, :, 1:, :-1] + w[:, :, :-1, :-1]) / 4
    return F.conv_transpose2d(x, w, p[name + ".bias"], stride=2, padding=1)


def blur(x):
    taps = torch.tensor([1.0, 2.0, 1.0])
    kernel = (taps[:, None] * taps[None, :] / 16).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def style(p, block, i, x, w, noise):
    x = F.leaky_relu(x + he(p[f"{block}.noise{i}.weight_orig"]) * noise, 0.2)
    mean = x.mean((2, 3), keepdim=True)
    variance = x.var((2, 3), unbiased=False, keepdim=True)
    gamma, beta = linear(p, f"{block}.adain{i}.style.linear", w)[:, :, None, None].chunk(2, 1)
    return gamma * (x - mean) / torch.sqrt(variance + 1e-5) + beta


def mapping(p, z):
    x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
    layer = 1
    while f"style.{layer}.linear.weight_orig" in p:
        x = F.leaky_relu(linear(p, f"style.{layer}.linear", x), 0.2)
        layer += 2
    return x


def synthesis(p, wplus, noise):
    for i, maps in enumerate(noise):
        block = f"generator.progression.{i}"
        if i == 0:
            x = p[block + ".conv1.input"].expand(len(wplus), -1, -1, -1)
        elif block + ".conv1.0.weight" in p:
            x = blur(fused_upsample(p, block + ".conv1.0", x))
        else:
            x = blur(conv(p, block + ".conv1.1.conv", F.interpolate(x, scale_factor=2, mode="nearest"), 1))
        x = style(p, block, 1, x, wplus[:, 2 * i], maps)
        x = style(p, block, 2, conv(p, block + ".conv2.conv", x, 1), wplus[:, 2 * i + 1], maps)
    return conv(p, f"generator.to_rgb.{len(noise) - 1}.conv", x, 0)


def outputs(p, case, blocks):
    maps = [[case[f"{kind}.{i}"] for i in range(blocks)] for kind in ("noise_z", "noise_wplus")]
    w = mapping(p, case["z"])
    return {"w": w, "image_from_z": synthesis(p, w[:, None].expand(-1, 2 * blocks, -1), maps[0]),
            "image_from_wplus": synthesis(p, case["wplus"], maps[1])}


def check(folder):
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            about = opened.metadata()
        if about.get("case") != "stylegan1":
            continue
        case, p = load_file(file), torch.load(folder / about["checkpoint"], weights_only=True)["g_running"]
        for name, value in outputs(p, case, int(math.log2(int(about["size"]))) - 1).items():
            error = ((value - case[name]).abs().max() / case[name].abs().max()).item()
            print(f"{file.name} {name}: {error:.2e} of the largest")
            assert error < 1e-4


def narrow(channels, fused, latent, layers, random):
    def normal(*shape, scale=1.0):
        return torch.randn(*shape, generator=random) * scale

    p = {}
    for i in range(layers):
        p[f"style.{2 * i + 1}.linear.weight_orig"] = normal(latent, latent)
        p[f"style.{2 * i + 1}.linear.bias"] = normal(latent, scale=0.1)
    for i, c in enumerate(channels):
        block, before = f"generator.progression.{i}", channels[max(0, i - 1)]
        if i == 0:
            p[block + ".conv1.input"] = normal(1, c, 4, 4)
        else:
            name = block + (".conv1.0" if fused[i] else ".conv1.1.conv")
            p[name + (".weight" if fused[i] else ".weight_orig")] = normal(*((before, c) if fused[i] else (c, before)), 3, 3)
            p[name + ".bias"] = normal(c, scale=0.2)
            taps = torch.tensor([1.0, 2.0, 1.0])
            kernel = (taps[:, None] * taps[None, :] / 16).repeat(c, 1, 1, 1)
            for part in ("weight", "weight_flip"):
                p[block + (".conv1.1." if fused[i] else ".conv1.2.") + part] = kernel.clone()
        p[block + ".conv2.conv.weight_orig"], p[block + ".conv2.conv.bias"] = normal(c, c, 3, 3), normal(c, scale=0.2)
        for j in (1, 2):
            p[f"{block}.noise{j}.weight_orig"] = normal(1, c, 1, 1, scale=0.3)
            p[f"{block}.adain{j}.style.linear.weight_orig"] = normal(2 * c, latent)
            p[f"{block}.adain{j}.style.linear.bias"] = torch.cat([torch.ones(c), torch.zeros(c)]) + normal(2 * c, scale=0.2)
        p[f"generator.to_rgb.{i}.conv.weight_orig"] = normal(3, c, 1, 1)
        p[f"generator.to_rgb.{i}.conv.bias"] = normal(3, scale=0.2)
    return p


with torch.no_grad():
    if len(sys.argv) > 1:
        check(pathlib.Path(sys.argv[1]))
    random = torch.Generator().manual_seed(1)
    latent, blocks = 12, 4
    p = narrow([10, 8, 6, 6, 4], [False, False, True, True, True], latent, 3, random)
    case = {"z": torch.randn(2, latent, generator=random), "wplus": torch.randn(2, 2 * blocks, latent, generator=random)}
    for i in range(blocks):
        side = 4 << i
        case[f"noise_z.{i}"] = torch.randn(1, 1, side, side, generator=random)
        case[f"noise_wplus.{i}"] = torch.randn(2, 1, side, side, generator=random)
    case |= {name: value.contiguous() for name, value in outputs(p, case, blocks).items()}
    torch.save({"generator": {}, "g_running": p}, here / "stylegan1-small.pt")
    save_file(case, here / "stylegan1-small.safetensors",
              {"case": "stylegan1", "model": "stylegan1", "checkpoint": "stylegan1-small.pt", "size": "32", "latent": str(latent)})
