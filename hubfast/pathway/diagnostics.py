"""Whether the hub collapses onto few of its models: load, entropy, and their course."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hubfast.ops.reference import Routes

LOAD = "load"  # before a slash and a model's name: its share of the samples


def balance(routes: Routes) -> dict[str, float]:
    """Numbers to log of a batch's pathways.

    Returns:
        `load_cv`: standard deviation over mean of the models' rows, 0 when equal.
        `largest_share`: share of the samples that run on the busiest model; k / M when equal, 1 at
        collapse.
        `entropy`, `entropy_of_mean`: in nats, of the samples' probabilities and of their mean.
    """
    counts = routes.counts.double()
    samples = max(len(routes.chosen), 1)
    each, mean = routes.entropy.tolist()
    return {
        "load_cv": float(counts.std(correction=0) / counts.mean().clamp(min=1e-12)),
        "largest_share": float(counts.max() / samples),
        "entropy": each,
        "entropy_of_mean": mean,
    }


class LoadHistory:
    """Which share of the samples each model took, step after step.

    Args:
        names: Names of the models.
    """

    def __init__(self, names: Sequence[str]):
        self.names = list(names)
        self._counts: list[Tensor] = []
        self._samples: list[int] = []

    def add(self, routes: Routes | None) -> None:
        """Notes the pathways of a step, `hub.routes`; on a GPU without waiting for it."""
        if routes is None:
            raise ValueError("routes must be those of a batch; the hub has not run yet")
        self._counts.append(routes.counts)
        self._samples.append(len(routes.chosen))

    def __len__(self) -> int:
        return len(self._counts)

    def shares(self, points: int = 60) -> Tensor:
        """Shares `(p, models)` of at most so many stretches of equally many steps; rows sum to k.

        Raises:
            ValueError: Nothing was noted.
        """
        if not self._counts:
            raise ValueError("the history has no steps; add(hub.routes) after each")
        counts = torch.stack(self._counts).double().cpu()
        samples = torch.tensor(self._samples, dtype=torch.float64, device="cpu")
        parts = min(points, len(counts))
        stretches = zip(counts.tensor_split(parts), samples.tensor_split(parts), strict=True)
        return torch.stack([count.sum(0) / taken.sum() for count, taken in stretches])
