"""What a hub is made of: sources, which load into models that turn batches into features."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

from hubfast.hub.points import AskedPoints, PointColumns
from hubfast.hub.prompts import Prompts
from hubfast.utils.stopwatch import Stopwatch

Keys = Literal["by_name", "by_order"]  # how weights of a checkpoint find their places
Precision = Literal["fp32", "bf16"]  # "bf16" is torch's autocast to bfloat16


@dataclass(frozen=True)
class Batch:
    """Features of some samples of the target data, and what they took."""

    index: Tensor  # positions in the samples, (b,)
    features: Tensor  # (b, D), or columns of several points beside each other
    logits: Tensor | None  # of the model's source classes, (b, Cs)
    prepare_seconds: float  # waiting for samples: reading, decoding, preprocessing
    forward: Stopwatch  # of the model itself
    columns: PointColumns | None = None  # of the features, which point each is of; None for one


@dataclass(frozen=True)
class Extraction:
    """How models are run."""

    batch_size: int = 64
    device: str = "cpu"
    workers: int = 0  # processes that prepare samples; 0 prepares them in this one
    precision: Precision = "fp32"  # of the arithmetic of torch modules
    logits: bool = False  # whether to give the source classifier's output, too, where there is one
    points: AskedPoints = field(default_factory=AskedPoints)  # which layers give features


class SampleSequence(Protocol):
    """What a model runs over: TargetData, or a Block of it."""

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int) -> Any:
        """An RGB image of 8 bits, a string or a float tensor."""
        ...

    def rows(self) -> Tensor:
        """Positions of the samples in the full data set, `(n,)` int64."""
        ...


class Model(Protocol):
    """A loaded model of a hub.

    It may also have `notes`, a tuple of what its user should know of how it is run, such as that
    its file holds no classifier; they are shown with its score. After a run `tally` may say how
    many of those samples need a word, such as `{"texts cut at 512 tokens": 3}`. `framing` says how
    its images are resized and cropped where that is all that precedes their normalisation, and
    `reads_samples` is False where it needs their rows alone.
    """

    @property
    def parameters(self) -> int | None:
        """Number of its parameters; None where nobody knows, as for stored features."""
        ...

    @property
    def imagenet(self) -> float | None:
        """Its published top-1 accuracy on ImageNet, percent; None where that is not known."""
        ...

    def batches(self, data: SampleSequence, options: Extraction) -> Iterator[Batch]:
        """Yields the features of all of `data`, in order."""
        ...


@dataclass(frozen=True)
class Loading:
    """What a user says of a model beside its name."""

    trust: bool = False  # it may run code of its own
    preprocessing: Mapping[str, Any] | None = None  # see `preprocessing.image_transform`
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of a torch.hub entry point
    keys: Keys = "by_name"  # how the weights of a timm checkpoint are matched
    progress: bool = False  # show a bar while a query counts parameters
    prompts: Prompts | None = None  # that it is asked by which class an image is of

    def require_trust(self, name: str, why: str) -> None:
        """Refuses to load `name` unless it is trusted.

        Raises:
            PermissionError: It is not trusted.
        """
        if not self.trust:
            raise PermissionError(
                f"{name} {why}: say trust=True (--trust) if you trust where it comes from"
            )


@dataclass(frozen=True)
class Source:
    """A model of a hub, not yet loaded."""

    name: str
    load: Callable[[], Model]
    note: str = ""  # what its user should know
    licence: str = ""
    imagenet: float | None = None  # top-1 accuracy, percent, as its user gives it
    spec: str | None = None  # what one writes to have this model; None where nothing does
    kind: str = ""  # as `loaders.kind_of` gives it, or "object"; empty where it is not known
    hub_file: str = ""  # the hub file that describes it; empty for others
    given: Any = field(default=None, repr=False)  # the spec, module or callable that it is made of
    transform: Any = field(default=None, repr=False)  # what its user gave to prepare images
    loading: Loading = field(default_factory=Loading)  # what its user says of it
    key: str = ""  # under which features of a module or callable are kept; see `identity`


def shape_error(what: str, wanted: str, got: Any) -> ValueError:
    """The error for a model that returned something else than features."""
    returned = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
    return ValueError(f"{what} must be {wanted}, got {returned}")
