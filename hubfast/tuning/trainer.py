"""The one training loop: any method, any loss terms, one device or many, resumable."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hubfast.tuning import checkpoint
from hubfast.tuning.companions import companions
from hubfast.tuning.distributed import strategy_for
from hubfast.tuning.evaluation import evaluate
from hubfast.tuning.gradients import gradients_recorded
from hubfast.tuning.history import EpochMeans, History
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.launch import are_missing
from hubfast.tuning.objective import Objective, TaskLoss, check_finite
from hubfast.tuning.precision import fabric_of
from hubfast.tuning.processes import Processes
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.samples import BatchOrder, SampleDataset, loader, seed_of
from hubfast.tuning.sync_bn import synced_batch_norm
from hubfast.tuning.tensorboard import summary_writer
from hubfast.utils.moved import renamed
from hubfast.utils.progress import progress_bar

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Trainer:
    """Trains methods under one recipe.

    Devices, precision and processes are Lightning Fabric's; schedules are torch's. Everything
    random follows from the recipe's seed and the step, so that a run that was killed and resumed
    ends with the weights of one that was not.

    In several processes (those of torchrun, of an initialised process group, or one for each of
    `devices`) each step's batch of `recipe.batch_size` samples is divided among them, and the loss
    is that of the whole batch. Only the first process writes and shows anything.

    Args:
        recipe: How long and how fast to train.
        folder: Where checkpoints and TensorBoard logs go; None for neither.
        accelerator: Like the next three an argument of `lightning_fabric.Fabric`.
        devices: How many, or which; under torchrun those of its processes.
        strategy: How processes work together; "auto" is DDP under torchrun.
        precision: Number type of the training.
        workers: Processes that prepare samples.
        tensorboard: Write live metrics to `folder/tensorboard`.
        save_every: Steps between checkpoints; None for once an epoch.
        progress: Whether to show a bar.
        sync_bn: Batch norm normalises by the batch of all processes, on GPUs, and not each
            process by its part.
    """

    recipe: Recipe = field(default_factory=Recipe)
    folder: Path | None = None
    accelerator: str = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    precision: str = "32-true"
    workers: int = 0
    tensorboard: bool = False
    save_every: int | None = None
    progress: bool = True
    sync_bn: bool = False

    @renamed(pictures="samples", images="samples")
    def fit(
        self,
        method: nn.Module,
        samples: SampleDataset,
        labels: TargetEncoder,
        *,
        validation: SampleDataset | None = None,
        resume: bool = False,
    ) -> History:
        """Trains `method` in place and leaves it in eval mode on the device.

        Args:
            method: `forward(samples) -> logits`; with loss terms of its own `losses(samples,
                targets)` or `losses(samples, targets, rows)`; with numbers to log of each step
                `diagnostics()`. Samples are images `(B, 3, H, W)` or a `TextBatch`.
            samples: Training data.
            labels: What the method's outputs stand for.
            validation: Data to evaluate the method on after each epoch.
            resume: Go on from the folder's checkpoint, if there is one.

        Raises:
            TrainingDiverged: A loss term became NaN or infinite.
            ValueError: The checkpoint is of another recipe, or options do not fit.
            ProcessLost: Another process of the training ended.
        """
        if self.folder is None and (resume or self.tensorboard):
            raise ValueError("folder must say where checkpoints and logs are")
        fabric = self._fabric(self.strategy)
        if fabric.world_size > 1:
            fabric = self._fabric(strategy_for(self.strategy, method, samples.batch(range(1))))
        device = fabric.device
        with ExitStack() as stack:
            stack.enter_context(gradients_recorded(method))
            stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
            processes = stack.enter_context(Processes.joined())
            method.to(device)
            if self.sync_bn:
                stack.enter_context(synced_batch_norm(method, processes, device.type))
            trainer = replace(self, recipe=self.recipe.settled(samples.lr))
            run = _Run(trainer, fabric, processes, method, samples, labels, validation)
            return run.train(resume)

    @contextmanager
    def processes(self) -> Iterator[Processes]:
        """The processes that train together, which this starts or joins; one if there is one.

        Raises:
            ValueError: Options that Fabric does not know, or devices that do not fit.
            ProcessLost: Another process ended while this one was inside.
        """
        self._fabric(self.strategy)
        with Processes.joined() as processes:
            yield processes

    def _fabric(self, strategy: str) -> "Fabric":
        fabric = fabric_of(self.accelerator, self.devices, strategy, self.precision)
        if fabric.world_size == 1:
            return fabric
        if are_missing(fabric):
            companions().start(fabric.world_size - 1)
            fabric = fabric_of(self.accelerator, self.devices, strategy, self.precision)
        companions().answer()
        fabric.launch()
        return fabric

    @property
    def device(self) -> torch.device:
        """The device that this process trains on."""
        return self._fabric(self.strategy).device


class _Run:
    """One call of `Trainer.fit`."""

    def __init__(
        self,
        trainer: Trainer,
        fabric: "Fabric",
        processes: Processes,
        method: nn.Module,
        samples: SampleDataset,
        labels: TargetEncoder,
        validation: SampleDataset | None,
    ):
        labels.check_same(samples.labels)
        self.trainer, self.recipe, self.fabric = trainer, trainer.recipe, fabric
        self.method, self.processes, self.samples, self.labels = method, processes, samples, labels
        shape = len(samples), self.recipe.batch_size, self.recipe.epochs, self.recipe.seed
        share: Any = {"rank": processes.rank, "world": processes.world}
        self.ordered = partial(BatchOrder, *shape, **share, lengths=samples.lengths)
        self.validation, self.order = validation, self.ordered()
        self.steps = len(self.order)
        self.key = checkpoint.RunKey(self.recipe, len(samples), labels.key)
        objective = Objective(method, TaskLoss(labels, self.recipe.smoothing))
        objective.to(fabric.device)  # before the optimiser: its state lies where the weights do
        optimizer, schedule = self.recipe.build(objective, self.steps)
        self.objective, self.optimizer = fabric.setup(objective, optimizer)
        self.run = checkpoint.Progress(method, self.optimizer, schedule, History(), EpochMeans())

    def train(self, resume: bool) -> History:
        trainer, fabric = self.trainer, self.fabric
        first = self._restore() if resume else 0
        writer = None
        if trainer.folder is not None and trainer.tensorboard and self.processes.first:
            writer = summary_writer(trainer.folder / "tensorboard", first)
        with torch.device("cpu"):  # its seed is drawn on the default device
            pinned = fabric.device.type == "cuda"
            order = self.ordered(first=first)
            batches = iter(loader(self.samples, order, trainer.workers, pinned=pinned))
        every = trainer.save_every or self.order.per_epoch
        self.method.train()
        with progress_bar(trainer.progress and self.processes.first) as bars:
            bar = bars.add_task("training", total=self.steps, completed=first)
            for step, batch in enumerate(batches, first):
                terms, diagnostics = self._step(step, batch)
                if writer is not None:
                    logged = {f"loss/{name}": value for name, value in terms.items()}
                    for name, value in (logged | diagnostics).items():
                        writer.add_scalar(name, value, step)
                if (step + 1) % self.order.per_epoch == 0:
                    self._end_of_epoch(writer, step + 1)
                shown = f"epoch {step // self.order.per_epoch + 1}/{self.recipe.epochs}"
                bars.update(bar, advance=1, description=f"{shown} loss {sum(terms.values()):.3f}")
                if (step + 1) % every == 0 or step + 1 == self.steps:
                    self._save(step + 1)
        if writer is not None:
            writer.close()
        self.processes.same_buffers(self.method)
        self.method.eval()
        return self.run.history

    def _step(self, step: int, batch: Any) -> tuple[dict[str, float], dict[str, float]]:
        """One step of training; returns the terms' values, and the method's diagnostics.

        Processes whose parts of the batch differ in size count by their samples.
        """
        started = time.perf_counter()
        samples, targets, rows = (x.to(self.fabric.device, non_blocking=True) for x in batch)
        torch.manual_seed(seed_of(self.recipe.seed, step, self.processes.rank))
        with self.samples.errors_named(len(samples)):
            found: dict[str, Tensor] = self.objective(samples, targets, rows)
        whole, world = self.order.size(step), self.processes.world
        weight = len(samples) * world / whole
        values = torch.stack([term.detach().double() for term in found.values()])
        terms = dict(zip(found, self.processes.mean(values * weight), strict=True))
        with self.processes.alike():
            check_finite(terms, step, self.order.whole)
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.stack([term.float() for term in found.values()]).sum()
        self.fabric.backward(loss * weight)
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(self.objective, self.optimizer, max_norm=self.recipe.clip)
        self.optimizer.step()
        self.run.schedule.step()
        diagnostics: dict[str, float] = getattr(self.method, "diagnostics", dict)()
        if diagnostics and world > 1:
            numbers = values.new_tensor(list(diagnostics.values())) * weight
            diagnostics = dict(zip(diagnostics, self.processes.mean(numbers), strict=True))
        history = self.run.history
        self.run.means.add(terms, diagnostics, whole)
        history.steps += 1
        history.samples += whole
        history.seconds += time.perf_counter() - started
        return terms, diagnostics

    def _end_of_epoch(self, writer: Any, step: int) -> None:
        self.run.means.close(self.run.history)
        if self.validation is None:
            return
        self.processes.same_buffers(self.method)
        where: Any = {"device": str(self.fabric.device), "processes": self.processes}
        size = self.recipe.batch_size
        found = evaluate(self.method, self.validation, self.labels, batch_size=size, **where)
        self.run.history.metric.append(found.value)
        if writer is not None:
            writer.add_scalar(f"validation/{found.metric}", found.value, step)

    def _save(self, step: int) -> None:
        if self.trainer.folder is not None and self.processes.first:
            checkpoint.save(self.trainer.folder, step, self.key, self.run)

    def _restore(self) -> int:
        """Loads what the first process reads, and returns the step to go on with."""
        folder = self.trainer.folder or Path()
        content = self.processes.alone(lambda: checkpoint.read(folder, self.key))
        return 0 if content is None else checkpoint.restore(folder, content, self.run)
