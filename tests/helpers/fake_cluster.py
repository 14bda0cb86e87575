"""A cluster in this process: workers answer in any order, and die when they are told to."""

import pickle
import random
from contextlib import contextmanager
from itertools import count

from hubfast.extraction.cluster.messages import Hello


class WorkerDied(Exception):
    """A worker was ended."""


class FakeCluster:
    """Stands for `hubfast.extraction.cluster.ray_cluster.Cluster`.

    Args:
        workers: How many there are.
        seed: Of the order in which they answer.
        deaths: Share of the orders, but for the first of each worker, at which it dies.
        sharing: Whether the workers see the driver's folders.
    """

    device, threads, own = "cpu", 1, True

    def __init__(self, workers: int, *, seed: int = 0, deaths: float = 0.0, sharing: bool = True):
        self.places, self.fixed, self.sharing, self.deaths = workers, workers, sharing, deaths
        self.chance, self.names = random.Random(seed), count()
        self.calls: dict[int, tuple] = {}  # what was asked and not yet answered
        self.answers: dict[int, object] = {}
        self.killed, self.log = set(), []  # blocks in the order of the answers

    def put(self, value):
        return value

    def start(self, worker):
        return _Actor(self, worker())

    def wait(self, references, seconds):
        """Lets one of the workers do what it was asked first."""
        firsts = {}
        for reference in references:
            if reference in self.answers:
                return [reference]
            if reference in self.calls:
                firsts.setdefault(self.calls[reference][0], reference)
        reference = self.chance.choice([*firsts.values()])
        actor, method, arguments = self.calls.pop(reference)
        if method == "run" and actor.ran and self.chance.random() < self.deaths:
            self.answers[reference] = WorkerDied("its time has come")
            return [reference]
        setup_or_order = pickle.loads(pickle.dumps(arguments[0]))
        found = getattr(actor.worker, method)(setup_or_order, *arguments[1:])
        actor.ran += method == "run"
        self.log += [] if isinstance(found, Hello) else [found.task]
        self.answers[reference] = pickle.loads(pickle.dumps(found))
        return [reference]

    def get(self, reference):
        found = self.answers.pop(reference)
        if isinstance(found, Exception):
            raise found
        return found

    def kill(self, actor):
        self.killed.add(actor)


class _Actor:
    def __init__(self, cluster, worker):
        self.worker, self.ran = worker, 0
        self.begin = _Method(cluster, self, "begin")
        self.run = _Method(cluster, self, "run")


class _Method:
    def __init__(self, cluster, actor, name):
        self.cluster, self.actor, self.name = cluster, actor, name

    def remote(self, *arguments):
        reference = next(self.cluster.names)
        if self.name == "begin" and not self.cluster.sharing:
            from dataclasses import replace

            arguments = (replace(arguments[0], token="another"), *arguments[1:])
        self.cluster.calls[reference] = (self.actor, self.name, arguments)
        return reference


def use(monkeypatch, cluster):
    """Lets `rank(..., ray=...)` run on a cluster of this kind."""

    @contextmanager
    def given(address, device):
        yield cluster

    monkeypatch.setattr("hubfast.ranking.run.cluster_of", given)
