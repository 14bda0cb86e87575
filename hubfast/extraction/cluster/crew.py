"""Everything that is needed beside the models to run them on workers."""

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from hubfast.extraction.cache import Cache
from hubfast.extraction.cluster.messages import Hearing, Reply, WorkerSetup
from hubfast.extraction.cluster.node import counting_versions, files_of
from hubfast.extraction.cluster.pool import Pool
from hubfast.extraction.cluster.ray_cluster import Cluster
from hubfast.extraction.feed import Feed
from hubfast.extraction.model_run import ModelRun
from hubfast.extraction.running import DAY
from hubfast.extraction.setting import Setting
from hubfast.hub.errors import one_line
from hubfast.hub.model import Extraction, Source
from hubfast.scores.registry import Metric

ROOM = 4  # finished blocks for each worker that may wait to be used, and
LEAST = 64  # as many in any case
PASSING = "passing-"  # begins the name of a folder of what cannot be kept


class PassingCache(Cache):
    """Keeps for the length of a ranking what cannot be kept for longer.

    Its folder is in that of the cache, which machines may share, or among temporary files. Those
    that were left by a process that was killed are deleted after a day.

    Args:
        cache: The cache; None for none.

    Attributes:
        token: Name of a file in the folder, which tells it from any other of its name.
    """

    def __init__(self, cache: Cache | None):
        home = None if cache is None or not cache.writable else cache.folder
        if home is not None:
            home.mkdir(parents=True, exist_ok=True)
            _delete_left(home)
        super().__init__(tempfile.mkdtemp(prefix=PASSING, dir=home))
        self.token = secrets.token_hex(16)
        (self.folder / self.token).touch()

    def close(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Crew:
    """Workers that are ready, and the models that they take.

    Args:
        cluster: Where workers run.
        feed: The samples.
        sources: The models.
        metrics: The scores that will be asked for.
        options: How workers run models.
        seed: Of the ranking.
        full: As in `Setting`.
        memory: Bytes of samples and models on each machine; None for a quarter of it.
        cache: The cache; None for none.
        passing: Where outputs are that cannot be kept.
        hearing: Gives what libraries say to a function while it is open.
        tick: Called from time to time while workers start.
        stays: As in `BlockQueue`.

    Attributes:
        away: For each model whether workers take it.
        cache: The cache; None for none.
        passing: Where outputs are that cannot be kept.
        pool: The workers; None where there is nothing for them.

    Raises:
        TypeError: The samples cannot be sent to workers.
        RuntimeError: There is no worker; the message says why.
    """

    def __init__(
        self,
        cluster: Cluster,
        feed: Feed,
        sources: Sequence[Source],
        metrics: Sequence[Metric],
        *,
        options: Extraction,
        seed: int,
        full: int | None,
        memory: int | None,
        cache: Cache | None,
        passing: PassingCache,
        hearing: Hearing | None,
        tick: Callable[[], object],
        stays: bool,
    ):
        self.cache, self.passing = cache, passing
        packed = [_packed(source) for source in sources]
        self.away = [isinstance(each, bytes) for each in packed]
        self._here = [each for each in packed if isinstance(each, str) and each]
        self.pool: Pool | None = None
        if not any(self.away) or feed.data.samples is None:
            self.away = [False] * len(sources)
            return
        setup = WorkerSetup(
            metrics=tuple(metrics),
            options=options,
            seed=seed,
            full=full,
            memory=memory,
            threads=cluster.threads,
            folder="" if cache is None else str(cache.folder),
            transit=str(passing.folder),
            token=passing.token,
            place=os.getcwd(),
            path=(*sys.path,),
            files=files_of(feed.data),
            versions=counting_versions(),
            hearing=hearing,
        )
        starts = (0, *feed.ends[:-1])
        sizes = [end - start for start, end in zip(starts, feed.ends, strict=True)]
        models = [each if isinstance(each, bytes) else None for each in packed]
        room = max(LEAST, ROOM * cluster.places)
        self.pool = Pool(cluster, setup, feed.data, models, sizes, room=room, stays=stays)
        try:
            if not self.pool.first(tick):
                raise RuntimeError(self.pool.ended)
        except BaseException:
            self.close()
            raise

    @property
    def hardware(self) -> str:
        """What the workers run on, as `outputs.device_kind` gives it."""
        return "" if self.pool is None else self.pool.hardware

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the workers, and of models that they do not take."""
        return (*self._here, *(() if self.pool is None else self.pool.notes))

    def install(self, reply: Reply) -> None:
        """Keeps what a worker has sent that shares no folder."""
        for content in reply.kept:
            (self.cache or self.passing).install(content)
        for content in reply.passing:
            self.passing.install(content)

    def close(self) -> None:
        """Ends all workers."""
        if self.pool is not None:
            self.pool.close()


def runs_of(
    sources: Sequence[Source],
    metrics: Sequence[Metric],
    setting: Setting,
    cache: Cache | None,
    crew: Crew | None,
) -> list[ModelRun]:
    """The runs of all models, of which those that workers take are away."""
    if crew is None:
        return [ModelRun(source, metrics, setting, cache) for source in sources]
    theirs = replace(setting, hardware=crew.hardware)
    runs = []
    for source, away in zip(sources, crew.away, strict=True):
        passing = crew.passing if away else None
        runs.append(ModelRun(source, metrics, theirs if away else setting, cache, passing))
        runs[-1].away = away
    return runs


def _packed(source: Source) -> bytes | str:
    """A source pickled, or why it runs here; empty for stored features, which are only read."""
    if source.kind == "features":
        return ""
    from ray import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps(source)
        return packed
    except Exception as error:  # whatever the parts of a user's object make of it
        return f"{source.name} runs in this process, as it cannot be sent: {one_line(error)}"


def _delete_left(home: Path) -> None:
    """Deletes what processes left that were killed."""
    for folder in home.glob(f"{PASSING}*"):
        try:
            if time.time() - folder.stat().st_mtime > DAY:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another process has just deleted it
            continue
