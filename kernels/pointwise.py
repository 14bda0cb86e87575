"""1x1 convolutions in half precision: batched products of torch's, written where they belong."""

import torch
from torch import Tensor

from hubfast.ops.zoo_conv.geometry import Geometry, pointwise


def multiply_into(out: Tensor, left: Tensor, right: Tensor) -> bool:
    """Writes the products `left @ right` of `(B, n, k)` and `(B, k, m)` into `out`, a view.

    Returns False, and does nothing, where torch would have to copy one of the three.
    """
    if not all(map(_for_blas, (out, left, right))):
        return False
    if out.stride(2) == 1:
        torch.bmm(left, right, out=out)
    else:
        torch.bmm(right.mT, left.mT, out=out.mT)
    return True


def is_product(x: Tensor, y: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether the convolution of `x` to `y` is `weight @ x` of matrices as they lie in memory.

    In half precision only: torch has another switch for the float32 products of matrices than for
    those of convolutions, which the kernels follow.
    """
    plain = pointwise(tuple(weight.shape[3:]), geometry) and set(geometry.stride) == {1}
    return plain and x.dtype != torch.float32 and all(map(_pixels_have_one_stride, (x, y)))


def _pixels_have_one_stride(x: Tensor) -> bool:
    return x.shape[2] == 1 or x.stride(2) == x.shape[3] * x.stride(3)


def _for_blas(matrices: Tensor) -> bool:
    rows, columns = matrices.stride()[1:]
    by_rows = columns == 1 and rows >= matrices.shape[2]
    return by_rows or (rows == 1 and columns >= matrices.shape[1])
