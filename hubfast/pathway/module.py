"""Hub-Pathway: each sample runs on k of a hub's models (Shu et al., NeurIPS 2022)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.nn.start import shares
from hubfast.ops import route
from hubfast.ops.reference import Routes
from hubfast.pathway import export
from hubfast.pathway.aggregators import Aggregation, aggregator_of
from hubfast.pathway.diagnostics import LOAD, balance
from hubfast.pathway.executors import Executor, Outputs, automatic, dense, loop, threads
from hubfast.pathway.features import head_outputs
from hubfast.pathway.generator import PathwayGenerator, pathway_generator
from hubfast.pathway.losses import Entropy, exploitation, exploration, task_loss
from hubfast.pathway.models import HubModel, ResizedBatch, hub_models

EXECUTORS: dict[str, Executor] = {
    "auto": automatic,
    "loop": loop,
    "dense": dense,
    "threads": threads,
}


class HubPathway(nn.Module):
    """A hub of any models of which each sample runs through k.

    A generator looks at the image and chooses; an aggregator makes one answer of what the chosen
    models say. Batches are float images in [0, 1]; every model gets them in its own size and
    normalisation. In eval mode the same batch always gives the same logits.

    The paper's code is not public. The noisy top-k gate is Shazeer et al.'s (ICLR 2017); networks,
    heads and aggregator are those whose size the published parameters and FLOPs leave open.

    Args:
        models: timm models, `HubModel`s or other modules; a mapping gives them names.
        k: How many models each sample runs on.
        classes: C. timm models get new heads of that size; None keeps the models' heads.
        generator: A PathwayGenerator, or a name for `pathway_generator`.
        aggregator: `"linear"` on the concatenated logits, `"sum"` of the logits, or `"features"`:
            projections to one width, summed, with one head.
        exploration: Weight of the entropy term, see `losses.exploration`.
        exploitation: Weight of the models' own losses on the samples that chose them.
        entropy: `"sample"` or `"batch"`, see `losses.exploration`; the former did better in
            benchmarks/pathway_accuracy.py, and neither collapsed.
        prior: How much each model is chosen at the start, before the generator has learnt
            anything: `hubfast.tuning.teacher_weights(scores, 1 / n)` of LogME scores on n samples
            are posterior probabilities. None, as published: all alike.
        executor: `"auto"`, `"loop"`, `"dense"`, `"threads"`, or one of
            `hubfast.pathway.gpu_executors`.
        min_count: Models with fewer samples in a training batch use batch norm's running
            statistics for them; a model with none does not run.

    Raises:
        ValueError: An argument is out of range, or unknown.
        TypeError: A model is no nn.Module.
    """

    leaves_parameters_unused = True  # a model that no sample of a batch chose does not run

    def __init__(
        self,
        models: Sequence[nn.Module] | Mapping[str, nn.Module],
        k: int,
        *,
        classes: int | None = None,
        generator: PathwayGenerator | str = "resnet10",
        aggregator: Aggregation = "linear",
        exploration: float = 0.1,
        exploitation: float = 1.0,
        entropy: Entropy = "sample",
        prior: Sequence[float] | None = None,
        executor: str | Executor = "auto",
        min_count: int = 2,
    ):
        super().__init__()
        if entropy not in ("batch", "sample"):
            raise ValueError(f"entropy must be batch or sample, got {entropy!r}")
        if isinstance(executor, str) and executor not in EXECUTORS:
            raise ValueError(f"executor must be one of {list(EXECUTORS)}, got {executor!r}")
        found = hub_models(models, 0 if aggregator == "features" else classes)
        if not 1 <= k <= len(found):
            raise ValueError(f"k must be in 1..{len(found)}, the number of models, got {k}")
        self.models = nn.ModuleList(found)
        self.k, self.min_count = k, min_count
        self.exploration, self.exploitation, self.entropy = exploration, exploitation, entropy
        self.prior = None if prior is None else tuple(float(share) for share in prior)
        log_shares = torch.zeros(len(found), dtype=torch.float64)
        if prior is not None:
            log_shares = shares(prior, len(found)).log().to(log_shares)
        self.start: Tensor  # of the logits
        self.register_buffer("start", log_shares.float(), persistent=False)
        self.executor = executor
        if not isinstance(generator, PathwayGenerator):
            generator = pathway_generator(generator, len(found))
        self.generator = generator
        self.aggregator = aggregator_of(aggregator, found, classes)
        self._aggregation = aggregator
        self.routes: Routes | None = None  # of the last batch, for diagnostics

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make a hub of the same models, generator and executor like this."""
        names = ("k", "exploration", "exploitation", "entropy", "prior", "min_count")
        own = {name: getattr(self, name) for name in names}
        return {**own, "aggregator": self._aggregation, "classes": self.aggregator.classes}

    @property
    def names(self) -> list[str]:
        """Names of the models, in order."""
        return [model.name for model in self._hub]

    def forward(self, images: Tensor, *, features: Sequence[Tensor] | None = None) -> Tensor:
        """Logits `(B, C)` of images `(B, 3, H, W)`.

        Args:
            images: Float, in [0, 1].
            features: What `cached_features` gave of a frozen hub, `(B, width)` of each model.
                Then only heads, generator and aggregator run.
        """
        return self._answer(images, features)[0]

    def losses(
        self, images: Tensor, targets: Tensor, *, features: Sequence[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The terms of the loss, weighted: their sum is the loss.

        Args:
            images: Float `(B, 3, H, W)`, in [0, 1].
            targets: `(B,)` int64 classes, or floats for regression.
            features: What `cached_features` gave of a frozen hub; see `forward`.
        """
        logits, own, routes = self._answer(images, features)
        terms = {"task": task_loss(logits, targets)}
        if self.exploration:
            terms["exploration"] = self.exploration * exploration(routes, self.entropy)
        if self.exploitation:
            terms["exploitation"] = self.exploitation * exploitation(own, targets, routes)
        return terms

    def diagnostics(self) -> dict[str, float]:
        """Numbers to log of the last batch: `balance`, and each model's share as `load/NAME`.

        Raises:
            ValueError: The hub has not run yet.
        """
        if self.routes is None:
            raise ValueError("the hub has no routes: it has not run yet")
        shares = (self.routes.counts.double() / len(self.routes.chosen)).tolist()
        loads = zip(self.names, shares, strict=True)
        return balance(self.routes) | {f"{LOAD}/{name}": share for name, share in loads}

    def route(self, images: Tensor) -> Routes:
        """The pathways of a batch; in training mode noisy."""
        return self._route(ResizedBatch(images))

    def save(self, folder: str | Path) -> None:
        """Exports the hub to a folder, see `export.write`; `load` reads it."""
        export.write(folder, self._hub, self.generator, self.aggregator, self.options)

    @staticmethod
    def load(
        folder: str | Path,
        *,
        builders: Mapping[str, Callable[[], nn.Module]] | None = None,
        memory_limit: int | None = None,
    ) -> "HubPathway":
        """The hub that `save` wrote, in eval mode on the CPU.

        Args:
            folder: Where `save` wrote it.
            builders: Functions that build what timm does not, by name; see `export.read`.
            memory_limit: Bytes of models held at a time, see `export.read`; None loads all.

        Raises:
            FileNotFoundError: The folder holds no export, or an incomplete one.
            ValueError: The export has another format, a model has no builder, or the largest
                model is over the limit.
            RuntimeError: The weights do not fit what was built.
        """
        parts = export.read(folder, builders=builders, memory_limit=memory_limit)
        hub = HubPathway(
            parts.models, generator=parts.generator, executor=parts.executor, **parts.options
        )
        export.load_weights(folder, hub._hub, hub.generator, hub.aggregator)
        return hub.eval()

    def freeze(self) -> None:
        """Leaves only the models' heads, the generator and the aggregator to training."""
        for model in self._hub:
            model.freeze()

    @property
    def _hub(self) -> list[HubModel]:
        return list(self.models)  # type: ignore[arg-type]

    def _route(self, batch: ResizedBatch) -> Routes:
        logits, spread = self.generator(batch)
        logits = logits + self.start.to(logits.dtype)
        noise = None
        if spread is not None:
            noise = torch.randn_like(logits, dtype=torch.float32)
        routes = route(logits, self.k, spread=spread, noise=noise)
        self.routes = Routes(*(x.detach() for x in routes))
        return routes

    def _answer(
        self, images: Tensor, features: Sequence[Tensor] | None
    ) -> tuple[Tensor, Tensor, Routes]:
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"images must be float (batch, 3, height, width), got {images.dtype} "
                f"{tuple(images.shape)}"
            )
        batch = ResizedBatch(images)
        routes = self._route(batch)
        logits, own = self.aggregator(self._outputs(batch, routes, features), routes)
        return logits, own, routes

    def _outputs(
        self, batch: ResizedBatch, routes: Routes, features: Sequence[Tensor] | None
    ) -> Outputs:
        if features is not None:
            return head_outputs(self._hub, features, routes)
        execute = self.executor
        if isinstance(execute, str):
            execute = EXECUTORS[execute]
        return execute(self._hub, batch, routes, self.min_count)

    def extra_repr(self) -> str:
        return f"k={self.k}, executor={self.executor!r}"
