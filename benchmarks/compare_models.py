"""The models of scripts/compare in PyTorch: StyleGAN 2's synthesis network (256 pixels, channel multiplier 2), the paper's
encoder at the generator's channels, LPIPS on VGG16.

Parameters carry the names of the checkpoints, so that one file fills both sides. The generator comes in two forms:

    grouped   a convolution weight per sample, one group per sample, as the common PyTorch port runs it
    shared    one weight for the batch; the input's channels are scaled before and the output's after, the same function
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

SIZES = [4, 8, 16, 32, 64, 128, 256]
GENERATOR = dict(zip(SIZES, [512, 512, 512, 512, 512, 256, 128]))
ENCODER = GENERATOR  # the paper's full size
LATENT = 512
GAIN = math.sqrt(2)


def fir():
    """[1, 3, 3, 1] in both directions, sum 4."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) / 16


class EqualLinear(nn.Module):
    def __init__(self, inputs, outputs, rate=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        self.scale, self.rate = rate / math.sqrt(inputs), rate

    def forward(self, x):
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class ModulatedConv(nn.Module):
    def __init__(self, inputs, outputs, kernel, up=False, demodulate=True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, outputs, inputs, kernel, kernel))
        self.modulation = EqualLinear(LATENT, inputs)
        self.scale = 1 / math.sqrt(inputs * kernel * kernel)
        self.up, self.demodulate, self.padding = up, demodulate, kernel // 2

    def keep(self):
        """For `shared`: what depends on the frozen weight alone, in its place."""
        weight = self.weight.detach()[0] * self.scale  # [O, I, k, k]
        self.register_buffer("energy", weight.square().sum((2, 3)), persistent=False)
        weight = weight.transpose(0, 1) if self.up else weight
        self.register_buffer("kept", weight.contiguous(memory_format=torch.channels_last), persistent=False)
        self.weight = None

    def grouped(self, x, w):
        n, inputs, h, width = x.shape
        weight = self.scale * self.weight * self.modulation(w).view(n, 1, inputs, 1, 1)
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        outputs, kernel = weight.shape[1], weight.shape[3]
        x = x.reshape(1, n * inputs, h, width)
        if self.up:
            weight = weight.transpose(1, 2).reshape(n * inputs, outputs, kernel, kernel)
            y = F.conv_transpose2d(x, weight, stride=2, groups=n)
        else:
            y = F.conv2d(x, weight.view(n * outputs, inputs, kernel, kernel), padding=self.padding, groups=n)
        return y.view(n, outputs, *y.shape[2:])

    def shared(self, x, w):
        """The result without its factors, and these [N, O]."""
        s = self.modulation(w)
        x = x * s[:, :, None, None]
        if self.up:
            y = F.conv_transpose2d(x, self.kept, stride=2)
        else:
            y = F.conv2d(x, self.kept, padding=self.padding)
        if not self.demodulate:
            return y, None
        return y, torch.rsqrt(F.linear(s.square(), self.energy) + 1e-8)


class Scalar(nn.Module):
    def __init__(self, name, size):
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.empty(size)))


class StyledConv(nn.Module):
    def __init__(self, inputs, outputs, up, form):
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, up)
        self.noise, self.activate = Scalar("weight", 1), Scalar("bias", outputs)
        self.form = form
        if up:
            self.register_buffer("filter", fir(), persistent=False)

    def forward(self, x, w, noise):
        if self.form == "grouped":
            y = self.conv.grouped(x, w)
            if self.conv.up:
                n, c, h, width = y.shape
                y = F.conv2d(y.reshape(n * c, 1, h, width), self.filter[None, None], padding=1)
                y = y.view(n, c, h - 1, width - 1)
            y = y + self.noise.weight * noise
            return F.leaky_relu(y + self.activate.bias[:, None, None], 0.2) * GAIN
        y, factors = self.conv.shared(x, w)
        if self.conv.up:
            c = y.shape[1]
            y = F.conv2d(y, self.filter.expand(c, 1, 4, 4), padding=1, groups=c)
        bias = (GAIN * self.activate.bias)[:, None, None]
        y = torch.addcmul(bias, y, (GAIN * factors)[:, :, None, None])
        return F.leaky_relu_(y.add_((GAIN * self.noise.weight) * noise), 0.2)


class ToRgb(nn.Module):
    def __init__(self, inputs, up, form):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(1, 3, 1, 1))
        self.conv = ModulatedConv(inputs, 3, 1, demodulate=False)
        self.form = form
        if up:
            self.register_buffer("filter", fir().expand(3, 1, 4, 4).clone(), persistent=False)

    def forward(self, x, w, previous):
        y = self.conv.grouped(x, w) if self.form == "grouped" else self.conv.shared(x, w)[0]
        y = y + self.bias
        if previous is not None:
            # Zero insertion, padding (2, 1) and the filter, which is symmetric, are this transposed convolution.
            y = y + F.conv_transpose2d(previous, self.filter, stride=2, padding=1, groups=3)
        return y


class PixelNorm(nn.Module):
    def forward(self, z):
        return z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)


