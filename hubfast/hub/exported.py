"""Programs of torch.export (.pt2): what enters the last linear layer is the features."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from hubfast.hub.model import Loading
from hubfast.hub.network import FeatureModule, Network
from hubfast.hub.outputs import pooled, run_in_fixed_batches
from hubfast.hub.preprocessing import advice, transform_of_file

AFTER_LOGITS = {"softmax", "_softmax", "log_softmax", "_log_softmax", "sigmoid", "dropout"}
WHY = "is a torch.export program, and loading one can run code from it"


def load(path: str | Path, loading: Loading) -> Network:
    """An exported image model with one input, `(batch, 3, height, width)`.

    The file may hold its preprocessing as the extra file `preprocessing.json`; see
    `hubfast.hub.preprocessing`.

    Raises:
        FileNotFoundError, PermissionError, ValueError: No such file, not trusted (torch says
            never to load one that is not), or another kind of model.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"exported program not found: {path}")
    loading.require_trust(str(path), WHY)
    extra: dict[str, Any] = {"preprocessing.json": ""}
    program = torch.export.load(path, extra_files=extra)
    given = program.graph_signature.user_inputs
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op != "output"}
    example = values[given[0]] if given and isinstance(given[0], str) else None
    if len(given) != 1 or not isinstance(example, Tensor) or example.ndim != 4:
        raise ValueError(f"{path} must take one input (batch, 3, height, width), got {given}")
    fixed = [side if isinstance(side, int) else None for side in example.shape]
    own = json.loads(extra["preprocessing.json"]) if extra["preprocessing.json"] else None
    size = (fixed[2], fixed[3]) if fixed[2] and fixed[3] else None
    transform = transform_of_file(path, loading.preprocessing, own, size)
    module = with_features(program.module(check_guards=False))
    run = _Program(module, fixed[0], example.dtype)
    count = sum(p.numel() for p in program.parameters())
    return Network(run, transform, count=count, advice=advice(path))


def with_features(module: fx.GraphModule) -> fx.GraphModule:
    """The program with `[features, logits]` as output where a linear layer gives its output."""
    graph = module.graph
    graph.set_codegen(fx.graph.CodeGen())  # plain inputs and outputs, no trees of them
    end = graph.output_node()
    node: Any = end.args[0]
    while isinstance(node, tuple | list):
        node = node[0]
    result, exclusive = node, True
    while _name(node) in AFTER_LOGITS:
        exclusive = exclusive and _name(node) != "sigmoid"
        node = node.args[0]
    position = {"linear": 0, "addmm": 1, "mm": 0}.get(_name(node) or "")
    if position is None:
        end.args = ([result],)
    else:
        end.args = ([node.args[position], *([node] if exclusive else [])],)
    graph.eliminate_dead_code()
    graph.lint()
    return fx.GraphModule(module, graph)


def _name(node: Any) -> str | None:
    target = getattr(node, "target", None)
    return target.overloadpacket.__name__ if isinstance(target, torch._ops.OpOverload) else None


class _Program(FeatureModule):
    def __init__(self, module: fx.GraphModule, fixed: int | None, dtype: torch.dtype):
        super().__init__()
        self.module, self.fixed, self.dtype = module, fixed, dtype

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        inputs = inputs.to(self.dtype)
        features, *logits = run_in_fixed_batches(self.module, inputs, self.fixed)
        return pooled(features.float()), logits[0].float() if logits else None
