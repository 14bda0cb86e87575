"""Which CUDA graph is replayed: the key of the executor `Graphs`, with captures that are none."""

import gc
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from hubfast.pathway.gpu_executors import Graphs
from hubfast.pathway.models import HubModel


class Recorded:
    """A graph whose replay runs the model on what it was given."""

    def __init__(self, run):
        self.replay = run


@pytest.fixture
def captures(monkeypatch):
    """What was captured, in turn, as (model's name, size, device that was current)."""
    seen, current = [], []

    class Device:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            current.append(self.device)

        def __exit__(self, *_):
            current.pop()

    def capture(self, model, rows, size):
        seen.append((model.name, size, str(current[-1])))
        given = rows.new_zeros(size, *rows.shape[1:])
        found, weight = torch.zeros_like(given), model.module.weight.detach()
        return Recorded(lambda: found.copy_(given * weight)), given, found

    monkeypatch.setattr(torch.cuda, "device", Device)
    monkeypatch.setattr(Graphs, "_capture", capture)
    return seen


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(float(factor)))


def model(factor):
    return HubModel(Scale(factor), name=f"times {factor}")


def test_one_graph_serves_all_batches_up_to_its_size(captures):
    graphs, twice = Graphs(4), model(2)
    for count in (3, 4, 1):
        rows = torch.rand(count, 3, 2, 2)
        torch.testing.assert_close(graphs._replay(twice, rows), 2 * rows)
    graphs._replay(twice, torch.rand(5, 3, 2, 2))
    assert captures == [("times 2", 4, "cpu"), ("times 2", 8, "cpu")]


@pytest.mark.parametrize(
    ("other", "mode"),
    [
        (torch.rand(4, 3, 2, 3), nullcontext),
        (torch.rand(4, 3, 2, 2).half(), nullcontext),
        (torch.rand(4, 3, 2, 2, device="meta"), nullcontext),
        (torch.rand(4, 3, 2, 2), torch.inference_mode),
    ],
    ids=["shape", "dtype", "device", "inference mode"],
)
def test_what_differs_has_a_graph_of_its_own(captures, other, mode):
    graphs, twice, rows = Graphs(4), model(2), torch.rand(4, 3, 2, 2)
    with torch.no_grad():
        graphs._replay(twice, rows)
        with mode():
            graphs._replay(twice, other)
        graphs._replay(twice, rows)  # the first one, which the second did not replace
    assert captures == [("times 2", 4, "cpu"), ("times 2", 4, str(other.device))]


def test_a_graph_captured_in_inference_mode_is_not_written_outside_of_it(captures):
    graphs, twice, rows = Graphs(4), model(2), torch.rand(4, 3, 2, 2)
    with torch.inference_mode():
        graphs._replay(twice, rows)
    with torch.no_grad():
        torch.testing.assert_close(graphs._replay(twice, rows), 2 * rows)


def test_graphs_go_with_their_model(captures):
    graphs, rows = Graphs(4), torch.rand(4, 3, 2, 2)
    for factor in range(2, 30):  # a new model may well get the address of the one before
        one = model(factor)
        torch.testing.assert_close(graphs._replay(one, rows), factor * rows)
        del one
        gc.collect()
        assert len(graphs._known) == 0
    assert len(captures) == 28


def test_clear_forgets(captures):
    graphs, twice, rows = Graphs(4), model(2), torch.rand(4, 3, 2, 2)
    graphs._replay(twice, rows)
    graphs.clear()
    graphs._replay(twice, rows)
    assert len(captures) == 2
