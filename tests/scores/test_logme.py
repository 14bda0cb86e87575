import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rivals import brute_force_evidence, public_logme
from torch.testing import assert_close

from hubfast.ops import reference
from hubfast.scores import FeatureStatistics, LogME, fit_hub, fit_hub_statistics, logme
from hubfast.scores.logme.spectral_system import decompose


def problem(count, width, classes=3, seed=0):
    """Features with class signal, and every class present."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.cat(
        [torch.arange(classes), torch.randint(0, classes, (count - classes,), generator=g)]
    )
    centres = torch.randn(classes, width, generator=g, dtype=torch.float64)
    noise = torch.randn(count, width, generator=g, dtype=torch.float64)
    return (0.5 * centres[labels] + noise).relu(), labels


def brute_force(features, labels):
    columns = [(labels == c).double().numpy() for c in labels.unique()]
    return float(np.mean([brute_force_evidence(features.numpy(), y) for y in columns]))


# n > D, n = D, n < D, and few samples of wide features
@pytest.mark.parametrize("shape", [(60, 12), (40, 40), (30, 50), (20, 300)], ids=str)
def test_equals_brute_force(shape):
    features, labels = problem(*shape)
    assert logme(features, labels) == pytest.approx(brute_force(features, labels), rel=1e-9)


@pytest.mark.parametrize("shape", [(60, 12), (30, 50)], ids=str)
def test_equals_mackay_and_algorithm_3(shape):
    features, labels = problem(*shape)
    fitted = LogME.fit(features, labels)
    stats = FeatureStatistics().update(features, labels)
    spectral = decompose(stats, torch.arange(3))
    kept = spectral.eigenvalues > 0
    for c in range(3):
        target = (labels == c).double()
        naive = reference.mackay(features, target, steps=20000, tolerance=1e-13)
        fast = reference.fixed_point(
            spectral.eigenvalues[kept],
            spectral.z[kept, c].square(),
            float(spectral.residual[c]),
            len(labels),
            steps=20000,
            tolerance=1e-13,
        )
        for point in (naive, fast):
            assert fitted.column_scores[c].item() == pytest.approx(point.value, rel=1e-9)
            assert fitted.alpha[c].item() == pytest.approx(point.alpha, rel=1e-3)
            assert fitted.beta[c].item() == pytest.approx(point.beta, rel=1e-3)


def test_by_hand():
    """One feature, two samples of one class each: z, Delta and the profile are elementary."""
    features = np.array([[1.0], [0.0]])
    fitted = LogME.fit(features, np.array([0, 1]))
    # Class 0 lies in the span of F, so its noise goes to the floor of 1e-12; class 1 is orthogonal
    # to it: no signal, beta = n / |y|^2 = 2.
    silent = -0.5 * (1 + math.log(2 * math.pi / 2))
    assert fitted.column_scores[1].item() == pytest.approx(silent, rel=1e-12)
    assert fitted.t[1].item() == math.inf
    assert fitted.beta[1].item() == pytest.approx(2.0)
    assert fitted.means.tolist()[1] == [0.0]
    assert fitted.means.tolist()[0] == pytest.approx([1.0], abs=1e-5)


@pytest.mark.parametrize("shape", [(100, 10), (30, 60)], ids=str)
def test_multilabel_and_regression(shape):
    features, labels = problem(*shape)
    matrix = torch.nn.functional.one_hot(labels, 3)
    assert logme(features, matrix) == pytest.approx(logme(features, labels), rel=1e-12)
    assert logme(features, matrix.double()) == pytest.approx(logme(features, labels), rel=1e-12)
    target = features @ torch.randn(shape[1], dtype=torch.float64)
    expected = brute_force_evidence(features.numpy(), (target + labels).numpy())
    assert logme(features, target + labels) == pytest.approx(expected, rel=1e-9)


def test_regression_score_shifts_with_scale():
    features, labels = problem(50, 5)
    target = features[:, 0] + labels
    shifted = logme(features, 10 * target)
    assert shifted == pytest.approx(logme(features, target) - math.log(10), rel=1e-10)


@pytest.mark.parametrize("shape", [(60, 12), (30, 50)], ids=str)
@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_scale_invariant(shape, scale):
    features, labels = problem(*shape)
    assert logme(scale * features, labels) == pytest.approx(logme(features, labels), rel=1e-10)


@given(seed=st.integers(0, 10**6), count=st.integers(6, 60), width=st.integers(1, 70))
@settings(max_examples=40, deadline=None)
def test_invariances(seed, count, width):
    """Order of samples, order of classes, class ids and rotation of features do not matter."""
    features, labels = problem(count, width, seed=seed)
    score = logme(features, labels)
    order = torch.randperm(count)
    assert logme(features[order], labels[order]) == pytest.approx(score, rel=1e-8, abs=1e-9)
    renamed = torch.tensor([70, -3, 12])[labels]
    assert logme(features, renamed) == pytest.approx(score, rel=1e-8, abs=1e-9)
    rotation = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64)).Q
    assert logme(features @ rotation, labels) == pytest.approx(score, rel=1e-8, abs=1e-8)


@given(seed=st.integers(0, 10**6), count=st.integers(6, 40), width=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_no_score_beats_its_columns_bound(seed, count, width):
    """The maximum is at least the evidence of the empty model (t = inf), column by column."""
    features, labels = problem(count, width, seed=seed)
    fitted = LogME.fit(features, labels)
    counts = labels.bincount().double()
    silent = -0.5 * (1 + math.log(2 * math.pi) + (counts / count).log())
    assert bool((fitted.column_scores >= silent - 1e-12).all())


def test_absent_class_ids_change_nothing():
    features, labels = problem(80, 10, classes=4)
    gapped = torch.tensor([0, 1, 2, 40])[labels]
    assert logme(features, gapped) == logme(features, labels)


def test_one_sample_per_class():
    features, labels = problem(12, 5, classes=12)
    assert logme(features, labels) == pytest.approx(brute_force(features, labels), rel=1e-9)


def test_rank_deficient():
    features, labels = problem(80, 6)
    wide = features @ torch.randn(6, 30, dtype=torch.float64)
    fitted = LogME.fit(wide, labels)
    assert fitted.rank == 6
    assert fitted.score == pytest.approx(brute_force(wide, labels), rel=1e-9)


def test_duplicated_and_dead_features():
    features, labels = problem(80, 6)
    padded = torch.cat([features, features, torch.zeros(80, 4, dtype=torch.float64)], 1)
    assert logme(padded, labels) == pytest.approx(logme(features * 2**0.5, labels), rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_features(value):
    labels = torch.arange(20) % 2
    score = logme(torch.full((20, 4), value), labels)
    expected = brute_force(torch.full((20, 4), value).double(), labels)
    assert score == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("shape", [(40, 3), (40, 80)], ids=str)
def test_zero_residual_is_finite_and_high(shape):
    features, _ = problem(*shape)
    features[:, 0] = (torch.arange(40) % 2).double()
    score = logme(features, torch.arange(40) % 2)
    assert math.isfinite(score)
    assert score > logme(features[:, 1:], torch.arange(40) % 2)
    assert logme(100 * features, torch.arange(40) % 2) == pytest.approx(score, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(60, 12), (30, 50)], ids=str)
def test_low_precision_features_are_taken_exactly(shape, dtype):
    features, labels = problem(*shape)
    rounded = features.to(dtype)
    assert logme(rounded, labels) == pytest.approx(logme(rounded.double(), labels), rel=1e-14)


def test_numpy_and_torch_agree():
    features, labels = problem(60, 12)
    assert logme(features.numpy(), labels.numpy()) == logme(features, labels)
    assert logme(features.numpy()[:, ::-1], labels.numpy().astype(np.uint16)) == pytest.approx(
        logme(features, labels), rel=1e-12
    )


# n > D, n < D, absent ids: errors of the public code included
@pytest.mark.parametrize("shape", [(200, 20), (60, 128), (30, 30)], ids=str)
@pytest.mark.parametrize("gap", [0, 5])
def test_compat_thuml(shape, gap):
    features, labels = problem(*shape)
    labels = torch.where(labels == 2, 2 + gap, labels)
    ours = LogME.fit(features, labels, compat="thuml")
    assert ours.score == pytest.approx(public_logme(features.numpy(), labels.numpy()), rel=1e-9)
    assert ours.means.shape == (3 + gap, shape[1])


def test_predicts_like_ridge_regression():
    features, labels = problem(60, 12)
    fitted = LogME.fit(features, labels)
    gram = features.T @ features
    for c in range(3):
        ridge = gram + fitted.t[c] * torch.eye(12, dtype=torch.float64)
        expected = torch.linalg.solve(ridge, features.T @ (labels == c).double())
        assert_close(fitted.means[c], expected)
    assert_close(fitted.decision_function(features), features @ fitted.means.T)
    predicted = fitted.predict(features.numpy())
    assert isinstance(predicted, np.ndarray)
    assert (predicted == labels.numpy()).mean() > 0.6


@pytest.mark.parametrize("shape", [(60, 12), (30, 50)], ids=str)
def test_predictive_std(shape):
    features, labels = problem(*shape)
    fitted = LogME.fit(features, labels)
    new = torch.randn(7, shape[1], dtype=torch.float64)
    predicted, std = fitted.predict(new, return_std=True)
    assert predicted.shape == (7,)
    for c in range(3):
        precision = fitted.alpha[c] * torch.eye(shape[1]).double() + fitted.beta[c] * (
            features.T @ features
        )
        variance = 1 / fitted.beta[c] + (new * torch.linalg.solve(precision, new.T).T).sum(1)
        assert_close(std[:, c], variance.sqrt(), rtol=1e-6, atol=0)


def test_prediction_by_task():
    features, labels = problem(60, 12)
    matrix = torch.nn.functional.one_hot(labels, 3)
    assert set(LogME.fit(features, matrix).predict(features).unique().tolist()) <= {0, 1}
    assert LogME.fit(features, features[:, :2]).predict(features).shape == (60, 2)


def test_influence_is_leave_one_out_evidence():
    """At fixed alpha and beta, L(all) - L(without i), for every sample."""
    features, labels = problem(25, 8)
    fitted = LogME.fit(features, labels)
    influence = fitted.influence(features, labels)

    def log_evidence(keep, c):
        f, y = features[keep], (labels[keep] == c).double()
        identity = torch.eye(len(f), dtype=torch.float64)
        covariance = identity / fitted.beta[c] + f @ f.T / fitted.alpha[c]
        zero = torch.zeros(len(f), dtype=torch.float64)
        return torch.distributions.MultivariateNormal(zero, covariance).log_prob(y)

    for i in range(25):
        without = torch.arange(25) != i
        every = torch.ones(25, dtype=torch.bool)
        change = [log_evidence(every, c) - log_evidence(without, c) for c in range(3)]
        assert influence[i].item() == pytest.approx(float(sum(change) / 3), rel=1e-9)


@pytest.mark.parametrize(("count", "width"), [(30, 50), (60, 40), (400, 40)])
def test_influence_gives_the_spread_of_fresh_data(count, width):
    g = torch.Generator().manual_seed(1)
    centres = 0.5 * torch.randn(4, width, generator=g)
    scores, errors = [], []
    for _ in range(200):
        labels = torch.randint(0, 4, (count,), generator=g)
        features = (centres[labels] + torch.randn(count, width, generator=g)).relu()
        fitted = LogME.fit(features, labels)
        scores.append(fitted.score)
        errors.append(float(fitted.influence(features, labels).std()) / count**0.5)
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.25)


BAD = [
    (torch.zeros(4), [0, 1, 0, 1], ValueError, r"features must be \(samples, width\)"),
    (torch.zeros(0, 3), [], ValueError, r"features must be .* got \(0, 3\)"),
    (torch.zeros(4, 2), [0, 1, 0], ValueError, r"targets for classification must be \(4,\)"),
    (torch.zeros(4, 2), [[[0]]] * 4, ValueError, "targets for multilabel"),
    (torch.zeros(4, 2), ["a", "b", "a", "b"], TypeError, "targets must be numeric"),
    (torch.zeros(4, 2), [1, 1, 1, 1], ValueError, "at least 2 classes"),
    (torch.zeros(4, 2), [[0, 2]] * 4, ValueError, "targets for multilabel must be 0 or 1"),
    (torch.zeros(4, 2), [0.0] * 4, ValueError, "must not be all zero"),
    (torch.zeros(4, 2), [0.0, math.nan, 1.0, 2.0], ValueError, "targets must be finite"),
    (
        torch.tensor([[1.0, math.inf]] * 4),
        [0, 1, 0, 1],
        ValueError,
        r"features must be finite.*4 NaN or inf, first at \(0, 1\)",
    ),
    (
        torch.tensor([[1.0, math.nan]] * 4).bfloat16(),
        [0, 1, 0, 1],
        ValueError,
        "features must be finite",
    ),
    (torch.zeros(4, 2, dtype=torch.complex64), [0, 1, 0, 1], TypeError, "real numbers"),
    (np.array([["a", "b"]] * 4), [0, 1, 0, 1], TypeError, "features must be numeric"),
]


@pytest.mark.parametrize(("features", "targets", "kind", "message"), BAD, ids=[b[3] for b in BAD])
def test_bad_input_is_named(features, targets, kind, message):
    with pytest.raises(kind, match=message):
        logme(features, targets)


def test_targets_that_overflow_are_refused():
    features, labels = problem(10, 2)
    with pytest.raises(ValueError, match=r"targets must be below 1e150"):
        logme(features, labels.double() * 1e200)


def test_bad_options_are_named():
    features, labels = problem(10, 2)
    with pytest.raises(ValueError, match=r"compat must be None or 'thuml', got 'tllib'"):
        logme(features, labels, compat="tllib")
    with pytest.raises(ValueError, match=r"task must be one of"):
        logme(features, labels, task="ranking")
    with pytest.raises(ValueError, match=r"whole numbers"):
        logme(features, labels + 0.5, task="classification")
    with pytest.raises(ValueError, match=r"needs class ids >= 0, got -1"):
        logme(features, labels - 1, compat="thuml")
    with pytest.raises(ValueError, match=r"features must have width 2, got 3"):
        LogME.fit(features, labels).predict(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"no samples"):
        LogME.from_statistics(FeatureStatistics())


def test_a_hub_is_fitted_as_its_models_are():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 80)
    hub = [rng.normal(size=(80, width)).astype(np.float32) for width in (3, 90, 40, 8)]
    together = fit_hub(hub, labels)
    assert [fitted.score for fitted in together] == [logme(each, labels) for each in hub]
    stats = {f"m{i}": FeatureStatistics().update(x, labels) for i, x in enumerate(hub)}
    summed = fit_hub_statistics(stats)
    assert [fitted.score for fitted in summed] == [fitted.score for fitted in together]
    with pytest.raises(ValueError, match="model 1: features must be finite"):
        fit_hub([hub[0], hub[1] * np.nan], labels)
    with pytest.raises(ValueError, match="wide: features must be finite"):
        fit_hub({"narrow": hub[0], "wide": hub[1] * np.nan}, labels)
    with pytest.raises(ValueError, match="empty: no samples were counted yet"):
        fit_hub_statistics({"full": stats["m0"], "empty": FeatureStatistics()})
