"""Hub-Pathway in two processes: models without samples on a rank, and the same weights on both."""

import os
import socket

import pytest
import torch
import torch.multiprocessing as mp
from pathways import batch, small_hub
from torch import distributed, nn

RANKS = 2


class Loss(nn.Module):
    """DDP synchronises what goes through forward."""

    def __init__(self, hub):
        super().__init__()
        self.hub = hub

    def forward(self, images, targets):
        return sum(self.hub.losses(images, targets).values())


def work(rank, port, folder):
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=RANKS)
    hub = small_hub(1)
    wrapped = nn.parallel.DistributedDataParallel(Loss(hub), find_unused_parameters=True)
    optimizer = torch.optim.SGD(hub.parameters(), 0.1)
    counts = []
    for step in range(3):
        images, targets = batch(2, seed=10 * step + rank)  # of four models, two at most
        torch.manual_seed(step + 100 * rank)
        wrapped(images, targets).backward()
        counts.append(hub.routes.counts)
        optimizer.step()
        optimizer.zero_grad()
    torch.save((dict(hub.named_parameters()), torch.stack(counts)), folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.skipif(not distributed.is_gloo_available(), reason="torch has no gloo")
def test_two_ranks_with_unused_models_agree(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, tmp_path), nprocs=RANKS)
    (first, counts), (second, others) = (torch.load(tmp_path / f"{r}.pt") for r in range(RANKS))
    assert (counts == 0).any()
    assert not torch.equal(counts, others)
    start = dict(small_hub(1).named_parameters())
    assert any(not torch.equal(start[name], p) for name, p in first.items())
    for name, p in first.items():
        assert torch.equal(p, second[name]), name
