"""JSON, YAML and TOML that anybody wrote: bounded, strict, and what is wrong is said."""

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubfast.utils.documents import json_lines, read_json, read_toml, read_yaml, strict, write_json
from hubfast.utils.names import brief
from hubfast.utils.records import as_record

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
DEEP = 5000


@pytest.fixture
def file(tmp_path):
    def written(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


YAML = [
    (LAUGHS + "models: *j", "must be at most 1,048,576 values, and is more, its aliases followed"),
    ("a: &a {x: 1}\n" + LAUGHS[2:].replace("[", "{<<: [").replace("]", "]}"), "cannot be read"),
    ("&a [*a]", r"must not hold itself, as its alias \*a says"),
    ("a: &a {b: [*a]}", r"must not hold itself, as its alias \*a says"),
    ("[" * 65 + "]" * 65, "must be nested at most 64 levels, and is deeper"),
    ("[" * DEEP, "cannot be read: exceeded maximum nesting depth"),  # libyaml's own bound
    ("{" * DEEP, "cannot be read: exceeded maximum nesting depth"),
    ("- " * DEEP, "must be nested at most 64 levels"),
    ("[1, ", r"cannot be read: .* in line \d, column \d"),
    ("? [1]\n: 2", "cannot be read: .*unhashable key in line 1, column 3"),
    ("a: 2020-99-99", "must be YAML and cannot be read: month must be in 1..12"),
    ("a: !!int abc", "must be YAML and cannot be read"),
    ("a: !!timestamp abc", "must be YAML and cannot be read"),
    ("!!python/object/apply:os.system ['true']", "cannot be read: could not determine"),
    (b"a: \xff\xfe", "must be text in UTF-8"),
]


@pytest.mark.parametrize(("text", "message"), YAML)
def test_yaml_that_is_refused(file, text, message):
    path = file("hub.yaml", text)
    begun = time.process_time()
    with pytest.raises(ValueError, match=message) as raised:
        read_yaml(path)
    assert str(raised.value).startswith(str(path))
    assert time.process_time() - begun < 2


def test_a_few_aliases_are_followed(file):
    path = file("hub.yaml", "a: &a {x: [1, 2]}\nb: [*a, *a]\nc: {<<: *a, y: 3}\n")
    found = read_yaml(path)
    assert found["b"] == [{"x": [1, 2]}] * 2
    assert found["c"] == {"x": [1, 2], "y": 3}


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (read_json, "[" * DEEP, "must be nested at most 64 levels"),
        (read_json, "[" * 65 + "]" * 65, "must be nested at most 64 levels"),
        (read_json, '{"a":' * 70 + "1" + "}" * 70, "must be nested at most 64 levels"),
        (read_json, "[1,", "must be JSON and cannot be read"),
        (read_json, "", "must be JSON and cannot be read"),
        (read_json, "9" * 6000, "must be JSON and cannot be read"),
        (read_toml, "a = " + "[" * DEEP + "]" * DEEP, "must be nested at most 64 levels"),
        (read_toml, "a = " + "{b = " * DEEP + "1" + "}" * DEEP, "must be nested at most 64"),
        (read_toml, "a", "cannot be read"),
    ],
)
def test_json_and_toml_that_are_refused(file, read, text, message):
    with pytest.raises(ValueError, match=message):
        read(file("x", text))


@pytest.mark.parametrize("read", [read_json, read_yaml, read_toml])
def test_a_file_is_never_read_beyond_its_bound(file, read):
    with pytest.raises(ValueError, match="must be at most 100 bytes, and is larger"):
        read(file("x", "a" * 101), 100)
    with pytest.raises(ValueError, match="must be at most 1,000 bytes"):
        read("/dev/zero", 1000)


def test_the_deepest_that_is_read(file):
    text = "[" * 64 + "]" * 64
    assert read_json(file("x", text)) == read_yaml(file("y", text)) == json.loads(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@settings(deadline=None, max_examples=60)
def test_what_is_written_is_strict_json_and_read_back(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("json") / "x.json"
    write_json(path, content)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == read_json(path)
    assert read_json(path) == strict(content)


def test_numbers_that_json_lacks_are_null(file):
    assert strict({"a": [math.nan, math.inf, (1.5, -math.inf)]}) == {"a": [None, None, [1.5, None]]}
    assert read_json(file("x", "[NaN, Infinity, 1]")) == [None, None, 1]


def test_lines(file):
    cut = '{"key": 1, "a": 2}\n\n{"key": 2, "a\n{"k\n{"key": 3}\n'
    assert [row["key"] for _, row in json_lines(file("x", cut), '{"key": ')] == [1, 3]
    for wrong in ("hello", "[]", "null", '{"other": 1}', '{"key": 1,}'):
        with pytest.raises(ValueError, match=r"line 2 of .*x must be"):
            list(json_lines(file("x", '{"key": 1}\n' + wrong), '{"key": '))


@dataclass(frozen=True)
class Part:
    size: float = 0.0


@dataclass(frozen=True)
class Whole:
    name: str
    part: Part = Part()
    parts: tuple[Part, ...] = ()
    pair: tuple[str, int] = ("", 0)
    table: dict[str, int | None] = field(default_factory=dict)
    note: str | None = None
    good: bool = False


def test_a_record_is_made_of_plain_content():
    content = {
        "name": "a",
        "part": {"size": 1},
        "parts": [{"size": 2.5}, {}],
        "pair": ["b", 3],
        "table": {"c": None},
        "good": True,
        "later": 1,
    }
    found = as_record(Whole, content, "x")
    assert found == Whole("a", Part(1), (Part(2.5), Part()), ("b", 3), {"c": None}, None, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"x must be a table, got \[\]"),
        ({}, r"x must have 'name', got \[\]"),
        ({"name": 1}, "name of x must be text, got 1"),
        ({"name": None}, "name of x must be text, got None"),
        ({"name": "a", "part": 1}, "part of x must be a table, got 1"),
        ({"name": "a", "part": {"size": "1"}}, "size of part of x must be a number, got '1'"),
        ({"name": "a", "part": {"size": True}}, "size of part of x must be a number, got True"),
        ({"name": "a", "parts": "ab"}, "parts of x must be a list, got 'ab'"),
        ({"name": "a", "parts": [1]}, "entry 1 in parts of x must be a table, got 1"),
        ({"name": "a", "pair": ["b"]}, r"pair of x must be a list, got \['b'\]"),
        ({"name": "a", "table": [1]}, r"table of x must be a table, got \[1\]"),
        ({"name": "a", "table": {"c": "d"}}, "'c' of table of x must be a whole number, got 'd'"),
        ({"name": "a", "good": 1}, "good of x must be true or false, got 1"),
        ({"name": "a", "note": ["b"]}, r"note of x must be text, got \['b'\]"),
    ],
)
def test_a_record_says_what_is_wrong(content, message):
    with pytest.raises(ValueError, match=message):
        as_record(Whole, content, "x")


@given(VALUES)
@settings(deadline=None, max_examples=100)
def test_any_content_is_a_record_or_refused(content):
    with suppress(ValueError):
        assert isinstance(as_record(Whole, content, "x").name, str)


def test_values_in_messages_are_short():
    nested = []
    for _ in range(10_000):
        nested = [nested]
    for value in (nested, "x" * 10**6, list(range(10**5)), {i: i for i in range(10**4)}, 16**9000):
        assert 0 < len(brief(value)) < 300
    assert brief({"a": [1, "b"]}) == "{'a': [1, 'b']}"
