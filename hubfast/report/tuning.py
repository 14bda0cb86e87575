"""The report of a tuned model: quality, curves, confusion matrix, cost, and the ranking before."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hubfast.report.curves import curves
from hubfast.report.numbers import MISSING, clip, number, plural, whole
from hubfast.report.page import Section, render, write_page
from hubfast.report.pathway import pathway_sections
from hubfast.report.ranking import FEW_NOTES, ranking_sections
from hubfast.tuning import Tuned
from hubfast.tuning.measure import speed

MOST_CLASSES = 40  # a confusion matrix of more classes is not shown
WORST = 10  # confusions listed where there are more classes


def write_tuning(path: str | Path, tuned: Tuned) -> None:
    """Writes the report of a tuned model as one HTML file that loads nothing.

    Args:
        path: Path of the file, which is replaced if there is one.
        tuned: What `hubfast.tuning.tune` returned.

    Raises:
        OSError: The file cannot be written.
    """
    sections = [_result(tuned), *_notes(tuned), _curves(tuned)]
    for name, found in tuned.evaluations.items():
        if found.confusion is not None:
            sections.append(_confusion(name, found.confusion, tuned.labels.names))
    if tuned.pathways is not None:
        sections += pathway_sections(tuned.pathways)
    sections.append(_cost(tuned))
    if tuned.ranking is not None:
        for section in ranking_sections(tuned.ranking):
            title = {
                "Result": "Ranking result",
                "Time": "Ranking time",
                "Notes": "Ranking notes",
            }.get(section.title, section.title)
            sections.append(Section(title, section.body, f"hub-{section.id}"))
    title = f"{clip(tuned.models[0], 50)} tuned on {clip(tuned.data, 50) or 'unnamed data'}"
    write_page(path, title, sections, f"Method: {tuned.method}")


def _result(tuned: Tuned) -> Section:
    recipe = tuned.recipe
    facts = {
        "Method": tuned.method,
        "Models": ", ".join(tuned.models),
        "Outputs": f"{whole(tuned.labels.outputs)} ({tuned.labels.task})",
        **({} if tuned.size is None else {"Images": f"{tuned.size[0]} x {tuned.size[1]}"}),
        "Training": f"{plural(recipe.epochs, 'epoch')}, {plural(tuned.history.steps, 'step')}",
        "Recipe": f"{recipe.optimizer}, lr {recipe.lr or 0:g}, {recipe.schedule}, "
        f"batch {recipe.batch_size}, decay {recipe.weight_decay:g}, seed {recipe.seed}",
    }
    rows = [
        {
            "name": name,
            "metric": found.metric,
            "value": number(found.value, 4),
            "samples": whole(len(found.targets)),
        }
        for name, found in tuned.evaluations.items()
    ]
    body = render(
        "tuning_result.html",
        rows=rows,
        facts=facts,
        compared=_compared(tuned),
        warnings=tuned.not_worth_it,
    )
    return Section("Result", body, "result")


def _compared(tuned: Tuned) -> list[tuple[str, list[str]]]:
    """The tuned model and what needs no tuning, with their values in the order of `evaluations`."""
    if not tuned.baselines:
        return []
    rows = [("tuned", [number(found.value, 4) for found in tuned.evaluations.values()])]
    for each in tuned.baselines:
        values = [number(each.values.get(name), 4) for name in tuned.evaluations]
        rows.append((f"{each.name}, untouched features of {clip(each.model, 50)}", values))
    return rows


def _notes(tuned: Tuned) -> list[Section]:
    """The notes on the data; no section if there are none."""
    if not tuned.notes:
        return []
    body = render("notes.html", notes=tuned.notes, described=(), few=FEW_NOTES)
    return [Section("Notes", body, "tuning-notes")]


def _curves(tuned: Tuned) -> Section:
    history = tuned.history
    terms = history.terms
    total = [sum(step) for step in zip(*terms.values(), strict=True)]
    shown = {"loss": total, **terms} if len(terms) > 1 else {"loss": total}
    text = "Means of each epoch, on training batches."
    if len(terms) > 1:
        text += " The loss is the sum of its terms."
    body = curves(shown, x="epoch", y="loss", alt="Loss by epoch", caption=text)
    if history.metric:
        metric = next(iter(tuned.evaluations.values())).metric
        body += curves(
            {metric: history.metric},
            x="epoch",
            y=f"validation {metric}",
            alt=f"Validation {metric} by epoch",
            caption="On the validation part, which is not trained on. The last epoch's weights "
            "are the result: none were picked by this curve.",
        )
    return Section("Curves", body, "curves")


@dataclass(frozen=True)
class _Cell:
    count: str
    share: str  # share of the row, as CSS per cent
    right: bool


def _confusion(name: str, counts: Tensor, names: tuple[str, ...]) -> Section:
    title = f"Confusion matrix, {name}"
    table = [
        [
            _Cell(whole(n) if n else "", f"{100 * n / max(sum(row), 1):.0f}%", i == j)
            for j, n in enumerate(row)
        ]
        for i, row in enumerate(counts.tolist())
    ]
    wrong = counts.clone().fill_diagonal_(0)
    worst = [
        (names[int(at) // len(names)], names[int(at) % len(names)], whole(int(n)))
        for n, at in zip(*wrong.flatten().sort(descending=True, stable=True), strict=True)
        if n > 0
    ]
    body = render(
        "confusion.html",
        table=table if len(names) <= MOST_CLASSES else [],
        names=[clip(each, 24) for each in names],
        worst=worst[:WORST],
        right=whole(int(counts.trace())),
        total=whole(int(counts.sum())),
    )
    return Section(title, body, f"confusion-{name}")


def _cost(tuned: Tuned) -> Section:
    cost, memory = tuned.cost, tuned.cost.peak_memory
    sample = "image" if tuned.size is not None else "text"
    rows = {
        "Parameters of the tuned model": whole(cost.parameters),
        "Parameters held in training": whole(cost.train_parameters),
        f"Multiply-adds per {sample}": whole(cost.multiply_adds),
        "Speed of training": speed(cost.iterations_per_second, "step"),
        "Speed in use": speed(cost.samples_per_second, sample),
        "Memory that training took": MISSING if memory is None else f"{memory / 1e6:.0f} MB",
        **{f"Seconds to {stage}": _digits(value) for stage, value in tuned.seconds.items()},
    }
    return Section("Cost", render("tuning_cost.html", rows=rows), "cost")


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else whole(round(value))
