"""Whether models come from one ancestor: only then do their weights mean the same.

Networks that were trained apart have no channels in common, so that a mean of their weights is no
network. What was trained further keeps most of the direction of the weights that it began with.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

# By benchmarks/ancestry.py medians of cosines are below 0.005 for models from different random
# starts, 0.52 to 0.75 for models trained apart from the same random start, and 0.98 to 1 for
# models that were trained on from one.
RELATED = 0.3
FEWEST = 64  # weights of a tensor that says something


@torch.no_grad()
def kinship(models: Sequence[nn.Module]) -> Tensor:
    """How alike the weights of each two models are: `(M, M)` float64, 1 for the same weights.

    It is the median, over the tensors of weights that both have with the same name and shape, of
    their cosine. So it stays near 1 where a few layers were drawn anew, and is near 0 for models
    that were trained apart. Norms, biases and heads of other shapes do not count.

    Args:
        models: At least one; those of other architectures have few or no tensors in common.
    """
    weights = [dict(_weights(model)) for model in models]
    found = torch.eye(len(models), dtype=torch.float64, device="cpu")
    for i, a in enumerate(weights):
        for j, b in enumerate(weights[:i]):
            found[i, j] = found[j, i] = _median_cosine(a, b)
    return found


@torch.no_grad()
def strangers(models: Sequence[nn.Module], names: Sequence[str]) -> str:
    """A sentence that names models without a common ancestor; empty if all have one.

    Args:
        models: Modules of one architecture, the first of which the others are compared with.
        names: What they are called.
    """
    first = dict(_weights(models[0]))
    alike = [1.0, *(_median_cosine(first, dict(_weights(model))) for model in models[1:])]
    others = [name for name, x in zip(names, alike, strict=True) if x < RELATED]
    if not others:
        return ""
    return (
        f"{', '.join(others)} and {names[0]} seem to have no common ancestor (median cosine of "
        f"their weights {min(alike):.2f}, {RELATED} is wanted): a mean of their weights "
        "means little; models that were trained on from the same weights go together"
    )


def _weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in model.named_parameters():
        if value.ndim > 1 and value.numel() >= FEWEST:
            yield name, value.detach().flatten().double().cpu()


def _median_cosine(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """0 where there is nothing to compare."""
    both = [(a[name], b[name]) for name in a if name in b and a[name].shape == b[name].shape]
    cosines = [cosine_similarity(x, y, dim=0) for x, y in both]
    return float(torch.stack(cosines).median()) if cosines else 0.0
