#!/usr/bin/env python3
"""How examples/pretrained/cats128-generator.safetensors was made, and the check that it is exact.

    python3 scripts/make_pretrained.py cats128-stylegan2.pt [OUT.safetensors]

Needs PyTorch; nothing in the project needs this script. It takes the weights under `g_ema`, in the names of the
checkpoint and without the prefix, stores them in half precision and fails unless every number survives the way
there and back bit for bit. `latent_avg`, where the checkpoint has it, is a mean of many latents and no half
precision number: it is stored beside them in single precision, exact as well.

The file is safetensors: 8 bytes of header length, a JSON header padded with spaces to a multiple of 8, the
tensors' bytes, single precision first, then by name. The same checkpoint gives the same bytes.
"""
import hashlib
import json
import struct
import sys

import torch


def generator_of(path):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {name: in_half_precision(name, tensor) for name, tensor in checkpoint["g_ema"].items()}
    if "latent_avg" in checkpoint:
        tensors["latent_avg"] = checkpoint["latent_avg"].to(torch.float32).contiguous()
    return tensors


def in_half_precision(name, tensor):
    half = tensor.to(torch.float16)
    if not torch.equal(half.to(tensor.dtype), tensor):
        raise SystemExit(f"{name}: is not exact in half precision")
    return half.contiguous()


def metadata_of(tensors):
    """The keys of io/model_file.h, and for a person what this is and under which terms."""
    sizes = sum(name.startswith("to_rgbs.") and name.endswith(".bias") and ".conv." not in name for name in tensors)
    return {
        "onemodel": "1",
        "kind": "generator",
        "decoder": "stylegan2",
        "size": str(4 << sizes),
        "source": "StyleGAN 2 at 128x128, trained on AFHQ cat until it had seen 1.04 million images",
        "terms": "non-commercial use only",
    }


def write_safetensors(path, tensors, metadata):
    header, blob = {"__metadata__": dict(sorted(metadata.items()))}, bytearray()
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        raw = tensors[name].numpy().tobytes()
        header[name] = {"dtype": f"F{8 * tensors[name].element_size()}", "shape": list(tensors[name].shape),
                        "data_offsets": [len(blob), len(blob) + len(raw)]}
        blob += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + blob)


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    out = sys.argv[2] if len(sys.argv) == 3 else "examples/pretrained/cats128-generator.safetensors"
    tensors = generator_of(sys.argv[1])
    write_safetensors(out, tensors, metadata_of(tensors))
    with open(out, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    elements = sum(tensor.numel() for tensor in tensors.values())
    print(f"{out}: {len(tensors)} tensors, {elements} numbers, all exact, sha256 {digest}")


if __name__ == "__main__":
    main()
