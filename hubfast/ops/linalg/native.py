"""Calls the native core `hubfast._native` (csrc/) on tensors, by address.

Everything is float64 unless said, contiguous and on the CPU; the GIL is released meanwhile. The
core is optional, so it is imported only where it was chosen.
"""

import torch
from torch import Tensor

from hubfast.ops.reference import GRID_STEP, NEWTON_STEPS, NEWTON_TOLERANCE, EvidenceMaximum
from hubfast.utils.threads import cores

PADDING = 8  # doubles between rows: rows a power of two apart would share cache sets


def address(x: Tensor, dtype: torch.dtype = torch.float64, *, padded: bool = False) -> int:
    """Where the core finds the numbers of `x`, if they are as it reads them.

    Args:
        x: On the CPU.
        dtype: As the core reads them.
        padded: Whether there may be room between rows.

    Raises:
        ValueError: They are elsewhere, of another type, or not next to each other.
    """
    dense = x.is_contiguous() or (padded and x.stride(-1) == 1)
    if x.device.type == "cpu" and x.dtype == dtype and dense:
        return x.data_ptr()
    raise ValueError(
        f"the native core takes contiguous {dtype} on the CPU, got {x.dtype} on {x.device}"
        + ("" if dense else ", not contiguous")
    )


def add_gram(gram: Tensor, rows: Tensor) -> None:
    """`reference.add_gram`, upper triangle only, which is half the flops."""
    import hubfast._native as core

    rows = rows.contiguous()  # by name: a temporary's memory would be free before it is read
    core.add_gram(address(gram), len(gram), address(rows), len(rows))


def add_moments(rows: Tensor, total: Tensor, cubic: Tensor) -> float:
    """`reference.add_moments` in one pass over `rows`."""
    import hubfast._native as core

    rows = rows.contiguous()
    return core.add_moments(address(rows), len(rows), rows.shape[1], address(total), address(cubic))


def row_gram(rows: Tensor) -> Tensor:
    """X X' `(n, n)` of `rows` X (n, D), any float type; half the flops, in torch's threads."""
    import hubfast._native as core

    rows = rows.to(torch.promote_types(rows.dtype, torch.float32)).contiguous()
    gram = rows.new_empty(len(rows), len(rows), dtype=torch.float64)
    shape, threads = rows.shape, torch.get_num_threads()
    core.row_gram(
        address(rows, rows.dtype), rows.dtype == torch.float64, *shape, address(gram), threads
    )
    return gram


def climb(
    log_t: Tensor, eigenvalues: Tensor, energy: Tensor, residual: Tensor, count: int
) -> EvidenceMaximum:
    """`reference.climb` in one fused pass a step.

    Raises:
        RuntimeError: A column did not converge.
    """
    import hubfast._native as core

    k, columns = energy.shape
    eigenvalues, residual = eigenvalues.contiguous(), residual.contiguous()
    by_column = energy.T.contiguous()  # (C, k)
    log_t = log_t.clone()
    value, quadratic = torch.empty_like(log_t), torch.empty_like(log_t)
    failed = core.climb(
        eigenvalues=address(eigenvalues),
        energy=address(by_column),
        residual=address(residual),
        k=k,
        columns=columns,
        count=count,
        log_t=address(log_t),
        value=address(value),
        quadratic=address(quadratic),
        grid_step=GRID_STEP,
        tolerance=NEWTON_TOLERANCE,
        max_steps=NEWTON_STEPS,
        threads=cores(),
    )
    if failed:
        raise RuntimeError(f"the evidence search did not converge for {failed} columns")
    return EvidenceMaximum(value, log_t.exp(), quadratic)


def reduce_to_band(gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """G = Q B Q' of `gram` (D, D), upper triangle read: B as rows of its lower band, and Q.

    Returns:
        Band `(D, w + 1)`, row i holding B[i, i - w .. i]; reflectors `(D, D + PADDING)`;
        their triangular factors. The latter two are for `rotate`.
    """
    import hubfast._native as core

    size, width = len(gram), core.BANDWIDTH
    gram = gram.contiguous()
    reflectors = gram.new_empty(size, size + PADDING)
    factors = gram.new_empty(size // width + 1, width, width)
    band = gram.new_empty(size, width + 1)
    core.reduce(
        size,
        address(gram),
        address(reflectors, padded=True),
        reflectors.stride(0),
        address(factors),
        address(band),
    )
    return band, reflectors, factors


def rotate(reflectors: Tensor, factors: Tensor, rows: Tensor, *, back: bool) -> Tensor:
    """`rows` Q for `rows` (m, D), or `rows` Q' where `back`."""
    import hubfast._native as core

    rotated = _padded(rows)
    core.rotate(
        len(reflectors),
        address(reflectors, padded=True),
        reflectors.stride(0),
        address(factors),
        back,
        address(rotated, padded=True),
        rotated.stride(0),
        len(rotated),
    )
    return rotated


def quadratics(band: Tensor, rows: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """log det(B + t I) `(T,)` and y'(B + t I)^-1 y `(T, m)` for the rows y of `rows` (m, D)."""
    import hubfast._native as core

    rows, t = _padded(rows), t.contiguous()
    log_det, found = torch.empty_like(t), t.new_empty(len(t), len(rows))
    core.quadratics(
        len(band),
        address(band),
        len(rows),
        address(rows, padded=True),
        rows.stride(0),
        len(t),
        address(t),
        address(log_det),
        address(found),
        cores(),
    )
    return log_det, found


def solve(band: Tensor, rows: Tensor, t: Tensor) -> Tensor:
    """(B + t_c I)^-1 y_c for the rows y of `rows` (m, D), a shift each: `(m, D)`."""
    import hubfast._native as core

    rows, t = rows.contiguous(), t.contiguous()
    solutions = torch.empty_like(rows)
    core.solve(
        len(band),
        address(band),
        len(rows),
        address(rows),
        address(t),
        address(solutions),
        cores(),
    )
    return solutions


def _padded(rows: Tensor) -> Tensor:
    """A copy of `rows` (m, D) with PADDING between rows."""
    copy = rows.new_empty(len(rows), rows.shape[1] + PADDING)[:, : rows.shape[1]]
    return copy.copy_(rows)
