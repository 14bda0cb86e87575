"""One record per method says all that is known of it."""

from pathlib import Path
from typing import get_args

import pytest

from hubfast.cli.completion import complete_method
from hubfast.cli.names import method_names
from hubfast.tuning import Method
from hubfast.tuning.methods.registry import METHODS


def test_the_registry_and_the_names_agree():
    assert tuple(METHODS) == get_args(Method)
    assert all(name == method.name for name, method in METHODS.items())
    assert method_names() == tuple(METHODS)
    for models in ("one", "several"):
        names = tuple(m.name for m in METHODS.values() if m.models == models)
        assert method_names(models) == names


@pytest.mark.parametrize("name", get_args(Method))
def test_a_method_takes_one_model_or_the_top(name):
    method = METHODS[name]
    assert method.models_used(3) == (1 if name in method_names("one") else 3)
    if method.same_architecture:
        assert method.models == "several"


def test_what_a_method_needs_in_words():
    assert METHODS["single"].needs == ""
    assert METHODS["hub-pathway"].needs == "classes to tune"
    assert METHODS["zoo"].needs == "two models of one architecture, and classes to tune"


def test_the_shell_completes_methods():
    assert complete_method("zoo") == ["zoo", "zoo-lite"]
    assert complete_method("") == list(get_args(Method))


def test_the_docs_say_which_methods_run_several_models():
    page = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text()
    several = ", ".join(name for name, method in METHODS.items() if method.shared_images)
    assert f"| {several}, whose result runs several models |" in page
    (row,) = (line for line in page.splitlines() if "whose result is one model" in line)
    assert all((name in row) != method.shared_images for name, method in METHODS.items())
