"""Odd values for `tune` that the parser takes, with models and data that can be tuned."""

import numpy as np
import pytest
from command_line import odd_place, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

USUAL = ["tune", "--hub", "minihub:resnet_digits", "--data", "d.npz", "--method", "single"]
USUAL += ["--epochs", "1", "--quiet"]
ODDLY = settings(
    deadline=None, max_examples=10, suppress_health_check=list(HealthCheck), database=None
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


@pytest.fixture(autouse=True, scope="module")
def folder(tmp_path_factory):
    with odd_place(tmp_path_factory) as (place, patch):
        patch.setenv("COLUMNS", "1000")
        images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
        np.savez("d.npz", images=images, targets=np.arange(24) % 3)
        yield place


def refused(*given):
    code, said = run([*USUAL, *given])
    assert code == 2, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("name", ["epochs", "batch-size", "size", "devices"])
@given(value=st.integers(2**31, 10**400))
@ODDLY
def test_a_number_that_no_run_can_be_of_is_refused(name, value):
    said = refused(f"--{name}={value}")
    assert f"{name.replace('-', '_')} must be" in said.replace("--", "").replace("-", "_")
    assert f"got {str(value)[:9]}" in said.replace("(", "")


@given(share=st.floats(0, 0.02, exclude_min=True) | st.floats(0.99, 1, exclude_max=True))
@ODDLY
def test_a_share_that_leaves_a_part_empty_is_refused(share):
    assert f"validation={share:g} must leave" in refused(f"--validation={share!r}")


@given(colour=TEXT)
@ODDLY
def test_what_is_no_colour_is_refused(colour):
    said = refused(f"--background={colour}?")
    assert "background must be a colour" in said
    assert "got " in said


@pytest.mark.parametrize("name", ["method", "optimizer", "schedule", "augment", "task", "device"])
@given(word=TEXT)
@ODDLY
def test_a_word_that_is_not_known_is_refused(name, word):
    said = refused(f"--{name}={word}?")
    assert f"{name} must be one of" in said
    assert "got " in said


@given(value=st.sampled_from(["nan", "inf", "-inf", "0", "-1e-320", "1e999"]))
@ODDLY
def test_a_rate_that_is_no_rate_is_refused(value):
    assert "lr must be " in refused(f"--lr={value}")
