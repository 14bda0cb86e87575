"""Warnings of libraries end in the notes of a ranking, once each, with their model's name."""

import logging
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from hubfast import as_source, rank
from hubfast.ranking.remarks import Remarks
from hubfast.ranking.warned import hearing

DATA = (torch.arange(30)[:, None].float(), np.arange(30) % 3)
FEATURES = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def shown_by_default():
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def model(talk=lambda: None):
    def features(rows):
        talk()
        return FEATURES[rows[:, 0].long()]

    return as_source(features)


def ranked(capfd, **talks):
    found = rank({n: model(t) for n, t in talks.items()}, DATA, progress=False, batch_size=7)
    assert capfd.readouterr() == ("", "")  # nothing is written over the bar
    return [note for note in found.notes if "warning" in note]


def test_a_warning_of_one_model_is_noted_once_with_its_name(capfd):
    def talk():
        warnings.warn("layers are\nold", stacklevel=1)

    assert ranked(capfd, quiet=lambda: None, loud=talk) == ["warning from loud: layers are old"]


def test_a_warning_of_every_model_is_noted_once_without_names(capfd):
    def talk():
        warnings.warn("the same", stacklevel=1)

    assert ranked(capfd, a=talk, b=talk, c=talk) == ["warning: the same"]


def test_a_second_ranking_notes_it_again(capfd):
    def talk():
        warnings.warn("again and again", stacklevel=1)

    first = ranked(capfd, a=talk, b=lambda: None)
    assert ranked(capfd, a=talk, b=lambda: None) == first == ["warning from a: again and again"]


def test_threads_of_a_model_are_heard(capfd):
    def talk():
        with ThreadPoolExecutor(2) as pool:
            pool.submit(warnings.warn, "from a thread", UserWarning, 1).result()

    assert ranked(capfd, a=talk, b=lambda: None) == ["warning from a: from a thread"]


@pytest.mark.parametrize("name", ["timm.models", "huggingface_hub.file_download"])
def test_log_records_of_libraries_are_noted(capfd, monkeypatch, name):
    for logger in (logging.root, logging.getLogger(name.partition(".")[0])):
        monkeypatch.setattr(logger, "handlers", [])  # as where nobody has set logging up

    def talk():
        logging.getLogger(name).warning("no weights for %s", "head.bias")

    assert ranked(capfd, a=talk, b=lambda: None) == ["warning from a: no weights for head.bias"]


def test_a_library_with_a_handler_of_its_own(capfd):
    """As transformers has; what is below a warning still goes where it went."""
    log, handler = logging.getLogger("transformers"), logging.StreamHandler(sys.stderr)
    before = log.handlers, log.propagate, log.level
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    try:
        talk = lambda: log.warning("sequence too long")  # noqa: E731
        assert ranked(capfd, a=talk, b=lambda: None) == ["warning from a: sequence too long"]
        rank({"a": model(lambda: log.info("loading"))}, DATA, progress=False)
        assert "loading" in capfd.readouterr().err
        assert handler.filters == []
        log.warning("afterwards")
        assert "afterwards" in capfd.readouterr().err
    finally:
        log.handlers, log.propagate = before[:2]
        log.setLevel(before[2])


def test_handlers_of_the_user_get_everything(caplog, capfd):
    with caplog.at_level(logging.WARNING):
        ranked(capfd, a=lambda: logging.getLogger("timm").warning("kept"))
    assert "kept" in caplog.text


class Loud(torch.utils.data.Dataset):
    """Samples whose preparation warns, wherever that happens."""

    def __len__(self):
        return 30

    def __getitem__(self, index):
        warnings.warn(f"sample {index} is odd", stacklevel=1)
        return torch.tensor([float(index)]), index % 3


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked")
def test_processes_that_prepare_samples_are_heard(capfd):
    found = rank({"a": model(), "b": model()}, Loud(), progress=False, workers=2)
    assert "odd" not in capfd.readouterr().err
    (note,) = [note for note in found.notes if "odd" in note]
    assert note.startswith("warning: sample ")


