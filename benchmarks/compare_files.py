"""Files of scripts/compare: safetensors written and read, raw float32 arrays, without packages beside torch."""
import ctypes
import json

import torch

NAMES = {torch.float32: "F32", torch.int64: "I64"}


def bytes_of(tensor):
    return ctypes.string_at(tensor.data_ptr(), tensor.nbytes)


def write_safetensors(path, tensors, metadata=None):
    header, parts, end = {"__metadata__": metadata or {}}, [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].dtype != torch.int64, item[0])):
        parts.append(bytes_of(tensor.contiguous()))
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for part in parts:
            file.write(part)


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        begin, tensors = file.tell(), {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            file.seek(begin + start)
            dtype = next(key for key, value in NAMES.items() if value == entry["dtype"])
            tensors[name] = torch.frombuffer(bytearray(file.read(end - start)), dtype=dtype).view(entry["shape"])
    return tensors


def fill(module, path):
    missing = module.load_state_dict(read_safetensors(path), strict=False).missing_keys
    if any(not name.startswith("heads.") for name in missing):
        raise ValueError(f"{path}: lacks {missing}")


def fill_heads(lpips, path):
    tensors = read_safetensors(path)
    for i, head in enumerate(lpips.heads):
        head.data.copy_(tensors[f"lin{i}.model.1.weight"])


def write_raw(path, tensor):
    with open(path, "wb") as file:
        file.write(bytes_of(tensor.float().contiguous()))


def read_raw(path):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
