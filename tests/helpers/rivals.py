"""The public LogME algorithm, written independently in NumPy, the rival in tests and benchmarks.

As published code does it: SVD of F'F for n > D, U = F V / s formed, a Python loop over classes
with at most 11 fixed-point steps, everything in float64.
"""

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits


def public_logme(features: np.ndarray, labels: np.ndarray) -> float:
    """LogME of `(n, D)` features for `(n,)` labels 0..C-1."""
    f = features.astype(np.float64)
    n, width = f.shape
    if n > width:
        _, squares, vt = np.linalg.svd(f.T @ f)
        s = np.sqrt(squares)
        s, v = s[s > 1e-10], vt.T[:, s > 1e-10]
        u = f @ v / s
    else:
        u, s, _ = np.linalg.svd(f, full_matrices=False)
    sigma = s**2
    scores = [
        _evidence(u, sigma, (labels == c).astype(np.float64), width)
        for c in range(labels.max() + 1)
    ]
    return float(np.mean(scores))


def _evidence(u: np.ndarray, sigma: np.ndarray, y: np.ndarray, width: int) -> float:
    n = len(y)
    energy = (u.T @ y) ** 2
    rest = (y**2).sum() - energy.sum()
    alpha = beta = 1.0
    for _ in range(11):
        t = alpha / beta
        gamma = (sigma / (sigma + t)).sum()
        mean_square = (sigma * energy / (t + sigma) ** 2).sum()
        error = (energy / (1 + sigma / t) ** 2).sum() + rest
        alpha = gamma / (mean_square + 1e-5)
        beta = (n - gamma) / (error + 1e-5)
        evidence = (
            width * np.log(alpha)
            + n * np.log(beta)
            - np.log(alpha + beta * sigma).sum()
            - beta * error
            - alpha * mean_square
            - n * np.log(2 * np.pi)
        ) / (2 * n)
        if abs(alpha / beta - t) / t <= 1e-3:
            break
    return evidence


def brute_force_evidence(features: np.ndarray, target: np.ndarray) -> float:
    """max over alpha, beta of log N(y; 0, I/beta + FF'/alpha) / n, by a general optimiser."""
    n = len(target)
    kernel = features @ features.T
    scale = np.trace(kernel) / n or 1.0

    def negative(logs: np.ndarray) -> float:
        covariance = np.exp(logs[0]) * np.eye(n) + np.exp(logs[1]) / scale * kernel
        _, log_det = np.linalg.slogdet(covariance)
        fit = target @ np.linalg.solve(covariance, target)
        return 0.5 * (log_det + fit + n * np.log(2 * np.pi)) / n

    options = {"xatol": 1e-8, "fatol": 1e-15, "maxiter": 5000}
    starts = [(a, b) for a in (-6.0, -2.0, 0.0) for b in (-4.0, -1.0, 1.0)]
    with threadpool_limits(1):  # small matrices: two threads only wait for each other
        found = [minimize(negative, s, method="Nelder-Mead", options=options) for s in starts]
    return -min(result.fun for result in found)
