"""How often a race loses one of the best, and how many passes it takes.

    python benchmarks/race_simulation.py                   # 200 hubs of each simulated kind
    python benchmarks/race_simulation.py 20 --keep FOLDER  # 20; hubs are kept, and taken from there

A race for the three best by exact LogME, beside ranking every model on all samples and successive
halving (which drops the worse half at each look). Hubs are those of `race_hubs.py`. Shares of
passes are of samples times models. Prints tables, and appends one line per kind of hub to
results/race.jsonl.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from race_hubs import REAL, SIMULATED, Looks, real, simulated
from recording import RESULTS, on_machine
from rich.console import Console
from rich.table import Table
from scipy.stats import beta

from hubfast.ranking.race import Race
from hubfast.ranking.verdict import Rules

TOP = 3
TOLERANCES = (0.0, 0.02)  # nats per sample
ORDERS = 25  # of each real task
GAPS = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, np.inf)  # nats between the third and the fourth


@dataclass(frozen=True)
class Found:
    """What one way of choosing the best gave on one hub."""

    kept: bool  # whether it chose exactly the best
    passes: float  # share of those of ranking every model on all samples
    loss: float  # the most that a model left out is better than one chosen


def race(hub: Looks, tolerance: float) -> Found:
    """A race with 95 % confidence."""
    names = [str(i) for i in range(len(hub.scores))]
    running = Race(names, hub.sizes, Rules(TOP, tolerance=tolerance), "slow")
    while not running.verdict.over:
        look = hub.sizes.index(running.next_look)
        models = {s.name: int(s.name) for s in running.verdict.running}
        told = {name: (hub.scores[i, look], hub.influences[look][i]) for name, i in models.items()}
        running.look(running.next_look, told)
    chosen = [int(s.name) for s in running.verdict.accepted]
    return _found(hub, chosen, sum(s.samples for s in running.verdict.standings))


def halving(hub: Looks) -> Found:
    """Successive halving: the better half goes on, down to `TOP`."""
    left, samples, seen = list(range(len(hub.scores))), 0, 0
    for look, size in enumerate(hub.sizes):
        samples, seen = samples + len(left) * (size - seen), size
        left.sort(key=lambda i: -hub.scores[i, look])
        last = look == len(hub.sizes) - 1
        left = left[: TOP if last else max(TOP, -(-len(left) // 2))]
    return _found(hub, left, samples)


def _found(hub: Looks, chosen: list[int], samples: int) -> Found:
    final = hub.scores[:, -1]
    best = set(np.argsort(-final)[:TOP].tolist())
    others = np.delete(final, chosen)
    loss = max(float(others.max() - final[chosen].min()), 0.0)
    return Found(set(chosen) == best, samples / (len(final) * hub.sizes[-1]), loss)


def gap(hub: Looks) -> float:
    """How far the last of the best is ahead of the next model."""
    final = np.sort(hub.scores[:, -1])[::-1]
    return float(final[TOP - 1] - final[TOP])


WAYS: dict[str, Callable[[Looks], Found]] = {
    "halving": halving,
    **{f"race, tolerance {t:g}": lambda hub, t=t: race(hub, t) for t in TOLERANCES},
}


def hubs_of(kind: str, count: int, keep: Path | None) -> Iterator[Looks]:
    """The hubs of a kind, from the folder where they are there."""
    make = simulated if kind in SIMULATED else real
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        path = keep / f"{kind}-{seed}.npz" if keep else None
        if path is not None and path.exists():
            yield Looks.load(path)
            continue
        hub = make(kind, seed)
        if path is not None:
            hub.save(path)
        yield hub


def summary(found: list[Found]) -> dict[str, float]:
    """Shares and means over hubs; the share lost is below `lost_at_most` with 95 % confidence."""
    lost = sum(not f.kept for f in found)
    return {
        "kept": round(1 - lost / len(found), 4),
        "lost_at_most": round(float(beta.ppf(0.95, lost + 1, len(found) - lost)), 4)
        if lost < len(found)
        else 1.0,
        "passes": round(float(np.mean([f.passes for f in found])), 4),
        "passes_max": round(max(f.passes for f in found), 4),
        "loss_max": round(max(f.loss for f in found), 5),
    }


def curve(gaps: list[float], results: dict[str, list[Found]]) -> list[dict]:
    """Kept and passes of each way, by the gap at the last place."""
    rows = []
    for low, high in pairwise(GAPS):
        inside = [i for i, g in enumerate(gaps) if low <= g < high]
        if inside:
            ways = {way: summary([found[i] for i in inside]) for way, found in results.items()}
            rows.append({"gap_from": low, "hubs": len(inside), **ways})
    return rows


def table(title: str, rows: list[tuple[str, int, dict]]) -> Table:
    """Of each way and row: how many hubs kept their best, and the passes that it took."""
    shown = Table(title=title)
    for heading in ("hubs", "count", *(f"{way}: kept, passes" for way in WAYS)):
        shown.add_column(heading)
    for name, count, ways in rows:
        cells = (f"{ways[way]['kept']:.1%}, {ways[way]['passes']:.1%}" for way in WAYS)
        shown.add_row(name, str(count), *cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("count", nargs="?", type=int, default=200)
    parser.add_argument("--keep", type=Path, help="folder of hubs that were simulated before")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines, gaps, every = [], [], {way: [] for way in WAYS}
    for kind in (*SIMULATED, *REAL):
        results: dict[str, list[Found]] = {way: [] for way in WAYS}
        own: list[float] = []
        for hub in hubs_of(kind, given.count if kind in SIMULATED else ORDERS, given.keep):
            own.append(gap(hub))
            for way, choose in WAYS.items():
                results[way].append(choose(hub))
        line = {"what": f"race, {kind}", "hubs": len(own), "models": len(hub.scores)}
        line |= {way: summary(found) for way, found in results.items()}
        lines.append({**line, "by_gap": curve(own, results)})
        if kind in SIMULATED:
            gaps += own
            for way, found in results.items():
                every[way] += found
    console = Console(width=120)
    console.print(table("top 3", [(x["what"], x["hubs"], x) for x in lines]))
    by_gap = [(f"gap from {x['gap_from']:g}", x["hubs"], x) for x in curve(gaps, every)]
    console.print(table("simulated hubs, by the gap at the last place", by_gap))
    with (RESULTS / "race.jsonl").open("a") as file:
        for line in lines:
            file.write(json.dumps(on_machine(line)) + "\n")


if __name__ == "__main__":
    main()
