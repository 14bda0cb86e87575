"""Builds the optional native core from csrc/; everything else lives in pyproject.toml."""

import os
import sys
from glob import glob

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

SKIP = os.environ.get("HUBFAST_NATIVE") == "0"
FLAGS = [] if sys.platform == "win32" else ["-O3", "-fopenmp-simd", "-pthread"]

native = Pybind11Extension(
    "hubfast._native",
    sorted(glob("csrc/*.cpp")),
    depends=sorted(glob("csrc/*.hpp")),
    cxx_std=17,
    extra_compile_args=FLAGS,
    optional=True,  # without a compiler the package is pure Python, and `hubfast info` says so
)

setup(ext_modules=[] if SKIP else [native])
