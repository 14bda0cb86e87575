"""The precision of float32 products, as torch's convolutions are set."""

import torch


def precision(dtype: torch.dtype) -> str:
    """What `tl.dot` takes for a convolution of this dtype: `"tf32"` or `"ieee"`.

    The switch of torch's convolutions decides, `torch.backends.cudnn.conv.fp32_precision`. Where
    it says "none", those above it do, as torch documents. The older switch,
    `torch.backends.cudnn.allow_tf32`, is read only where torch has no other: it raises once the
    newer ones were set.
    """
    if dtype != torch.float32:
        return "ieee"  # which tl.dot reads for float32 only
    cudnn = torch.backends.cudnn
    if not hasattr(getattr(cudnn, "conv", None), "fp32_precision"):
        return "tf32" if cudnn.allow_tf32 else "ieee"
    levels = (cudnn.conv, cudnn, torch.backends)
    said = (getattr(level, "fp32_precision", "none") for level in levels)
    return "tf32" if next((p for p in said if p != "none"), "none") == "tf32" else "ieee"
