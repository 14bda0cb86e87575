"""A tuned model and how it came about."""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hubfast.pathway import Survey
from hubfast.ranking import Ranking
from hubfast.tuning.baselines import Baseline, not_worth_it
from hubfast.tuning.evaluation import Evaluation
from hubfast.tuning.framing import Framing, Size
from hubfast.tuning.history import History
from hubfast.tuning.labels import Labels
from hubfast.tuning.measure import Cost
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.record import as_record
from hubfast.tuning.save import save_model


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned model and how it came about."""

    method: str
    module: nn.Module  # pictures (B, 3, H, W) in [0, 1] -> logits, in eval mode
    models: tuple[str, ...]  # that it was made of, best first
    data: str
    labels: Labels
    framing: Framing  # how images come to the size that the module takes
    recipe: Recipe
    history: History
    evaluations: dict[str, Evaluation]  # by "validation" and "test"
    cost: Cost
    seconds: dict[str, float]  # by stage
    ranking: Ranking | None
    pathways: Survey | None = None  # of Hub-Pathway: where it sends the pictures
    notes: tuple[str, ...] = ()  # on the data: samples left out, classes without samples
    baselines: tuple[Baseline, ...] = ()  # of the untouched best model, on the same samples

    @property
    def not_worth_it(self) -> tuple[str, ...]:
        """A sentence for each part of the data on which a baseline is as good; empty if none."""
        return not_worth_it(self.evaluations, self.baselines)

    @property
    def size(self) -> Size:
        """Height and width of the images that it was tuned on."""
        return self.framing.size

    def to_json(self, path: str | Path) -> None:
        """Writes the numbers, baselines and notes; see `hubfast.tuning.record`."""
        Path(path).write_text(json.dumps(as_record(self), indent=2) + "\n")

    def save(self, folder: str | Path) -> None:
        """Writes the plain model and its card; see `hubfast.tuning.save`."""
        export: Any = getattr(self.module, "export", None)
        save_model(Path(folder), copy.deepcopy(self.module) if export is None else export(), self)
