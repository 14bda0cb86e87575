"""The report of a ranking."""

from pathlib import Path

from markupsafe import Markup

from hubfast.ranking.result import Ranking
from hubfast.report.depth import score_by_depth
from hubfast.report.figures import cost_figures, extra_figure
from hubfast.report.foreseen import foreseen
from hubfast.report.metrics import side_by_side
from hubfast.report.numbers import MISSING, clip, number, plural, whole
from hubfast.report.page import Section, render, write_page
from hubfast.report.race import RaceCourse, course_of
from hubfast.report.race_figure import race_figure
from hubfast.report.rows import (
    STAGES,
    all_seconds,
    interval,
    score_places,
    score_scale,
    table_rows,
    telling,
    time_parts,
    time_rows,
)
from hubfast.report.steps import next_steps
from hubfast.report.titles import metric_axis, metric_title, title_of
from hubfast.scores.registry import SCORES

EXPECTED = dict.fromkeys(("classification", "multilabel"), "Expected accuracy") | {
    "regression": "Expected R\N{SUPERSCRIPT TWO}"
}
FEW_NOTES = 3  # as many notes need no folding


def write_ranking(path: str | Path, ranking: Ranking) -> None:
    """Writes the report of a ranking as one HTML file that loads nothing.

    Args:
        path: The HTML file, replaced if there is one.
        ranking: The ranking that `hubfast.rank` returns.

    Raises:
        TypeError: `ranking` is no Ranking.
        OSError: The file cannot be written.
    """
    sections = ranking_sections(ranking)
    by = metric_title(ranking)
    if ranking.metrics:
        by = f"the {by.lower()} of {', '.join(map(title_of, ranking.metrics))}"
    subtitle = f"By {by}, without fine-tuning any of them"
    title = (
        f"Ranking of {plural(len(ranking), 'model')} for {clip(ranking.data, 60) or 'unnamed data'}"
    )
    write_page(path, title, sections, subtitle)


def ranking_sections(ranking: Ranking) -> list[Section]:
    """The sections of `write_ranking`, for a page that holds more.

    Those without content are left out: figures without scored models, failures without any.
    """
    if not isinstance(ranking, Ranking):
        raise TypeError(f"ranking must be a Ranking, got {type(ranking).__name__}")
    sections = [_result(ranking)]
    if ranking.scored:
        sections.append(_table(ranking))
        if ranking.metrics:
            sections.append(side_by_side(ranking))
        sections += score_by_depth(ranking)
        sections += _race(ranking)
    sections += _notes(ranking)
    if ranking.ranked:
        sections.append(next_steps(ranking))
    if telling(ranking):
        sections += _figures(ranking)
    if all_seconds(ranking) > 0:
        sections.append(_time(ranking))
    if ranking.failed:
        body = render("failures.html", failed=ranking.failed, scored=len(ranking.scored))
        sections.append(Section("Failures", body, "failures"))
    names = [(name, title_of(name)) for name in (ranking.metric, *ranking.metrics)]
    body = render("meaning.html", metrics=names, scores=SCORES)
    plural_s = "s mean" if ranking.metrics else " means"
    sections.append(Section(f"What the score{plural_s}", body, "meaning"))
    return sections


def _result(ranking: Ranking) -> Section:
    scored, ranked, places = ranking.scored, ranking.ranked, score_places(ranking)
    best = ranked[0] if ranked else None
    ends = interval(best) if best else None
    facts = {
        "Data": ranking.data or MISSING,
        "Task": ranking.task,
        "Samples": whole(ranking.samples),
        "Classes": whole(ranking.classes),
        "Models with a score": f"{whole(len(scored))} of {whole(len(ranking))}",
        "Time": _duration(all_seconds(ranking)),
    }
    body = render(
        "result.html",
        best=best,
        metric=metric_title(ranking),
        score=number(best.score, places) if best else MISSING,
        interval=[number(end, places) for end in ends] if ends else None,
        scored=len(scored),
        ranked=len(ranked),
        failed=len(ranking.failed),
        equal=ranking.places.count(1) - 1,
        ties=sum(m.tied for m in ranked[1:]),
        bounded=all(interval(m) is not None for m in ranked),
        silences=ranking.silences(),
        notes=len(ranking.notes),
        facts=facts,
        foreseen=foreseen(best, ranking.task) if best else "",
        race=ranking.race,
        models=len(ranking),
        surely=_tight("" if ranking.race is None else ranking.race.surely),
        lines=[] if ranking.race is None else [*ranking.race.ending, ranking.race.share],
        names=[m.name for m in ranked],
        undecided=len(ranking.undecided),
        course=_course(ranking) is not None,
    )
    return Section("Result", body, "result")


def _notes(ranking: Ranking) -> list[Section]:
    """What should be known of the data, and what the hub file says of its models."""
    described = [m for m in ranking if m.note or m.licence]
    if not described and not ranking.notes:
        return []
    body = render("notes.html", notes=ranking.notes, described=described, few=FEW_NOTES)
    return [Section("Notes", body, "notes")]


def _table(ranking: Ranking) -> Section:
    rows = table_rows(ranking)
    body = render(
        "ranking.html",
        rows=rows,
        digits=max(len(text) for row in rows for text in (row.low, row.high)),
        scale=score_scale(ranking),
        metric=metric_title(ranking),
        expected=EXPECTED[ranking.task] if any(m.expected for m in ranking.scored) else "",
        extra=list(ranking.extra),
        ties=sum(m.tied for m in ranking.scored),
        race=ranking.race is not None,
        samples=whole(ranking.samples),
        share=_tight("" if ranking.race is None else ranking.race.share),
    )
    return Section("Ranking", body, "ranking")


def _race(ranking: Ranking) -> list[Section]:
    """What the race knew at each look, if there was one that knew anything."""
    course = _course(ranking)
    if ranking.race is None or course is None:
        return []
    return [Section("The race", race_figure(course, ranking.race, metric_axis(ranking)), "race")]


def _course(ranking: Ranking) -> RaceCourse | None:
    return None if ranking.race is None else course_of(ranking.race)


def _figures(ranking: Ranking) -> list[Section]:
    sections = []
    if drawn := cost_figures(ranking):
        ties = sum(m.tied for m in ranking.scored)
        bars = any(interval(m) for m in ranking.scored)
        key = render("cost_key.html", ties=ties, bars=bars, race=ranking.race is not None)
        sections.append(Section("Score against cost", Markup("\n").join([key, *drawn]), "cost"))
    for position, title in enumerate(ranking.extra, 1):
        id = f"extra-{position}"
        body = extra_figure(ranking, title, id)
        sections.append(Section(f"Score against {clip(title, 60) or 'unnamed column'}", body, id))
    return sections


def _time(ranking: Ranking) -> Section:
    total = all_seconds(ranking)
    floor = ranking.reading + sum(m.seconds.forward for m in ranking)
    body = render(
        "time.html",
        rows=time_rows(ranking),
        parts=time_parts(ranking),
        stages=STAGES,
        total=_duration(total),
        floor=floor / total,
        race=ranking.race is not None,
    )
    return Section("Time", body, "time")


def _tight(text: str) -> str:
    """The same without a line break before %."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def _duration(seconds: float) -> str:
    if seconds <= 0:
        return MISSING
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
