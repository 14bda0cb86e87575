"""LogME of one model: hubfast against the public algorithm in NumPy (tests/rivals.py).

python -m pytest benchmarks/bench_logme.py
"""

import numpy as np
import pytest
from rivals import public_logme

from hubfast.scores import logme

SHAPES = [(4_000, 1_024, 37), (10_000, 2_048, 100), (4_000, 1_024, 1_000)]  # n, D, C
WHO = {"hubfast": logme, "public": public_logme}


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
