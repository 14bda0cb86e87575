"""Queries of timm's models and of files."""

import numpy as np
import pytest
import timm
from hypothesis import given
from hypothesis import strategies as st

from hubfast import as_hub
from hubfast.hub import conditions
from hubfast.hub.conditions import COMPARE, read_conditions

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def unasked(monkeypatch):
    """No model may be built."""
    monkeypatch.setattr(conditions, "_count", lambda *given: pytest.fail("a model was asked"))


def test_queries(tmp_path, monkeypatch):
    names = [s.name for s in as_hub("timm:test_*?params<500K&input_size<=160")]
    assert names
    for name in names:
        architecture = name.removeprefix("timm:").partition(".")[0]
        count = sum(p.numel() for p in timm.create_model(architecture).parameters())
        assert count < 500_000
    every = {s.name for s in as_hub("timm:test_*")}
    assert set(names) < every
    left = {s.name for s in as_hub("timm:test_*?parameters >= 0.5M, input_size <= 160")}
    assert left == every - set(names)
    licences = {s.licence for s in as_hub("timm:test_*?licence=apache-2.0")}
    assert licences == {"apache-2.0"}
    for name in "ba":
        np.save(tmp_path / f"{name}.npy", np.zeros((2, 2)))
    assert [s.name for s in as_hub(str(tmp_path / "*.npy"))] == ["a", "b"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.onnx").write_text("")
    assert [s.name for s in as_hub("onnx:*.onnx")] == ["onnx:x.onnx"]


def test_bad_queries_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no pretrained timm model matches 'nothing\*'"):
        as_hub("timm:nothing*")
    with pytest.raises(ValueError, match=r"conditions must be like params<30M.*'size<3'"):
        as_hub("timm:test_*?size<3")
    with pytest.raises(ValueError, match=r"conditions must be like .*'params<many'"):
        as_hub("timm:test_*?params<many")
    with pytest.raises(ValueError, match=r"no file matches"):
        as_hub(f"onnx:{tmp_path}/*.onnx")


BOUNDS = ["1e999", "9" * 400, "1e999M", "2e12", "0", "0.5", "1e300K", "1e999999999"]


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("field", ["params", "parameters", "input_size"])
@pytest.mark.parametrize("sign", ["<", ">=", "="])
def test_a_bound_that_leaves_out_none_or_all_asks_no_model(unasked, field, sign, bound):
    with pytest.raises(ValueError, match=r"the bound of .* must be from 1 to 1e.*got ") as refused:
        as_hub(f"timm:*?{field}{sign}{bound}")
    assert bound in str(refused.value)


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf", "-1", "-1e3", "+5", "", "0x10", "1_000"])
def test_a_bound_that_is_no_number_asks_no_model(unasked, bound):
    with pytest.raises(ValueError, match="conditions must be like"):
        as_hub(f"timm:*?params<{bound}")


@pytest.mark.parametrize(
    "conditions",
    [
        "params<3M&params>5M",
        "params>5M&licence=mit&params<3M",
        "params<3M&parameters>=3M",
        "params=3M&params=4M",
        "params=3.5",
        "params<1",
        "params>3.2&params<3.9",
        "params=3M&params<3M",
        "input_size>224,input_size<=224",
        "licence=mit&license=apache-2.0",
    ],
)
def test_conditions_that_exclude_each_other_ask_no_model(unasked, conditions):
    with pytest.raises(ValueError, match="no model can meet "):
        as_hub(f"timm:*?{conditions}")


@given(
    low=st.integers(1, 10**9),
    high=st.integers(1, 10**9),
    above=st.sampled_from([">", ">=", "="]),
    below=st.sampled_from(["<", "<=", "="]),
)
def test_conditions_exclude_each_other_where_no_number_meets_both(low, high, above, below):
    texts = [f"params{above}{low}", f"params{below}{high}"]
    near = [n + step for n in (low, high) for step in (-1, 0, 1)]
    some = any(n >= 1 and COMPARE[above](n, low) and COMPARE[below](n, high) for n in near)
    if some:
        assert len(read_conditions(texts)) == 2
    else:
        with pytest.raises(ValueError, match="no model can meet "):
            read_conditions(texts)


def test_parameters_are_counted_last(unasked):
    with pytest.raises(ValueError, match="no pretrained timm model matches"):
        as_hub("timm:test_resnet*?params>1&input_size>1e4")
