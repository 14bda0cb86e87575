"""The terms of Hub-Pathway's loss (Shu et al., NeurIPS 2022).

Its abstract names them; their exact form and weights are not public, and are chosen here.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from hubfast.nn.collectives import mean_of_all, process_count
from hubfast.ops.reference import Routes

Entropy = Literal["batch", "sample"]


def task_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy for int64 targets (B,), mean squared error for float ones (B,) or (B, C)."""
    if not targets.is_floating_point():
        return cross_entropy(outputs, targets)
    return mse_loss(outputs, targets.to(outputs.dtype).view_as(outputs))


def exploration(routes: Routes, entropy: Entropy) -> Tensor:
    """How far the entropy of the pathways is from its maximum log M, in nats; 0 at the best.

    Args:
        routes: Pathways of the batch.
        entropy: `"batch"`: of the mean over the batch, which asks that all models are used and
            leaves each sample its choice; in several processes, over the whole batch of all.
            `"sample"`: of each sample, which also asks for equal gates.
    """
    most = math.log(routes.probabilities.shape[1])
    if entropy == "batch" and process_count() > 1:
        probabilities = routes.probabilities
        mean = mean_of_all(probabilities.mean(0), len(probabilities))
        mean = mean.clamp(min=torch.finfo(mean.dtype).tiny)
        return most + (mean * mean.log()).sum()
    return most - routes.entropy[{"sample": 0, "batch": 1}[entropy]]


def exploitation(own: Tensor, targets: Tensor, routes: Routes) -> Tensor:
    """Each model's own loss on the samples that chose it, mean over all (sample, model) pairs.

    Args:
        own: Logits of each row's model, `(B k, C)`.
        targets: Targets of the samples, `(B,)`.
        routes: Pathways of the batch.
    """
    samples = routes.order // routes.chosen.shape[1]
    return task_loss(own, targets.index_select(0, samples))
