"""Objects of any kind given as data, hub or model: refused by name, or a row of their own."""

import os
import random
import sys
import warnings
from collections import deque

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from hubfast import as_hub, as_target_data, rank

COUNT, NAN = 40, float("nan")
ROWS = torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(0))
CLASSES = np.arange(COUNT) % 3


class NoLength(Dataset):
    def __getitem__(self, index):
        return ROWS[index], int(CLASSES[index])


class BrokenLength(NoLength):
    def __len__(self):
        raise RuntimeError("not known yet")


class FractionalLength(NoLength):
    def __len__(self):
        return 40.5


class NegativeLength(NoLength):
    def __len__(self):
        return -3


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(ROWS, CLASSES, strict=True)


class Giving(Dataset):
    """Gives what a function makes of each index."""

    def __init__(self, item):
        self.item = item

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        return self.item(index)


def with_target(target):
    return Giving(lambda index: (ROWS[index], target))


LENGTH = "data must be a Dataset with a length, got"
KINDS = "data must be a path, hfdata:NAME, a torch Dataset"
PAIRS = r"data must give pairs \(sample, target\), item 0 is a"
SAMPLES = "samples must be an array, a list or another sequence, got"
TARGETS = SAMPLES.replace("samples", "targets")
NO_DATA = {
    **{
        type(value).__name__: (value, f"{KINDS}.*got {type(value).__name__}$")
        for value in (None, {"images": ROWS}, {1}, 3, 2.5, b"abc", 1j, object(), np, pd.Series([1]))
    },
    "class": (NoLength, f"{KINDS}.*got type$"),
    "three": ((ROWS, CLASSES, CLASSES), f"{KINDS}.*got tuple$"),
    "empty": ("", "data must be a path or a name, got an empty string"),
    "no length": (NoLength(), f"{LENGTH} NoLength"),
    "stream": (Stream(), f"{LENGTH} Stream"),
    "broken": (BrokenLength(), f"{LENGTH} BrokenLength: RuntimeError: not known yet"),
    "fractional": (FractionalLength(), f"{LENGTH} FractionalLength: TypeError"),
    "negative": (NegativeLength(), f"{LENGTH} NegativeLength: ValueError"),
    "alone": (TensorDataset(ROWS), f"{PAIRS} tuple of 1"),
    "none": (Giving(lambda index: None), f"{PAIRS} NoneType"),
    "target none": (with_target(None), "every sample must have a 'targets'"),
    "target set": (with_target({1}), "targets must be numeric"),
    "target ragged": (with_target([[1, [2]], 3]), "targets must be numbers or arrays of one shape"),
    "nothing": ((None, None), f"{TARGETS} NoneType"),
    "one number": ((ROWS, 5), f"{TARGETS} int"),
    "a word": ((ROWS, "abc"), f"{TARGETS} str"),
    "set": ((ROWS, {*range(COUNT)}), f"{TARGETS} set"),
    "mapping": ((ROWS, dict(enumerate(CLASSES))), f"{TARGETS} dict"),
    "generator": ((ROWS, (int(k) for k in CLASSES)), f"{TARGETS} generator"),
    "samples of one number": ((5, CLASSES), f"{SAMPLES} int"),
    "samples of a word": (("x" * COUNT, CLASSES), f"{SAMPLES} str"),
    "samples in a set": (({*range(COUNT)}, CLASSES), f"{SAMPLES} set"),
    "samples in a table": ((pd.DataFrame(ROWS.numpy()), CLASSES), f"{SAMPLES} DataFrame"),
    "too few": ((ROWS, CLASSES[:-1]), r"targets for classification must be \(40,\), got \(39,\)"),
    "ragged": ((ROWS, [[1, 2], [3]] * 20), "targets must be one array, rows of one length"),
    "objects": ((ROWS, [object()] * COUNT), "'targets' must hold words or numbers, got object"),
    "meta": ((ROWS, torch.empty(COUNT, device="meta")), "targets must be a dense tensor"),
    "masked": (
        (ROWS, np.ma.masked_array(CLASSES, mask=CLASSES == 1)),
        "targets must be there for each sample, got an array with masked values",
    ),
}


def features(rows):
    return rows[:, :4] * 1.0


@pytest.mark.parametrize("case", NO_DATA)
def test_what_is_no_data_is_refused_by_name(case):
    data, message = NO_DATA[case]
    with pytest.raises((ValueError, TypeError), match=message):
        rank(features, data, cache=False, progress=False)


@pytest.mark.parametrize(
    "targets",
    [
        deque(CLASSES.tolist()),
        tuple(CLASSES),
        torch.tensor(CLASSES).to_sparse(),
        pd.Series(CLASSES, index=range(COUNT, 2 * COUNT)),
    ],
    ids=lambda targets: type(targets).__name__,
)
def test_targets_in_any_sequence(targets):
    assert as_target_data((ROWS, targets)).targets.tolist() == CLASSES.tolist()


NO_HUB = {
    **{
        type(value).__name__: (value, "hub must hold ")
        for value in (None, 3, 1.5, True, b"timm:resnet18", object(), np, range(3), ROWS)
    },
    "empty": ("", "hub must hold .*got an empty string"),
    "long": ("y" * 5000, "hub must hold "),
    "no models": ([], "hub must hold at least one model"),
    "none in a list": ([None], "hub must hold .*got NoneType"),
    "nested": ([[features]], "hub must hold .*got list"),
    "class": (nn.Linear, "hub must hold modules, not classes of them, got Linear"),
    "number as name": ({1: features}, "the name of a model must be a string .*got 1"),
    "empty name": ({"": features}, "the name of a model must be a string .*got ''"),
    "weights": (nn.Linear(6, 4).state_dict(), "hub must hold .*got Tensor"),
}