def test_filters_and_the_hook_are_as_before():
    before = list(warnings.filters), warnings.showwarning
    rank({"a": model(lambda: warnings.warn("x", stacklevel=1))}, DATA, progress=False)
    assert (list(warnings.filters), warnings.showwarning) == before


def test_filters_of_the_user_hold(capfd):
    warnings.filterwarnings("ignore", "unwanted")
    warnings.filterwarnings("error", "forbidden")
    talks = {
        "a": lambda: warnings.warn("unwanted", stacklevel=1),
        "b": lambda: warnings.warn("forbidden", stacklevel=1),
    }
    found = rank({n: model(t) for n, t in talks.items()}, DATA, progress=False)
    assert not any("unwanted" in note for note in found.notes)
    assert [(m.name, m.error) for m in found.failed] == [("b", "UserWarning: forbidden")]


def test_the_filters_are_restored_when_a_ranking_raises():
    before = list(warnings.filters), warnings.showwarning
    with pytest.raises(ValueError, match="at least 2 classes"):
        rank(model(), (DATA[0], np.zeros(30, int)), progress=False)
    assert (list(warnings.filters), warnings.showwarning) == before


def test_other_threads_keep_their_warnings():
    heard, go, done = [], threading.Event(), threading.Event()

    def other():
        go.wait()
        warnings.warn("of another thread", stacklevel=1)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with warnings.catch_warnings(record=True) as own:
        warnings.simplefilter("always")
        with hearing(heard.append):
            go.set()
            done.wait()
            warnings.warn("of this one", stacklevel=1)
    thread.join()
    assert heard == ["of this one"]
    assert [str(w.message) for w in own] == ["of another thread"]


def test_two_hearings_that_end_in_any_order_leave_nothing_behind():
    before, first, second = warnings.showwarning, [], []
    outer, inner = hearing(first.append), hearing(second.append)
    outer.__enter__()
    inner.__enter__()
    warnings.warn("one", stacklevel=1)
    outer.__exit__(None, None, None)
    warnings.warn("two", stacklevel=1)
    inner.__exit__(None, None, None)
    assert (first, second) == ([], ["one", "two"])
    assert warnings.showwarning is before


def test_remarks_that_differ_in_numbers_are_one_and_long_ones_are_cut():
    remarks = Remarks()
    for i in range(50):
        with remarks.about(f"m{i}"):
            remarks.add(f"corrupt EXIF data, {i} bytes")
    assert remarks.lines([f"m{i}" for i in range(51)]) == (
        "warning from m0, m1, m2 and 47 more: corrupt EXIF data, 0 bytes",
    )
    assert remarks.lines([f"m{i}" for i in range(50)]) == ("warning: corrupt EXIF data, 0 bytes",)
    assert remarks.lines(["a"], ["corrupt EXIF data, 0 bytes"]) == ()
    for letter in "abcdefghijklmnopqrstuvwxyz":
        remarks.add(letter * 999)
    lines = remarks.lines(["a"])
    assert lines[-1] == "7 more kinds of warnings"
    assert max(map(len, lines)) < 350


QUIET_START = """
import sys, warnings, numpy as np, torch
from hubfast import as_source, rank
def talk(rows):
    warnings.warn("visible to nobody but the notes", stacklevel=1)
    return torch.eye(30)[rows[:, 0].long()]
found = rank({"a": as_source(talk)}, (torch.arange(30)[:, None].float(), np.arange(30) % 3))
print(found.notes[-1])
"""


def test_the_lines_of_a_log_hold_progress_only():
    done = subprocess.run(
        [sys.executable, "-c", QUIET_START], capture_output=True, text=True, check=True
    )
    assert done.stdout == "warning from a: visible to nobody but the notes\n"
    assert "visible" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("models 30/30")
