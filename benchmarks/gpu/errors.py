"""How far results are from float64, with memory that holds NaN before."""

import torch
from torch import Tensor

SMALL = 2**18  # bytes of a block of the allocator's pool for small tensors
SMALL_SHARE = 16  # as much less of that pool


def poison(size: int) -> None:
    """Fills memory that the next tensors will get with NaN: what is not written shows.

    Args:
        size: Bytes of large blocks.
    """
    count = 8
    blocks = [
        torch.full((max(1, size // count // 4),), torch.nan, device="cuda") for _ in range(count)
    ]
    smalls = size // SMALL_SHARE // SMALL
    blocks += [torch.full((SMALL // 4,), torch.nan, device="cuda") for _ in range(smalls)]
    torch.cuda.synchronize()
    del blocks


def error(found: Tensor, exact: Tensor) -> float:
    """|found - exact| / |exact|; infinity where a value is not finite."""
    away = (found.double() - exact).norm() / exact.norm().clamp(min=1e-300)
    return float(away) if bool(torch.isfinite(away)) else float("inf")


def times_torchs(ours: float, torchs: float, dtype: torch.dtype) -> float:
    """Our error over torch's in the same dtype, which may be right by luck: not under 3 eps."""
    return ours / max(torchs, 3 * torch.finfo(dtype).eps)
