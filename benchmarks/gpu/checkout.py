"""Makes hubfast importable from a checkout where it is not installed."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
SOURCES = (
    *("kernels/*.py", "csrc/*", "hubfast/ops/**/*.py"),
    *("hubfast/zoo/*.py", "hubfast/pathway/*.py"),
)


def use_checkout() -> None:
    """Puts this checkout first on the path, with `kernels/` as `hubfast.kernels`.

    An installed hubfast gets this mapping from pyproject.toml.

    Raises:
        ImportError: Another hubfast was imported before.
    """
    for folder in (ROOT / "tests" / "helpers", ROOT / "benchmarks", ROOT):
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.path.insert(0, str(folder))
    import hubfast

    if Path(hubfast.__file__).parents[1] != ROOT:
        raise ImportError(f"hubfast must come from {ROOT}, but {hubfast.__file__} was imported")
    kernels = ModuleType("hubfast.kernels")
    kernels.__path__ = [str(ROOT / "kernels")]
    sys.modules["hubfast.kernels"] = kernels
    hubfast.kernels = kernels


def fingerprint() -> str:
    """Twelve hexadecimal digits that change with the code that is measured."""
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
