#!/usr/bin/env python3
"""Writes the golden cases of training that the authors' files do not have, with PyTorch on a CPU in float64.

    python tests/golden/make_training.py tests/golden

    training-lpips   StyleGAN 2, everything trains, the noise heads at a rate of their own, loss with LPIPS
    training-stage1  StyleGAN 2, first stage of the learning-rate strategy, on random noise maps
    training-sg1     StyleGAN 1, second stage of that strategy, the rest at a fraction of the noise heads' rate
    training-two     StyleGAN 2, second stage of two networks: the noise encoder trains, the latent encoder stands

Networks, loss and recipe follow their published descriptions; weights are random and narrow (16 pixels), VGG16's
too. Checkpoints (training-sg2.model, training-sg1.model, training-two.model, training-vgg.pth) are torch.save's dicts in float32. A
case holds images, each step's loss and gradient norms (by group, before clipping), the first reconstruction and
gradients, and the encoder after the last step. Needs torch and numpy.
"""
import ctypes
import json
import math
import os
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE, LATENT, CHANNELS = 16, 12, {4: 9, 8: 7, 16: 5}
SIDES = [4, 8, 16]


# ---- encoder
class Block(nn.Module):
    def __init__(self, i, o, stride, project):
        super().__init__()
        self.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(o)
        self.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(o)
        self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride), nn.BatchNorm2d(o)) if project else None

    def forward(self, x):
        shortcut = self.downsample(x) if self.downsample else x
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class Encoder(nn.Module):
    def __init__(self, maps_per_size, latent=True, noise=True):
        super().__init__()
        c = [CHANNELS[side] for side in reversed(SIDES)]
        self.start_block = Block(3, c[0], 1, True)
        self.intermediate_block = Block(c[0], c[0], 1, False)  # in the files, never used
        self.resnet_blocks = nn.ModuleList(
            [self.start_block] + [Block(i, o, 2, True) for i, o in zip(c, c[1:])])
        self.intermediate_resnet_blocks = nn.ModuleList(Block(o, o, 1, False) for o in c)
        head = lambda out: nn.ModuleList(nn.Conv2d(o, out, 1) for o in c)
        if latent:
            self.to_latent, self.intermediate_to_latent = head(LATENT), head(LATENT)
        if noise:
            self.to_noise = head(1)
        if noise and maps_per_size == 2:
            self.intermediate_to_noise = head(1)
        self.latent, self.noise, self.two = latent, noise, maps_per_size == 2

    def forward(self, x):
        latent, noise = [], []
        pool = lambda h: h.mean((2, 3), keepdim=True)
        for i, block in enumerate(self.resnet_blocks):
            x = block(x)
            if self.latent:
                latent.append(self.to_latent[i](pool(x)).flatten(1))
            if self.noise:
                noise.append(self.to_noise[i](x))
            x = self.intermediate_resnet_blocks[i](x)
            if self.latent:
                latent.append(self.intermediate_to_latent[i](pool(x)).flatten(1))
            if self.noise and self.two and i + 1 < len(self.resnet_blocks):
                noise.append(self.intermediate_to_noise[i](x))
        return torch.stack(latent[::-1], 1) if latent else None, noise[::-1]


class TwoNetworks(nn.Module):
    def __init__(self):
        super().__init__()
        self.latent_encoder, self.noise_encoder = Encoder(2, noise=False), Encoder(2, latent=False)

    def forward(self, x):
        with torch.no_grad():  # in train mode all the same: its statistics move
            latent = self.latent_encoder(x)[0]
        return latent, self.noise_encoder(x)[1]


# ---- generators, as functions of their state dicts
def fir(x, up, before, after):
    """Zero insertion by `up`, padding, and the filter [1, 3, 3, 1] of gain up^2."""
    n, c, h, w = x.shape
    inserted = x.new_zeros(n, c, h * up, w * up)
    inserted[:, :, ::up, ::up] = x
    row = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype)
    kernel = (torch.outer(row, row) / 64 * 4).expand(c, 1, 4, 4)
    return F.conv2d(F.pad(inserted, (before, after, before, after)), kernel, groups=c)


