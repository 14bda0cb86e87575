"""Programs of torch.export (.pt2): what enters the layer that makes the classes is the features."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from hubfast.hub.classifier import Choice, choose, trace
from hubfast.hub.exported.graph import channels, one_place, step_of
from hubfast.hub.model import Loading
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.outputs import (
    WANTED,
    features_and_logits,
    in_number_type,
    oriented,
    run_in_fixed_batches,
)
from hubfast.hub.preprocessing import RAW, advice, image_transform, transform_of_file
from hubfast.utils.decoding import decoding
from hubfast.utils.documents import parse_json

WHY = "is a torch.export program, and loading one can run code from it"


def load(path: str | Path, loading: Loading) -> Network:
    """Loads an exported model with one input of images.

    The input is `(batch, 3, height, width)` or `(batch, height, width, 3)`.

    The file may hold its preprocessing as the extra file `preprocessing.json`; see
    `hubfast.hub.preprocessing`. A program of uint8 images of a known size needs none: these are
    pixels.

    Raises:
        FileNotFoundError: There is no such file.
        PermissionError: The file is not trusted; torch says never to load one that is not.
        ValueError: The model is of another kind.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"exported program not found: {path}")
    loading.require_trust(str(path), WHY)
    extra: dict[str, Any] = {"preprocessing.json": ""}
    with decoding(path, "cannot be read as a program of torch.export"), _failures_unlogged():
        program = torch.export.load(path, extra_files=extra)
    example = _images(program, path)
    fixed = [side if isinstance(side, int) else None for side in example.shape]
    last = fixed[1] != 3 and fixed[3] == 3
    height, width = fixed[1:3] if last else fixed[2:]
    written = extra["preprocessing.json"]
    own = parse_json(written, f"preprocessing.json in {path}") if written else None
    size = (height, width) if height and width else None
    transform = transform_of_file(path, loading.preprocessing, own, size)
    if transform is None and size is not None and example.dtype == torch.uint8:
        transform = image_transform(RAW, size)
    module = program.module(check_guards=False)
    choice = _choice(module.graph, path)
    axis = channels(choice.output, last)
    run = _Program(
        _with_features(module, choice),
        axis=axis if choice.head is None else choice.head.channels,
        unseen=None if choice.head else str(path),
        batch=fixed[0],
        channels_last=last,
        dtype=example.dtype,
    )
    count = sum(p.numel() for p in program.parameters())
    return Network(run, transform, count=count, advice=advice(path), notes=choice.notes)


@contextmanager
def _failures_unlogged() -> Iterator[None]:
    """Keeps torch from writing the traceback of an error beside raising it."""
    logger = logging.getLogger("torch.export")

    def plain(record: logging.LogRecord) -> bool:
        return not record.exc_info

    logger.addFilter(plain)
    try:
        yield
    finally:
        logger.removeFilter(plain)


def _images(program: torch.export.ExportedProgram, path: Path) -> Tensor:
    """The example of the input.

    Raises:
        ValueError: There are several, or it is not a batch of colour images.
    """
    given = program.graph_signature.user_inputs
    inputs = [node for node in program.graph.nodes if node.op == "placeholder"]
    values = {node.name: node.meta["val"] for node in inputs}
    examples = [values.get(name) if isinstance(name, str) else name for name in given]
    shapes = [tuple(x.shape) if isinstance(x, Tensor) else x for x in examples]
    if len(examples) == 1 and isinstance(examples[0], Tensor) and examples[0].ndim == 4:
        sides = [side if isinstance(side, int) else 3 for side in examples[0].shape]
        if 3 in (sides[1], sides[3]):
            return examples[0]
    raise ValueError(f"{path} must take {WANTED}, got {shapes}")


def _choice(graph: fx.Graph, path: Path) -> Choice:
    outputs: list[fx.Node] = []
    torch.utils._pytree.tree_map_only(fx.Node, outputs.append, graph.output_node().args[0])
    traces = [trace(node, step_of, one_place) for node in outputs]
    return choose(traces, lambda node: node.all_input_nodes, lambda node: node.name, path)


def _with_features(module: Any, choice: Choice) -> fx.GraphModule:
    """The program with `[features, logits]` as output, or the chosen output alone."""
    graph, head = module.graph, choice.head
    graph.set_codegen(fx.graph.CodeGen())  # plain inputs and outputs, no trees of them
    if head is None:
        graph.output_node().args = ([choice.output],)
    else:
        logits = [] if head.logits is None else [head.logits]
        graph.output_node().args = ([head.features, *logits],)
    graph.eliminate_dead_code()
    graph.lint()
    return fx.GraphModule(module, graph)


class _Program(FeatureModule):
    """Runs an exported program.

    Args:
        module: Gives features and maybe logits.
        axis: The axis of the channels of the features.
        unseen: Name of a model in which no classifier was seen.
        batch: The size of batches that it takes; None for any.
        channels_last: It takes images with their channels last.
        dtype: Number type of the images that it takes.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        *,
        axis: int,
        unseen: str | None,
        batch: int | None,
        channels_last: bool,
        dtype: torch.dtype,
    ):
        super().__init__()
        self.module, self.axis, self.unseen = module, axis, unseen
        self.batch, self.channels_last, self.dtype = batch, channels_last, dtype

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        inputs = oriented(in_number_type(inputs, self.dtype), channels_last=self.channels_last)
        outputs = run_in_fixed_batches(self.module, inputs, self.batch)
        return features_and_logits(outputs, len(inputs), self.axis, self.unseen)
