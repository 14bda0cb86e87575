"""The figures of a run: what its jobs said, and what is computed from several of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch

from gpu.jobs import Job

# Each: numerator, denominator.
RATIOS = {
    "zoo.step.times_grouped": ("zoo.step.grouped_ms", "zoo.step.hubfast_ms"),
    "zoo.step.over_plain": ("zoo.step.hubfast_ms", "zoo.step.plain_ms"),
    "zoo.step.lite_over_plain": ("zoo.step.lite_ms", "zoo.step.plain_ms"),
    "zoo.step.kept_over_hubfast": ("zoo.step.kept_ms", "zoo.step.hubfast_ms"),
    "zoo.step.peak_share": ("zoo.step.hubfast_peak_mib", "zoo.step.grouped_peak_mib"),
    "zoo.step.measured_choices_win": ("zoo.step.hubfast_ms", "zoo.step.hubfast_measured_ms"),
    "zoo.layers.times_grouped": ("zoo.layers.all.grouped_ms", "zoo.layers.all.hubfast_ms"),
    "pathway.route.times_eager": ("pathway.route.eager_us", "pathway.route.hubfast_us"),
    "pathway.combine.times_eager": ("pathway.combine.eager_us", "pathway.combine.hubfast_us"),
    "pathway.inference.times_naive": (
        "pathway.inference.naive_ms",
        "pathway.inference.graphs_ms",
    ),
    "pathway.inference.times_dense": (
        "pathway.inference.dense_ms",
        "pathway.inference.graphs_ms",
    ),
    "pathway.inference.streams_over_loop": (
        "pathway.inference.streams_ms",
        "pathway.inference.loop_ms",
    ),
    "pathway.training.streams_over_loop": (
        "pathway.training.streams_ms",
        "pathway.training.loop_ms",
    ),
    "pathway.training.times_naive": ("pathway.training.naive_ms", "pathway.training.best_ms"),
    "evidence.times_loop": ("evidence.k2048c1000.loop_ms", "evidence.k2048c1000.cuda_ms"),
    "evidence.times_torch": ("evidence.k2048c1000.torch_ms", "evidence.k2048c1000.cuda_ms"),
    "evidence.times_torch_few": ("evidence.k2048c10.torch_ms", "evidence.k2048c10.cuda_ms"),
    "rank.times_usual": ("rank.usual_s", "rank.fp32_s"),
    "rank.bf16_times_fp32": ("rank.fp32_s", "rank.bf16_s"),
}
# Each: the least or the most of all figures whose keys match.
EXTREMES = {
    "pathway.training.best_ms": (min, ("pathway.training.loop_ms", "pathway.training.streams_ms")),
    "spectra.times_loop": (min, ("spectra.d*.times_loop",)),
    "forward.last_over_folded.float32": (max, ("forward.*.float32.last_over_folded",)),
    "forward.last_over_folded.bfloat16": (max, ("forward.*.bfloat16.last_over_folded",)),
}


def latest(rows: Iterable[dict]) -> dict[str, list[dict]]:
    """Each job's rows of its last attempt that ended well, else of its last attempt."""
    attempts: dict[str, list[list[dict]]] = {}
    for row in rows:
        tries = attempts.setdefault(row["job"], [[]])
        tries[-1].append(row)
        if "status" in row:
            tries.append([])
    found = {}
    for job, tries in attempts.items():
        made = [attempt for attempt in tries if attempt]
        good = [attempt for attempt in made if attempt[-1].get("status") == "done"]
        found[job] = (good or made)[-1]
    return found


def figures(rows: Iterable[dict]) -> dict[str, float]:
    """All figures; of errors (`correct.`) that several jobs gave, the worst."""
    found: dict[str, float] = {}
    for attempt in latest(rows).values():
        for row in attempt:
            for key, value in row.get("figures", {}).items():
                worst = key.startswith("correct.") and key in found
                found[key] = max(found[key], value) if worst else value
    for key, (choose, patterns) in EXTREMES.items():
        known = [v for k, v in found.items() if any(fnmatch(k, p) for p in patterns)]
        if known:
            found[key] = choose(known)
    for key, (over, under) in RATIOS.items():
        if over in found and found.get(under):
            found[key] = found[over] / found[under]
    return found


def sources(key: str, jobs: Sequence[Job]) -> list[Job]:
    """The jobs on which a figure depends."""
    parts: tuple[str, ...] = (key,)
    if key in RATIOS:
        return [job for part in RATIOS[key] for job in sources(part, jobs)]
    if key in EXTREMES:
        parts = tuple(pattern.partition("*")[0] for pattern in EXTREMES[key][1])
    begins = [part if part.endswith(".") else f"{part}." for part in parts]

    def gives(job: Job) -> bool:
        own = [f"{name}." for name in job.gives or (job.key,)]
        return any(job.has(p) for p in parts) or any(n.startswith(b) for n in own for b in begins)

    return [job for job in jobs if gives(job)]


def met(value: float, wanted: str) -> bool | None:
    """Whether a figure is as it is wanted; None where it is only to be measured.

    Args:
        wanted: `measured`, or a sign `<=`, `>=` or `=` and a number.

    Raises:
        ValueError: `wanted` is something else.
    """
    if wanted == "measured":
        return None
    sign, _, number = wanted.partition(" ")
    if sign not in ("<=", ">=", "="):
        raise ValueError(f"wanted must be 'measured' or a sign and a number, got {wanted!r}")
    limit = float(number)
    if math.isnan(value):
        return False
    return {"<=": value <= limit, ">=": value >= limit, "=": value == limit}[sign]


def open_points(text: str) -> dict[str, tuple[str, str]]:
    """What each key of GPU_TODO.md stands for, and what is wanted.

    Raises:
        ValueError: A key stands twice.
    """
    found: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) < 3 or not cells[0].startswith("`"):
            continue
        key = cells[0].strip("`")
        if key in found:
            raise ValueError(f"{key} must stand once in GPU_TODO.md")
        found[key] = (cells[2], cells[1].strip("`"))
    return found


def unfinished(jobs: Iterable[Job], status: Mapping[str, dict]) -> dict[str, str]:
    """How the jobs that did not end well ended, or that they did not run."""
    ends = {job.key: status.get(job.key, {}).get("status", "not run") for job in jobs}
    return {key: end for key, end in ends.items() if end != "done"}
