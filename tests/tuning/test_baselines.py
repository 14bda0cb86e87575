"""Baselines of the untouched model beside what tuning gives."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import lstsq
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from hubfast.data import TargetData
from hubfast.hub import as_source
from hubfast.scores import knn
from hubfast.tuning import Baseline, Evaluation, ImageDataset, TargetEncoder, TuningContext, aligned
from hubfast.tuning.baselines import baselines, not_worth_it, predictions


def problem(task, count=40, width=5, seed=0):
    """Features and data whose targets follow from the features, and more features."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count + 20, width, generator=generator) * torch.arange(1.0, width + 1) + 3
    score = (x - 3) @ torch.randn(width, 3, generator=generator)
    targets = {
        "classification": score.argmax(1),
        "multilabel": (score > 0).double(),
        "regression": score.double() * 10 + 100,
    }[task]
    data = TargetData("some", None, targets, task)
    return x[:count], x[count:], data.subset(torch.arange(count)), targets[count:]


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_predictions_by_hand(task):
    x, new, data, truth = problem(task)
    labels = TargetEncoder.of(data)
    targets = aligned(data, labels).targets
    found = predictions(x, targets, new, labels)
    first, near, linear = found.values()
    assert list(found)[1:] == ["k-NN", "linear head"]
    if task == "classification":
        assert next(iter(found)) == "majority class"
        assert first.argmax(1).tolist() == [int(data.targets.mode().values)] * 20
        wanted = KNeighborsClassifier(5, metric="cosine").fit(x, data.targets).predict_proba(new)
        agree = near.argmax(1).numpy() == wanted.argmax(1)
        clear = (wanted == wanted.max(1, keepdims=True)).sum(1) == 1  # others break ties otherwise
        assert agree[clear].all()
        assert clear.sum() > 10
        assert (linear.argmax(1) == truth).double().mean() > 0.8
    else:
        torch.testing.assert_close(first, data.targets.mean(0).expand(20, -1), rtol=1e-6, atol=1e-6)
        wanted = KNeighborsRegressor(5, metric="cosine").fit(x, data.targets).predict(new)
        torch.testing.assert_close(near, torch.from_numpy(wanted), rtol=1e-6, atol=1e-6)
    if task == "regression":  # exactly linear: what least squares gives
        design = np.c_[x.numpy(), np.ones(len(x))]
        weights = lstsq(design.astype(float), data.targets.numpy())[0]
        wanted = torch.from_numpy(np.c_[new.numpy(), np.ones(len(new))] @ weights)
        torch.testing.assert_close(linear, wanted, rtol=1e-3, atol=1e-2)


def test_votes_are_those_of_the_score():
    """Leave-one-out by the baseline, sample by sample, is what `scores.knn` gives."""
    x, _, data, _ = problem("classification")
    labels = TargetEncoder.of(data)
    right = []
    for i in range(len(x)):
        others = torch.arange(len(x)) != i
        logits = predictions(x[others], data.targets[others], x[i : i + 1], labels)["k-NN"]
        right.append(int(logits.argmax()) == int(data.targets[i]))
    assert np.mean(right) == pytest.approx(knn(x, data.targets))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10), st.floats(1e-3, 1e3), st.integers(2, 12))
def test_a_linear_head_does_not_depend_on_scale_and_place(seed, factor, width):
    """Features may be shifted and scaled one by one; a constant one adds nothing."""
    x, new, data, _ = problem("classification", width=width, seed=seed)
    labels = TargetEncoder.of(data)
    first = predictions(x, aligned(data, labels).targets, new, labels)["linear head"]
    scale = factor ** torch.linspace(-1, 1, width)
    moved = [torch.cat([each * scale + 7, torch.full((len(each), 1), 5.0)], 1) for each in (x, new)]
    second = predictions(moved[0], aligned(data, labels).targets, moved[1], labels)["linear head"]
    torch.testing.assert_close(first, second, rtol=0.02, atol=0.02)


def test_a_label_that_no_sample_has():
    x, new, data, _ = problem("multilabel")
    data.targets[:, 1] = 0
    labels = TargetEncoder.of(data)
    found = predictions(x, aligned(data, labels).targets, new, labels)["linear head"]
    assert found[:, 1].tolist() == [0] * 20
    assert found[:, 0].std() > 0


def test_baselines_of_a_model_on_held_out_images():
    """Colours tell the classes: k-NN and a head are right where the majority class is not."""
    pictures, labels = tiny.pictures(30)
    held = ImageDataset(tiny.data(12, seed=1), labels, tiny.SIZE)
    torch.manual_seed(0)
    source = as_source(tiny.Small(), name="net")
    found = baselines(TuningContext([source], pictures, labels, steps=1), {"validation": held})
    assert [b.name for b in found] == ["majority class", "k-NN", "linear head"]
    assert {b.model for b in found} == {"net"}
    majority, near, linear = (b.values["validation"] for b in found)
    assert majority == pytest.approx(1 / 3)
    assert near > 0.9
    assert linear > 0.9
    assert baselines(TuningContext([source], pictures, labels, steps=1), {}) == ()


def evaluated(value):
    return Evaluation("accuracy", value, torch.zeros(1, 2), torch.zeros(1), None)


def test_what_tuning_did_not_beat_is_said():
    known = (
        Baseline("majority class", "net", {"validation": 0.4, "test": 0.5}),
        Baseline("k-NN", "net", {"validation": 0.7, "test": 0.79}),
    )
    parts = {"validation": evaluated(0.75), "test": evaluated(0.565)}
    assert not_worth_it(parts, known) == (
        "Tuning did not beat the k-NN on the untouched features of net: "
        "test accuracy 0.5650, 0.7900 without.",
    )
    assert not_worth_it({"validation": evaluated(0.7)}, known)[0].startswith("Tuning did not beat")
    assert not_worth_it({"validation": evaluated(0.71)}, known) == ()
    assert not_worth_it(parts, ()) == ()
