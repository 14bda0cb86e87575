"""Knowledge Flow: teachers' feature maps flow into the student's, ever less as training goes on.

Liu, Peng, Schwing: "Knowledge Flow: Improve Upon Your Teachers", ICLR 2019.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hubfast.nn.collectives import mean_of_all
from hubfast.nn.hooks import eval_mode
from hubfast.tuning.objective import TaskLoss
from hubfast.tuning.pretrained import TransferModel
from hubfast.tuning.teachers import Teachers
from hubfast.tuning.terms.delta import feature_maps

STAGES = 4  # the last ones of a network that are used: a ResNet has so many


class KnowledgeFlow(nn.Module):
    """A student whose stages add 1x1-convolved maps of frozen teachers; alone in eval mode.

    After stage l: `h = own + s sum_k Q_kl teacher_k`. The paper's scalar mixing weights are
    absorbed in the bias-free Q. What makes the student independent is the paper's dependence
    loss, here the share of the teachers' part in the energy of h, whose weight grows with
    training, and the schedule `s = 1 - steps taken / steps`: the loss alone needs more steps than
    a scarce task has. Q starts at zero, so that the student starts as it was pre-trained.

    Args:
        student: The model to tune.
        teachers: Models that are frozen; only their bodies run.
        task: The task loss.
        example: A batch of images, to learn the widths of the stages.
        steps: Training steps until the student stands alone.
        dependence: Weight of the dependence loss at the end.

    Raises:
        ValueError: A model is not timm's, or its stages give no maps `(B, C, H, W)`.
    """

    def __init__(
        self,
        student: TransferModel,
        teachers: Sequence[TransferModel],
        task: TaskLoss,
        example: Tensor,
        steps: int,
        dependence: float = 1.0,
    ):
        super().__init__()
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.student, self.task = student, task
        for teacher in teachers:
            teacher.head = nn.Identity()  # type: ignore[assignment]
        self.teachers = Teachers(teachers)
        self.stages = stage_names(student.model)
        self.teacher_stages = [stage_names(teacher.model) for teacher in teachers]
        widths = _widths(student, self.stages, example)
        self.flows = nn.ModuleList()
        for teacher, names in zip(teachers, self.teacher_stages, strict=True):
            pairs = zip(_widths(teacher, names, example), widths, strict=True)
            self.flows.append(nn.ModuleList(nn.Conv2d(a, b, 1, bias=False) for a, b in pairs))
        for flow in self.flows.parameters():
            nn.init.zeros_(flow)
        self.steps, self.dependence = steps, dependence
        self.taken: Tensor
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))
        self._energy: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Logits: of the student with its teachers in training, of the student alone in eval."""
        if not self.training:
            return self.student(images)
        with self._flowing(images, 1 - self.taken / self.steps):
            return self.student(images)

    def losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """`task`, and `dependence` in training."""
        task = self.task(self(images), targets)
        if not self.training:
            return {"task": task}
        progress = self.taken / self.steps
        dependence = torch.stack(self._energy).mean()
        self.taken += 1
        return {"task": task, "dependence": self.dependence * progress * dependence}

    @property
    def deployed(self) -> nn.Module:
        """What is used in the end: the student."""
        return self.student

    def export(self) -> nn.Module:
        """The plain student; see `TransferModel.export`."""
        return self.student.export()

    @contextmanager
    def _flowing(self, images: Tensor, share: Tensor) -> Iterator[None]:
        """Makes the student's stages add what flows in from the teachers."""
        maps = self._teacher_maps(images)
        self._energy = []

        def mixer(level: int) -> Any:
            def mix(module: nn.Module, given: Any, own: Tensor) -> Tensor:
                added = torch.zeros_like(own)
                for flow, levels in zip(self.flows, maps, strict=True):
                    moved = flow[level](levels[level])  # type: ignore[index]
                    if moved.shape[-2:] != own.shape[-2:]:
                        moved = F.interpolate(moved, own.shape[-2:], mode="bilinear")
                    added = added + share * moved
                energies = torch.stack([added.square().mean(), own.square().mean()])
                flowing, kept = mean_of_all(energies, len(own))
                self._energy.append(flowing / (flowing + kept).clamp(min=1e-12))
                return own + added

            return mix

        model = self.student.model
        hooks = [
            model.get_submodule(name).register_forward_hook(mixer(level))
            for level, name in enumerate(self.stages)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _teacher_maps(self, images: Tensor) -> list[list[Tensor]]:
        found = []
        for teacher, names in zip(self.teachers.models, self.teacher_stages, strict=True):
            assert isinstance(teacher, TransferModel)
            with feature_maps(teacher.model, names) as maps:
                teacher.features(images)
            found.append([maps[name] for name in names])
        return found


def stage_names(model: nn.Module) -> list[str]:
    """Names of the modules that end the last stages of a timm model, at most STAGES.

    Raises:
        ValueError: The model does not say (timm's `feature_info`).
    """
    info: Any = getattr(model, "feature_info", None)
    if not info:
        raise ValueError(f"model must have timm's feature_info, got {type(model).__name__}")
    return [stage["module"] for stage in list(info)[-STAGES:]]


@torch.no_grad()
def _widths(model: TransferModel, names: Sequence[str], example: Tensor) -> list[int]:
    with eval_mode(model), feature_maps(model.model, names) as maps:
        model.features(example)
    for name in names:
        if maps[name].ndim != 4:
            raise ValueError(
                f"stage {name!r} of {type(model.model).__name__} must give maps (B, C, H, W), "
                f"got {tuple(maps[name].shape)}"
            )
    return [maps[name].shape[1] for name in names]
