#!/usr/bin/env python3
"""Writes ops.safetensors, the golden cases of single operations, with PyTorch on a CPU in float32.

    python tests/golden/make_ops.py tests/golden/ops.safetensors

A case NAME has inputs NAME.x, NAME.w, .., results NAME.y, .. and, with NAME.g as the gradient of y, the gradients
NAME.dx, NAME.dw, .. of its inputs. The metadata's entry NAME says the operation and its numbers, "cases" lists the names.
Inputs and g are rounded to float16, in which they are stored. Needs torch alone.
"""
import ctypes
import json
import sys

import torch
import torch.nn.functional as F

tensors, metadata = {}, {"case": "op", "cases": ""}
random = torch.Generator().manual_seed(20201022)


def normal(*shape, scale=1.0):
    return (torch.randn(shape, generator=random) * scale).half().float()


def case(name, what, function, differentiable, **inputs):
    """`function` maps the inputs to y or to (y, further results by name)."""
    for key in differentiable:
        inputs[key].requires_grad_()
    result = function(**inputs)
    y, further = result if isinstance(result, tuple) else (result, {})
    g = normal(*y.shape)
    gradients = torch.autograd.grad(y, [inputs[key] for key in differentiable], g)
    halves = {**inputs, "g": g}
    for key, value in halves.items():
        tensors[f"{name}.{key}"] = value.detach().half()
    for key, value in {"y": y, **further, **{"d" + k: v for k, v in zip(differentiable, gradients)}}.items():
        tensors[f"{name}.{key}"] = value.detach()
    metadata[name] = what
    metadata["cases"] += " " * bool(metadata["cases"]) + name


def conv(name, n, i, o, h, w, kernel, stride, pad):
    case(name, f"conv2d {stride} {pad}", lambda x, w: F.conv2d(x, w, stride=stride, padding=pad), ["x", "w"],
         x=normal(n, i, h, w), w=normal(o, i, kernel, kernel, scale=(i * kernel * kernel) ** -0.5))


def transposed(name, n, i, o, h, w, kernel, stride, pad):
    case(name, f"conv_transpose2d {stride} {pad}",
         lambda x, w: F.conv_transpose2d(x, w, stride=stride, padding=pad), ["x", "w"],
         x=normal(n, i, h, w), w=normal(i, o, kernel, kernel, scale=(i * kernel * kernel) ** -0.5))


def upfirdn(name, up, down, before, after, n, c, h, w):
    """Zeros inserted after every value, padding (negative: cropping), convolution, every down-th result."""
    def function(x, filter):
        u = torch.zeros(n, c, h * up, w * up)
        u[:, :, ::up, ::up] = x
        u = F.pad(u, [before, after, before, after])
        kernel = filter.flip(0, 1)[None, None]
        return F.conv2d(u.reshape(n * c, 1, *u.shape[2:]), kernel, stride=down).reshape(
            n, c, *[(side + before + after - filter.shape[0]) // down + 1 for side in (h * up, w * up)])
    case(name, f"upfirdn2d {up} {down} {before} {after}", function, ["x"], x=normal(n, c, h, w), filter=normal(4, 4))


def batch_norm(name, n, c, h, w):
    def function(x, weight, bias, mean, variance):
        running = [mean.clone(), variance.clone()]
        y = F.batch_norm(x, *running, weight, bias, training=True, momentum=0.1, eps=1e-5)
        return y, {"new_mean": running[0], "new_variance": running[1]}
    case(name, "batch_norm", function, ["x", "weight", "bias"], x=(2 * normal(n, c, h, w) + 1).half().float(),
         weight=normal(c), bias=normal(c), mean=normal(c), variance=normal(c).abs())


conv("conv2d_winograd", 1, 32, 32, 14, 15, 3, 1, 1)
conv("conv2d_3x3", 2, 5, 7, 9, 8, 3, 1, 1)
conv("conv2d_stride2", 2, 6, 10, 9, 10, 3, 2, 1)
conv("conv2d_stride2_even", 1, 8, 8, 8, 8, 3, 2, 1)
conv("conv2d_1x1_stride2", 2, 8, 12, 7, 8, 1, 2, 0)
conv("conv2d_to_rgb", 2, 16, 3, 5, 6, 1, 1, 0)
conv("conv2d_11x11_stride4", 1, 3, 4, 19, 19, 11, 4, 2)
transposed("conv_transpose2d_up", 2, 8, 6, 5, 6, 3, 2, 0)
transposed("conv_transpose2d_pad", 1, 6, 4, 5, 5, 4, 2, 1)
batch_norm("batch_norm", 3, 6, 7, 5)
case("max_pool2d_ceil", "max_pool2d 3 2 1", lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), ["x"], x=normal(2, 5, 8, 10))
case("max_pool2d_floor", "max_pool2d 2 2 0", lambda x: F.max_pool2d(x, 2, 2), ["x"], x=normal(2, 4, 7, 8))
upfirdn("upfirdn2d_blur", 1, 1, 1, 1, 2, 6, 9, 9)
upfirdn("upfirdn2d_up", 2, 1, 2, 1, 2, 3, 6, 6)
upfirdn("upfirdn2d_down", 1, 2, 1, 1, 1, 3, 8, 10)
upfirdn("upfirdn2d_crop", 2, 1, -1, 3, 1, 3, 5, 7)
case("matmul", "matmul 0 0", lambda a, b: a @ b, ["a", "b"], a=normal(17, 40), b=normal(40, 21))
case("matmul_transposed", "matmul 1 1", lambda a, b: a.mT @ b.mT, ["a", "b"], a=normal(2, 17, 19), b=normal(2, 23, 17))
case("matmul_broadcast", "matmul 0 1", lambda a, b: a @ b.mT, ["a", "b"], a=normal(3, 4, 16), b=normal(1, 20, 16))

metadata["source"] = f"PyTorch {torch.__version__}, CPU, float32"
header, data = {"__metadata__": metadata}, bytearray()
for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].dtype != torch.float32, item[0])):
    tensor = tensor.contiguous()
    begin = len(data)
    data += ctypes.string_at(tensor.data_ptr(), tensor.nbytes)
    header[name] = {"dtype": {torch.float32: "F32", torch.float16: "F16"}[tensor.dtype], "shape": list(tensor.shape),
                    "data_offsets": [begin, len(data)]}
text = json.dumps(header, separators=(",", ":")).encode()
text += b" " * (-len(text) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(len(text).to_bytes(8, "little") + text + data)
