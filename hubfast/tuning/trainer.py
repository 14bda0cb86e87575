"""The one training loop: any method, any loss terms, one device or many, resumable."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hubfast.nn.batch_norm import single_values_named
from hubfast.tuning.distributed import strategy_for
from hubfast.tuning.evaluation import evaluate
from hubfast.tuning.history import EpochMeans, History
from hubfast.tuning.images import BatchOrder, ImageDataset, seed_of
from hubfast.tuning.labels import TargetEncoder
from hubfast.tuning.objective import Objective, TaskLoss, check_finite
from hubfast.tuning.precision import fabric_of
from hubfast.tuning.recipe import Recipe
from hubfast.tuning.tensorboard import summary_writer
from hubfast.utils import files
from hubfast.utils.decoding import decoding
from hubfast.utils.moved import renamed
from hubfast.utils.progress import progress_bar
from hubfast.utils.threads import worker_processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Trainer:
    """Trains methods under one recipe.

    Devices, precision and processes are Lightning Fabric's; schedules are torch's. Everything
    random follows from the recipe's seed and the step, so that a run that was killed and resumed
    ends with the weights of one that was not.

    Args:
        recipe: How long and how fast to train.
        folder: Where checkpoints and TensorBoard logs go; None for neither.
        accelerator, devices, strategy, precision: Arguments of `lightning_fabric.Fabric`; strategy
            "ddp" under torchrun for several processes.
        workers: Processes that prepare images.
        tensorboard: Write live metrics to `folder/tensorboard`.
        save_every: Steps between checkpoints; None for once an epoch.
        progress: Whether to show a bar.
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

    @renamed(pictures="images")
    def fit(
        self,
        method: nn.Module,
        images: ImageDataset,
        labels: TargetEncoder,
        *,
        validation: ImageDataset | None = None,
        resume: bool = False,
    ) -> History:
        """Trains `method` in place and leaves it in eval mode on the device.

        Args:
            method: `forward(images) -> logits`; with loss terms of its own `losses(images,
                targets)` or `losses(images, targets, rows)`; with numbers to log of each step
                `diagnostics()`.
            images: Training data.
            labels: What the method's outputs stand for.
            validation: Data to evaluate the method on after each epoch.
            resume: Go on from the folder's checkpoint, if there is one.

        Raises:
            TrainingDiverged: A loss term became NaN or infinite.
            ValueError: The checkpoint is of another recipe, or options do not fit.
        """
        if self.folder is None and (resume or self.tensorboard):
            raise ValueError("folder must say where checkpoints and logs are")
        fabric = self._fabric(self.strategy)
        if fabric.world_size > 1:
            fabric = self._fabric(strategy_for(self.strategy, method, images.batch(range(1))))
        device = fabric.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return _Run(self, fabric, method, images, labels, validation).train(resume)

    def _fabric(self, strategy: str) -> "Fabric":
        fabric = fabric_of(self.accelerator, self.devices, strategy, self.precision)
        if fabric.world_size > 1:
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
        method: nn.Module,
        images: ImageDataset,
        labels: TargetEncoder,
        validation: ImageDataset | None,
    ):
        labels.check_same(images.labels)
        self.trainer, self.recipe, self.fabric = trainer, trainer.recipe, fabric
        self.method, self.images, self.labels = method, images, labels
        self.validation, self.order = validation, self._order(0)
        self.steps, self.history, self.means = len(self.order), History(), EpochMeans()
        objective = Objective(method, TaskLoss(labels, self.recipe.smoothing))
        objective.to(fabric.device)  # before the optimiser: its state lies where the weights do
        optimizer, self.schedule = self.recipe.build(objective, self.steps)
        self.objective, self.optimizer = fabric.setup(objective, optimizer)

    def train(self, resume: bool) -> History:
        trainer, fabric = self.trainer, self.fabric
        first = self._restore() if resume else 0
        writer = self._writer(first)
        with torch.device("cpu"):  # its seed is drawn on the default device
            loader = iter(self._loader(first))
        every = trainer.save_every or self.order.per_epoch
        self.method.train()
        with progress_bar(trainer.progress and fabric.global_rank == 0) as bars:
            bar = bars.add_task("training", total=self.steps, completed=first)
            for step, batch in enumerate(loader, first):
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
        self.method.eval()
        return self.history

    def _step(self, step: int, batch: Any) -> tuple[dict[str, float], dict[str, float]]:
        """One step of training; returns the terms' values, and the method's diagnostics."""
        started = time.perf_counter()
        images, targets, rows = (x.to(self.fabric.device, non_blocking=True) for x in batch)
        torch.manual_seed(seed_of(self.recipe.seed, step, self.fabric.global_rank))
        with single_values_named(len(images), self.images.size):
            found: dict[str, Tensor] = self.objective(images, targets, rows)
        values = torch.stack([term.detach().double() for term in found.values()]).tolist()
        terms = dict(zip(found, values, strict=True))
        check_finite(terms, step, rows)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(torch.stack([term.float() for term in found.values()]).sum())
        if self.recipe.clip is not None:
            self.fabric.clip_gradients(self.objective, self.optimizer, max_norm=self.recipe.clip)
        self.optimizer.step()
        self.schedule.step()
        diagnostics: dict[str, float] = getattr(self.method, "diagnostics", dict)()
        self.means.add(terms, diagnostics, len(images))
        self.history.steps += 1
        self.history.samples += len(images) * self.fabric.world_size
        self.history.seconds += time.perf_counter() - started
        return terms, diagnostics

    def _end_of_epoch(self, writer: Any, step: int) -> None:
        self.means.close(self.history)
        if self.validation is None:
            return
        size, device = self.recipe.batch_size, str(self.fabric.device)
        found = evaluate(self.method, self.validation, self.labels, batch_size=size, device=device)
        self.history.metric.append(found.value)
        if writer is not None:
            writer.add_scalar(f"validation/{found.metric}", found.value, step)

    def _order(self, first: int) -> BatchOrder:
        return BatchOrder(
            len(self.images),
            self.recipe.batch_size,
            self.recipe.epochs,
            self.recipe.seed,
            first=first,
            rank=self.fabric.global_rank,
            world=self.fabric.world_size,
        )

    def _loader(self, first: int) -> DataLoader:
        # Its own generator: with the global one, a worker's seed would be drawn from it.
        return DataLoader(
            self.images,
            batch_sampler=self._order(first),
            num_workers=worker_processes(self.trainer.workers),
            pin_memory=self.fabric.device.type == "cuda",
            generator=torch.Generator("cpu").manual_seed(self.recipe.seed),
        )

    def _writer(self, first: int) -> Any:
        folder = self.trainer.folder
        if folder is None or not self.trainer.tensorboard or self.fabric.global_rank != 0:
            return None
        return summary_writer(folder / "tensorboard", first)

    def _save(self, step: int) -> None:
        folder = self.trainer.folder
        if folder is None or self.fabric.global_rank != 0:
            return
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "step": step,
            "recipe": self.recipe.as_dict(),
            "samples": len(self.images),
            "labels": self.labels.key,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history.as_dict(),
            "means": vars(self.means),
        }
        files.save(folder / "checkpoint.pt", content)

    def _restore(self) -> int:
        """Loads the checkpoint and returns the step to go on with."""
        path = (self.trainer.folder or Path()) / "checkpoint.pt"
        if not path.exists():
            return 0
        content = files.load(path)
        differ = self.recipe.differences(content.get("recipe", {}))
        differ += ["data"] * (content.get("samples") != len(self.images))
        differ += ["classes"] * (content.get("labels", self.labels.key) != self.labels.key)
        if differ:
            raise ValueError(f"{path} is of a run with another {', '.join(differ)}")
        with decoding(path, "cannot be read as a checkpoint of this method"):
            for part in ("method", "optimizer", "schedule"):
                getattr(self, part).load_state_dict(content[part])
            self.history, self.means = History(**content["history"]), EpochMeans(**content["means"])
            return content["step"]
