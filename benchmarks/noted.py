"""Which operators torch runs, with their operands: on tensors without memory, what would run."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

ALLOCATIONS = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")
GRADIENTS = ("input gradient", "weight gradient")


@dataclass(frozen=True)
class Operation:
    """An operator that reads or writes memory."""

    name: str
    flops: int  # multiplications and additions
    tensors: list[Tensor]  # its operands; the result is the last


class Noted(TorchDispatchMode):
    """Appends each operator to a list, but for views and allocations.

    A convolution's backward becomes one operation for each gradient.
    """

    def __init__(self, events: list) -> None:
        super().__init__()
        self.events = events

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        packet = function._overloadpacket
        if function.is_view or packet.__name__ in ALLOCATIONS:
            return result
        flops = 0
        if packet in flop_registry:
            flops = flop_registry[packet](*args, **kwargs, out_val=result)
        inputs = list(_tensors([*args, *kwargs.values()]))
        if packet.__name__ != "convolution_backward":
            self._note(packet.__name__, flops, inputs, result)
            return result
        wanted = [
            (name, output, operand)
            for name, output, operand in zip(GRADIENTS, result, args[1:3], strict=False)
            if output is not None
        ]
        for name, output, operand in wanted:
            others = [one for one in inputs if one is not operand]
            self._note(name, flops // len(wanted), others, output)
        return result

    def _note(self, name: str, flops: int, inputs: list[Tensor], output: object) -> None:
        outputs = list(_tensors([output]))
        kept = [one for one in inputs if all(one is not other for other in outputs)]
        self.events.append(Operation(name, flops, [*kept, *outputs]))


def _tensors(values: Iterable) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
