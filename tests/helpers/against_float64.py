"""How far a result may be from float64."""

import torch


def within_torchs_error(ours, torchs, exact):
    """Ours at most 1.5 times as far from float64 as torch's in the same dtype."""
    floor = 3 * torch.finfo(torchs.dtype).eps * exact.norm()  # torch may be right by luck
    limit = 1.5 * max((torchs.double() - exact).norm(), floor)
    assert (ours.double() - exact).norm() <= limit
