"""Chebyshev interpolation in log t of spectral functions, which costs a few of their values.

log det(I + G / t), y'(G + t I)^-1 y and their like are sums over the eigenvalues lambda >= 0 of G
whose only singularities in u = log t lie at log lambda +- i pi. So they are analytic in the strip
|Im u| < pi, whatever G is, and interpolation in Chebyshev points of an interval of half-length H
errs by less than rho^-p with rho = pi / H + sqrt(1 + (pi / H)^2). Trefethen: "Approximation Theory
and Approximation Practice", theorem 8.2.
"""

import math

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

PRECISION = 1e-12  # bound on rho^-p, which sets the number p of nodes


class LogInterpolation:
    """Interpolates functions of t in [low, high] from their values at `nodes`.

    Args:
        low: Lower end of the range of t, above 0.
        high: Upper end of the range of t, at least `low`.

    Attributes:
        nodes: Values of t at which `fit` takes the functions, `(p,)` float64.
    """

    def __init__(self, low: float, high: float):
        self._centre = (math.log(low) + math.log(high)) / 2
        self._half = max((math.log(high) - math.log(low)) / 2, 1e-3)
        ratio = math.pi / self._half
        rho = ratio + math.hypot(1, ratio)
        order = max(2, math.ceil(-math.log(PRECISION) / math.log(rho)))
        self._points = chebyshev.chebpts1(order)
        self.nodes = torch.from_numpy(np.exp(self._centre + self._half * self._points))

    def fit(self, values: Tensor) -> Tensor:
        """Coefficients `(p, m)` of m functions from their values at `nodes`, `(p, m)`."""
        order = len(self._points)
        coefficients = 2 / order * self._polynomials(self._points).T @ values
        coefficients[0] /= 2
        return coefficients

    def derivative(self, coefficients: Tensor) -> Tensor:
        """Coefficients `(p, m)` of the derivatives by log t, from those of m functions."""
        found = np.zeros_like(coefficients.numpy())
        found[:-1] = chebyshev.chebder(coefficients.numpy(), axis=0) / self._half
        return torch.from_numpy(found)

    def basis(self, log_t: Tensor) -> Tensor:
        """The polynomials' values at `log_t`, `(T,)` to `(T, p)`.

        Their product with the coefficients is the functions' values, `(T, m)`.
        """
        return self._polynomials(((log_t - self._centre) / self._half).numpy())

    def _polynomials(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(chebyshev.chebvander(x, len(self._points) - 1))
