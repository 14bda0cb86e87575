"""How long an H100 takes for a kernel and for torch's products: arithmetic, no measurement.

Figures of an H100 SXM are those that public measurements reach.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable

from absent_gpu import REGISTERS, Kernel, Launch
from machine_code import Loop, MachineCode
from torch import Tensor

HBM, L2 = 3.0e12, 5.5e12  # bytes per second
PEAK = 798e12  # of dense bfloat16 products
WITHOUT_WGMMA = 0.62  # of the peak, with products of one warp
CLOCK, PROCESSORS = 1.755e9, 132
SCHEDULERS = 4  # of a multiprocessor; each issues one warp's instruction per clock
SHARED = 228 * 1024  # bytes of a multiprocessor; each program takes one KiB more than it asks for
HELD = 25e6  # bytes that stay in L2: half of it, since each of its two halves may hold a copy
LATENCY = 400e-9  # of a load from L2 and of what waits for it
LAUNCH = 2e-6  # from the end of a kernel to the work of the next


class L2Cache:
    """Which operands L2 holds; the one that was used longest ago goes first."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int, int], int] = OrderedDict()

    def missed(self, tensors: Iterable[Tensor]) -> int:
        """Bytes that HBM moves for an operation on these operands."""
        moved = 0
        for one in tensors:
            key = (one.untyped_storage()._cdata, one.storage_offset(), one.numel())
            moved += 0 if key in self._held else one.nbytes
            self._held[key] = one.nbytes
            self._held.move_to_end(key)
            while sum(self._held.values()) > HELD:
                self._held.popitem(last=False)
        return moved


def product_seconds(flops: int, moved: int, efficiency: float) -> float:
    """Time of a product of torch's that reaches this part of the peak, and moves bytes of HBM."""
    return max(flops / (efficiency * PEAK), moved / HBM)


def main_loop(code: MachineCode) -> Loop:
    """The innermost loop with the most products, or, without products, with the most stores."""
    inner = [one for one in code.loops if not any(one.holds(other) for other in code.loops)]
    return max(inner, key=lambda one: (one.products, one.written))


def resident(kernel: Kernel) -> int:
    """Programs that a multiprocessor holds at a time."""
    registers = math.ceil(kernel.registers / 8) * 8 * 32 * kernel.warps
    return min(REGISTERS // registers, SHARED // (kernel.shared + 1024), 64 // kernel.warps, 32)


def kernel_seconds(launch: Launch, turns: float, moved: int) -> float:
    """Time of a launch.

    Args:
        launch: The kernel and its grid.
        turns: Turns of the main loop of one program.
        moved: Bytes that HBM moves.
    """
    kernel, loop = launch.kernel, main_loop(launch.kernel.code)
    busiest = math.ceil(launch.programs / PROCESSORS)  # programs of a multiprocessor
    instructions = kernel.code.instructions + max(0, turns - 1) * loop.instructions
    peak = PEAK * (1 if set(kernel.code.units) != {"mma"} else WITHOUT_WGMMA)
    ahead = max(1, kernel.stages - 1) if loop.copies else 1
    waves = math.ceil(launch.programs / (PROCESSORS * resident(kernel)))
    return max(
        moved / HBM,
        launch.programs * turns * loop.read * 32 * kernel.warps / L2,
        busiest * instructions * kernel.warps / (SCHEDULERS * CLOCK),
        busiest * PROCESSORS * turns * loop.products * kernel.warps / peak,
        waves * turns * LATENCY / ahead,
    )
