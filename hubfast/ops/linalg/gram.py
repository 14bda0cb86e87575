"""The sums over samples that statistics consist of."""

from torch import Tensor
from torch.nn.functional import one_hot

from hubfast.ops.backends import choose, expect, on_device
from hubfast.ops.linalg import lapack, native, reference
from hubfast.ops.registration import register


def add_gram(gram: Tensor, rows: Tensor, *, backend: str | None = None) -> None:
    """Adds `rows' rows` to `gram` in place; only its upper triangle is then defined.

    Args:
        gram: `(D, D)` float64, contiguous.
        rows: `(n, D)` float64.
        backend: `"native"` or `"scipy"` (CPU, half the flops), `"torch"`, or None for the best.
    """
    expect(gram, "gram", (rows.shape[-1], rows.shape[-1]))
    expect(rows, "rows", (None, gram.shape[1]))
    _add_gram_op(gram, rows, backend)


def _fake_add_gram(gram: Tensor, rows: Tensor, backend: str | None) -> None:
    return None


@register("add_gram", fake=_fake_add_gram, mutates=("gram",))
def _add_gram_op(gram: Tensor, rows: Tensor, backend: str | None) -> None:
    match choose(backend, *on_device(gram, cpu=("native", "scipy"))):
        case "native":
            native.add_gram(gram, rows)
        case "scipy":
            lapack.add_gram(gram, rows.contiguous())
        case _:
            reference.add_gram(gram, rows)


def add_moments(rows: Tensor, total: Tensor, cubic: Tensor, *, backend: str | None = None) -> float:
    """Adds sums over the samples x of `rows` in place; returns the sum of |x|^4.

    Args:
        rows: `(n, D)` float64.
        total: Takes the sum of x, `(D,)` float64, contiguous.
        cubic: Takes the sum of |x|^2 x, `(D,)` float64, contiguous.
        backend: `"native"` (CPU, one pass), `"torch"`, or None for the best.
    """
    expect(rows, "rows", (None, None))
    expect(total, "total", (rows.shape[1],))
    expect(cubic, "cubic", (rows.shape[1],))
    match choose(backend, *on_device(rows, cpu=("native",))):
        case "native":
            return native.add_moments(rows, total, cubic)
        case _:
            return reference.add_moments(rows, total, cubic)


def class_sums(rows: Tensor, index: Tensor, classes: int) -> Tensor:
    """Sum of the rows of each class, `(classes, D)`; the same in every run.

    Args:
        rows: `(n, D)`.
        index: Class of each row, `(n,)` int64 in 0..classes - 1.
        classes: Number of classes.
    """
    if rows.is_cuda:  # there index_add_ adds in any order
        return one_hot(index, classes).to(rows.dtype).T @ rows
    return rows.new_zeros(classes, rows.shape[1]).index_add_(0, index, rows)
