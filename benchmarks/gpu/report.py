"""What a run found, for each open point of GPU_TODO.md: measured, wanted, met or not."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gpu.figures import figures, latest, met, open_points, sources, unfinished
from gpu.jobs import Job
from gpu.rows import Rows

TODO = Path(__file__).parents[1] / "GPU_TODO.md"
SHOWN = ("gpu", "torch", "triton", "cudnn", "numpy", "cpu", "cores", "date", "code")
MOST = 9_500  # characters that are printed


def verdicts(rows: Rows, jobs: Sequence[Job]) -> list[tuple[str, str, str, str]]:
    """Of each open point: its key, what was measured, what is wanted, and how it stands."""
    found, status = figures(rows.comparable()), rows.status()
    table = []
    for key, (_, wanted) in open_points(TODO.read_text()).items():
        late = unfinished(sources(key, jobs), status)
        value = found.get(key)
        if value is None:
            verdict = "not run"
        else:
            right = met(value, wanted)
            verdict = "measured" if right is None else "met" if right else "NOT MET"
        if late and value is not None and verdict != "NOT MET":
            verdict += f", but of {len(late)}: {', '.join(sorted(set(late.values())))}"
        elif late:
            verdict += f": {next(iter(late))} {next(iter(late.values()))}"
        elif value is None:
            verdict += ": its job could not measure it (rows.jsonl: errors)"
        table.append((key, "-" if value is None else f"{value:.4g}", wanted, verdict))
    return table


def report(rows: Rows, jobs: Sequence[Job]) -> str:
    """The whole report, as Markdown."""
    status = rows.status()
    table = verdicts(rows, jobs)
    counts = Counter(verdict.split(",")[0].split(":")[0] for *_, verdict in table)
    head = [f"{name}: {rows.machine.get(name)}" for name in SHOWN]
    lines = ["# What was measured on a GPU", "", "; ".join(head), ""]
    lines += [", ".join(f"{n} {what}" for what, n in counts.items()) + ".", ""]
    lines += ["| key | measured | wanted | |", "| --- | ---: | --- | --- |"]
    lines += [f"| {' | '.join(line)} |" for line in table]
    lines += ["", *_bad_jobs(jobs, status), *_other_code(rows, status), *_choices(rows)]
    return "\n".join(lines) + "\n"


def printed(text: str) -> str:
    """The report as far as it may be printed."""
    return text if len(text) <= MOST else text[:MOST].rsplit("\n", 1)[0] + "\n(more in report.md)\n"


def _bad_jobs(jobs: Sequence[Job], status: dict[str, dict]) -> list[str]:
    late = unfinished(jobs, status)
    never = [key for key, end in late.items() if end == "not run"]
    lines = [f"Not run: {', '.join(never)}." if never else "Every measurement was begun.", ""]
    for key, end in late.items():
        if end != "not run":
            lines.append(f"- {key} {end}: {status[key].get('error', '')[:160]}")
    return [*lines, ""]


def _other_code(rows: Rows, status: dict[str, dict]) -> list[str]:
    """Jobs that were measured before the code was changed."""
    now = rows.machine.get("code")
    old = [key for key, row in status.items() if row["machine"].get("code") != now]
    return [f"Of other code than {now}: {', '.join(old)}.", ""] if old else []


def _choices(rows: Rows) -> list[str]:
    """Measured choices that differ from hubfast's own."""
    lines = []
    for attempt in latest(rows.comparable()).values():
        for row in attempt:
            choice = row.get("choice")
            if choice and choice["winner"] != "own":
                gain = row.get("gain")
                more = f", {gain:.2f} x faster" if gain else ""
                lines.append(f"- {choice['table']} {choice['key']}: {choice['value']}{more}")
    return ["Choices other than hubfast's own:", "", *lines, ""] if lines else []