def modulated(p, name, x, w, up, demodulate):
    weight = p[name + ".weight"][0]
    style = F.linear(w, p[name + ".modulation.weight"] / math.sqrt(w.shape[1]), p[name + ".modulation.bias"])
    o, i, k, _ = weight.shape
    kernels = weight[None] / math.sqrt(i * k * k) * style[:, None, :, None, None]
    if demodulate:
        kernels = kernels * torch.rsqrt(kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    rows = []
    for n in range(x.shape[0]):
        if up:
            rows.append(fir(F.conv_transpose2d(x[n:n + 1], kernels[n].transpose(0, 1), stride=2), 1, 1, 1))
        else:
            rows.append(F.conv2d(x[n:n + 1], kernels[n], padding=k // 2))
    return torch.cat(rows)


def styled(p, name, x, w, noise, up):
    x = modulated(p, name + ".conv", x, w, up, True) + p[name + ".noise.weight"] * noise
    return F.leaky_relu(x + p[name + ".activate.bias"][:, None, None], 0.2) * math.sqrt(2)


def stylegan2(p, w, noise):
    to_rgb = lambda name, x, w: modulated(p, name + ".conv", x, w, False, False) + p[name + ".bias"]
    x = styled(p, "conv1", p["input.input"].expand(w.shape[0], -1, -1, -1), w[:, 0], noise[0], False)
    image = to_rgb("to_rgb1", x, w[:, 1])
    for i in range(len(SIDES) - 1):
        x = styled(p, f"convs.{2 * i}", x, w[:, 2 * i + 1], noise[2 * i + 1], True)
        x = styled(p, f"convs.{2 * i + 1}", x, w[:, 2 * i + 2], noise[2 * i + 2], False)
        image = fir(image, 2, 2, 1) + to_rgb(f"to_rgbs.{i}", x, w[:, 2 * i + 3])
    return image


def blur121(x):
    row = torch.tensor([1.0, 2, 1], dtype=x.dtype)
    return F.conv2d(x, (torch.outer(row, row) / 16).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def equalised(p, name):
    weight = p[name + ".weight_orig"]
    return weight * math.sqrt(2 / weight[0].numel())


def stylegan1(p, w, noise):
    def finish(block, layer, x, w, noise):
        x = F.leaky_relu(x + equalised(p, f"{block}.noise{layer}") * noise, 0.2)
        name = f"{block}.adain{layer}.style.linear"
        gamma, beta = F.linear(w, equalised(p, name), p[name + ".bias"])[:, :, None, None].chunk(2, 1)
        return gamma * F.instance_norm(x, eps=1e-5) + beta

    for i in range(len(SIDES)):
        block = f"generator.progression.{i}"
        if i == 0:
            x = p[block + ".conv1.input"].expand(w.shape[0], -1, -1, -1)
        elif block + ".conv1.0.weight" in p:
            weight = p[block + ".conv1.0.weight"]
            weight = F.pad(weight * math.sqrt(2 / (weight.shape[0] * 9)), (1, 1, 1, 1))
            weight = (weight[:, :, 1:, 1:] + weight[:, :, :-1, 1:] + weight[:, :, 1:, :-1] + weight[:, :, :-1, :-1]) / 4
            x = blur121(F.conv_transpose2d(x, weight, p[block + ".conv1.0.bias"], stride=2, padding=1))
        else:
            name = block + ".conv1.1.conv"
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = blur121(F.conv2d(x, equalised(p, name), p[name + ".bias"], padding=1))
        x = finish(block, 1, x, w[:, 2 * i], noise[i])
        x = F.conv2d(x, equalised(p, block + ".conv2.conv"), p[block + ".conv2.conv.bias"], padding=1)
        x = finish(block, 2, x, w[:, 2 * i + 1], noise[i])
    name = f"generator.to_rgb.{len(SIDES) - 1}.conv"
    return F.conv2d(x, equalised(p, name), p[name + ".bias"])


# ---- their random weights
def random_stylegan2(normal):
    p = {f"style.{i}.weight": normal(LATENT, LATENT) * 100 for i in (1, 2)}
    p |= {f"style.{i}.bias": normal(LATENT) for i in (1, 2)}
    p["input.input"] = normal(1, CHANNELS[4], 4, 4)

    def conv(name, i, o, k):
        p[name + ".conv.weight"] = normal(1, o, i, k, k)
        p[name + ".conv.modulation.weight"] = normal(i, LATENT)
        p[name + ".conv.modulation.bias"] = 1 + 0.1 * normal(i)

    def layer(name, i, o):
        conv(name, i, o, 3)
        p[name + ".noise.weight"] = 0.3 * normal(1)
        p[name + ".activate.bias"] = 0.1 * normal(o)

    def to_rgb(name, i):
        conv(name, i, 3, 1)
        p[name + ".conv.weight"] *= 0.3
        p[name + ".bias"] = 0.1 * normal(1, 3, 1, 1)

    layer("conv1", CHANNELS[4], CHANNELS[4])
    to_rgb("to_rgb1", CHANNELS[4])
    for i, (low, high) in enumerate(zip(SIDES, SIDES[1:])):
        layer(f"convs.{2 * i}", CHANNELS[low], CHANNELS[high])
        layer(f"convs.{2 * i + 1}", CHANNELS[high], CHANNELS[high])
        to_rgb(f"to_rgbs.{i}", CHANNELS[high])
    return p


def random_stylegan1(normal):
    p = {}

    def layer(name, shape, bias):
        p[name + ".weight_orig"], p[name + ".bias"] = normal(*shape), 0.1 * normal(bias)

    for i in (1, 3):
        layer(f"style.{i}.linear", (LATENT, LATENT), LATENT)
    for i, side in enumerate(SIDES):
        c, block = CHANNELS[side], f"generator.progression.{i}"
        before = CHANNELS[SIDES[max(i - 1, 0)]]
        if i == 0:
            p[block + ".conv1.input"] = normal(1, c, 4, 4)
        elif i == 1:
            layer(block + ".conv1.1.conv", (c, before, 3, 3), c)
        else:  # one fused block: names say so, not sizes
            p[block + ".conv1.0.weight"], p[block + ".conv1.0.bias"] = normal(before, c, 3, 3), 0.1 * normal(c)
        layer(block + ".conv2.conv", (c, c, 3, 3), c)
        for n in (1, 2):
            p[f"{block}.noise{n}.weight_orig"] = normal(1, c, 1, 1)
            layer(f"{block}.adain{n}.style.linear", (2 * c, LATENT), 2 * c)
            p[f"{block}.adain{n}.style.linear.bias"][:c] += 1
        layer(f"generator.to_rgb.{i}.conv", (3, c, 1, 1), 3)
        p[f"generator.to_rgb.{i}.conv.weight_orig"] *= 0.3
    return p


VGG = {0: (3, 4), 2: (4, 4), 5: (4, 6), 7: (6, 6), 10: (6, 8), 12: (8, 8), 14: (8, 8), 17: (8, 8), 19: (8, 8),
       21: (8, 8), 24: (8, 8), 26: (8, 8), 28: (8, 8)}
TAPS = [2, 7, 14, 21, 28]


def random_vgg(normal):
    p = {}
    for i, (before, after) in VGG.items():
        p[f"features.{i}.weight"] = normal(after, before, 3, 3) * math.sqrt(2 / (9 * before))
        p[f"features.{i}.bias"] = 0.1 * normal(after)
    for k, i in enumerate(TAPS):
        p[f"lin{k}.model.1.weight"] = normal(1, VGG[i][1], 1, 1).abs()
    return p


def lpips(p, a, b):
    shift = torch.tensor([-.030, -.088, -.188], dtype=a.dtype)[:, None, None]
    scale = torch.tensor([.458, .448, .450], dtype=a.dtype)[:, None, None]

    def features(x):
        x, found = (x - shift) / scale, []
        for i in VGG:
            if i in (5, 10, 17, 24):
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, p[f"features.{i}.weight"], p[f"features.{i}.bias"], padding=1))
            if i in TAPS:
                energy = x.square().sum(1, keepdim=True)
                zero = energy == 0  # the gradient there is 0
                found.append(torch.where(zero, 0.0, x / (torch.where(zero, 1.0, energy).sqrt() + 1e-10)))
        return found

    total = 0
    for k, (x, y) in enumerate(zip(features(a), features(b))):
        total = total + F.conv2d((x - y).square(), p[f"lin{k}.model.1.weight"]).mean((2, 3))[:, 0]
    return total.sum()


# ---- random noise maps: Philox4x32-10 (Salmon et al., SC 2011), map n of a run is draw n
def philox_normal(seed, draw, count):
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    low, m = np.uint64(0xFFFFFFFF), np.uint64(32)
    c = [blocks & low, blocks >> m, np.full_like(blocks, draw), np.zeros_like(blocks)]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> m) ^ c[1] ^ np.uint64(k[0]), p1 & low, (p0 >> m) ^ c[3] ^ np.uint64(k[1]), p0 & low]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    words = np.stack(c, 1).reshape(-1, 2).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log((words[:, 0] + 1) / 2**32)), 2 * np.pi * words[:, 1] / 2**32
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:count]


