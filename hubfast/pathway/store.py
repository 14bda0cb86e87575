"""Models of a hub that is larger than memory: loaded when asked for, under a limit."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from hubfast.ops.reference import Routes
from hubfast.pathway.executors import Outputs, batches
from hubfast.pathway.models import HubModel, ResizedBatch


class ModelStore:
    """Keeps the models used last, as many as the limit holds.

    Args:
        loaders: One per model, in order; they return modules in eval mode.
        limit: Bytes of parameters and buffers held at a time.
    """

    def __init__(self, loaders: Sequence[Callable[[], nn.Module]], limit: int):
        self.loaders, self.limit = list(loaders), limit
        self.loads = 0  # how often one was read from disk
        self._sizes: dict[int, int] = {}
        self._held: OrderedDict[int, nn.Module] = OrderedDict()

    @property
    def resident(self) -> int:
        """Bytes held now."""
        return sum(self._sizes[m] for m in self._held)

    def holds(self, m: int) -> bool:
        """Whether model m is in memory."""
        return m in self._held

    def get(self, m: int) -> nn.Module:
        """Model m, loaded if it is not in memory; the models used longest ago make room.

        Raises:
            ValueError: The model alone is over the limit.
        """
        if m not in self._held:
            if m in self._sizes:
                self._make_room(self._sizes[m])
            found = self.loaders[m]()
            self.loads += 1
            self._sizes[m] = size = size_of(found)
            if size > self.limit:
                raise ValueError(f"memory_limit must hold a model of {size} bytes, is {self.limit}")
            self._make_room(size)
            self._held[m] = found
        self._held.move_to_end(m)
        return self._held[m]

    def _make_room(self, size: int) -> None:
        while self._held and self.resident + size > self.limit:
            self._held.popitem(last=False)

    def execute(
        self, models: Sequence[HubModel], batch: ResizedBatch, routes: Routes, min_count: int
    ) -> Outputs:
        """Executor: what is in memory runs first, before anything makes room."""
        given = sorted(batches(models, batch, routes), key=lambda pair: not self.holds(pair[0]))
        outputs: Outputs = [None] * len(models)
        for m, rows in given:
            outputs[m] = models[m](rows)
        return outputs


class LazyModel(nn.Module):
    """Stands for a model in a store. It has no parameters and cannot be trained.

    Args:
        store: Holds the model.
        position: Which of the store's models it is.
        width: Width of its features, if those are what it gives.
    """

    def __init__(self, store: ModelStore, position: int, width: int | None = None):
        super().__init__()
        self.store, self.position, self.num_features = store, position, width

    def forward(self, images: Tensor) -> Tensor:
        """The model's outputs of normalised images.

        Raises:
            RuntimeError: The module is in training mode.
        """
        if self.training:
            raise RuntimeError("a hub loaded with memory_limit is for inference; call eval()")
        return self.store.get(self.position)(images)


def size_of(module: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(x.nbytes for x in (*module.parameters(), *module.buffers()))
