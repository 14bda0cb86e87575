"""A default device or dtype that the user set changes no score: scratch tensors name their own.

The meta device holds no numbers, so a tensor that was made there by default is found at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import hubfast
from hubfast import ops
from hubfast.bench.ranking.cost import score_costs
from hubfast.data import as_target_data
from hubfast.hub import Network, Source
from hubfast.hub.preprocessing import TimmTransform
from hubfast.ops import reference
from hubfast.ops.backends import missing
from hubfast.ops.linalg import native
from hubfast.scores import LEEP, NCE, FeatureStatistics, HScore, LogME, fit_hub
from hubfast.scores.bootstrap import bootstrap
from hubfast.scores.registry import SCORES, names_of

CLASSES = 3
needs_core = pytest.mark.skipif(missing("native") is not None, reason="no native core")


@contextmanager
def defaults(device: str | None = None, dtype: torch.dtype | None = None) -> Iterator[None]:
    """As a notebook sets them at its top."""
    before = torch.get_default_dtype()
    if device is not None:
        torch.set_default_device(device)
    if dtype is not None:
        torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(before)


SETTINGS = {
    "meta": {"device": "meta"},
    "float64": {"dtype": torch.float64},
    "float16": {"dtype": torch.float16},
    "bfloat16": {"dtype": torch.bfloat16},
}
every_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


def problem(count=1001, width=6):  # more samples of a class than bfloat16 can count
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, count)
    x = rng.normal(size=(count, width)) + rng.normal(size=(CLASSES, width))[y]
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def normal(*shape, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(1).normal(size=shape)).to(dtype)


def same(setting, compute):
    """Whether `compute()` gives the same under these defaults; it may give tensors and tuples."""
    expected = compute()
    with defaults(**setting):
        found = compute()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, check_device=True)


@every_setting
@pytest.mark.parametrize("shape", [(301, 6), (40, 60)], ids=str)
@pytest.mark.parametrize("metric", names_of(needs=["samples"]))
def test_scores_of_samples(metric, shape, setting):
    x, y = problem(*shape)

    def compute():
        found = SCORES[metric].fit_samples(x, y, "classification")
        return torch.from_numpy(np.array(found.score)), found.influence()

    same(setting, compute)


@every_setting
@pytest.mark.parametrize("metric", ["parc", "transrate", "knn"])
def test_constant_features(metric, setting):
    x, y = np.full((30, 4), 0.3), np.arange(30) % CLASSES
    same(setting, lambda: SCORES[metric].fit_samples(x, y, "classification").influence())


@every_setting
@pytest.mark.parametrize("shape", [(1001, 6), (40, 60)], ids=str)
def test_logme(shape, setting):
    x, y = problem(*shape)

    def compute():
        fitted = LogME.fit(x, y)
        exact = LogME.fit(x.double() * torch.from_numpy(np.logspace(0, -9, shape[1])), y)
        values, std = fitted.predict(x[:9], return_std=True)
        numbers = np.array([fitted.score, exact.score, fitted.rank])
        return torch.from_numpy(numbers), fitted.means, values, std, fitted.influence(x, y)

    same(setting, compute)


@every_setting
@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_logme_of_other_tasks(task, setting):
    x, _ = problem()
    y = x[:, :2].numpy() > 0 if task == "multilabel" else x[:, :2].numpy() + 1
    same(setting, lambda: LogME.fit(x, y.astype(float), task=task).predict(x[:9]))


@every_setting
def test_the_public_implementation_and_fixed_points(setting):
    x, y = problem()
    y = torch.where(y == 1, 4, y)
    same(setting, lambda: LogME.fit(x, y, compat="thuml").column_scores)
    exact = x[:99].double()
    same(setting, lambda: torch.from_numpy(np.array(reference.mackay(exact, exact[:, 0] + 1))))


@every_setting
def test_statistics(setting, tmp_path):
    x, y = problem()

    def compute():
        stats = FeatureStatistics().update(x[:700], y[:700])
        stats = stats + FeatureStatistics().update(x[700:], y[700:])
        stats.relabel(x[:5], y[:5], y[5:10])
        stats.save(tmp_path / "sums.safetensors")
        stats = FeatureStatistics.load(tmp_path / "sums.safetensors")
        return stats.gram.triu(), stats.target_sum, stats.cross, stats.cubic, stats.classes

    same(setting, compute)


@every_setting
def test_scores_of_sums(setting):
    x, y = problem()

    def compute():
        plain, shrunk = HScore.fit(x, y), HScore.fit(x, y, regularized=True)
        leep, nce = LEEP.fit(x.softmax(1), y), NCE.fit(x.argmax(1), y)
        hub = [each.column_scores for each in fit_hub([x, x[:, :3]], y)]
        return (
            plain.influence(x, y),
            shrunk.influence(x, y),
            leep.influence(),
            nce.influence(),
            *hub,
        )

    same(setting, compute)


@every_setting
def test_intervals(setting):
    _, y = problem(300)
    influences = [y.double(), 0.5 * y.double()]
    same(setting, lambda: torch.from_numpy(np.stack(bootstrap([1, 0.5], influences, 300, 0)[:2])))


@every_setting
def test_ops(setting):
    rows = normal(40, 12)
    gram, rhs = rows.T @ rows, normal(12, 3)
    rhs_squares = rhs.square()

    def compute():
        spectrum = ops.spectrum(gram, rhs)
        evidence = ops.evidence(spectrum.eigenvalues, rhs_squares, rhs_squares[0], 40)
        svd = ops.truncated_svd(rows, tol=0.01)[1]
        summed = gram.clone()
        ops.add_gram(summed, rows)
        return spectrum.eigenvalues, spectrum.projections, *evidence, svd, summed.triu()

    same(setting, compute)


@every_setting
@pytest.mark.parametrize("backend", [None, "scipy", "torch"])
def test_smallest_singular_values(backend, setting):
    features = normal(16, 40, dtype=torch.float32).requires_grad_()

    def compute():
        features.grad = None
        value = ops.bss(features, 2, backend=backend)
        value.backward()
        nan = ops.bss(features.detach() * torch.nan, 2, backend=backend)
        return value.detach(), features.grad, nan.isnan()

    same(setting, compute)


@every_setting
@pytest.mark.parametrize("k", [1, 2])
def test_routing(k, setting):
    logits, spread, noise = (normal(3, 32, 4, dtype=torch.float32)).unbind()
    batch = normal(32, 3, 5, 5, dtype=torch.float32)

    def compute():
        given = logits.clone().requires_grad_()
        routes = ops.route(given, k, spread=spread, noise=noise)
        rows = ops.dispatch(batch, routes)
        out = ops.combine(rows.flatten(1), routes.gates, routes.position)
        (out.sum() + routes.entropy.sum()).backward()
        return *(x.detach() for x in routes), rows, out.detach(), given.grad

    same(setting, compute)


@every_setting
@pytest.mark.parametrize("size", [1, 3])
def test_zoo_convolution(size, setting):
    x = normal(2, 8, 9, 9, dtype=torch.float32)
    weights = normal(3, 5, 8, size, size, dtype=torch.float32)
    gates, bias = normal(2, 3, dtype=torch.float32), normal(3, 5, dtype=torch.float32)

    def compute():
        given = [each.clone().requires_grad_() for each in (x, weights, gates, bias)]
        out = ops.zoo_conv(*given)
        out.sum().backward()
        plain = reference.zoo_conv(x, weights, gates, reference.Geometry((1, 1), (0, 0), (1, 1)))
        mixed = ops.aggregate(weights, gates)
        each = ops.sample_conv(x, mixed)
        return out.detach(), plain, mixed, each, *(leaf.grad for leaf in given)

    same(setting, compute)


@every_setting
def test_simulated_costs(setting):
    with defaults(**setting):
        assert len(score_costs(["logme", "knn"], 40, 8, 3)) == 2


@every_setting
def test_a_ranking(setting, tmp_path):
    x, y = problem(120, 8)
    stored = tmp_path / "stored.npz"
    np.savez(stored, features=x.numpy(), logits=x.numpy())
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(8, 5), torch.nn.ReLU(), torch.nn.Linear(5, 4))
    metrics = ["knn", "linear_probe", "logme", "h_score", "leep"]
    hub = {"stored": stored, "module": module, "function": lambda rows: rows.numpy()[:, :3]}

    def scores():
        ranked = hubfast.rank(hub, (x.numpy(), y.numpy()), metrics=metrics, device="cpu")
        assert not any(each.error for each in ranked.models)
        named = sorted(ranked.models, key=lambda each: each.name)
        return torch.from_numpy(np.array([[m.scores[s].score for s in metrics[:2]] for m in named]))

    same(setting, scores)


@every_setting
def test_target_data(setting):
    x, y = problem(30)
    with defaults(**setting):
        data = as_target_data((x.numpy(), y.numpy())).sample(20, seed=0)
        assert data.rows().device.type == data[0].device.type == "cpu"
        assert data[0].dtype == torch.float32


@needs_core
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: torch.zeros(4, 4, device="meta", dtype=torch.float64), r"torch.float64 on meta"),
        (lambda: torch.zeros(4, 4), r"got torch.float32 on cpu"),
        (lambda: torch.zeros(4, 8, dtype=torch.float64)[:, ::2], r"on cpu, not contiguous"),
    ],
)
def test_the_native_core_refuses_what_it_cannot_read(wrong, message):
    rows = torch.zeros(3, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        native.add_gram(wrong(), rows)


@every_setting
def test_models_are_built_as_ever(setting):
    """By code of others, which does not say where its tensors go."""

    def load():
        torch.manual_seed(0)
        layers = (torch.nn.Conv2d(3, 5, 8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        transform = TimmTransform({"input_size": (3, 16, 16), "crop_pct": 1.0})
        return Network(torch.nn.Sequential(*layers), transform)

    images = np.random.default_rng(0).integers(0, 255, (30, 20, 20, 3), dtype=np.uint8)

    def score():
        data = (images, np.arange(30) % CLASSES)
        ranked = hubfast.rank([Source("built", load)], data, device="cpu")
        return torch.tensor(ranked.models[0].score, dtype=torch.float64, device="cpu")

    same(setting, score)
