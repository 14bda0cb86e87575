"""What runs models on a worker: a plain class, of which Ray makes an actor."""

import os
import pickle
import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import Any
from weakref import ReferenceType

import torch

from hubfast.extraction.cache import Cache
from hubfast.extraction.cluster.messages import Hello, Order, Reply, WorkerSetup
from hubfast.extraction.cluster.node import download_lock, holds, node_address, poisons, problem_of
from hubfast.extraction.cluster.parcels import Parcels
from hubfast.extraction.entry import EntryStore
from hubfast.extraction.feed import Feed, UnreadableDataError
from hubfast.extraction.model_outputs import ModelOutputs
from hubfast.extraction.outputs import device_kind
from hubfast.extraction.setting import Setting, Spent
from hubfast.hub.errors import one_line
from hubfast.hub.fetching import Fetcher
from hubfast.hub.model import Source
from hubfast.utils.allocator import give_back_memory, keep_freed_memory
from hubfast.utils.sizes import machine_memory
from hubfast.utils.threads import limit_cores


class Worker:
    """Runs one model over one block at a time.

    A model is loaded where it is run, and not where the worker is made: what goes wrong with it is
    an answer, and the worker lives on.
    """

    def __init__(self) -> None:
        self._models: dict[int, ModelOutputs] = {}  # that are loaded, the last one last
        self._blocks: list[int] = []  # whose samples are held, the last one last
        self._fetcher = Fetcher()
        self._node = node_address()

    def begin(self, setup: WorkerSetup, sent: Any) -> Hello:
        """Makes the worker ready for a ranking, or says why it cannot be.

        Args:
            setup: How it runs models.
            sent: The samples, or a list of one reference to them: their modules are found only
                from here on.
        """
        sys.path += [path for path in setup.path if path not in sys.path]
        data = _received(sent)
        if os.path.isdir(setup.place):
            os.chdir(setup.place)
        keep_freed_memory()
        torch.set_num_threads(setup.threads)
        self.setup, shared = setup, holds(setup.transit, setup.token)
        self._cache: EntryStore | None = None
        self._transit: EntryStore = Cache(setup.transit) if shared else Parcels()
        if setup.folder:
            self._cache = Cache(setup.folder) if shared else Parcels()
        self._feed = Feed(
            data,
            memory=1 << 62,  # `_make_room` says which blocks stay
            max_unreadable=1.0,  # the driver judges
            workers=setup.options.workers,
            ahead=setup.options.device != "cpu",
            cache=self._cache or self._transit,
        )
        self._setting = Setting(self._feed, setup.options, setup.seed, full=setup.full)
        problem = problem_of(setup, data)
        hardware = "" if problem else device_kind(setup.options.device)
        return Hello(self._node, os.getpid(), hardware, problem)

    def run(self, order: Order) -> Reply:
        """Runs a model over a block, unless what it gives is kept already."""
        limit_cores(self.setup.threads)
        said, listening = list[str](), self.setup.hearing
        with nullcontext() if listening is None else listening(said.append):
            found = self._answer(order)
        if not found.poisoned:
            self._make_room(order.sharing)
        stores = (self._cache, self._transit)
        kept, passing = (s.take() if isinstance(s, Parcels) else () for s in stores)
        held = (*reversed(self._models),)
        answer = replace(found, node=self._node, said=(*said,), held=held)
        return replace(answer, kept=kept, passing=passing)

    def _answer(self, order: Order) -> Reply:
        number, model = order.task.model, None
        try:
            if order.following is not None:
                self._fetcher.ask(_source(order.following))
            model = self._models.pop(number, None) or self._made(order)
            self._models[number] = model  # the last one
            model.computed, model.spent = 0, Spent()
            for other in self._models.values():
                if other is not model:
                    other.rest()
            return _reply(order, model, samples=self._run(model, order.task.block))
        except UnreadableDataError as fault:
            return Reply(order.task, unreadable=str(fault))
        except (Exception, SystemExit) as fault:  # any fault of a model is an answer
            self._models.pop(number, None)
            told: dict[str, Any] = {"error": one_line(fault), "poisoned": poisons(fault)}
            if model is None:
                return Reply(order.task, **told)
            _let_go(model)
            return _reply(order, model, **told)

    def _made(self, order: Order) -> ModelOutputs:
        metrics, setting = self.setup.metrics, self._setting
        return ModelOutputs(_source(order.source), metrics, setting, self._cache, self._transit)

    def _run(self, model: ModelOutputs, index: int) -> str:
        """Makes sure that the outputs for a block are kept; gives the digest of its samples."""
        feed = self._feed
        if index in self._blocks:
            self._blocks.remove(index)
        self._blocks.append(index)  # the last one used
        if feed.tells(index) and (not len(feed.known(index)) or model.kept(index) is not None):
            return feed.digest(index)
        if model.loaded is None:
            with download_lock(model.source, model.identity):
                model.load()
        assert model.known is not None
        framing = model.known.framing
        framings = [] if framing is None else [framing]
        feed.plan(index, min(index + 2, len(feed)), framings, keep=framing is None)
        if len(feed.known(index)) and model.kept(index) is None:
            model.compute(index, passing=True)
        return feed.digest(index)

    def _make_room(self, sharing: int) -> None:
        """Lets go of the models and the samples that were not used for longest."""
        whole = self.setup.memory
        whole = (machine_memory() // 4 if whole is None else whole) // sharing
        sizes = {number: model.size for number, model in self._models.items()}
        for number in [*self._models][:-1]:
            if sum(size or 0 for size in sizes.values()) > whole // 4 or sizes[number] is None:
                sizes.pop(number)
                parts = _let_go(self._models.pop(number))
                held = any(part() is not None for part in parts)  # by each other
                give_back_memory(garbage=held)
        while len(self._blocks) > 1 and self._feed.held_bytes > whole - whole // 4:
            index = self._blocks.pop(0)
            self._feed.drop(index, index + 1)


def _let_go(model: ModelOutputs) -> list[ReferenceType[object]]:
    """Lets go of a model, wherever it is; gives weak references to its parts."""
    model.rest()
    return model.release()


def _source(sent: Any) -> Source:
    """The source of a model, as it was sent."""
    source: Source = pickle.loads(_received(sent))
    return source


def _received(sent: Any) -> Any:
    """What was sent, be it by reference."""
    if not isinstance(sent, list):
        return sent
    import ray

    return ray.get(sent[0])


def _reply(order: Order, model: ModelOutputs, **told: Any) -> Reply:
    """The answer, with what is known of the model now."""
    return Reply(
        order.task,
        identity=model.identity,
        known=None if model.known is None else model.known.as_facts(),
        width=model.width,
        computed=model.computed,
        spent=model.spent,
        **told,
    )
