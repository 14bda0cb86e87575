"""Names of scores, methods of tuning and kinds of models for help and completion.

They are read from the text of the modules that list them: importing those imports torch, and help
and completion must start fast.
"""

import ast
from pathlib import Path
from typing import Literal

import hubfast


def score_names() -> tuple[str, ...]:
    """The keys of `hubfast.scores.registry.HOMES`."""
    return tuple(ast.literal_eval(_value("scores/registry.py", "HOMES")))


def method_names(models: Literal["one", "several"] | None = None) -> tuple[str, ...]:
    """The names in `hubfast.tuning.methods.registry.METHODS`.

    Args:
        models: Only methods that take one model, or only those that take several; None for all.
    """
    names = []
    for node in ast.walk(_value("tuning/methods/registry.py", "METHODS")):
        match node:
            case ast.Call(
                func=ast.Name(id="TuningMethod"),
                args=[ast.Constant(value=str(name)), _, ast.Constant(value=taken)],
            ) if models in (None, taken):
                names.append(name)
    return tuple(names)


def model_kinds() -> tuple[str, ...]:
    """`hubfast.hub.loaders.KINDS`."""
    return ast.literal_eval(_value("hub/loaders.py", "KINDS"))


def _value(file: str, name: str) -> ast.expr:
    """What a module of hubfast assigns to `name`, as it is written."""
    source = Path(hubfast.__file__).parent / file
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                return value
    raise RuntimeError(f"{source} does not assign {name}")
