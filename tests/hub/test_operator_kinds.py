"""What the operators of every format do to classes is told by one table each."""

import pytest

from hubfast.hub.classifier import ON_ONE_TENSOR, Kind, kinds_of_operators
from hubfast.hub.exported import graph as exported
from hubfast.hub.keras import graph as keras
from hubfast.hub.onnx import steps as onnx
from hubfast.hub.tensorflow import graph as tensorflow


def test_every_operator_has_its_kind():
    kinds = kinds_of_operators({"cast"}, {"relu", "max"}, {"mean"}, {"split"}, {"softmax"}, ())
    assert kinds["cast"] is Kind.PASS
    assert kinds["relu"] is kinds["max"] is Kind.ACTIVATION
    assert kinds["softmax"] is Kind.SOFTMAX
    assert len(kinds) == 6


def test_an_operator_of_two_kinds_or_a_kind_forgotten():
    with pytest.raises(ValueError, match=r"of one kind each, got \['mean'\] twice"):
        kinds_of_operators({"cast"}, {"relu"}, {"mean"}, {"mean"}, (), ())
    with pytest.raises(ValueError, match="shorter"):
        kinds_of_operators({"cast"})


@pytest.mark.parametrize("format", [exported, keras, onnx, tensorflow])
def test_every_format_knows_all_kinds(format):
    assert {*format.KINDS.values()} == {*ON_ONE_TENSOR}
