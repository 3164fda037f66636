"""FID by the pytorch-fid package (0.3.0) on weights that are made from their names, to hold `onemodel fid` against.

    python tests/train/fid_reference.py PATH_OF_hash_init.py --weights OUT.safetensors
    python tests/train/fid_reference.py PATH_OF_hash_init.py A B     # folders of images of one size
    onemodel fid A B --inception OUT.safetensors

The weights are golden/hash_init.py's: weight(NAME, shape); batch norms' weight and running_var are 1 + that. On one
thread some 0.2 s an image.
"""
import importlib.util
import pathlib
import sys

import numpy as np
import torch
import torchvision
from pytorch_fid import fid_score, inception

spec = importlib.util.spec_from_file_location("hash_init", sys.argv[1])
hash_init = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hash_init)


def made_weights():
    state = {}
    for name, value in torchvision.models.inception_v3(
            num_classes=1008, aux_logits=False, init_weights=False, weights=None).state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
            continue
        shape = tuple(value.shape)
        if name == "Mixed_5b.branch_pool.conv.weight":
            assert shape[0] == 32
        made = hash_init.weight(name, shape).reshape(shape).astype(np.float32)
        if name.endswith((".bn.weight", ".bn.running_var")):
            made = 1 + made
        state[name] = torch.from_numpy(made.copy())
    return state


torch.set_num_threads(1)
weights = made_weights()
if sys.argv[2] == "--weights":
    from safetensors.torch import save_file
    save_file({name: value for name, value in weights.items() if not name.startswith("fc.")}, sys.argv[3])
    sys.exit()

inception.load_state_dict_from_url = lambda *arguments, **options: weights
network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]])
statistics = []
for folder in sys.argv[2:4]:
    files = sorted(path for path in pathlib.Path(folder).iterdir() if path.suffix[1:].lower() in ("png", "jpg", "jpeg"))
    statistics.append(fid_score.calculate_activation_statistics(files, network, batch_size=16, device="cpu", num_workers=0))
    print(folder, len(files))
print("pytorch-fid", repr(float(fid_score.calculate_frechet_distance(*statistics[0], *statistics[1]))))
# the same without a root of the product
(ma, sa), (mb, sb) = statistics
factors = []
for s in (sa, sb):
    values, vectors = np.linalg.eigh(s)
    factors.append(np.sqrt(np.maximum(values, 0))[:, None] * vectors.T)
shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
print("by singular values", repr(float(((ma - mb) ** 2).sum() + np.trace(sa) + np.trace(sb) - 2 * shared)))
