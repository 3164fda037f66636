"""Training on several cards of one machine: what `onemodel bench --ranks N --json` wrote, and PyTorch's DDP beside it.

    python3 scripts/device_ranks.py show FILE.json..              our rows as a table
    python3 scripts/device_ranks.py torch SAVED FILE.json..       DDP's, by the cards and batches of the files, and the ratios

SAVED is the folder that `onemodel bench --save` left. A row is one step of one card's batch in milliseconds: alone (one card,
the others idle) and together (all of them, gradients summed); the rate of a card together over its rate alone is what the
issue bounds. DDP's forms are those of device_models.py: `grouped` as published, `shared` the strongest eager one; buckets are
views of the gradients, buffers are not broadcast, and weights that no loss depends on take no part.
"""
import os
import statistics
import sys
import time

import device_models  # beside this file


def rows_of(paths):
    return [dict(row, engine=content["engine"], device=content["device"])
            for content in device_models.read(paths) for row in content["rows"]]


def line(name, precision, ranks, batch, alone, together, more=""):
    print(f"{name:<16} {precision:<5} {ranks:>2} cards, batch {batch:>3}: alone {1e3 * alone:8.3f} ms, together "
          f"{1e3 * together:8.3f} ms, {batch / together:8.1f} img/s a card, scaling {alone / together:6.3f}{more}", flush=True)


def show(paths):
    for row in rows_of(paths):
        step = row["together"]["median"]
        line("onemodel", row["precision"], row["ranks"], row["batch"], row["alone"]["median"], step,
             f" (against apart {row['apart']['median'] / step:.3f}; sums of {row['bytes'] / 1e6:.0f} MB alone "
             f"{1e3 * row['sums']['median']:.2f} ms; {'replayed' if row['replayed'] else 'eager'}; {row['engine']})")


def worker(rank, ranks, saved, asked, port, results):
    import torch
    import torch.distributed as dist
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    card = torch.cuda.is_available()  # without, the logic alone can be tried on a small model
    if card:
        torch.cuda.set_device(rank)
        dist.init_process_group("nccl", rank=rank, world_size=ranks, device_id=torch.device("cuda", rank))
    else:
        dist.init_process_group("gloo", rank=rank, world_size=ranks)
    quiet = open(os.devnull, "w")
    told, sys.stdout = sys.stdout, sys.stdout if rank == 0 else quiet
    peer = device_models.Peer(saved, [])

    class Whole(torch.nn.Module):
        def __init__(self, model, lpips, precision):
            super().__init__()
            self.encoder, self.model, self.lpips, self.precision = model.encoder, [model], [lpips], precision

        def forward(self, x):
            with peer.autocast(self.precision):
                y = self.model[0](x)
                return (y.float() - x).square().sum() / x[0].numel() + self.lpips[0](y, x).float().sum()

    def time_of(body, everybody):
        """Seconds of a call, the slowest rank's; a round is begun by all at once."""
        if everybody or rank == 0:
            for _ in range(3):
                body()
            peer.synchronize()
            start = time.perf_counter()
            body()
            peer.synchronize()
        calls = torch.tensor([max(1, int(0.15 / (time.perf_counter() - start))) if everybody or rank == 0 else 0],
                             device=peer.device)
        dist.broadcast(calls, 0)
        times = []
        for _ in range(7):
            dist.barrier()
            peer.synchronize()
            start = time.perf_counter()
            if everybody or rank == 0:
                for _ in range(int(calls)):
                    body()
                peer.synchronize()
            took = torch.tensor([(time.perf_counter() - start) / int(calls)], device=peer.device, dtype=torch.float64)
            dist.all_reduce(took, dist.ReduceOp.MAX)
            times.append(float(took))
        return statistics.median(times)

    for form, precisions in (("grouped", ("tf32",)), ("shared", ("tf32", "bf16"))):
        torch.backends.cudnn.benchmark = form == "shared"
        (model, lpips), layout = peer.networks(form)
        model.encoder.train()
        for precision in precisions:
            for batch in sorted({row["batch"] for row in asked if row["precision"] == precision}):
                peer.scope(precision)
                whole = Whole(model, lpips, precision)
                image = peer.images(batch, layout)
                whole(image).backward()
                for parameter in whole.encoder.parameters():  # the published encoder has blocks that nothing uses
                    parameter.requires_grad_(parameter.requires_grad and parameter.grad is not None)
                parameters = [p for p in whole.encoder.parameters() if p.requires_grad]

                def step_of(network):
                    adam = torch.optim.Adam(parameters, lr=1e-4, fused=True)

                    def body():
                        adam.zero_grad(set_to_none=True)
                        network(image).backward()
                        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
                        adam.step()

                    return body

                alone = time_of(step_of(whole), False)
                ddp = torch.nn.parallel.DistributedDataParallel(
                    whole, device_ids=[rank] if card else None, gradient_as_bucket_view=True, broadcast_buffers=False)
                together = time_of(step_of(ddp), True)
                del ddp
                if rank == 0:
                    results.put((form, precision, batch, alone, together))
        del model, lpips
        peer.fresh()
    sys.stdout = told
    dist.destroy_process_group()


def torch_rows(saved, paths):
    import torch.multiprocessing as mp
    rows = rows_of(paths)
    ratios = []
    for ranks in sorted({row["ranks"] for row in rows}):
        asked = [row for row in rows if row["ranks"] == ranks]
        results = mp.get_context("spawn").SimpleQueue()
        mp.spawn(worker, (ranks, saved, asked, 29500 + ranks, results), nprocs=ranks)
        while not results.empty():
            form, precision, batch, alone, together = results.get()
            line("DDP " + form, precision, ranks, batch, alone, together)
            for row in asked:
                if (row["precision"], row["batch"]) == (precision, batch):
                    ratios.append((form, precision, ranks, batch, together / row["together"]["median"],
                                   row["alone"]["median"] / row["together"]["median"], alone / together))
    print(f"\n{'form':<8} {'precision':<9} {'cards':>5} {'batch':>5} {'DDP time / ours':>16} {'our scaling':>12} {'DDP scaling':>12}")
    for form, precision, ranks, batch, ratio, ours, theirs in ratios:
        print(f"{form:<8} {precision:<9} {ranks:>5} {batch:>5} {ratio:>16.2f} {ours:>12.3f} {theirs:>12.3f}")


if __name__ == "__main__":
    device_models.main(__doc__, show, torch_rows)
