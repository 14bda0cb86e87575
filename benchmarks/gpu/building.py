"""hubfast's compiled cores, and its own tests, on this machine."""

import subprocess
import sys

from gpu.checkout import ROOT
from gpu.jobs import Say, Sizes


def cores(say: Say, sizes: Sizes) -> None:
    """Builds both cores where they are imported from."""
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    built = {
        "native": any((ROOT / "hubfast").glob("_native*.so")),
        "cuda": (ROOT / "hubfast" / "_cuda.so").exists(),
    }
    figures = {f"build.{name}": int(found) for name, found in built.items()}
    say(what="build", status_of_build=done.returncode, figures=figures)


class Counts:
    """A pytest plugin that counts how tests ended."""

    def __init__(self) -> None:
        self.passed, self.skipped, self.failed = 0, 0, list[str]()

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.skipped:
            self.skipped += 1
        elif report.when == "call":
            self.passed += 1


def tests(say: Say, sizes: Sizes) -> None:
    """The kernels' tests; warnings of this machine's packages are no failures."""
    import pytest

    counts = Counts()
    paths = [str(ROOT / path) for path in sizes.tests if (ROOT / path).exists()]
    options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings=", f"--rootdir={ROOT}"]
    code = pytest.main([*options, *paths], plugins=[counts])
    figures = {"tests.failed": len(counts.failed), "tests.passed": counts.passed}
    if code > 1:  # neither passed nor failed: pytest itself broke off
        raise RuntimeError(f"pytest ended with {code!r}")
    say(what="tests", skipped=counts.skipped, failed=counts.failed[:50], figures=figures)
