"""The range of pixels that a Keras model was made for, told by the first thing it does to them."""

from typing import Any, NamedTuple

import numpy as np

from hubfast.hub.keras.graph import ARITHMETIC, DROPOUT, node_of

INACTIVE = DROPOUT | {
    *("Identity", "Cast", "Resizing", "CenterCrop", "RandAugment", "AugMix", "MixUp", "CutMix"),
    *("AutoContrast", "Equalization", "Solarization"),
}


class KerasPixels(NamedTuple):
    """What a model says of its pixels."""

    top: int | None  # their largest value, 1 or 255; None where it cannot be told
    size: tuple[int, int] | None  # the size that it resizes images to
    why: str = ""  # why it cannot be told


def pixels(model: Any) -> KerasPixels:
    """Tells the range by the first layer or operation that shifts or scales the images.

    Layers that do nothing to them but when training, that resize, and that reorder channels are
    looked through. Anything else before it, or a second reader of the images, and nothing is told.

    Args:
        model: A functional model; see `hubfast.hub.keras.graph.unrolled`.
    """
    readers = _readers(model)
    tensor, size = model.inputs[0], None
    while (node := _only_reader(readers, tensor)) is not None:
        for op in _parts(node.operation):
            name = type(op).__name__
            if name == "Resizing":
                size = (op.height, op.width)
            if name in INACTIVE or name.startswith("Random") or _reorders(node, name):
                continue
            known = _known(node, op, name)
            if known is None:
                return KerasPixels(None, size)
            top, why = known
            if top is not None or why:
                return KerasPixels(top, size, why)
        tensor = node.output_tensors[0]
    return KerasPixels(None, size)


def top_of_affine(scale: Any, offset: Any) -> int | None:
    """Largest value, 1 or 255, of the pixels for which `scale * x + offset` was made; else None.

    It gives numbers of order 1 from either, makes 0..255 of 0..1, or takes a mean off.
    """
    scale, offset = np.abs(np.asarray(scale, float)), np.asarray(offset, float)

    def within(values: Any, low: float, high: float) -> bool:
        return bool(((values >= low) & (values <= high)).all())

    if np.allclose(scale, 1):
        mean = -offset
        return 255 if within(mean, 50, 255) else 1 if within(mean, 0.01, 1) else None
    if within(255 * scale, 0.9, 20):
        return 255
    return 1 if within(scale, 0.9, 20) or within(scale, 200, 300) else None


def top_of_statistics(mean: Any, variance: Any) -> int | None:
    """Largest value, 1 or 255, of pixels with such statistics of their channels; else None.

    Pixels in 0..1 have a standard deviation of 0.5 at most, others of more than that.
    """
    mean, std = np.asarray(mean, float), np.sqrt(np.asarray(variance, float))
    if ((mean > 0) & (mean < 1) & (std > 0) & (std <= 0.5)).all():
        return 1
    return 255 if ((mean > 1) & (mean < 255) & (std > 1) & (std <= 128)).all() else None


def _readers(model: Any) -> dict[int, list[Any]]:
    """The calls that read each tensor, by the tensor's id."""
    readers: dict[int, list[Any]] = {}
    seen, left = set(), list(model.outputs)
    while left:
        node = node_of(left.pop())
        if id(node) in seen:
            continue
        seen.add(id(node))
        for tensor in {id(t): t for t in node.input_tensors}.values():
            readers.setdefault(id(tensor), []).append(node)
            left.append(tensor)
    return readers


def _only_reader(readers: dict[int, list[Any]], tensor: Any) -> Any:
    """The one call that reads a tensor; None where there is none, or several.

    Channels that are taken one by one are put together by one call, in whatever order.
    """
    found = readers.get(id(tensor), [])
    if len(found) > 1 and all(type(node.operation).__name__ == "GetItem" for node in found):
        after = [readers.get(id(node.output_tensors[0]), []) for node in found]
        found = list({id(node): node for nodes in after for node in nodes}.values())
        if any(node.output_tensors[0].shape != tensor.shape for node in found):
            return None
    return found[0] if len(found) == 1 else None


def _parts(op: Any) -> list[Any]:
    """The layers of a Pipeline; any other layer alone."""
    return list(op.layers) if type(op).__name__ == "Pipeline" else [op]


def _reorders(node: Any, name: str) -> bool:
    """Whether a call only moves values, as an index (RGB to BGR) or a transposition does."""
    given, made = node.input_tensors[0].shape, node.output_tensors[0].shape
    if name in ("Permute", "Transpose", "Stack"):
        return True
    return name in ("GetItem", "Flip") and tuple(given) == tuple(made)


def _known(node: Any, op: Any, name: str) -> tuple[int | None, str] | None:
    """The range that a layer tells, or why it does not; None for a layer of another kind."""
    if name == "Normalization" and not op.invert:
        import keras

        mean, variance = (keras.ops.convert_to_numpy(v) for v in (op.mean, op.variance))
        top = top_of_statistics(mean, variance)
        said = f"mean {np.ravel(mean)[0]:.3g} and variance {np.ravel(variance)[0]:.3g}"
        return top, "" if top else f"its Normalization ({said})"
    if name == "Rescaling":
        scale, offset = op.scale, op.offset
    elif name in ARITHMETIC and len(node.input_tensors) == 1:
        scale, offset = _constants(node, name)
    else:
        return None
    if scale is None:
        return None
    top = top_of_affine(scale, offset)
    nothing = np.allclose(scale, 1) and np.allclose(offset, 0)
    return top, "" if top or nothing else f"its {name} (scale {scale}, offset {offset})"


def _constants(node: Any, name: str) -> tuple[Any, Any]:
    """Scale and offset of arithmetic with a number; `(None, None)` where that is not one."""
    import keras

    given, terms = node.input_tensors[0], list(node.arguments.args)
    other = [term for term in terms if term is not given]
    if len(terms) != 2 or len(other) != 1 or (terms[0] is not given and name[0] not in "AM"):
        return None, None
    value = keras.ops.convert_to_numpy(other[0])
    match name:
        case "Add":
            return 1.0, value
        case "Subtract":
            return 1.0, -value
        case "Multiply":
            return value, 0.0
    return 1 / value, 0.0
