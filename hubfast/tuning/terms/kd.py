"""Knowledge distillation: from teachers' features, or from their predictions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubfast.tuning.objective import ForwardPass
from hubfast.utils.moved import renamed, renamed_attributes


def kd(features: Tensor, teachers: Sequence[Tensor], projections: Sequence[nn.Module]) -> Tensor:
    """`1/B sum_i 1/K sum_k |phi_k(x_i) - W_k phi(x_i)|^2`; a scalar.

    Feature distillation as the baseline of You, Liu, Wang, Jordan, Long: "Ranking and Tuning
    Pre-trained Models", JMLR 2022.

    Args:
        features: Features of the student, `(B, D)`.
        teachers: Features of K teachers, `(B, D_k)` each.
        projections: The modules W_k, each `(B, D) -> (B, D_k)`.
    """
    distances = [
        (target - project(features)).square().sum(1).mean()
        for target, project in zip(teachers, projections, strict=True)
    ]
    return torch.stack(distances).mean()


class KD(nn.Module):
    """The term `weight * kd`, with learnable bias-free W_k.

    Args:
        width: Width D of the student's features.
        widths: Widths D_k of the teachers' features.
        teachers: `Teachers` or `CachedTeachers` that give features.
    """

    def __init__(self, width: int, widths: Sequence[int], teachers: nn.Module, weight: float):
        super().__init__()
        self.weight, self.teachers = weight, teachers
        self.projections = nn.ModuleList(nn.Linear(width, each, bias=False) for each in widths)

    def forward(self, batch: ForwardPass) -> Tensor:
        targets = self.teachers(batch.samples, batch.rows)
        return self.weight * kd(batch.features, targets, list(self.projections))


def soft_targets(logits: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """`T^2 KL(teacher || student)` of softened predictions `(B, C)`, mean over B; a scalar.

    Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network", 2015.
    """
    log_student = (logits / temperature).log_softmax(1)
    log_teacher = (teacher / temperature).log_softmax(1)
    divergence = F.kl_div(log_student, log_teacher, log_target=True, reduction="batchmean")
    return temperature**2 * divergence


@renamed_attributes(deviation="std")
class SoftTargets(nn.Module):
    """The term `weight * soft_targets`, teachers being one tuned method (or cached).

    For regression, where there is nothing to soften: mean squared error in units of `std`.
    """

    @renamed(deviation="std")
    def __init__(
        self,
        teachers: nn.Module,
        weight: float = 1.0,
        temperature: float = 2.0,
        std: Tensor | None = None,
    ):
        super().__init__()
        self.teachers, self.weight, self.temperature = teachers, weight, temperature
        self.std: Tensor | None
        self.register_buffer("std", std, persistent=False)

    def forward(self, batch: ForwardPass) -> Tensor:
        (teacher,) = self.teachers(batch.samples, batch.rows)
        if self.std is not None:
            return self.weight * ((batch.logits - teacher) / self.std).square().mean()
        return self.weight * soft_targets(batch.logits, teacher, self.temperature)
