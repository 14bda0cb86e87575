"""Rankings in threads, in forked processes and under settings of torch that are seldom used."""

import multiprocessing
import sys
import threading
import warnings

import numpy as np
import pytest
import torch

from hubfast import rank
from hubfast.utils.global_state import alone

COUNT = 60
ROWS = torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(0))
CLASSES = np.arange(COUNT) % 3


def noisy(rows):
    return rows[:, :4] + torch.randn(len(rows), 4)


def noisier(rows):
    return rows[:, 2:] + torch.randn(len(rows), 4) * np.random.rand()  # noqa: NPY002


def scores(**options):
    hub, data = {"noisy": noisy, "noisier": noisier}, (ROWS, CLASSES)
    found = rank(hub, data, cache=False, progress=False, batch_size=8, **options)
    return {model.name: (model.score, model.error) for model in found}


def test_rankings_in_threads_are_those_of_one():
    alone_scores, found = scores(), []
    before = torch.get_rng_state().tolist(), [*warnings.filters], sys.stdout
    threads = [threading.Thread(target=lambda: found.append(scores())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone_scores] * 4
    assert (torch.get_rng_state().tolist(), [*warnings.filters], sys.stdout) == before


def send(queue):
    queue.put(scores())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_ranks_while_a_thread_of_its_parent_does():
    context, inside, end = multiprocessing.get_context("fork"), threading.Event(), threading.Event()

    @alone()
    def hold():
        inside.set()
        end.wait(60)

    holder = threading.Thread(target=hold)
    expected = scores()
    holder.start()
    inside.wait(60)
    queue = context.Queue()
    child = context.Process(target=send, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        end.set()
        holder.join()
        child.join(10)
        child.kill()


def test_a_ranking_within_a_ranking():
    def nested(rows):
        scores()
        return noisy(rows)

    (model,) = rank(nested, (ROWS, CLASSES), cache=False, progress=False)
    assert model.error is None


METRICS = ("logme", "knn", "gbc", "h_score", "transrate", "n_leep", "sfda", "parc", "linear_probe")


def test_inference_mode():
    expected = scores(metrics=METRICS)
    with torch.inference_mode():
        assert scores(metrics=METRICS) == expected
        assert torch.is_inference_mode_enabled()


def test_deterministic_mode():
    torch.use_deterministic_algorithms(False)
    expected = scores(metrics=METRICS)
    torch.use_deterministic_algorithms(True)
    assert scores(metrics=METRICS) == expected
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize("most", [COUNT + 1, 10**30])
def test_a_batch_is_no_larger_than_the_data(most):
    found = rank(lambda rows: rows, (ROWS, CLASSES), batch_size=most, cache=False, progress=False)
    whole = rank(lambda rows: rows, (ROWS, CLASSES), batch_size=COUNT, cache=False, progress=False)
    assert found.models[0].score == whole.models[0].score


def test_without_standard_streams(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    found = rank(noisy, (ROWS, CLASSES), cache=False, progress=True)
    assert found.models[0].error is None
