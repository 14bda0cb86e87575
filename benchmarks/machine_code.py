"""What the machine code of a kernel says: loads, products, spilled registers, and its loops.

The assembler's listing comes from the cuobjdump that Triton brings.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

UNITS = {"HMMA": "mma", "DMMA": "mma", "HGMMA": "wgmma", "UTCHMMA": "tcgen05"}
SIZES = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}  # others take 4 bytes
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(@\S+\s+)?(\w+)((?:\.\w+)*)([^;]*);")


@dataclass(frozen=True)
class Instruction:
    """One instruction: `LDG.E.128 R4, ...` is `LDG` with the options `("E", "128")`."""

    address: int
    guarded: bool  # a predicate says whether it does anything
    name: str
    options: tuple[str, ...]
    operands: str

    @property
    def size(self) -> int:
        """Bytes per thread that an instruction for memory moves."""
        return next((SIZES[option] for option in self.options if option in SIZES), 4)

    @property
    def loads(self) -> bool:
        """Whether it reads global memory."""
        return self.name in ("LDG", "LDGSTS")

    @property
    def products(self) -> int:
        """Multiplications and additions of one warp; 0 where the code does not say."""
        for option in self.options:
            if self.name == "HGMMA" and (shape := re.fullmatch(r"(\d+)x(\d+)x(\d+)", option)):
                m, n, k = map(int, shape.groups())
                return 2 * m * n * k // 4  # four warps share it
            if self.name == "HMMA" and re.fullmatch(r"168\d+", option):
                return 2 * 16 * 8 * int(option[3:])
        return 0

    @property
    def target(self) -> int | None:
        """The address that a branch goes to."""
        found = re.search(r"0x([0-9a-f]+)\s*$", self.operands) if self.name == "BRA" else None
        return int(found[1], 16) if found else None


@dataclass(frozen=True)
class Loop:
    """What one turn of a loop does, all loops inside it counted once."""

    start: int  # address
    end: int
    instructions: int
    read: int  # bytes per thread from L2: of loads that pass L1 by, and of those of 8 bytes or more
    written: int  # bytes per thread, of global memory
    products: int  # multiplications and additions of one warp on tensor cores
    copies: int  # loads that do not wait: from global to shared memory

    def holds(self, other: "Loop") -> bool:
        return self != other and self.start <= other.start and other.end <= self.end


@dataclass(frozen=True)
class MachineCode:
    """What a kernel's code holds."""

    instructions: int
    loads: dict[int, int]  # instructions that read global memory, by bytes per thread
    spills: int  # instructions that read or write local memory: registers were too few
    units: list[str]  # what multiplies matrices: "mma", "wgmma", "tcgen05"
    loops: list[Loop]


def read(listing: str) -> MachineCode:
    """The code of one kernel, as `cuobjdump -sass` lists it."""
    code = [
        Instruction(int(address, 16), bool(guard), name, tuple(options.split(".")[1:]), operands)
        for address, guard, name, options, operands in INSTRUCTION.findall(listing)
    ]
    loads = Counter(one.size for one in code if one.loads)
    return MachineCode(
        instructions=len(code),
        loads=dict(sorted(loads.items())),
        spills=sum(one.name in ("LDL", "STL") for one in code),
        units=sorted({UNITS[one.name] for one in code if one.name in UNITS}),
        loops=_loops(code),
    )


def _loops(code: Sequence[Instruction]) -> list[Loop]:
    """The loops that a branch back closes, from the outermost on.

    Branches behind the exit are left out: waits and calls that are seldom taken lie there.
    """
    exits = [one.address for one in code if one.name == "EXIT" and not one.guarded]
    ends: dict[int, int] = {}
    for one in code:
        if one.target is not None and one.target < one.address < min(exits, default=0):
            ends[one.target] = max(one.address, ends.get(one.target, 0))
    return [_loop(start, end, code) for start, end in sorted(ends.items())]


def _loop(start: int, end: int, code: Sequence[Instruction]) -> Loop:
    body = [one for one in code if start <= one.address <= end]
    return Loop(
        start,
        end,
        instructions=len(body),
        read=sum(one.size for one in body if one.name == "LDGSTS" or (one.loads and one.size >= 8)),
        written=sum(one.size for one in body if one.name == "STG"),
        products=sum(one.products for one in body),
        copies=sum(one.name == "LDGSTS" for one in body),
    )


def disassembled(binary: bytes, option: str) -> str:
    """What cuobjdump says of a binary."""
    import triton

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
