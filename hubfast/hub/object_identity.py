"""What a module or callable computes, as far as it can be seen: weights, layers and their code."""

import hashlib
import inspect
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from hubfast.hub.model import Source
from hubfast.nn.image_config import image_config

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
LIBRARIES = ("torch.", "torchvision.", "timm.", "builtins")


def of_object(source: Source, versions: dict[str, str]) -> dict[str, Any]:
    """Facts on the module or callable of a source that has a key.

    Args:
        source: The source; of one that is made of neither, its key alone is known.
        versions: Versions of the libraries that may have layers of it.
    """
    given, transform = source.given, source.transform
    facts: dict[str, Any] = {"key": source.key, "versions": versions}
    if isinstance(given, nn.Module):
        facts |= {
            "weights": _of_weights(given),
            "layers": _text(ADDRESS.sub("", repr(given))),
            "code": _of_code([type(part) for part in given.modules()]),
            "programs": _text("\n".join(_programs(given))),
        }
        if transform is None and hasattr(given, "pretrained_cfg"):
            facts["images"] = image_config(given)
    elif given is not None:
        facts["code"] = _of_code([given])
    if transform is not None:
        facts["transform"] = [_text(ADDRESS.sub("", repr(transform))), _of_code([transform])]
    return facts


def _of_weights(module: nn.Module) -> str:
    """A hash of all parameters and buffers, and of whatever else the module keeps as its state."""
    found = hashlib.sha256()
    for name, value in _state(module):
        found.update(f"{name} ".encode())
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
            buffer = io.BytesIO()
            torch.save(value, buffer)
            found.update(buffer.getbuffer())
            continue
        found.update(f"{value.dtype} {tuple(value.shape)} ".encode())
        content: Any = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        found.update(content)
    return found.hexdigest()


def _state(module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from module.state_dict().items()
    yield from module.named_buffers(remove_duplicate=False)  # also those that are not persistent


def _of_code(objects: Iterable[Any]) -> str:
    """A hash of the source of classes and functions that no library has, where it can be seen."""
    sources = set()
    for thing in objects:
        code = thing if inspect.isroutine(thing) or inspect.isclass(thing) else type(thing)
        home = str(getattr(code, "__module__", ""))
        if not home.startswith(LIBRARIES):
            sources.add(f"{home}.{code.__qualname__}\n{_source(code)}")
    return _text("\n".join(sorted(sources)))


def _programs(module: nn.Module) -> Iterator[str]:
    """What the parts of a TorchScript program do."""
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            with suppress(AttributeError, RuntimeError):  # it has no forward of its own
                yield part.code


def _source(code: Any) -> str:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):  # typed at a prompt, or compiled
        return ""


def _text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
