"""Multinomial logistic regression by Newton's method, however the features are correlated.

Each step solves for all weights at once by conjugate gradients. On the principal axes of the
features the Hessian is near its diagonal, by which they are preconditioned: as that follows the
fitted probabilities, the number of products hangs neither on how unlike the axes are nor on whether
the classes can be separated, where first-order methods take thousands of steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

STEPS = 60  # of Newton's method; up to 17 were needed
WORK = 4e11  # multiply-adds for a head: 20 to 40 s on one core
PRODUCTS = 200  # with the Hessian, in one step; up to 100 were needed
FEWEST = 40  # products with the Hessian that are always allowed
HALVINGS = 20  # of a step that does not lower the loss enough
SUFFICIENT = 1e-4  # of what the slope promises
ROUGH = 0.25  # of the slope, left over by a step far from the minimum
EPSILON = np.finfo(float).eps


@dataclass(frozen=True)
class SoftmaxHead:
    """A linear head in the coordinates of the rows that it was fitted to."""

    weights: np.ndarray  # (r, C)
    bias: np.ndarray  # (C,)
    converged: bool

    def log_probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Of each class, `(m, C)`, for `rows` (m, r)."""
        return _log_softmax(rows @ self.weights + self.bias)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The most probable class of each row, `(m,)`."""
        return (rows @ self.weights + self.bias).argmax(1)


def principal_axes(x: np.ndarray) -> np.ndarray:
    """Coordinates of the centred rows of `x` (n, D) on all their principal axes, `(n, rank)`.

    Products and the norm of a head's weights are the same there as in the features.
    """
    moved = x - x.mean(0)
    wide = moved.shape[1] > len(moved)
    values, vectors = scipy.linalg.eigh(moved @ moved.T if wide else moved.T @ moved)
    kept = values > values[-1] * max(x.shape) * EPSILON
    if wide:
        return vectors[:, kept] * np.sqrt(values[kept])
    return moved @ vectors[:, kept]


def fit_head(
    rows: np.ndarray,
    labels: np.ndarray,
    classes: int,
    tolerance: float,
    start: SoftmaxHead | None = None,
) -> SoftmaxHead:
    """The head W, b of least loss: the sum of cross-entropies + |W|^2 / 2.

    Args:
        rows: `(n, r)`, best on principal axes.
        labels: `(n,)` in 0..classes - 1.
        classes: C.
        tolerance: Stop where a Newton step promises to lower the loss by less than this share, or
            by less than round-off of n cross-entropies of 1.
        start: A head of most of the same samples, from which few steps are left; None for zeros.
    """
    x = np.hstack([rows, np.ones((len(rows), 1))])
    ridge = np.ones((x.shape[1], 1))
    ridge[-1] = 0  # no penalty on the bias
    targets, squares = np.eye(classes)[labels], np.square(x)
    head = np.zeros((x.shape[1], classes))
    if start is not None:
        head = np.vstack([start.weights, start.bias])
    scores = x @ head
    loss, p = _loss(head, scores, targets, ridge)
    left = max(FEWEST, int(WORK / (2 * x.size * classes)))
    converged = False
    for _ in range(STEPS):
        slope = x.T @ (p - targets) + ridge * head
        diagonal = np.maximum(squares.T @ (p * (1 - p)) + ridge, EPSILON * len(x))
        gain = float((slope**2 / diagonal).sum()) / 2  # about, of a whole step
        converged = gain <= max(tolerance * loss, EPSILON * len(x))
        if converged or left <= 0:
            break
        rest = min(ROUGH, math.sqrt(2 * gain / loss))
        step, used = _newton_step(slope, diagonal, _hessian(x, p, ridge), rest, min(left, PRODUCTS))
        left -= used
        moved, promised = x @ step, float((slope * step).sum())
        length = 1.0
        for _ in range(HALVINGS):
            lower, found = _loss(head + length * step, scores + length * moved, targets, ridge)
            if lower <= loss + SUFFICIENT * length * promised:
                break
            length /= 2
        head, scores, loss, p = head + length * step, scores + length * moved, lower, found
    return SoftmaxHead(head[:-1], head[-1], converged)


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    """Of each row."""
    shifted = scores - scores.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _loss(
    head: np.ndarray, scores: np.ndarray, targets: np.ndarray, ridge: np.ndarray
) -> tuple[float, np.ndarray]:
    """The loss and the probabilities `(n, C)`."""
    log_p = _log_softmax(scores)
    return float((ridge * head**2).sum() / 2 - (log_p * targets).sum()), np.exp(log_p)


def _hessian(x: np.ndarray, p: np.ndarray, ridge: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def product(direction: np.ndarray) -> np.ndarray:
        moved = x @ direction
        return x.T @ (p * (moved - (p * moved).sum(1, keepdims=True))) + ridge * direction

    return product


def _newton_step(
    slope: np.ndarray,
    diagonal: np.ndarray,
    hessian: Callable[[np.ndarray], np.ndarray],
    rest: float,
    most: int,
) -> tuple[np.ndarray, int]:
    """About -H^-1 `slope`, by conjugate gradients preconditioned by the diagonal of H.

    Args:
        slope: `(r, C)`.
        diagonal: Of H, `(r, C)`.
        hessian: The product with H.
        rest: Stop where this share of the slope is left over.
        most: Products at most.

    Returns:
        The step, and how many products it took.
    """
    step, left = np.zeros_like(slope), -slope
    direction = left / diagonal
    size = first = float((left * direction).sum())
    for used in range(most):
        if size <= rest**2 * first:
            return step, used
        curved = hessian(direction)
        length = size / float((direction * curved).sum())
        step += length * direction
        left = left - length * curved
        scaled = left / diagonal
        size, before = float((left * scaled).sum()), size
        direction = scaled + size / before * direction
    return step, most
