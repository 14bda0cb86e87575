"""Runs the models of a hub over blocks of samples: each block is read once for all of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import zip_longest

from hubfast.extraction.feed import Feed
from hubfast.extraction.model_run import ModelRun
from hubfast.hub.fetching import Fetcher
from hubfast.utils.allocator import give_back_memory

About = Callable[[ModelRun], AbstractContextManager[object]]


class Engine:
    """Takes models from block to block, as many blocks at a time as memory holds.

    Models stay loaded between such stretches while they fit their part of the memory.

    Args:
        feed: The samples.
        memory: Bytes that loaded models may take between two stretches.
        about: Opened around what is done for a model.
    """

    def __init__(self, feed: Feed, memory: int, about: About):
        self.feed, self.memory, self.about = feed, memory, about
        self.fetcher = Fetcher()
        self._loaded: dict[ModelRun, int] = {}  # bytes of models that stay loaded

    def advance(
        self,
        runs: Sequence[ModelRun],
        start: int,
        stop: int,
        done: Callable[[ModelRun], object] = lambda run: None,
    ) -> None:
        """Runs the blocks from `start` to before `stop` through all models that have no error.

        Args:
            runs: The models.
            start: The first block.
            stop: The block behind the last.
            done: Called with each model as soon as it has seen all samples.

        Raises:
            UnreadableDataError: The samples are at fault.
        """
        while start < stop:
            reading = [run for run in runs if run.needs_reading(start, stop)]
            framings = [run.known.framing for run in reading if run.known is not None]
            end = self.feed.plan(
                start,
                stop,
                [framing for framing in framings if framing is not None],
                keep=None in framings or len(framings) < len(reading),
            )
            ahead = [run for run in runs if not run.error and run.done < end]
            for run, following in zip_longest(ahead, ahead[1:]):
                if following is not None and following.known is None:
                    self.fetcher.ask(following.source)
                with self.about(run):
                    run.advance(end)
                self._settle(run, last=end == len(self.feed))
                if not run.error and run.done == len(self.feed):
                    done(run)
            self.feed.drop(start, end)
            start = end

    def close(self) -> None:
        """Ends what goes on beside the models."""
        self.fetcher.close()
        self.feed.close()

    def release(self, run: ModelRun) -> None:
        """Lets go of a model that goes no further."""
        self._loaded.pop(run, None)
        parts = run.release()
        held = any(part() is not None for part in parts)  # by each other, as modules with hooks
        give_back_memory(garbage=held and not _is_users(run))

    def _settle(self, run: ModelRun, *, last: bool) -> None:
        """Keeps a model loaded if there is room and more to do, else lets go of it."""
        size = 0 if _is_users(run) else run.size
        others = sum(held for other, held in self._loaded.items() if other is not run)
        if last or run.error or size is None or others + size > self.memory:
            self.release(run)
        else:
            self._loaded[run] = size
            give_back_memory(garbage=False)


def _is_users(run: ModelRun) -> bool:
    """Whether the model is its user's own, who keeps it."""
    return run.source.kind == "object"