class Generator(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.style = nn.Sequential(PixelNorm(), *[EqualLinear(LATENT, LATENT, 0.01) for _ in range(8)])
        self.input = Scalar("input", (1, GENERATOR[4], 4, 4))
        self.conv1 = StyledConv(GENERATOR[4], GENERATOR[4], False, form)
        self.to_rgb1 = ToRgb(GENERATOR[4], False, form)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for size in SIZES[1:]:
            inputs, outputs = GENERATOR[size // 2], GENERATOR[size]
            self.convs.append(StyledConv(inputs, outputs, True, form))
            self.convs.append(StyledConv(outputs, outputs, False, form))
            self.to_rgbs.append(ToRgb(outputs, True, form))

    def forward(self, w, noise):
        """w [N, 14, 512], 13 noise maps [N, 1, s, s], 4x4 first."""
        x = self.input.input.expand(w.shape[0], -1, -1, -1)
        x = self.conv1(x, w[:, 0], noise[0])
        image = self.to_rgb1(x, w[:, 1], None)
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, w[:, 2 * i + 1], noise[2 * i + 1])
            x = self.convs[2 * i + 1](x, w[:, 2 * i + 2], noise[2 * i + 2])
            image = to_rgb(x, w[:, 2 * i + 3], image)
        return image


class ResnetBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, project):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if project:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = F.relu_(self.bn1(self.conv1(x)))
        return F.relu_(self.bn2(self.conv2(y)).add_(self.downsample(x)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        c = [ENCODER[size] for size in reversed(SIZES)]
        self.start_block = ResnetBlock(3, c[0], 1, True)
        self.intermediate_block = ResnetBlock(c[0], c[0], 1, False)  # unused, as in the published files
        self.resnet_blocks = nn.ModuleList(
            [self.start_block] + [ResnetBlock(a, b, 2, True) for a, b in zip(c, c[1:])])
        self.intermediate_resnet_blocks = nn.ModuleList([ResnetBlock(a, a, 1, False) for a in c])
        self.to_latent = nn.ModuleList([nn.Conv2d(a, LATENT, 1) for a in c])
        self.intermediate_to_latent = nn.ModuleList([nn.Conv2d(a, LATENT, 1) for a in c])
        self.to_noise = nn.ModuleList([nn.Conv2d(a, 1, 1) for a in c])
        self.intermediate_to_noise = nn.ModuleList([nn.Conv2d(a, 1, 1) for a in c])

    def forward(self, x):
        pieces, noise = [], []
        for i, block in enumerate(self.resnet_blocks):
            x = block(x)
            pieces.append(self.to_latent[i](x.mean((2, 3), keepdim=True)).flatten(1))
            noise.append(self.to_noise[i](x))
            x = self.intermediate_resnet_blocks[i](x)
            pieces.append(self.intermediate_to_latent[i](x.mean((2, 3), keepdim=True)).flatten(1))
            if i + 1 < len(self.resnet_blocks):
                noise.append(self.intermediate_to_noise[i](x))
        return torch.stack(pieces[::-1], 1), noise[::-1]


class Autoencoder(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Generator(form)

    def forward(self, image):
        return self.decoder(*self.encoder(image))


class LpipsVgg(nn.Module):
    LAYERS = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512]  # 0: pooling
    TAPS = [3, 8, 15, 22, 29]

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for outputs in self.LAYERS:
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(True)] if outputs else [nn.MaxPool2d(2)]
            inputs = outputs or inputs
        self.features = nn.Sequential(*layers)
        self.heads = nn.ParameterList([torch.empty(1, c, 1, 1) for c in [64, 128, 256, 512, 512]])
        self.register_buffer("shift", torch.tensor([-.030, -.088, -.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([.458, .448, .450])[:, None, None], persistent=False)

    def taps(self, image):
        x, result = (image - self.shift) / self.scale, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.TAPS:
                result.append(x)
        return result

    def forward(self, a, b):
        total = 0
        for x, y, head in zip(self.taps(a), self.taps(b), self.heads):
            unit = [t / (t.square().sum(1, keepdim=True).sqrt() + 1e-10) for t in (x, y)]
            total = total + F.conv2d((unit[0] - unit[1]).square(), head).mean((1, 2, 3))
        return total


def draw(shapes, seed):
    """Random values for tensors of these shapes by name: convolutions keep the size of activations, statistics and
    scales are near those of a trained model."""
    random = torch.Generator().manual_seed(seed)
    result = {}
    for name, shape in shapes.items():
        last = name.rsplit(".", 1)[-1]
        if last == "num_batches_tracked":
            value = torch.zeros(shape, dtype=torch.int64)
        elif last == "running_var":
            value = 1 + torch.rand(shape, generator=random)
        elif "bn" in name and last == "weight" or "downsample.1.weight" in name:
            value = 0.5 + torch.rand(shape, generator=random)
        elif "modulation.bias" in name:
            value = 1 + 0.1 * torch.randn(shape, generator=random)
        elif "noise.weight" in name or last in ("bias", "running_mean"):
            value = 0.1 * torch.randn(shape, generator=random)
        elif last == "weight" and name.startswith("encoder.") and len(shape) == 4:
            value = torch.randn(shape, generator=random) * (shape[1] * shape[2] * shape[3]) ** -0.5
        elif last == "weight" and name.startswith("features."):
            value = torch.randn(shape, generator=random) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif name.startswith("lin"):
            value = torch.rand(shape, generator=random)
        else:
            value = torch.randn(shape, generator=random)
        result[name] = value
    for name in result:
        if name.startswith("encoder.resnet_blocks.0."):
            result[name] = result[name.replace("resnet_blocks.0", "start_block")]
    return result
