"""Calls the native core `hubfast._native` (csrc/) on tensors, by address.

Everything is float64 unless said, contiguous and on the CPU; the GIL is released meanwhile. The
core is optional, so it is imported only where it was chosen.
"""

import torch
from torch import Tensor

from hubfast.reference import GRID_STEP, NEWTON_STEPS, NEWTON_TOLERANCE, EvidenceMaximum
from hubfast.threads import cores

PADDING = 8  # doubles between rows: rows a power of two apart would share cache sets


def add_gram(gram: Tensor, rows: Tensor) -> None:
    """`reference.add_gram`, upper triangle only, which is half the flops."""
    import hubfast._native as core

    rows = rows.contiguous()  # by name: a temporary's memory would be free before it is read
    core.add_gram(gram.data_ptr(), len(gram), rows.data_ptr(), len(rows))


def add_moments(rows: Tensor, total: Tensor, cubic: Tensor) -> float:
    """`reference.add_moments` in one pass over `rows`."""
    import hubfast._native as core

    rows = rows.contiguous()
    return core.add_moments(
        rows.data_ptr(), len(rows), rows.shape[1], total.data_ptr(), cubic.data_ptr()
    )


def row_gram(rows: Tensor) -> Tensor:
    """X X' `(n, n)` of `rows` X (n, D), any float type; half the flops, in torch's threads."""
    import hubfast._native as core

    rows = rows.to(torch.promote_types(rows.dtype, torch.float32)).contiguous()
    gram = rows.new_empty(len(rows), len(rows), dtype=torch.float64)
    shape, threads = rows.shape, torch.get_num_threads()
    core.row_gram(rows.data_ptr(), rows.dtype == torch.float64, *shape, gram.data_ptr(), threads)
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
        eigenvalues=eigenvalues.data_ptr(),
        energy=by_column.data_ptr(),
        residual=residual.data_ptr(),
        k=k,
        columns=columns,
        count=count,
        log_t=log_t.data_ptr(),
        value=value.data_ptr(),
        quadratic=quadratic.data_ptr(),
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
        gram.data_ptr(),
        reflectors.data_ptr(),
        reflectors.stride(0),
        factors.data_ptr(),
        band.data_ptr(),
    )
    return band, reflectors, factors


def rotate(reflectors: Tensor, factors: Tensor, rows: Tensor, *, back: bool) -> Tensor:
    """`rows` Q for `rows` (m, D), or `rows` Q' where `back`."""
    import hubfast._native as core

    rotated = _padded(rows)
    core.rotate(
        len(reflectors),
        reflectors.data_ptr(),
        reflectors.stride(0),
        factors.data_ptr(),
        back,
        rotated.data_ptr(),
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
        band.data_ptr(),
        len(rows),
        rows.data_ptr(),
        rows.stride(0),
        len(t),
        t.data_ptr(),
        log_det.data_ptr(),
        found.data_ptr(),
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
        band.data_ptr(),
        len(rows),
        rows.data_ptr(),
        t.data_ptr(),
        solutions.data_ptr(),
        cores(),
    )
    return solutions


def _padded(rows: Tensor) -> Tensor:
    """A copy of `rows` (m, D) with PADDING between rows."""
    copy = rows.new_empty(len(rows), rows.shape[1] + PADDING)[:, : rows.shape[1]]
    return copy.copy_(rows)
