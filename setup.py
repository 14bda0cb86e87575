"""Builds the optional native cores from csrc/; everything else lives in pyproject.toml.

HUBFAST_NATIVE=0 leaves out both. The CUDA core is built where CUDA_HOME is set; HUBFAST_CUDA=0
leaves it out, HUBFAST_CUDA=1 also looks for nvcc, and fails without.
"""

import os
import shutil
import sys
from glob import glob
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup
from setuptools.command.build_ext import build_ext

SKIP = os.environ.get("HUBFAST_NATIVE") == "0"
WANTED = os.environ.get("HUBFAST_CUDA", "")
FLAGS = [] if sys.platform == "win32" else ["-O3", "-fopenmp-simd", "-pthread"]
ARCHITECTURES = (80, 90, 100)  # machine code; later ones compile the PTX of the last


def cuda_home() -> Path | None:
    """The CUDA toolkit to build with; a GPU need not be there."""
    if WANTED not in ("", "0", "1"):
        sys.exit(f"HUBFAST_CUDA must be 0 or 1, got {WANTED!r}")
    if WANTED == "0":
        return None
    homes = [os.environ.get("CUDA_HOME")]
    if WANTED == "1":
        nvcc = shutil.which("nvcc")
        homes += [str(Path(nvcc).resolve().parents[1])] if nvcc else []
        homes += ["/usr/local/cuda"]  # nvcc on the path may be a script that leads there
    for home in filter(None, homes):
        if (Path(home) / "bin/nvcc").exists() and (Path(home) / "include/cuda.h").exists():
            return Path(home)
    if WANTED == "1":
        sys.exit("HUBFAST_CUDA=1, but there is no CUDA toolkit: set CUDA_HOME")
    return None


class BuildExt(build_ext):
    """nvcc for the .cu files of an extension, the host compiler for the rest."""

    def build_extension(self, ext):
        kernels = [name for name in ext.sources if name.endswith(".cu")]
        ext.sources = [name for name in ext.sources if name not in kernels]
        codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
        last = ARCHITECTURES[-1]
        codes.append(f"-gencode=arch=compute_{last},code=compute_{last}")
        for name in kernels:
            target = Path(self.build_temp) / f"{Path(name).stem}.o"
            target.parent.mkdir(parents=True, exist_ok=True)
            flags = ["-std=c++17", "-O3", "-Xcompiler=-fPIC", "--threads=0", *codes]
            self.spawn([str(cuda_home() / "bin/nvcc"), *flags, "-c", name, "-o", str(target)])
            ext.extra_objects.append(str(target))
        super().build_extension(ext)


def extensions() -> list:
    if SKIP:
        return []
    native = Pybind11Extension(
        "hubfast._native",
        sorted(glob("csrc/*.cpp")),
        depends=sorted(glob("csrc/*.hpp")),
        cxx_std=17,
        extra_compile_args=FLAGS,
        optional=True,  # without a compiler the package is pure Python, and `hubfast info` says so
    )
    home = cuda_home()
    if home is None:
        return [native]
    names = " ".join(f"sm_{a}" for a in ARCHITECTURES)
    cuda = Pybind11Extension(
        "hubfast._cuda",
        ["csrc/cuda_bindings.cc", *sorted(glob("csrc/*.cu"))],
        depends=sorted(glob("csrc/*.hpp")),
        cxx_std=17,
        define_macros=[("HUBFAST_ARCHITECTURES", f'"{names}"')],
        extra_compile_args=FLAGS,
        library_dirs=[str(home / lib) for lib in ("lib64", "lib") if (home / lib).is_dir()],
        # Static, so that the wheel loads where there is no CUDA; it finds the driver when called.
        libraries=["cudart_static", "dl", "rt", "pthread"],
        optional=WANTED != "1",
    )
    return [native, cuda]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
