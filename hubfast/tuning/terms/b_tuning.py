"""B-Tuning: the student predicts, through LogME's posterior means, what K teachers predict.

You, Liu, Wang, Jordan, Long: "Ranking and Tuning Pre-trained Models: A New Paradigm for
Exploiting Model Hubs", JMLR 2022, section 5.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubfast.tuning.objective import ForwardPass
from hubfast.utils.moved import renamed


def teacher_weights(scores: Sequence[float], temperature: float = 0.1) -> Tensor:
    """softmax(LogME / T), `(K,)` float64.

    Raises:
        ValueError: T is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return (torch.tensor(scores, dtype=torch.float64, device="cpu") / temperature).softmax(0)


def b_tuning(
    features: Tensor,
    means: Tensor,
    teachers: Sequence[Tensor],
    teacher_means: Sequence[Tensor],
    weights: Tensor,
) -> Tensor:
    """Mean over samples and outputs of `(M phi - sum_k pi_k M_k phi_k)^2`; a scalar.

    Nothing is learnt but the features: widths may all differ, predictions meet in C dimensions.

    Args:
        features: Features of the student, `(B, D)`.
        means: LogME's posterior means on the student's own pre-trained features, `(C, D)`.
        teachers: Features of K teachers, `(B, D_k)` each.
        teacher_means: LogME's posterior means on the teachers' features, `(C, D_k)` each.
        weights: pi, `(K,)`; see `teacher_weights`.
    """
    wanted = torch.stack(
        [
            weight * F.linear(x, mean)
            for weight, x, mean in zip(weights, teachers, teacher_means, strict=True)
        ]
    ).sum(0)
    return F.mse_loss(F.linear(features, means), wanted)


class BTuning(nn.Module):
    """The term `weight * b_tuning`; published with weight 100, K = 3 and T = 0.1.

    Args:
        means: `LogME.means` of the student, `(C, D)`.
        teachers: `Teachers` or `CachedTeachers` that give features.
        teacher_means: `LogME.means` of the teachers, `(C, D_k)` each.
        scores: LogME scores of the teachers.
        std: `(C,)`: predictions are compared in these units; None for classes.
    """

    @renamed(deviation="std")
    def __init__(
        self,
        means: Tensor,
        teachers: nn.Module,
        teacher_means: Sequence[Tensor],
        scores: Sequence[float],
        *,
        weight: float = 100.0,
        temperature: float = 0.1,
        std: Tensor | None = None,
    ):
        super().__init__()
        self.weight, self.teachers, self.count = weight, teachers, len(scores)
        unit = 1.0 if std is None else std[:, None]
        self.means: Tensor
        self.weights: Tensor
        self.register_buffer("means", (means / unit).float(), persistent=False)
        for k, mean in enumerate(teacher_means):
            self.register_buffer(f"means_{k}", (mean / unit).float(), persistent=False)
        weights = teacher_weights(scores, temperature).float()
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: ForwardPass) -> Tensor:
        teachers = self.teachers(batch.samples, batch.rows)
        means = [self.get_buffer(f"means_{k}") for k in range(self.count)]
        return self.weight * b_tuning(batch.features, self.means, teachers, means, self.weights)
