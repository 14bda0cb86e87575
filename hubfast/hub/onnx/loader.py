"""ONNX files, run by onnxruntime: what enters the layer that makes the classes is the features."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hubfast.hub.classifier import Choice, choose, trace
from hubfast.hub.model import Loading
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.onnx.graph import Graph, count_parameters
from hubfast.hub.onnx.input import OnnxInput, only_input
from hubfast.hub.onnx.steps import step_of
from hubfast.hub.outputs import features_and_logits, run_in_fixed_batches
from hubfast.hub.preprocessing import RAW, advice, image_transform, transform_of_file
from hubfast.utils.decoding import decoding
from hubfast.utils.documents import parse_json
from hubfast.utils.extras import require

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
TRIED_SIDE = 224  # of the image that finds shapes, where file and user give no size


def load(path: str | Path, loading: Loading) -> Network:
    """Loads an image model with one input.

    The input is `(batch, 3, height, width)` or `(batch, height, width, 3)`.

    The file may hold its preprocessing as JSON in the metadata `preprocessing`; see
    `hubfast.hub.preprocessing`. A model of uint8 images of a known size needs none: these are
    pixels. Weights in files beside it are found.

    Raises:
        FileNotFoundError: There is no such file.
        ModuleNotFoundError: onnx or onnxruntime is not installed.
        ValueError: The model is of another kind.
    """
    onnx = require("onnx", "onnx", f"onnx:{path}")
    require("onnxruntime", "onnx", f"onnx:{path}")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"ONNX file not found: {path}")
    with decoding(path, "cannot be read as an ONNX model"):
        model = onnx.load(str(path), load_external_data=False)
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    graph = Graph(model.graph)
    given = only_input(graph, path)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    written = notes.get("preprocessing")
    own = None if written is None else parse_json(written, f"preprocessing in {path}")
    transform = transform_of_file(path, loading.preprocessing, own, given.size)
    if transform is None and given.size is not None and given.dtype == np.uint8:
        transform = image_transform(RAW, given.size)
    count = count_parameters(model.graph)
    one_place = partial(_one_place, model, path, given, transform)
    traces = [trace(name, partial(step_of, graph), one_place) for name in graph.outputs]
    choice = choose(traces, graph.before, str, path)
    run = _Session(model, path, given, choice, graph)
    return Network(run, transform, count=count, advice=advice(path), notes=choice.notes)


def _one_place(
    model: Any, path: Path, given: OnnxInput, transform: Any, name: str, channels: int
) -> bool:
    """Whether a tensor has one place for an image of the model's size, found by a trial."""
    from PIL import Image

    asked = type(model).FromString(model.SerializeToString())
    Graph(asked.graph).ask_for([name])
    height, width = given.size or (TRIED_SIDE, TRIED_SIDE)
    blank = torch.zeros(3, height, width, dtype=torch.float32, device="cpu")
    if transform is not None:
        blank = transform(Image.new("RGB", (width, height)))
    session = _session(asked.SerializeToString(), path, "cpu")
    inputs = blank.expand(given.batch or 1, *blank.shape)
    (found,) = session.run([name], {given.name: given.array(inputs)})
    shape = list(np.shape(found))
    del shape[channels], shape[:1]
    return all(side == 1 for side in shape)


class _Session(FeatureModule):
    """Runs an ONNX model; the session starts on the device that first asks for it."""

    def __init__(self, model: Any, path: Path, given: OnnxInput, choice: Choice, graph: Graph):
        super().__init__()
        head = choice.head
        self.unseen = str(path) if head is None else None
        self.path, self.given = path, given
        if head is None:
            self.wanted = [choice.output]
            self.axis = graph.channels(choice.output, given.channels_last)
        else:
            self.wanted = [head.features, *([] if head.logits is None else [head.logits])]
            self.axis = head.channels
        graph.ask_for(self.wanted)
        self.content = model.SerializeToString()
        self._sessions: dict[str, Any] = {}

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        outputs = run_in_fixed_batches(self._run, inputs, self.given.batch)
        return features_and_logits(outputs, len(inputs), self.axis, self.unseen)

    def _run(self, inputs: Tensor) -> list[Tensor]:
        device = inputs.device.type
        if device not in self._sessions:
            self._sessions[device] = _session(self.content, self.path, device)
        outputs = self._sessions[device].run(
            self.wanted, {self.given.name: self.given.array(inputs)}
        )
        return [torch.from_numpy(np.asarray(out)) for out in outputs]


def _session(content: bytes, path: Path, device: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    key = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(key, str(path.parent.resolve()))
    there = onnxruntime.get_available_providers()
    wanted = dict.fromkeys((device, "cpu"))
    chosen = [PROVIDERS[name] for name in wanted if PROVIDERS.get(name) in there]
    return onnxruntime.InferenceSession(content, options, chosen)
