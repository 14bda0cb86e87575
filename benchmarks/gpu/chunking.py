"""How many samples' mixed weights are held at once, measured: table `chunks`."""

from collections.abc import Collection
from functools import partial

import torch
from gpu.choosing import OWN, say_choice
from gpu.jobs import Say, Sizes
from gpu.shapes import Shape, gradient_of, zoo_inputs
from gpu.timing import captured, rotating, timed


def chunks(shapes: Collection[Shape], say: Say, sizes: Sizes) -> None:
    """Forward and backward of each layer, for each number of samples in a chunk."""
    from hubfast.kernels import zoo_conv as kernel
    from hubfast.ops.reference import Geometry
    from hubfast.ops.zoo_conv import chunks as known

    for shape in shapes:
        sets = rotating(lambda s=shape: (*zoo_inputs(s, sizes), gradient_of(s, sizes)))
        geometry = Geometry(shape.how["stride"], shape.how["padding"], (1, 1))

        def forward(chunk: dict, turn: int, sets=sets, geometry=geometry) -> object:
            *given, _ = sets[turn % len(sets)]
            return kernel.zoo_conv(*given, geometry, **chunk)

        def backward(chunk: dict, turn: int, sets=sets, geometry=geometry) -> object:
            *given, grad = sets[turn % len(sets)]
            return kernel.zoo_conv_backward(grad, *given, geometry, **chunk)

        x, weights, *_ = sets[0]
        layer = known.Layer.of(x, weights, shape.out_side**2)
        for way, call in (("forward", forward), ("backward", backward)):
            values = {str(n): n for n in known.CHUNKS}
            graphs, errors = {}, {}
            for name in (OWN, *values):
                chunk = {} if name == OWN else {"chunk": values[name] or len(x)}
                try:
                    graphs[name] = captured(partial(call, chunk), len(sets))
                except Exception as error:
                    errors[name] = f"{type(error).__name__}: {error}"[:300]
            times, failed = timed(graphs, sizes)
            key = known.chunk_key(layer, way)
            say_choice(say, "chunks", key, values, times, shape=shape, errors=errors | failed)
        del sets
        torch.cuda.empty_cache()
