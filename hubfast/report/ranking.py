"""The report of a ranking."""

import math
from pathlib import Path

from hubfast.ranking.table import Ranking
from hubfast.report.figures import cost_figures, extra_figure
from hubfast.report.numbers import MISSING, finite, number, plural, whole
from hubfast.report.page import Section, render, write_page
from hubfast.report.rows import (
    interval,
    score_places,
    score_scale,
    table_rows,
    time_rows,
)
from hubfast.report.titles import metric_title, metric_unit


def write_ranking(path: str | Path, ranking: Ranking) -> None:
    """Writes the report of a ranking as one HTML file that loads nothing.

    Args:
        path: Of the file, replaced if there is one.
        ranking: As `hubfast.rank` returns it.

    Raises:
        TypeError: Not a Ranking.
        OSError: The file cannot be written.
    """
    sections = ranking_sections(ranking)
    subtitle = f"By {metric_title(ranking)}, without fine-tuning any of them"
    title = f"{plural(len(ranking), 'model')} ranked for {ranking.data or 'unnamed data'}"
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
        sections += _figures(ranking)
    if rows := time_rows(ranking):
        sections.append(_time(ranking, rows))
    if ranking.failed:
        body = render("failures.html", failed=ranking.failed)
        sections.append(Section("Failures", body, "failures"))
    body = render("meaning.html", metric=ranking.metric, title=metric_title(ranking))
    sections.append(Section("What the score means", body, "meaning"))
    return sections
