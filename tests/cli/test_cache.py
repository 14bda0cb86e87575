"""`hubfast cache`: lists, verifies and prunes, without torch, and within any width."""

import os
import subprocess
import sys
import time

import pytest
import torch
from typer.testing import CliRunner

from hubfast.cli import app, main
from hubfast.cli.cache import _amount
from hubfast.extraction.cache import HOUR, Cache
from hubfast.utils.sizes import parse_size

LONG = "a_very_long_architecture_name_that_no_terminal_has_room_for.trained_on_imagenet21k"


def published(name):
    return {"kind": "timm", "name": name, "weights": "ab" * 32, "config": {}}


@pytest.fixture
def folder(tmp_path):
    """Three entries of one model, used long ago, and one of another."""
    cache = Cache(tmp_path / "kept")
    for number in range(4):
        model = published(LONG if number == 3 else "resnet18.a1_in1k")
        cache.put({"n": number, "model": model}, {"x": torch.zeros(1000)}, {})
    for file in cache.entries():
        then = time.time() - (9 - file.key["n"]) * HOUR
        os.utime(file.path, (then, then))
    return tmp_path / "kept"


@pytest.fixture
def cache(monkeypatch, folder):
    """Runs the command on the folder."""

    def run(*arguments, width=80, code=0):
        monkeypatch.setenv("COLUMNS", str(width))
        done = CliRunner().invoke(app, ["cache", *arguments, "--cache-dir", str(folder)])
        assert done.exit_code == code, done.output
        return done.stdout

    return run


def test_a_row_for_each_model(cache, folder):
    lines = cache("ls", width=200).splitlines()
    assert lines[0].split() == ["model", "entries", "size", "last", "used"]
    files = sorted(Cache(folder).entries(), key=lambda file: file.key["n"])
    small = sum(file.size for file in files[:3])
    assert lines[1].split()[:4] == [f"timm:{LONG}", "1", *_amount(files[3].size).split()]
    assert lines[2].split()[:4] == ["timm:resnet18.a1_in1k", "3", *_amount(small).split()]
    used = max(file.used for file in files)
    assert lines[1].rstrip().endswith(time.strftime("%Y-%m-%d %H:%M", time.localtime(used)))
    assert lines[3] == f"4 entries, {_amount(small + files[3].size)}, in {folder}"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"kind": "timm", "name": "vit", "weights": "random, seed 0"}, "timm:vit?pretrained=false"),
        ({"kind": "timm", "name": "vit", "weights": "0123456789"}, "timm:vit@01234567"),
        ({"kind": "hf", "name": "org/m", "commit": "c0ffee"}, "hf:org/m"),
        ({"kind": "object", "key": "mine", "weights": "01234"}, "object:mine"),
        ({"kind": "onnx", "files": {"model": "ab"}}, "onnx:bed03eaa"),
        (None, "(no model's own)"),
    ],
)
def test_names_of_models(cache, folder, model, name):
    Cache(folder).put({"model": model}, {}, {})
    assert f" {name} " in cache("ls", width=200).splitlines()[1]


@pytest.mark.parametrize("width", [60, 80, 81, 120])
def test_rows_are_never_wrapped(cache, width):
    lines = cache("ls", width=width).splitlines()
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines[:3])
    assert "timm:" in lines[1]
    assert "k" in lines[1]  # both ends of a name are shown


def test_an_empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HUBFAST_CACHE", str(tmp_path))
    done = CliRunner().invoke(app, ["cache", "ls"])
    assert done.stdout == f"0 entries, 0 B, in {tmp_path / 'features'}\n"
    assert CliRunner().invoke(app, ["cache", "path"]).stdout == f"{tmp_path / 'features'}\n"
    assert [*tmp_path.iterdir()] == []


def test_damage_is_listed_found_and_deleted(cache, folder):
    path = next(iter(Cache(folder).entries())).path
    path.write_bytes(b"broken")
    assert "(damaged: hubfast cache verify)" in cache("ls")
    lines = cache("verify", code=1).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"the cached file {path} is damaged")
    assert lines[1].startswith("3 entries, ")
    assert cache("verify").startswith("3 entries, ")


def test_what_was_unused_for_longest_goes(cache, folder):
    sizes = {file.key["n"]: file.size for file in Cache(folder).entries()}
    left = sizes[2] + sizes[3]
    said = cache("prune", "--max-size", str(left))
    assert said == f"2 entries, {_amount(sizes[0] + sizes[1])}, deleted, {_amount(left)} left\n"
    assert sorted(file.key["n"] for file in Cache(folder).entries()) == [2, 3]
    Cache(folder).get({"n": 3, "model": published(LONG)})
    said = cache("prune", "--max-size", "0").splitlines()
    assert said[1] == f"{_amount(sizes[3])} are in use and stay: 1 entries"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("123", 123),
        ("10G", 10**10),
        ("10 GB", 10**10),
        ("1.5k", 1500),
        ("2MiB", 2 * 1024**2),
        ("1T", 10**12),
    ],
)
def test_sizes(text, size):
    assert parse_size(text, "max_size", least=0) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (34 * 10**15, "34000.0 TB"),
    ],
)
def test_amounts(size, text):
    assert _amount(size) == text


@pytest.mark.parametrize("text", ["", "-1", "ten", "10X", "1e3", "G", "nan"])
def test_sizes_that_are_none(folder, monkeypatch, capsys, text):
    command = ["hubfast", "cache", "prune", f"--max-size={text}", "--cache-dir", str(folder)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert (
        f"--max-size must be a size such as 10G, 500M or 0, got {text!r}" in capsys.readouterr().err
    )


def test_a_folder_that_is_a_file(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    command = ["hubfast", "cache", "ls", "--cache-dir", str(tmp_path / "file")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "--cache-dir must be a folder" in capsys.readouterr().err


def test_it_needs_no_torch(folder):
    code = (
        "import sys; from typer.testing import CliRunner; from hubfast.cli import app;"
        "runs = (['ls'], ['verify'], ['path'], ['prune', '--max-size', '1G']);"
        "run = lambda args: CliRunner().invoke(app, ['cache', *args, '--cache-dir', sys.argv[1]]);"
        "print([run(args).exit_code for args in runs], 'torch' in sys.modules)"
    )
    done = subprocess.check_output([sys.executable, "-c", code, str(folder)], text=True)
    assert done == "[0, 0, 0, 0] False\n"
