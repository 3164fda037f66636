"""How long PyTorch takes to 32 dB on cats128/val: the same recipe as scripts/paper's, from the same first weights.

    python3 scripts/paper_torch.py MODEL CATS [--steps N] [--form grouped|shared] [--precision tf32|bf16] [--rate R] [--most SECONDS]
        [--seed S] [--norm-batches N]

MODEL is what `onemodel train --iterations 0` wrote for the generator and the encoder in question, CATS the folder with train
and val in it. The networks are benchmarks/compare_models.py's: `grouped` as published, `shared` with one weight for the
batch, channels_last. Pictures lie on the card as bytes before the clock starts; reading them is not counted, nor is
measuring on val. The cosine spans N steps. With --norm-batches the norms hold mean statistics of so many batches before
the last measurement, as after `onemodel train --norm-batches`. The seed chooses the order of pictures.
"""
import argparse
import math
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "benchmarks")]


def pictures(folder, torch):
    import numpy
    from PIL import Image
    files = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    return torch.stack([torch.from_numpy(numpy.array(Image.open(file).convert("RGB"))).permute(2, 0, 1) for file in files])


def main():
    words = argparse.ArgumentParser()
    words.add_argument("model")
    words.add_argument("cats")
    words.add_argument("--steps", type=int, default=2500)
    words.add_argument("--form", default="grouped")
    words.add_argument("--precision", default="tf32")
    words.add_argument("--rate", type=float, default=3e-4)
    words.add_argument("--most", type=float, default=200)
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--norm-batches", type=int, default=0)
    options = words.parse_args()
    import torch
    import compare_files
    import compare_models as models
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = compare_files.read_safetensors(options.model)
    sizes = [4 << i for i in range(6)]
    channels = [weights["decoder.conv1.conv.weight"].shape[1]]
    channels += [weights[f"decoder.convs.{2 * i}.conv.weight"].shape[1] for i in range(len(sizes) - 1)]
    models.SIZES, models.GENERATOR = sizes, dict(zip(sizes, channels))
    models.ENCODER = {s: weights[f"encoder.resnet_blocks.{i}.conv1.weight"].shape[0] for i, s in enumerate(reversed(sizes))}
    models.LATENT = weights["decoder.style.1.weight"].shape[1]
    model = models.Autoencoder(options.form)
    compare_files.fill(model, options.model)
    layout = torch.contiguous_format
    if options.form == "shared":
        layout = torch.channels_last
        for part in model.modules():
            if isinstance(part, models.ModulatedConv):
                part.keep()
    model.decoder.eval().requires_grad_(False)
    model.to(device).to(memory_format=layout)
    torch.backends.cudnn.benchmark = options.form == "shared"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    cast = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16")

    train = pictures(os.path.join(options.cats, "train"), torch).to(device)
    val = pictures(os.path.join(options.cats, "val"), torch).to(device)
    as_input = lambda x: (x.float() / 127.5 - 1).contiguous(memory_format=layout)
    groups = {"main": [], "noise": []}
    for name, parameter in model.encoder.named_parameters():
        if "intermediate_block" not in name:
            groups["noise" if "to_noise" in name else "main"].append(parameter)
    adam = torch.optim.Adam([p for g in groups.values() for p in g], lr=options.rate, betas=(0.5, 0.999), fused=True)

    def psnr():
        model.eval()
        with torch.no_grad(), cast:
            y = torch.cat([model(as_input(part)).float() for part in val.split(25)])
        model.train()
        shown = ((y.clamp(-1, 1) + 1) * 127.5).round()
        return float((10 * torch.log10(255 ** 2 / (shown - val).square().flatten(1).mean(1))).mean())

    torch.manual_seed(options.seed)
    model.train()
    seconds, begin, order = 0.0, time.perf_counter(), torch.empty(0, dtype=torch.long)
    print("torch", torch.__version__, torch.cuda.get_device_name() if device == "cuda" else device, options.form,
          options.precision, flush=True)
    for step in range(options.steps):
        if len(order) < 16:
            order = torch.randperm(len(train), device=device)
        batch, order = order[:16], order[16:]
        rate = 1e-8 + (options.rate - 1e-8) * (1 + math.cos(math.pi * step / options.steps)) / 2
        adam.param_groups[0]["lr"] = rate
        image = as_input(train[batch])
        with cast:
            y = model(image)
        adam.zero_grad(set_to_none=True)
        ((y.float() - image).square().sum() / image[0].numel()).backward()
        for group in groups.values():
            have = [p for p in group if p.grad is not None]
            torch.nn.utils.clip_grad_norm_(have, 1.0, foreach=True)
            torch._foreach_add_([p.grad for p in have], [p.detach() for p in have], alpha=1e-4)
        adam.step()
        if (step + 1) % 250 == 0 or step + 1 == options.steps:
            if device == "cuda":
                torch.cuda.synchronize()
            seconds += time.perf_counter() - begin
            reached = psnr()
            print(f"step {step + 1}: {seconds:.1f} s, validation PSNR {reached:.2f} dB", flush=True)
            if seconds > options.most:
                break
            begin = time.perf_counter()

    if options.norm_batches:
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.reset_running_stats()
                part.momentum = None  # the mean of what comes
        with torch.no_grad(), cast:
            for _ in range(options.norm_batches):
                model(as_input(train[torch.randperm(len(train), device=device)[:16]]))
        print(f"norms of {options.norm_batches} batches: validation PSNR {psnr():.2f} dB", flush=True)


if __name__ == "__main__":
    main()
