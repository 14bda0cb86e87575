"""The adapter of a model tuned by LoRA, and its folder as peft writes it."""

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hubfast.utils.extras import require

FOLDER = "adapter"
HEAD = "1"  # its name where it follows a model without a place for one
PREFIX = "base_model.model."  # of the names of weights in peft's files
ALPHA_BY_RANK = 2  # peft's lora_alpha for each unit of rank: updates count so many times


@dataclass(frozen=True, eq=False)
class Adapter:
    """Updates of low rank, apart from the model that they are for.

    Args:
        rank: Their rank.
        base: The model that they are for, as its user writes it.
        targets: Names of the layers that have one.
        whole: Names of the modules besides the head that were trained whole.
        place: Name of the head.
        weights: The updates, by their names in peft without prefix.
        trained: Number of trained parameters.
    """

    rank: int
    base: str
    targets: list[str]
    whole: list[str]
    place: str
    weights: dict[str, Tensor] = field(repr=False)
    trained: int

    def write(
        self,
        folder: Path,
        plain: nn.Module,
        *,
        removed: str = "",
        added: str = "",
        task: str | None = None,
    ) -> None:
        """Writes the folder that `peft.PeftModel.from_pretrained` reads, by peft itself.

        Args:
            folder: Made if it is not there.
            plain: The model for use, the head in its place; it is left as it is.
            removed: What names in `targets` begin with that names in `plain` do not.
            added: What names in `plain` begin with that names in `targets` do not.
            task: peft's type of the task, such as "SEQ_CLS"; None for other models.
        """
        peft: Any = require("peft", "lora", "writing an adapter")

        def own(name: str) -> str:
            return added + name.removeprefix(removed)

        whole = [own(name) for name in outermost([*self.whole, self.place])]
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=ALPHA_BY_RANK * self.rank,
            target_modules=[own(name) for name in self.targets],
            modules_to_save=whole if self.place else [*whole, HEAD],
            task_type=task,
        )
        model: Any = copy.deepcopy(plain)
        kind = peft.PeftModel if task is None else peft.PeftModelForSequenceClassification
        wrapped = kind(model, config)
        config.base_model_name_or_path = self.base
        weights = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
        weights |= {PREFIX + own(name): value for name, value in self.weights.items()}
        peft.set_peft_model_state_dict(wrapped, weights)
        wrapped.save_pretrained(folder, save_embedding_layers=False)


def outermost(names: list[str]) -> list[str]:
    """The modules of these names that lie in none of the others."""
    inside = tuple(f"{name}." for name in names if name)
    return [name for name in dict.fromkeys(names) if name and not name.startswith(inside)]
