"""The one small training loop of the mini-hub: pre-training and fine-tuning."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hubfast.utils.extras import slow_import
from hubfast.utils.moved import moved

__getattr__ = moved(
    "hubfast.minihub.training", {"Recipe": "hubfast.minihub.training.PretrainingRecipe"}
)

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class PretrainingRecipe:
    """AdamW under a one-cycle schedule, all parameters trained."""

    epochs: int
    lr: float  # the peak of the schedule
    batch_size: int = 64
    weight_decay: float = 0.05


def prepare(model: nn.Module, images: np.ndarray) -> Tensor:
    """`images` (n, H, W, 3) uint8 in the model's own preprocessing, (n, 3, h, w) float32."""
    data = slow_import("timm.data")
    transform = data.create_transform(**data.resolve_model_data_config(model), is_training=False)
    return torch.stack([transform(Image.fromarray(image)) for image in images])


def train(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    kind: Kind,
    recipe: PretrainingRecipe,
    seed: int,
    advance: Callable[[], object] = lambda: None,
) -> None:
    """Trains `model` in place, the same way for the same seed.

    Args:
        model: Maps (b, 3, h, w) to logits, or (b, 1) for regression.
        inputs: `(n, 3, h, w)`.
        targets: `(n,)` int64 classes or float values.
        kind: Cross-entropy, or mean squared error.
        recipe: How long it trains, and how fast.
        seed: Seeds the order of samples and dropout.
        advance: Called after each epoch.
    """
    torch.manual_seed(seed)
    batches = max(1, len(inputs) // recipe.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=recipe.epochs * batches
    )
    model.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(inputs), device=inputs.device)
        for index in order.tensor_split(batches):
            out = model(inputs[index])
            if kind == "classification":
                loss = nn.functional.cross_entropy(out, targets[index], label_smoothing=0.05)
            else:
                loss = nn.functional.mse_loss(out[:, 0], targets[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        advance()
    model.eval()


@torch.inference_mode()
def quality(model: nn.Module, inputs: Tensor, targets: Tensor, kind: Kind) -> float:
    """Accuracy, or R^2 for regression, of `model` in eval mode."""
    model.eval()
    out = torch.cat([model(batch) for batch in inputs.split(256)])
    if kind == "classification":
        return float((out.argmax(1) == targets).double().mean())
    error = (out[:, 0] - targets).double().square().mean()
    return float(1 - error / targets.double().var(correction=0))