# ---- the recipe
def cosine(high, low, done, period):
    return low + (high - low) * (1 + math.cos(math.pi * done / period)) / 2


def train(encoder, generate, images, groups, settings, perceptual=None, noise_of_step=None):
    """groups: (parameters, first rate). Returns the tensors of the case."""
    beta1, beta2 = map(float, settings["betas"].split(","))
    optimizer = torch.optim.Adam([{"params": list(ps), "lr": rate} for ps, rate in groups], betas=(beta1, beta2),
                                 eps=1e-8, weight_decay=float(settings["weight_decay"]))
    encoder.train()
    out = {"images": images, "losses": [], "grad_norms_before_clip": []}
    prefix = "" if isinstance(encoder, TwoNetworks) else "encoder."
    for step, batch in enumerate(images):
        for group, (_, rate) in zip(optimizer.param_groups, groups):
            group["lr"] = cosine(rate, float(settings["eta_min"]), step, int(settings["T_max"]))
        optimizer.zero_grad(set_to_none=True)
        latent, noise = encoder(batch)
        result = generate(latent, noise_of_step(step) if noise_of_step else noise)
        loss = (result - batch).square().mean((1, 2, 3)).sum()
        if perceptual:
            loss = loss + perceptual(result, batch)
        loss.backward()
        if step == 0:
            out["first_reconstruction"] = result.detach()
            trained = {id(p) for ps, _ in groups for p in ps}
            for name, p in encoder.named_parameters():
                if p.grad is not None and id(p) in trained:
                    out["first_grad." + prefix + name] = p.grad.clone()
        clip = float(settings["clip_norm"])
        out["grad_norms_before_clip"].append(
            torch.stack([nn.utils.clip_grad_norm_([p for p in ps if p.grad is not None], clip) for ps, _ in groups]))
        optimizer.step()
        out["losses"].append(loss.detach())
    for name, value in encoder.state_dict().items():
        if "start_block." not in name and not name.endswith("num_batches_tracked"):
            out["final." + prefix + name] = value
    for key in ("losses", "grad_norms_before_clip"):
        out[key] = torch.stack(out[key])
    return out


