"""LogME of one model: hubfast against the public algorithm in NumPy (tests/helpers/rivals.py).

python -m pytest benchmarks/bench_logme.py

Two floors, in the same run: `lapack` is BLAS and LAPACK alone for half the Gram matrix, its
tridiagonal form and that form's eigenvectors, the way that stops short of a band form. `gemm` is a
matrix product of as many flops as half the Gram matrix (n D^2) and a tridiagonal or band form
(4/3 D^3) take: what no method that forms F'F can beat.
"""

import numpy as np
import pytest
from rivals import public_logme
from scipy.linalg import blas, lapack

from hubfast.scores import logme

SHAPES = [(4_000, 1_024, 37), (10_000, 2_048, 100), (4_000, 1_024, 1_000)]  # n, D, C


def lapack_floor(features: np.ndarray, labels: np.ndarray) -> None:
    gram = blas.dsyrk(1.0, features.T, lower=1)
    lwork = int(lapack.dsytrd_lwork(len(gram), lower=1)[0])
    _, diagonal, off_diagonal, _, _ = lapack.dsytrd(gram, lower=1, lwork=lwork)
    lapack.dstevd(diagonal, off_diagonal)


def gemm_floor(features: np.ndarray, labels: np.ndarray) -> None:
    count, width = features.shape
    depth = (count + 4 * width // 3) // 2
    features[:depth].T @ features[-depth:]


WHO = {"hubfast": logme, "public": public_logme, "lapack": lapack_floor, "gemm": gemm_floor}


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_logme(benchmark, shape, who):
    count, width, classes = shape
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)])
    centres = rng.normal(size=(classes, width))
    features = (0.3 * centres[labels] + rng.normal(size=(count, width))).clip(0)
    benchmark.group = f"logme n={count} D={width} C={classes}"
    benchmark.pedantic(WHO[who], (features, labels), rounds=5, warmup_rounds=1)
