"""What a wheel holds, with and without the native cores."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("csrc", "hubfast", "kernels", "LICENSE", "README.md", "pyproject.toml", "setup.py")


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {p.parent.relative_to(ROOT) for p in (ROOT / "hubfast").rglob("*.py")}
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in folders)


def build(tmp_path, monkeypatch, **environment):
    """A wheel built from a copy of the sources, without a network."""
    source = tmp_path / "source"
    source.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
    for name in SHIPPED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=ignore)
        else:
            shutil.copy(path, source / name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(tmp_path.glob("*.whl"))


def run_from(wheel, folder, code):
    """Runs `code` with the wheel first on the path, away from the sources."""
    target = folder / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    check = f"import sys; sys.path.insert(0, {str(target)!r}); {code}"
    return subprocess.check_output([sys.executable, "-c", check], cwd=folder, text=True).strip()


# Without a compiler: CC and CXX name a command that fails.
@pytest.mark.parametrize("kind", ["compiler", "no compiler", "skipped", "cuda", "broken cuda"])
def test_wheel(tmp_path, monkeypatch, kind):
    broken = {"CC": "false", "CXX": "false"}
    environment = {
        "compiler": {"HUBFAST_CUDA": "0"},
        "no compiler": {**broken, "HUBFAST_CUDA": "0"},
        "skipped": {"HUBFAST_NATIVE": "0", "HUBFAST_CUDA": "0"},
        "cuda": {"HUBFAST_NATIVE": "0"},
        "broken cuda": {"HUBFAST_NATIVE": "0", "CUDA_HOME": "/nowhere"},
    }[kind]
    if kind == "cuda" and not (os.environ.get("CUDA_HOME") or shutil.which("nvcc")):
        pytest.skip("no nvcc")
    wheel = build(tmp_path, monkeypatch, **environment)
    names = zipfile.ZipFile(wheel).namelist()
    for expected in (
        *("kernels/route.py", "py.typed", "report/page.html", "minihub/images.py"),
        *("minihub/weights/vit_textures.safetensors", "minihub/weights/truth.jsonl"),
    ):
        assert f"hubfast/{expected}" in names
    assert not any(name.startswith(("kernels/", "tests/", "csrc/")) for name in names)
    assert ("hubfast/_cuda.so" in names) == (kind == "cuda")
    native = [name for name in names if "_native" in name]
    if kind != "compiler":
        assert native == []
    elif shutil.which("c++"):
        assert len(native) == 1
    found = run_from(
        wheel,
        tmp_path,
        "import hubfast, hubfast.kernels; from hubfast.scores import logme; "
        "print(round(logme([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2]], [0, 1, 0]), 6), "
        "'installed' in hubfast.__file__, 'installed' in hubfast.kernels.__path__[0])",
    )
    score, ours, kernels = found.split()
    assert float(score) > 0
    assert (ours, kernels) == ("True", "True")