def write_case(path, tensors, metadata):
    header, data = {"__metadata__": metadata | {"case": "training", "source": f"PyTorch {torch.__version__}"}}, bytearray()
    for name, tensor in sorted(tensors.items()):
        tensor = tensor.detach().float().contiguous()
        begin = len(data)
        data += ctypes.string_at(tensor.data_ptr(), tensor.nbytes)
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)


def main(folder):
    random = torch.Generator().manual_seed(20201117)
    normal = lambda *shape: torch.randn(shape, generator=random)  # in float32, as the files hold it
    double = lambda p: {name: value.double() for name, value in p.items()}
    torch.manual_seed(7)
    decoders = {"sg2": random_stylegan2(normal), "sg1": random_stylegan1(normal)}
    encoders = {"sg2": Encoder(2), "sg1": Encoder(1)}
    vgg = random_vgg(normal)
    for name in decoders:
        state = {"encoder." + k: v for k, v in encoders[name].state_dict().items()}
        state |= {"decoder." + k: v for k, v in decoders[name].items()}
        torch.save({"autoencoder": state}, os.path.join(folder, f"training-{name}.model"))
    torch.save(vgg, os.path.join(folder, "training-vgg.pth"))
    start = {name: encoder.state_dict() for name, encoder in encoders.items()}
    torch.set_default_dtype(torch.float64)

    def fresh(name):
        encoder = Encoder(2 if name == "sg2" else 1)
        encoder.load_state_dict(start[name])
        return encoder

    def parts(encoder):
        heads = [p for n, p in encoder.named_parameters() if "to_noise." in n]
        return [p for n, p in encoder.named_parameters() if "to_noise." not in n], heads

    def images(steps):
        coarse = torch.randn(steps * 2, 3, 5, 5, generator=random)
        smooth = F.interpolate(coarse, (SIZE, SIZE), mode="bilinear", align_corners=True)
        return (0.7 * smooth).clamp(-1, 1).float().double().reshape(steps, 2, 3, SIZE, SIZE)

    decoders = {name: double(p) for name, p in decoders.items()}
    base = {"kind": "wplus", "T_max": "4", "eta_min": "1e-5", "betas": "0.5,0.999", "weight_decay": "0.0001",
            "clip_norm": "1.0"}

    settings = base | {"strategy": "plain", "checkpoint": "training-sg2.model", "lr": "0.002", "lr_to_noise": "0.0004",
                       "lpips": "training-vgg.pth"}
    encoder = fresh("sg2")
    rest, heads = parts(encoder)
    write_case(os.path.join(folder, "training-lpips.safetensors"),
               train(encoder, lambda w, n: stylegan2(decoders["sg2"], w, n), images(3), [(rest, 2e-3), (heads, 4e-4)],
                     settings, perceptual=lambda a, b: lpips(double(vgg), a, b)), settings)

    settings = base | {"strategy": "learning-rate", "stage": "1", "checkpoint": "training-sg2.model", "lr": "0.002",
                       "seed": "12884901891"}
    maps = [4, 8, 8, 16, 16]
    drawn = lambda step: [torch.from_numpy(philox_normal(int(settings["seed"]), step * len(maps) + i, s * s)).reshape(
        1, 1, s, s) for i, s in enumerate(maps)]
    encoder = fresh("sg2")
    write_case(os.path.join(folder, "training-stage1.safetensors"),
               train(encoder, lambda w, n: stylegan2(decoders["sg2"], w, n), images(3), [(parts(encoder)[0], 2e-3)],
                     settings, noise_of_step=drawn), settings)

    settings = base | {"strategy": "learning-rate", "stage": "2", "checkpoint": "training-sg1.model", "lr": "0.002",
                       "backbone_rate": "0.05"}
    encoder = fresh("sg1")
    rest, heads = parts(encoder)
    write_case(os.path.join(folder, "training-sg1.safetensors"),
               train(encoder, lambda w, n: stylegan1(decoders["sg1"], w, n), images(3), [(rest, 1e-4), (heads, 2e-3)],
                     settings), settings)

    torch.set_default_dtype(torch.float32)
    torch.manual_seed(8)
    pair = TwoNetworks()
    state = dict(pair.state_dict()) | {"decoder." + k: v.float() for k, v in decoders["sg2"].items()}
    torch.save({"autoencoder": state}, os.path.join(folder, "training-two.model"))
    torch.set_default_dtype(torch.float64)
    settings = base | {"kind": "two_stem", "strategy": "two-networks", "stage": "2", "checkpoint": "training-two.model",
                       "lr": "0.002"}
    pair = pair.double()
    write_case(os.path.join(folder, "training-two.safetensors"),
               train(pair, lambda w, n: stylegan2(decoders["sg2"], w, n), images(3),
                     [(list(pair.noise_encoder.parameters()), 2e-3)], settings), settings)


if __name__ == "__main__":
    main(sys.argv[1])
