"""What teachers say about a batch: computed with it, or once before training."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hubfast.tuning.processes import ALONE, Processes
from hubfast.tuning.samples import SampleDataset
from hubfast.utils.moved import renamed
from hubfast.utils.threads import worker_processes

Output = Literal["features", "logits"]


class Teachers(nn.Module):
    """Frozen models, always in eval mode; `forward(samples, rows)` gives what each says.

    Args:
        models: Modules with `features(samples)`, or with `forward(samples)` for logits.
        output: Whether they give features or logits.
    """

    def __init__(self, models: Sequence[nn.Module], output: Output = "features"):
        super().__init__()
        self.models = nn.ModuleList(models).requires_grad_(False).eval()
        self.output = output

    def train(self, mode: bool = True) -> "Teachers":
        return super().train(False)

    @torch.no_grad()
    def forward(self, samples: Any, rows: Tensor | None = None) -> list[Tensor]:
        if self.output == "logits":
            return [model(samples) for model in self.models]
        return [model.features(samples) for model in self.models]  # type: ignore[operator]


class CachedTeachers(nn.Module):
    """Looks up what was computed before, `values[k][rows]`: for samples that are not augmented.

    The values move with the module, but are no buffers: distributed training would send all of
    them to all processes in every step.

    Args:
        values: What each teacher says of all samples, `(n, D_k)`.
    """

    def __init__(self, values: Sequence[Tensor]):
        super().__init__()
        self.values = list(values)

    @property
    def count(self) -> int:
        """Number of teachers."""
        return len(self.values)

    def forward(self, samples: Any, rows: Tensor | None = None) -> list[Tensor]:
        if rows is None:
            raise ValueError("rows must say which samples these are: the teachers are cached")
        return [value[rows] for value in self.values]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.values = [fn(value) for value in self.values]
        return super()._apply(fn, recurse)


@renamed(pictures="samples", images="samples")
def cache(
    teachers: Teachers,
    samples: SampleDataset,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    processes: Processes = ALONE,
) -> CachedTeachers:
    """Runs `teachers` once over `samples`, in their order.

    Args:
        teachers: They are moved to `device`.
        samples: The samples to run them on.
        batch_size: Samples in one pass.
        device: Where they run, and where the values stay.
        processes: Those that share the samples, all of which call this.

    Raises:
        ValueError: The samples are augmented, so that they differ from epoch to epoch.
    """
    if samples.augment is not None:
        raise ValueError("samples must not be augmented for their teachers to be cached")
    teachers.to(device)
    batches = in_order(samples, batch_size, processes)
    found = [teachers(batch.to(device)) for batch, _, _ in batches]
    own = [torch.cat(values) for values in zip(*found, strict=True)]
    return CachedTeachers([processes.whole(values, len(samples)) for values in own])


def in_order(
    samples: SampleDataset, batch_size: int, processes: Processes = ALONE, workers: int = 0
) -> DataLoader:
    """Every sample of this process's part once, in order, not shuffled."""
    keys = [(0, position) for position in processes.part(len(samples))]
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=keys,
        collate_fn=samples.collate,
        num_workers=worker_processes(workers),
    )
