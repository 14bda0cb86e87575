"""A tuned model and how it came about."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from hubfast.pathway import RoutingSurvey
from hubfast.ranking import Ranking
from hubfast.tuning.baselines import Baseline, not_worth_it
from hubfast.tuning.evaluation import Evaluation
from hubfast.tuning.framing import Framing, Size
from hubfast.tuning.history import History
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.measure import MethodCost
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.save import save_images
from hubfast.tuning.save_text import save_texts
from hubfast.utils.documents import write_json

FORMAT = "hubfast.Tuned/1"


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuned model and how it came about."""

    method: str
    module: nn.Module  # images (B, 3, H, W) in [0, 1], or a TextBatch, -> logits, in eval mode
    models: tuple[str, ...]  # the models that it was made of, best first
    data: str
    labels: TargetEncoder
    framing: Framing | None  # how images come to the size that the module takes; None for texts
    recipe: Recipe
    history: History
    evaluations: dict[str, Evaluation]  # quality by "validation" and "test"
    cost: MethodCost
    seconds: dict[str, float]  # time that each stage took
    ranking: Ranking | None
    pathways: RoutingSurvey | None = None  # where a Hub-Pathway sends the images
    notes: tuple[str, ...] = ()  # what was seen in the data, such as samples left out
    baselines: tuple[Baseline, ...] = ()  # quality of the best model, untouched

    @property
    def not_worth_it(self) -> tuple[str, ...]:
        """A sentence for each part of the data on which a baseline is as good; empty if none."""
        return not_worth_it(self.evaluations, self.baselines)

    @property
    def size(self) -> Size | None:
        """Height and width of the images that it was tuned on; None for texts."""
        return None if self.framing is None else self.framing.size

    def as_dict(self) -> dict[str, Any]:
        """Plain values of all but the module, its logits and the ranking."""
        evaluations = {
            part: {"metric": found.metric, "value": found.value, "samples": len(found.targets)}
            for part, found in self.evaluations.items()
        }
        return {
            "format": FORMAT,
            "method": self.method,
            "models": list(self.models),
            "data": self.data,
            "labels": self.labels.as_dict(),
            "size": None if self.size is None else list(self.size),
            "recipe": self.recipe.as_dict(),
            "evaluations": evaluations,
            "baselines": [asdict(each) for each in self.baselines],
            "not_worth_it": list(self.not_worth_it),
            "notes": list(self.notes),
            "cost": asdict(self.cost),
            "seconds": dict(self.seconds),
            "history": self.history.as_dict(),
        }

    def to_json(self, path: str | Path) -> None:
        """Writes the numbers, baselines and notes, as `as_dict` gives them."""
        write_json(path, self.as_dict())

    def save(self, folder: str | Path) -> None:
        """Writes the plain model and its card.

        See `hubfast.tuning.save.save_images` and `hubfast.tuning.save_text.save_texts`.

        Raises:
            OSError: The folder cannot be written.
        """
        if self.framing is None:
            save_texts(Path(folder), self.module, self.labels, self.as_dict())
        else:
            save_images(Path(folder), self.module, self.labels, self.framing, self.as_dict())
