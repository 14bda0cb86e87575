"""Files are written whole or not at all."""

import os

import pandas as pd
import pytest

from hubfast.utils.files import replacing, write_csv, write_text


def test_a_file_is_replaced_at_the_end_only(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("former")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "former"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "model.pt"
    path.write_text("former")

    def interrupted():
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_that_breaks_off_leaves_the_former_one(tmp_path, monkeypatch):
    path, frame = tmp_path / "scores.csv", pd.DataFrame({"name": ["a"], "value": [0.5]})
    write_csv(path, frame)
    assert path.read_text() == "name,value\na,0.5\n"

    def half(self, file, index):
        file.write_text("name,val")
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", half)
    with pytest.raises(KeyboardInterrupt):
        write_csv(path, frame)
    assert path.read_text() == "name,value\na,0.5\n"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "missing" / "ranking.json"
    with pytest.raises(FileNotFoundError) as error:
        write_text(path, "{}")
    assert error.value.filename == str(path)
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "{}")


def test_links_are_written_through(tmp_path):
    link, path = tmp_path / "link", tmp_path / "file"
    link.symlink_to(path)
    write_text(link, "text")
    assert link.is_symlink()
    assert path.read_text() == "text"


def test_pipes_are_written_to(tmp_path):
    ends = os.pipe()
    write_text(f"/dev/fd/{ends[1]}", "text")
    os.close(ends[1])
    with os.fdopen(ends[0]) as file:
        assert file.read() == "text"
