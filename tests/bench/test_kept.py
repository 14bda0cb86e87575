"""Rows of results that survive a kill at any byte."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.bench.kept import KeptRows

ROWS = {"a": {"value": 0.5, "odd": float("nan")}, "b": {"value": 1, "name": "\u00e9"}, "c": {}}


def test_rows_are_read_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    first = KeptRows(path)
    assert not path.exists()
    for key, row in ROWS.items():
        assert key not in first
        first.add(key, row)
        assert first[key] == KeptRows(path)[key]
    assert KeptRows(path)["a"] == {"key": "a", "value": 0.5, "odd": None}
    assert "d" not in KeptRows(path)


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_kill_at_any_byte_loses_one_row(tmp_path_factory, byte):
    path = tmp_path_factory.mktemp("kept") / "rows.jsonl"
    whole = KeptRows(path)
    for key, row in ROWS.items():
        whole.add(key, row)
    content = path.read_bytes()
    cut = content[: byte % (len(content) + 1)]
    path.write_bytes(cut)
    complete = [
        json.loads(line)["key"] for line in content.splitlines() if line in cut.splitlines()
    ]
    again = KeptRows(path)
    assert [key for key in ROWS if key in again] == complete
    for key, row in ROWS.items():
        if key not in again:
            again.add(key, row)
    after = KeptRows(path)
    assert all(after[key] == whole[key] for key in ROWS)


@pytest.mark.parametrize("line", ['{"key": 3}', "model,data", "[1]", '{"key": "a", }'])
def test_another_file_is_refused(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(ValueError, match=r"line 1 of .*rows.jsonl"):
        KeptRows(tmp_path / "rows.jsonl")
