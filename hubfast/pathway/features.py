"""A frozen hub trains from features that its models computed once."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from hubfast.nn.hooks import eval_mode
from hubfast.ops import dispatch
from hubfast.ops.reference import Routes
from hubfast.pathway.executors import Outputs
from hubfast.pathway.models import HubModel, ResizedBatch
from hubfast.utils.progress import progress_bar


@torch.no_grad()
def cached_features(
    models: Iterable[HubModel], images: Iterable[Tensor], *, progress: bool = False
) -> list[Tensor]:
    """Features of every model on all images, `(N, width)` each, on the CPU.

    Args:
        models: `hub.models`. They run in eval mode.
        images: Batches `(b, 3, H, W)` in [0, 1], such as `images.split(64)`. Random augmentation
            would be that of this one pass.
        progress: Show a bar with the time left.

    Raises:
        TypeError: A model that has no separate head.
        ValueError: A model whose head on its features is not the model.
    """
    hub, batches = list(models), list(images)
    found: list[list[Tensor]] = [[] for _ in hub]
    with eval_mode(*hub), progress_bar(progress) as bars:
        task = bars.add_task("features of the hub", total=len(batches) * len(hub))
        for number, batch in enumerate(batches):
            sizes = ResizedBatch(batch)
            for model, parts in zip(hub, found, strict=True):
                seen = sizes.of(model.size)
                parts.append(model.features(seen).cpu())
                if not number:
                    _check(model, seen, parts[0].to(seen.device))
                bars.advance(task)
    return [torch.cat(parts) for parts in found]


def _check(model: HubModel, images: Tensor, features: Tensor) -> None:
    whole, split = model(images), model.head(features)
    if whole.shape != split.shape or not torch.allclose(whole, split, rtol=1e-3, atol=1e-4):
        raise ValueError(f"{model.name} must be its head on its features, to train from them")


def head_outputs(models: Sequence[HubModel], features: Sequence[Tensor], routes: Routes) -> Outputs:
    """What `loop` gives, from features `(B, width)` of each model."""
    if len(features) != len(models):
        raise ValueError(f"features must be of {len(models)} models, got {len(features)}")
    offsets = routes.offsets.tolist()
    outputs: Outputs = [None] * len(models)
    for m, (model, known) in enumerate(zip(models, features, strict=True)):
        if offsets[m] < offsets[m + 1]:
            rows = dispatch(known, routes, offsets[m], offsets[m + 1])
            outputs[m] = model.head(rows)
    return outputs
