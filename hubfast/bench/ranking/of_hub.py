"""Records of a hub of one's own: every model scored on target data, and really trained on them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch

from hubfast.bench.kept import KeptRows
from hubfast.bench.ranking.hub_rows import HubDesign, fine_tuned, looked_at
from hubfast.bench.ranking.records import Records
from hubfast.data import TargetData, as_target_data
from hubfast.extraction.digests import sample_digests
from hubfast.hub import Source, as_hub
from hubfast.hub.identity import identity
from hubfast.ranking.consensus import CONSENSUS, borda
from hubfast.scores.registry import SCORES, names_of
from hubfast.utils.names import printable
from hubfast.utils.progress import progress_bar

VERSION = 1  # of what a row measures; a change measures them all anew
TruthKind = Literal["head", "full"]


def hub_records(
    hub: Any,
    data: Sequence[Any],
    path: Path,
    *,
    truth: TruthKind = "full",
    design: HubDesign | None = None,
    trust: bool = False,
    progress: bool = True,
) -> Records:
    """Scores and trains every model of a hub on every data set, and joins the two.

    Of each data set so many samples are drawn as `design` trains and tests on, and divided anew
    for each draw. Scores see the training samples of a draw, as a ranking would; scores and truth
    are means over the draws. The truth is the quality on the test samples: of a linear head
    (`head_quality`), or of the whole model, fine-tuned by `hubfast.tuning` with one recipe for
    all. The column `consensus` is Borda's count of all metrics that look at the data and say
    something for samples of that number.

    Args:
        hub: Models, see `hubfast.hub.as_hub`; for the full truth nn.Modules.
        data: Data sets, see `hubfast.data.as_target_data`, of different names.
        path: A file of JSON lines. What it has of the same models, samples and design is not
            computed again; a row is appended when it is known.
        truth: `"head"`, or `"full"` for fine-tuning.
        design: How many samples and draws, and how to fine-tune.
        trust: Models may run code of their own, as in `as_hub`.
        progress: Show bars.

    Raises:
        ValueError: An argument does not fit, or data sets have too few samples or the same name.
        RuntimeError: A model failed; the message names it.
    """
    if truth not in get_args(TruthKind):
        raise ValueError(f"truth must be one of {get_args(TruthKind)}, got {truth!r}")
    design = design or HubDesign()
    sources = as_hub(hub, trust=trust, progress=progress)
    study = _Study(design, [_pool(each, design, progress) for each in data], sources, path)
    study.look(progress)
    if truth == "full":
        study.train(progress)
    return study.records(truth)


def _pool(data: Any, design: HubDesign, progress: bool) -> TargetData:
    """The samples of a data set that all draws divide."""
    found, wanted = as_target_data(data, progress=progress), design.train + design.test
    if found.task == "multilabel":
        raise ValueError(f"data must have classes or values, {found.name!r} has several labels")
    if len(found) < wanted:
        raise ValueError(
            f"data must have {wanted} samples, {design.train} to train and {design.test} to test "
            f"on, {found.name!r} has {len(found)}"
        )
    return found.sample(wanted)


class _Study:
    """The rows of a hub and its data sets: those that are known, and how the others are made."""

    def __init__(
        self, design: HubDesign, pools: Sequence[TargetData], sources: Sequence[Source], path: Path
    ):
        names = [pool.name for pool in pools]
        if not pools or len(set(names)) < len(names):
            raise ValueError(f"data must be at least one set, each of another name, got {names}")
        self.design, self.pools, self.sources = design, pools, sources
        self.kept = KeptRows(path)
        self._models = [identity(source) or {"name": source.name} for source in sources]
        self._samples = [_digest(pool) for pool in pools]

    def look(self, progress: bool) -> None:
        """Runs each model over all samples that it was not run on, scores it and fits heads."""
        todo = [at for at in self._places() if not self._looked(*at)]
        with progress_bar(progress and bool(todo)) as bars:
            bar = bars.add_task("", total=len(todo))
            for p, s in todo:
                pool, source = self.pools[p], self.sources[s]
                bars.update(bar, description=f"{printable(source.name)} on {pool.name}")
                self.kept.add(self._key(p, s), _tried(looked_at, source, pool, self.design))
                bars.advance(bar)

    def train(self, progress: bool) -> None:
        """Fine-tunes what was not, draw by draw, so that what is there is fair at any time."""
        every = [(*at, draw) for draw in range(self.design.draws) for at in self._places()]
        todo = [at for at in every if self._key(*at) not in self.kept]
        with progress_bar(progress and bool(todo)) as bars:
            bar = bars.add_task("", total=len(todo))
            for p, s, draw in todo:
                pool, source = self.pools[p], self.sources[s]
                bars.update(bar, description=f"fine-tuning {printable(source.name)} on {pool.name}")
                row = _tried(fine_tuned, source, pool, self.design, draw)
                self.kept.add(self._key(p, s, draw), row)
                bars.advance(bar)

    def records(self, truth: TruthKind) -> Records:
        """Scores, and the truth of that kind, one row per model and data set."""
        rows, draws = [], range(self.design.draws)
        for p, pool in enumerate(self.pools):
            looked = [self.kept[self._key(p, s)] for s in range(len(self.sources))]
            looked = [_first(row, self.design.draws) for row in looked]
            consensus = _consensus(looked, pool, self.design.train)
            for s, source in enumerate(self.sources):
                values = looked[s]["head"]
                if truth == "full":
                    values = [self.kept[self._key(p, s, draw)]["full"] for draw in draws]
                row = {"data": pool.name, "model": source.name, "truth": float(np.mean(values))}
                scores = {name: _mean(found) for name, found in looked[s]["scores"].items()}
                rows.append({**row, **scores, CONSENSUS: consensus[s]})
        known = names_of(prompts=False)
        frame = pd.DataFrame(rows)
        return Records(frame, (*(name for name in known if name in frame), CONSENSUS))

    def _places(self) -> Iterator[tuple[int, int]]:
        for p in range(len(self.pools)):
            for s in range(len(self.sources)):
                yield p, s

    def _looked(self, p: int, s: int) -> bool:
        """Whether there are scores and heads of as many draws, or more."""
        key = self._key(p, s)
        return key in self.kept and len(self.kept[key]["head"]) >= self.design.draws

    def _key(self, p: int, s: int, draw: int | None = None) -> str:
        """What determines a row: of all draws without training, or of one with it."""
        design, version = self.design, torch.__version__.split("+")[0]
        what: list[Any] = [VERSION, version, design.train, design.test, self._samples[p]]
        alone = [self.sources[s].imagenet] if draw is None else [draw, design.recipe.as_dict()]
        what += [self._models[s], *alone]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _tried(
    make: Callable[..., dict[str, Any]], source: Source, pool: TargetData, *rest: Any
) -> dict[str, Any]:
    try:
        return make(source, pool, *rest)
    except Exception as error:
        raise RuntimeError(f"{source.name} failed on {pool.name}: {error}") from error


def _digest(pool: TargetData) -> str:
    """What tells samples and targets apart, whatever the data set is called."""
    found = hashlib.sha256(b"".join(sample_digests(pool, torch.arange(len(pool)))))
    found.update(pool.targets.numpy().tobytes())
    return found.hexdigest()


def _first(row: dict[str, Any], draws: int) -> dict[str, Any]:
    """A row of more draws as one of the first of them."""
    scores = {name: found[:draws] for name, found in row["scores"].items()}
    return {**row, "scores": scores, "head": row["head"][:draws]}


def _consensus(looked: Sequence[dict[str, Any]], pool: TargetData, count: int) -> np.ndarray:
    """Borda's count, `(M,)`: the mean over the draws, of scores that look and say something."""
    metrics = [m for m in names_of(task=pool.task, prompts=False) if SCORES[m].needs != "nothing"]
    draws = []
    for draw in range(len(looked[0]["head"])):
        votes = np.array([[_vote(row, m, draw, count) for row in looked] for m in metrics], float)
        draws.append(borda(votes))
    return np.mean(draws, axis=0)


def _mean(values: Sequence[float | None]) -> float:
    """The mean over the draws; NaN where one of them has no score."""
    return float(np.mean([np.nan if value is None else value for value in values]))


def _vote(row: dict[str, Any], metric: str, draw: int, count: int) -> float:
    silent = SCORES[metric].says_nothing(count, row["width"])
    value = row["scores"][metric][draw]
    return np.nan if silent or value is None else float(value)
