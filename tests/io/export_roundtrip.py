#!/usr/bin/env python3
"""export -> torch.load(weights_only=True) -> torch.save -> import, equal to the bit.

    python tests/io/export_roundtrip.py build/release/examples/onemodel MODEL...

Needs torch and safetensors. Each MODEL is any checkpoint that `onemodel import` reads. It is imported, exported as
every kind of file that can hold it, loaded by PyTorch without running anything in it, saved by PyTorch in both of its
formats and imported again; every tensor must come back with the same bytes. What a format refuses is named.
"""
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    return done.returncode, (done.stderr or done.stdout).strip()


def tensors_of(path):
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}


def expect_equal(a, b, what):
    assert a.keys() == b.keys(), f"{what}: names differ: {sorted(a.keys() ^ b.keys())[:5]}"
    for name, tensor in a.items():
        other = b[name]
        same = tensor.dtype == other.dtype and tensor.shape == other.shape
        assert same and torch.equal(tensor.contiguous().view(torch.uint8).flatten() if tensor.ndim else tensor,
                                    other.contiguous().view(torch.uint8).flatten() if other.ndim else other), \
            f"{what}: {name} differs"


def flat(tree, prefix=""):
    found = {}
    for key, value in tree.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def check(program, model, folder):
    ours = folder / "ours.safetensors"
    code, line = run(program, "import", model, "-o", ours)
    assert code == 0, line
    tensors, metadata = tensors_of(ours)
    latent = ["--latent", metadata["latent"]] if "latent" in metadata else []
    size = ["--size", metadata["size"]] if "size" in metadata else []
    for target in ("ours", "authors", "rosinality"):
        for ending in (".pt", ".safetensors"):
            out = folder / f"to-{target}{ending}"
            code, line = run(program, "export", ours, "-o", out, "--to", target)
            if code != 0:
                print(f"  {target}{ending}: refused: {line}")
                assert code == 3 and line.count("\n") == 0, line
                continue
            again = [out]
            if ending == ".pt":
                loaded = torch.load(out, weights_only=True)
                assert len(flat(loaded)) == len(tensors), "tensors were lost"
                for zipped in (True, False):
                    again.append(folder / f"saved-{zipped}.pt")
                    torch.save(loaded, again[-1], _use_new_zipfile_serialization=zipped)
            for file in again:
                back = folder / "back.safetensors"
                code, line = run(program, "import", file, "-o", back, *latent, *size)
                assert code == 0, line
                expect_equal(tensors, tensors_of(back)[0], f"{model} through {file.name}")
            print(f"  {target}{ending}: {len(tensors)} tensors equal to the bit, {len(again)} ways")


def main():
    program, *models = sys.argv[1:]
    assert models, __doc__
    for model in models:
        print(model)
        with tempfile.TemporaryDirectory() as folder:
            check(program, model, pathlib.Path(folder))


if __name__ == "__main__":
    main()
