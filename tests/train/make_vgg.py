#!/usr/bin/env python3
"""Writes tests/train/vgg-features.safetensors: a narrow VGG16 up to conv4_2 with torchvision's names, an image in
[-1, 1], and the four feature maps that Image2StyleGAN compares (Abdal et al. 2019, section 4), by plain PyTorch in
double precision.

    python3 tests/train/make_vgg.py    # needs torch and safetensors
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(1)
widths = {0: 4, 2: 4, 5: 6, 7: 6, 10: 8, 12: 8, 14: 8, 17: 10, 19: 10}
pools, taps = {5, 10, 17}, {0, 2, 12, 19}
tensors, inputs = {}, 3
for index, outputs in widths.items():
    tensors[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3) * (2 / (9 * inputs)) ** 0.5
    tensors[f"features.{index}.bias"] = torch.randn(outputs) * 0.1
    inputs = outputs

image = torch.rand(2, 3, 16, 16) * 2 - 1
mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.double).view(1, 3, 1, 1)
deviation = torch.tensor([0.229, 0.224, 0.225], dtype=torch.double).view(1, 3, 1, 1)
x = ((image.double() + 1) / 2 - mean) / deviation
features = []
for index in widths:
    if index in pools:
        x = F.max_pool2d(x, 2)
    x = F.relu(F.conv2d(x, tensors[f"features.{index}.weight"].double(),
                        tensors[f"features.{index}.bias"].double(), padding=1))
    if index in taps:
        features.append(x.float().contiguous())
tensors["image"] = image
for i, feature in enumerate(features):
    tensors[f"expected.{i}"] = feature
save_file(tensors, pathlib.Path(__file__).parent / "vgg-features.safetensors")
