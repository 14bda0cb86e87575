"""One record per method says all that is known of it."""

from typing import get_args

import pytest

from hubfast.cli import methods
from hubfast.cli.completion import complete_method
from hubfast.tuning import Method
from hubfast.tuning.methods.registry import METHODS


def test_the_registry_and_the_names_agree():
    assert tuple(METHODS) == get_args(Method)
    assert all(name == method.name for name, method in METHODS.items())
    by_models = {"one": methods.ONE_MODEL, "several": methods.SEVERAL_MODELS}
    for models, names in by_models.items():
        assert tuple(m.name for m in METHODS.values() if m.models == models) == names


@pytest.mark.parametrize("name", get_args(Method))
def test_a_method_takes_one_model_or_the_top(name):
    method = METHODS[name]
    assert method.models_used(3) == (1 if name in methods.ONE_MODEL else 3)
    if method.same_architecture:
        assert method.models == "several"


def test_what_a_method_needs_in_words():
    assert METHODS["single"].needs == ""
    assert METHODS["hub-pathway"].needs == "classes to tune"
    assert METHODS["zoo"].needs == "two models of one architecture, and classes to tune"


def test_the_shell_completes_methods():
    assert complete_method("zoo") == ["zoo", "zoo-lite"]
    assert complete_method("") == list(get_args(Method))