@pytest.mark.parametrize("case", NO_HUB)
def test_what_is_no_hub_is_refused_by_name(case):
    hub, message = NO_HUB[case]
    with pytest.raises((ValueError, TypeError), match=message):
        rank(hub, (ROWS, CLASSES), cache=False, progress=False)


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.binary(max_size=4),
    st.text(max_size=4).map(lambda text: text + "\0"),  # of no file
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(NESTED)
@example([None, [[None, False]]])
@example([None, [["a", 1]]])
@example([[[]], []])
def test_any_plain_value_is_data_or_refused_by_name(value):
    said = ""
    try:
        data = as_target_data(value, progress=False)
    except (ValueError, TypeError, FileNotFoundError) as error:
        said = str(error)
    if said:
        assert any(name in said for name in ("data", "targets", "samples"))
    else:
        assert torch.isfinite(data.targets.double()).all()


@settings(max_examples=150, deadline=None)
@given(NESTED)
@example("*\0")
def test_no_plain_value_is_a_hub(value):
    with pytest.raises((ValueError, TypeError), match=r"hub|name of a model"):
        as_hub(value)


class Module(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(1))

    def forward(self, rows):
        return self.function(rows)


class Changing:
    """Counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, rows):
        self.calls += 1
        return self.function(rows, self.calls)


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def raising(error):
    def run(rows):
        raise error

    return run


def late(rows, calls):
    if calls == 3:
        raise RuntimeError("at sample 32")
    return features(rows)


def partly_nan(rows):
    found = features(rows)
    found[0, 0] = NAN
    return found


FAILING = {
    "width": (Changing(lambda x, n: x[:, : 2 + n % 2]), r"one width in all batches, got \[2, 3\]"),
    "NaN": (partly_nan, "features must be finite, got 3 NaN or inf"),
    "late": (Changing(late), "RuntimeError: at sample 32"),
    "none": (lambda rows: None, r"features must be a tensor \(batch, D\), got NoneType"),
    "dict": (lambda rows: {"x": rows}, r"features must be a tensor \(batch, D\), got dict"),
    "fewer": (lambda rows: rows[:1], r"features must be \(16, D\) for 16, got shape \(1, 6\)"),
    "meta": (lambda rows: rows.to("meta"), "features must be a dense tensor"),
    "complex": (lambda rows: rows + 1j, "features must hold real numbers"),
    "empty": (lambda rows: rows[:, :0], "both > 0"),
    "exit": (raising(SystemExit(3)), "SystemExit: 3"),
    "stop": (raising(StopIteration()), "StopIteration"),
    "memory": (raising(MemoryError()), "MemoryError"),
    "mute": (raising(Mute()), "Mute"),
}
PAIRS_OF = {
    "three": (lambda rows: (rows, rows, rows), r"features or \(features, logits\), got 3 values"),
    "short logits": (lambda rows: (rows, rows[:1]), r"logits must be \(16, D\) for 16"),
}


def ranked(odd):
    hub = {"first": features, "odd": odd, "last": lambda rows: rows[:, 2:]}
    return rank(hub, (ROWS.clone(), CLASSES), batch_size=16, cache=False, progress=False)


@pytest.mark.parametrize("case", [*FAILING, *PAIRS_OF])
def test_a_model_that_fails_is_a_row_beside_the_others(case):
    run, message = {**FAILING, **PAIRS_OF}[case]
    for odd in (run,) if case in PAIRS_OF else (run, Module(run)):
        if isinstance(run, Changing):
            run.calls = 0
        found = {model.name: model for model in ranked(odd)}
        plain = {model.name: model for model in ranked(features)}
        assert found["odd"].score is None
        with pytest.raises(ValueError, match=message):
            raise ValueError(found["odd"].error)
        for name in ("first", "last"):
            assert found[name].score == plain[name].score
            assert found[name].error is None


CHANGES = {
    "seeds": lambda: (torch.manual_seed(5), np.random.seed(5), random.seed(5)),  # noqa: NPY002
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "determinism": lambda: torch.use_deterministic_algorithms(False),
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "gradients": lambda: torch.set_grad_enabled(True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "cudnn": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "floats": lambda: np.seterr(all="raise"),
    "folder": lambda: os.chdir("/"),
    "stream": lambda: setattr(sys, "stdout", sys.__stderr__),
    "filters": lambda: warnings.simplefilter("ignore"),
}


def process_state():
    states = torch.get_rng_state().numpy().tobytes(), np.random.get_state()  # noqa: NPY002
    return [
        *(states[0], str(states[1]), random.getstate()),
        *(torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        *(torch.is_anomaly_enabled(), torch.is_grad_enabled()),
        *(torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark),
        *(np.geterr(), os.getcwd(), sys.stdout, [*warnings.filters]),
    ]


@pytest.mark.parametrize("case", CHANGES)
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_model_changes_for_the_whole_process_is_changed_back(case, fails):
    changed = []

    def run(rows):
        CHANGES[case]()
        changed.append(process_state())
        if fails:
            raise RuntimeError("changed, then failed")
        return rows[:, :4]

    plain = {model.name: model.score for model in ranked(features)}
    before = process_state()
    found = {model.name: model.score for model in ranked(run)}
    assert process_state() == before
    assert changed[0] != before
    assert (found["odd"] is None) == fails
    assert (found["first"], found["last"]) == (plain["first"], plain["last"])
