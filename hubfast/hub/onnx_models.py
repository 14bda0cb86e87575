"""ONNX files, run by onnxruntime: what enters the last linear layer is the features."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hubfast.hub.model import Loading
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.outputs import pooled, run_in_fixed_batches
from hubfast.hub.preprocessing import advice, transform_of_file
from hubfast.optional import require

AFTER_LOGITS = ("Softmax", "LogSoftmax", "Sigmoid", "Identity", "Cast", "Dropout")
PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


def load(path: str | Path, loading: Loading) -> Network:
    """An image model with one input, `(batch, 3, height, width)`.

    The file may hold its preprocessing as JSON in the metadata `preprocessing`; see
    `hubfast.hub.preprocessing`. Weights in files beside it are found.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: No such file, no onnxruntime, or
            another kind of model.
    """
    onnx = require("onnx", "onnx", f"onnx:{path}")
    require("onnxruntime", "onnx", f"onnx:{path}")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"ONNX file not found: {path}")
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    shape = [dim.dim_value or None for dim in inputs[0].type.tensor_type.shape.dim]
    if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, None):
        names = [value.name for value in inputs]
        raise ValueError(f"{path} must take one input (batch, 3, height, width), got {names}")
    found = classifier_input(graph, set(weights))
    if found is None:
        wanted = [graph.output[0].name]
    else:
        wanted = [name for name in found if name is not None]
        there = {value.name for value in graph.output}
        graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted if n not in there)
    run = _Session(model.SerializeToString(), path, inputs[0].name, wanted, shape[0])
    notes = {entry.key: entry.value for entry in model.metadata_props}
    own = json.loads(notes["preprocessing"]) if "preprocessing" in notes else None
    size = (shape[2], shape[3]) if shape[2] and shape[3] else None
    transform = transform_of_file(path, loading.preprocessing, own, size)
    count = sum(torch.Size(dims).numel() for dims in weights.values())
    return Network(run, transform, count=count, advice=advice(path))


def classifier_input(graph: Any, weights: set[str]) -> tuple[str, str | None] | None:
    """Names of the tensors that are features and logits, if a linear layer gives the output.

    Logits are None behind a sigmoid, whose classes are not exclusive.
    """
    producers = {name: node for node in graph.node for name in node.output}
    name, exclusive = graph.output[0].name, True
    node = producers.get(name)
    while node is not None and node.op_type in AFTER_LOGITS:
        exclusive = exclusive and node.op_type != "Sigmoid"
        name = node.input[0]
        node = producers.get(name)
    if node is not None and node.op_type == "Add":  # of the bias
        terms = [producers.get(term) for term in node.input if term not in weights]
        node = terms[0] if len(terms) == 1 else None
    if node is None or node.op_type not in ("Gemm", "MatMul"):
        return None
    return node.input[0], name if exclusive else None


class _Session(FeatureModule):
    """Runs an ONNX model; the session starts on the device that first asks for it."""

    def __init__(
        self, content: bytes, path: Path, given: str, wanted: list[str], fixed: int | None
    ):
        super().__init__()
        self.content, self.path = content, path
        self.given, self.wanted, self.fixed = given, wanted, fixed
        self._sessions: dict[str, Any] = {}

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        features, *logits = run_in_fixed_batches(self._run, inputs, self.fixed)
        return pooled(features.float()), logits[0].float() if logits else None

    def _run(self, inputs: Tensor) -> list[Tensor]:
        session = self._session(inputs.device.type)
        array = inputs.cpu().numpy()
        if session.get_inputs()[0].type == "tensor(float16)":
            array = array.astype("float16")
        return [torch.from_numpy(out) for out in session.run(self.wanted, {self.given: array})]

    def _session(self, device: str) -> Any:
        if device not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3  # errors only
            key = "session.model_external_initializers_file_folder_path"
            options.add_session_config_entry(key, str(self.path.parent.resolve()))
            there = onnxruntime.get_available_providers()
            wanted = dict.fromkeys((device, "cpu"))
            chosen = [PROVIDERS[name] for name in wanted if PROVIDERS.get(name) in there]
            self._sessions[device] = onnxruntime.InferenceSession(self.content, options, chosen)
        return self._sessions[device]
