import pytest

from hubfast.ops import backends
from hubfast.ops.backends import choose, missing


@pytest.fixture
def installed(monkeypatch):
    """Only some backends are there."""

    def only(*names):
        monkeypatch.setattr(backends, "missing", lambda name: None if name in names else "no")

    return only


def test_the_best_installed_one_is_taken(installed):
    installed("torch", "native")
    assert choose(None, "native") == "native"
    assert choose(None, "triton", "native") == "native"
    assert choose(None, "triton") == "torch"
    assert choose(None) == "torch"


def test_an_explicit_one_is_honoured_or_refused(installed):
    installed("torch", "scipy")
    assert choose("torch", "scipy") == "torch"
    assert choose("scipy", "scipy") == "scipy"
    with pytest.raises(
        ValueError, match=r"must be one of \['torch'\] for this input, got 'native'"
    ):
        choose("native", "native")
    with pytest.raises(ValueError, match=r"got 'scipy'"):
        choose("scipy", "native")


def test_the_environment_prefers_where_it_can(installed, monkeypatch):
    installed("torch", "scipy", "native")
    monkeypatch.setenv("HUBFAST_BACKEND", "torch")
    assert choose(None, "scipy") == "torch"
    assert choose("scipy", "scipy") == "scipy"
    monkeypatch.setenv("HUBFAST_BACKEND", "native")
    assert choose(None, "scipy") == "scipy"  # this op has no native form
    installed("torch", "scipy")
    with pytest.raises(ValueError, match=r"got 'native'"):
        choose(None, "native")
    monkeypatch.setenv("HUBFAST_BACKEND", "magic")
    with pytest.raises(ValueError, match=r"HUBFAST_BACKEND must be one of .* got 'magic'"):
        choose(None)


def test_missing_says_why():
    assert missing("torch") is None
    why = missing("native")
    assert why is None or "_native" in why
