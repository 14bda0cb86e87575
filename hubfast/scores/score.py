"""The record of a score: all that hubfast knows of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from hubfast.scores.fitted import FittedScore
from hubfast.scores.inputs import Task

Needs = Literal["statistics", "samples", "logits", "labels", "prompts", "nothing"]

# How a score goes on to change as samples double: see `hubfast.ranking.estimates.change_left`.
# Decided by how well it foretold the scores of 2,048 samples from fewer: docs/racing.md.
Growth = Literal["slow", "inverse", "late", "none"]

ANY_TASK: tuple[Task, ...] = get_args(Task)
CLASSES: tuple[Task, ...] = ("classification",)
NATS = "nats per sample"


def always_speaks(count: int, width: int) -> str:
    """No reason: the score tells models apart whatever the shape of their features is."""
    return ""


@dataclass(frozen=True)
class Score:
    """One score, defined in its own file and listed in `hubfast.scores.registry`.

    What `fit` takes follows from `needs`, and every `fit` returns a `FittedScore`:

    - `"statistics"`: `fit(stats)`, a FeatureStatistics;
    - `"samples"`: `fit(features, targets)`, and `task=` if the score is for more than classes;
    - `"logits"`: `fit(probabilities, targets)` of the source classifier;
    - `"labels"`: `fit(source_labels, targets)`, its most likely classes;
    - `"prompts"`: `fit(probabilities, targets)` of prompts that name the classes of the targets;
    - `"nothing"`: `fit(parameters=..., imagenet=...)`, what is known of the model itself.

    Attributes:
        name: What users call it: `metric="knn"`.
        title: What tables and reports call it: `k-NN`.
        unit: What axes show beside the title; empty if it has none.
        range: In the words of docs/scores/index.md.
        tasks: The tasks that it is for.
        needs: What it is computed from.
        fit: Computes it.
        meaning: HTML for reports: what the score is, its unit and bounds, and when it misleads.
        source: HTML for reports: the paper that it is from.
        silence: Gives, for n samples and width D, why scores of this shape are the same for every
            model; empty where they are not.
        page: The page in docs/scores that explains it; by default that of its name.
        growth: How it goes on to change with the number of samples, which a race allows for:
            `"slow"` for all that is not known to be simpler.
        labels: Whether it looks at the targets.
        leaves_out: Whether it leaves samples out, and so is told which belong together: `fit` then
            takes `clusters=`, and gives all samples of one the influence of the whole.
    """

    name: str
    title: str
    unit: str
    range: str
    tasks: tuple[Task, ...]
    needs: Needs
    fit: Callable[..., FittedScore]
    meaning: str
    source: str
    silence: Callable[[int, int], str] = always_speaks
    page: str = ""
    growth: Growth = "slow"
    labels: bool = True
    leaves_out: bool = False

    @property
    def needs_source(self) -> bool:
        """Whether it is computed from a classifier's outputs, not from features."""
        return self.needs in ("logits", "labels", "prompts")

    def fit_samples(
        self, features: Any, targets: Any, task: Task, clusters: Tensor | None = None
    ) -> FittedScore:
        """`fit` of a score that needs samples, for a task that it is for."""
        options: dict[str, Any] = {} if self.tasks == CLASSES else {"task": task}
        if self.leaves_out:
            options["clusters"] = clusters
        return self.fit(features, targets, **options)

    def says_nothing(self, count: int, width: int) -> str | None:
        """Why the score says nothing for features of this shape; None where it tells models apart.

        Where it says so, equal or nearly equal scores are no order of the models.

        Args:
            count: How many samples the score is of.
            width: The width of the features.
        """
        why = self.silence(count, width)
        if not why:
            return None
        return f"{self.name} says nothing for n = {count} samples of width D = {width}: {why}"
