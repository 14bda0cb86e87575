"""How the outputs of the chosen models become one answer.

All are linear up to the last step, so each model's share is computed from its own rows, and a model
that was not chosen costs nothing: what a layer on M concatenated outputs, zeros for the others,
would give.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hubfast.ops import combine
from hubfast.ops.reference import Routes
from hubfast.pathway.models import HubModel

Aggregation = Literal["linear", "sum", "features"]
Outputs = Sequence[Tensor | None]  # of each model, (rows, width); None without rows


def aggregator_of(kind: Aggregation, models: Sequence[HubModel], classes: int | None) -> nn.Module:
    """The aggregator of that kind for these models.

    Args:
        kind: `"linear"`, `"sum"` or `"features"`.
        models: Timm's tell their widths.
        classes: C; None: what the models' heads give.

    Raises:
        ValueError: Unknown kind, or models that do not tell their width, or disagree in it.
    """
    if kind not in ("linear", "sum", "features"):
        raise ValueError(f"aggregator must be linear, sum or features, got {kind!r}")
    if kind == "features":
        if classes is None:
            raise ValueError("classes must be given for the head of aggregator 'features'")
        return FeatureAggregator([_width(m, "num_features") for m in models], classes)
    if classes is None:
        found = {_width(m, "num_classes") for m in models}
        if len(found) > 1:
            raise ValueError(f"models must have heads of one width, got {sorted(found)}")
        (classes,) = found
    return SumAggregator(classes) if kind == "sum" else LinearAggregator(len(models), classes)


def _width(model: HubModel, attribute: str) -> int:
    found = getattr(model.module, attribute, None)
    if attribute == "num_features":  # of some timm models the head sees another number
        found = getattr(model.module, "head_hidden_size", found)
    if not isinstance(found, int):
        raise ValueError(f"{model.name} must have {attribute}, its width, or classes be given")
    return found


class SumAggregator(nn.Module):
    """The gates' weighted sum of the models' logits."""

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes

    def forward(self, outputs: Outputs, routes: Routes) -> tuple[Tensor, Tensor]:
        """Logits of the hub `(B, C)`, and of each row's own model `(B k, C)`."""
        own = torch.cat([checked(x, self.classes) for x in outputs if x is not None])
        return combine(own, routes.gates, routes.position), own


class LinearAggregator(nn.Module):
    """A linear layer on the concatenated weighted logits of all models, zeros where not chosen.

    Starts as the weighted sum. Its size, M C x C + C, is that of the published parameter count.

    Args:
        models: M, how many there are.
        classes: C, how many logits each gives.
    """

    def __init__(self, models: int, classes: int):
        super().__init__()
        self.models, self.classes = models, classes
        self.linear = nn.Linear(models * classes, classes)
        with torch.no_grad():
            self.linear.weight.copy_(
                torch.eye(classes, device=self.linear.weight.device).repeat(1, models)
            )
            self.linear.bias.zero_()

    def forward(self, outputs: Outputs, routes: Routes) -> tuple[Tensor, Tensor]:
        """Logits of the hub `(B, C)`, and of each row's own model `(B k, C)`."""
        blocks = self.linear.weight.split(self.classes, dim=1)
        chosen = [(x, w) for x, w in zip(outputs, blocks, strict=True) if x is not None]
        rows = [nn.functional.linear(checked(x, self.classes), w) for x, w in chosen]
        combined = combine(torch.cat(rows), routes.gates, routes.position)
        return combined + self.linear.bias, torch.cat([x for x, _ in chosen])


class FeatureAggregator(nn.Module):
    """A weighted sum of the models' features, projected to one width, and one head on it.

    Args:
        widths: Widths of the models' features.
        classes: How many outputs the head has.
        width: Width of the projections.
    """

    def __init__(self, widths: Sequence[int], classes: int, width: int = 256):
        super().__init__()
        self.classes = classes
        self.projections = nn.ModuleList(nn.Linear(own, width) for own in widths)
        self.head = nn.Linear(width, classes)

    def forward(self, outputs: Outputs, routes: Routes) -> tuple[Tensor, Tensor]:
        """Logits of the hub `(B, C)`, and those that each row's model has alone `(B k, C)`."""
        pairs = zip(self.projections, outputs, strict=True)
        rows = torch.cat([project(x) for project, x in pairs if x is not None])
        return self.head(combine(rows, routes.gates, routes.position)), self.head(rows)


def checked(outputs: Tensor, classes: int) -> Tensor:
    """The outputs, if each row holds one logit per class.

    Raises:
        ValueError: The rows do not.
    """
    if outputs.ndim != 2 or outputs.shape[1] != classes:
        raise ValueError(
            f"models must give logits (rows, {classes}), got {tuple(outputs.shape)}; "
            "give timm models the heads with classes=..."
        )
    return outputs
