"""Zoo-Tuning as it is trained: autocast, memory formats, checkpointing, compiled, by processes."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint
from zoo_networks import small, spread, tiny

from hubfast.zoo import ZooTuning

BOTH = pytest.mark.parametrize("lite", [False, True])


def network(lite, models=None):
    return spread(ZooTuning.from_models(models or small(), 5, lite=lite)).train()


def gradients(zoo, loss):
    return torch.autograd.grad(loss, list(zoo.parameters()))


def assert_gradients_close(found, expected, tolerance):
    """In norm: single entries of float32 gradients may cancel."""
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() <= tolerance * b.norm() + 1e-6


@BOTH
def test_autocast(lite):
    zoo, images = network(lite), torch.rand(4, 3, 32, 32)
    expected = zoo(images)
    with torch.autocast("cpu", torch.bfloat16):
        low = zoo(images)
    assert low.dtype == torch.bfloat16
    assert_close(low.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())
    grads = gradients(zoo, low.float().square().sum())
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in grads)
    ours, exact = (
        torch.cat([g.flatten() for g in v])
        for v in (grads, gradients(zoo, expected.square().sum()))
    )
    assert torch.cosine_similarity(ours, exact, 0) > 0.95


@BOTH
def test_channels_last(lite):
    zoo, images = network(lite), torch.rand(4, 3, 32, 32)
    expected = zoo(images)
    grads = gradients(zoo, expected.square().sum())
    zoo.to(memory_format=torch.channels_last)
    seen = []
    for layer in zoo.zoo_layers().values():
        layer.register_forward_hook(lambda _, __, y: seen.append(y))
    last = zoo(images.to(memory_format=torch.channels_last))
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in seen)
    assert_close(last, expected, rtol=1e-4, atol=1e-5)
    assert_gradients_close(gradients(zoo, last.square().sum()), grads, 1e-3)


@BOTH
def test_checkpointing(lite):
    zoo, images = network(lite), torch.rand(4, 3, 32, 32)
    grads = gradients(zoo, zoo(images).square().sum())
    again = checkpoint(zoo, images, use_reentrant=False)
    for a, b in zip(gradients(zoo, again.square().sum()), grads, strict=True):
        assert_close(a, b)
    zoo.network.set_grad_checkpointing()  # timm's own, of its stages
    again = zoo(images)
    for a, b in zip(gradients(zoo, again.square().sum()), grads, strict=True):
        assert_close(a, b)


@BOTH
@pytest.mark.parametrize("form", [None, "keep", "concatenate", "separate"])
def test_compiles_as_one_graph(lite, form):
    zoo = network(lite, [tiny() for _ in range(2)])
    for layer in zoo.zoo_layers().values():
        layer.form = form
    images = torch.rand(4, 3, 12, 12)
    compiled = torch.compile(zoo, fullgraph=True, backend="aot_eager")

    def run(called):
        y = called(images)
        return y, *gradients(zoo, y.square().sum())

    for a, b in zip(run(compiled), run(zoo), strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_keeping_mixed_weights_changes_no_number(monkeypatch):
    """On a GPU, whose planner this CPU is given."""
    from hubfast.zoo import base, planner

    monkeypatch.setattr(planner, "NARROW", 1)  # else these few channels are joined
    planned = []

    def on_a_gpu(*args, device, native, **options):
        planned.append(plan(*args, device="cuda", **options))
        return planned[-1]

    plan = base.plan
    monkeypatch.setattr(base, "plan", on_a_gpu)
    models, images = [tiny() for _ in range(3)], torch.rand(4, 3, 12, 12)
    found = []
    for recompute in (True, False):
        torch.manual_seed(0)
        zoo = ZooTuning.from_models(models, 5, recompute=recompute).double()
        found.append(gradients(zoo, zoo(images.double()).square().sum()))
    assert {"mix", "keep"} <= {*planned}
    for a, b in zip(*found, strict=True):
        assert_close(a, b)


def _train_rank(rank, folder):
    """One of two processes: two steps of each kind on its half of the batch."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    for lite in (False, True):
        torch.manual_seed(0)
        zoo = ZooTuning.from_models([tiny() for _ in range(2)], 5, lite=lite).train()
        network = nn.parallel.DistributedDataParallel(zoo)
        images = torch.rand(2, 4, 3, 12, 12)[rank]
        optimizer = torch.optim.SGD(zoo.parameters(), 0.1)
        for _ in range(2):
            optimizer.zero_grad()
            network(images).square().sum().backward()
            optimizer.step()
        torch.save(dict(zoo.named_parameters()), f"{folder}/{lite}{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_stay_equal(tmp_path):
    torch.multiprocessing.spawn(_train_rank, (str(tmp_path),), nprocs=2)
    for lite in (False, True):
        first, second = (torch.load(tmp_path / f"{lite}{rank}.pt") for rank in range(2))
        assert list(first) == list(second)
        for name, value in first.items():
            assert torch.equal(value, second[name]), name
