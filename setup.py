"""Builds the optional native cores from csrc/; everything else lives in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

FLAGS = [] if sys.platform == "win32" else ["-O3", "-fopenmp-simd", "-pthread"]
CUDA_SOURCES = sorted(glob("csrc/*.cu"))
CUDA_FLAGS = ["-std=c++17", "-O3", "-Xcompiler", "-fPIC", "-shared", "-cudart", "static"]
# A100, H100, B200; what comes later compiles the last one's PTX when it first runs.
CUDA_TARGETS = ["sm_80", "sm_90", "[sm_100,compute_100]"]

native = Pybind11Extension(
    "hubfast._native",
    sorted(glob("csrc/*.cpp")),
    depends=[*sorted(glob("csrc/*.hpp")), *CUDA_SOURCES],  # an sdist holds them all
    cxx_std=17,
    extra_compile_args=FLAGS,
    optional=True,  # without a compiler the package is pure Python, and `hubfast info` says so
)
cuda = Extension("hubfast._cuda", CUDA_SOURCES, depends=sorted(glob("csrc/*.hpp")), optional=True)


def find_nvcc() -> str | None:
    """The compiler of CUDA_HOME, else the one on the path."""
    if home := os.environ.get("CUDA_HOME"):
        return str(Path(home) / "bin" / "nvcc")
    return shutil.which("nvcc")


class BuildCores(build_ext):
    """Compiles `hubfast._cuda` by nvcc to a plain shared library, which ctypes loads."""

    def build_extension(self, extension: Extension) -> None:
        if extension.name != cuda.name:
            super().build_extension(extension)
            return
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [str(find_nvcc()), *CUDA_FLAGS]
        for code in CUDA_TARGETS:
            number = code.strip("]").rpartition("_")[2]
            command += ["-gencode", f"arch=compute_{number},code={code}"]
        try:
            self.spawn([*command, *extension.sources, "-o", str(target)])
        except (OSError, subprocess.SubprocessError) as error:
            raise CompileError(f"nvcc failed: {error}") from error

    def get_ext_filename(self, name: str) -> str:
        """No Python version in the name: the library knows nothing of Python."""
        if name.split(".")[-1] == "_cuda":
            return str(Path(*name.split("."))) + ".so"
        return super().get_ext_filename(name)


cores = [] if os.environ.get("HUBFAST_NATIVE") == "0" else [native]
if os.environ.get("HUBFAST_CUDA") != "0" and sys.platform == "linux" and find_nvcc():
    cores.append(cuda)

setup(ext_modules=cores, cmdclass={"build_ext": BuildCores})
