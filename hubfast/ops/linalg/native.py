"""Calls the native core `hubfast._native` (csrc/) on tensors.

Tensors are on the CPU, and float64 unless a docstring says otherwise. The core sees them as NumPy
arrays of the same memory, checks their shapes, and releases the GIL while it computes. It is
optional, so it is imported only where it was chosen.
"""

import numpy as np
import torch
from torch import Tensor

from hubfast.utils.threads import cores


def add_gram(gram: Tensor, rows: Tensor) -> None:
    """`reference.add_gram` of the upper triangle only, which is half the flops."""
    import hubfast._native as core

    core.add_gram(memory(gram), array(rows))


def add_moments(rows: Tensor, total: Tensor, cubic: Tensor) -> float:
    """`reference.add_moments` in one pass over `rows`."""
    import hubfast._native as core

    return core.add_moments(array(rows), memory(total), memory(cubic))


def row_gram(rows: Tensor) -> Tensor:
    """X X' `(n, n)` of `rows` X (n, D), any float type; half the flops, in torch's threads."""
    import hubfast._native as core

    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    gram = rows.new_empty(len(rows), len(rows), dtype=torch.float64)
    core.row_gram(array(rows, rows.dtype), memory(gram), torch.get_num_threads())
    return gram


def reduce_to_band(gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """G = Q B Q' of `gram` (D, D), upper triangle read: B as rows of its lower band, and Q.

    Returns:
        Band `(D, w + 1)`, row i holding B[i, i - w .. i]; reflectors `(D, D + padding)`;
        their triangular factors. The latter two are for `rotate`.
    """
    import hubfast._native as core

    band, reflectors, factors = map(torch.from_numpy, core.reduce(array(gram)))
    return band, reflectors, factors


def rotate(reflectors: Tensor, factors: Tensor, rows: Tensor, *, back: bool) -> Tensor:
    """`rows` Q for `rows` (m, D), or `rows` Q' where `back`."""
    import hubfast._native as core

    rotated = _padded(rows, core.PADDING)
    core.rotate(array(reflectors), array(factors), back, rotated.numpy())
    return rotated


def quadratic_forms(band: Tensor, rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """log det(B + t I) `(T,)` and y'(B + t I)^-1 y `(T, m)` for the rows y of `rows` (m, D)."""
    import hubfast._native as core

    padded = _padded(rows, core.PADDING).numpy()
    log_det, forms = core.quadratic_forms(array(band), padded, array(t), cores())
    return torch.from_numpy(log_det), torch.from_numpy(forms)


def solve(band: Tensor, rows: Tensor, t: Tensor) -> Tensor:
    """(B + t_c I)^-1 y_c for the rows y of `rows` (m, D), one shift each: `(m, D)`."""
    import hubfast._native as core

    return torch.from_numpy(core.solve(array(band), array(rows), array(t), cores()))


def array(x: Tensor, dtype: torch.dtype = torch.float64) -> np.ndarray:
    """The numbers of `x` for the core to read: its memory, or a copy where that has gaps.

    Raises:
        ValueError: `x` is not on the CPU, or of another dtype than the core reads.
    """
    return memory(x.detach().contiguous(), dtype)


def memory(x: Tensor, dtype: torch.dtype = torch.float64) -> np.ndarray:
    """The memory of `x` for the core to write into.

    Raises:
        ValueError: `x` is not on the CPU, is of another dtype, or has gaps.
    """
    dense = x.is_contiguous()
    if x.device.type == "cpu" and x.dtype == dtype and dense:
        return x.numpy()
    raise ValueError(
        f"the native core takes contiguous {dtype} on the CPU, got {x.dtype} on {x.device}"
        + ("" if dense else ", not contiguous")
    )


def _padded(rows: Tensor, padding: int) -> Tensor:
    """A copy of `rows` (m, D) with `padding` numbers between rows."""
    rows = rows.detach()
    copy = rows.new_empty(len(rows), rows.shape[1] + padding)[:, : rows.shape[1]]
    return copy.copy_(rows)
