"""Writes golden cases of LPIPS by the lpips package (weights of the backbone and images made from names).

    python tests/golden/make_lpips.py PATH_OF_hash_init.py

The sizes are chosen where a net's rounding shows: at 66 pixels every pool of SqueezeNet ends in a window that only
ceil mode keeps, at 75 AlexNet's floors drop a row.
"""
import importlib.util
import pathlib
import sys

import lpips
import numpy as np
import torch
from safetensors.numpy import save_file

spec = importlib.util.spec_from_file_location("hash_init", sys.argv[1])
hash_init = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hash_init)
folder = pathlib.Path(__file__).parent
torch.set_num_threads(1)

for net, size in [("squeeze", 66), ("alex", 75)]:
    model = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, eval_mode=True)
    heads = torch.load(folder / f"lpips-v0.1-{net}.pth", weights_only=True, map_location="cpu")
    missing, unexpected = model.load_state_dict(heads, strict=False)
    assert not unexpected, unexpected
    with torch.no_grad():
        for name, value in model.net.named_parameters():
            name = "features." + name.split(".", 1)[1]  # sliceK.INDEX.weight: INDEX is torchvision's
            value.copy_(torch.from_numpy(hash_init.weight(name, tuple(value.shape)).reshape(value.shape)))
    names = [f"lpips.{net}.{size}.a", f"lpips.{net}.{size}.b"]
    a, b = (torch.from_numpy(hash_init.uniform(name, 3 * size * size).reshape(1, 3, size, size).copy()) for name in names)
    a.requires_grad_(True)
    distance, layers = model(a, b, retPerLayer=True)
    distance.sum().backward()
    case = {"distance": distance.detach().reshape(1).numpy(), "grad_a": a.grad.numpy(),
            "per_layer": np.stack([layer.detach().reshape(1).numpy() for layer in layers], 1)}
    save_file(case, folder / f"lpips-{net}-{size}.safetensors",
              {"case": "lpips", "net": net, "version": "0.1", "size": str(size), "batch": "1",
               "checkpoint": f"lpips-v0.1-{net}.pth", "images": f"hash uniform '{names[0]}' and '{names[1]}', NCHW order"})
    print(net, size, distance.item(), case["per_layer"])
