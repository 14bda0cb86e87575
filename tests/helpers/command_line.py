"""The `hubfast` command in this process."""

import io
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from hubfast import cli


@contextmanager
def odd_place(folders):
    """A fresh folder to be in, with a cache of its own, and the patch that ends with it."""
    with pytest.MonkeyPatch.context() as patch:
        place = folders.mktemp("odd")
        patch.chdir(place)
        patch.setenv("HUBFAST_CACHE", str(place / "cache"))
        yield place, patch


def run(arguments: list[str]) -> tuple[int, str]:
    """The exit code of a command line, and all that it says."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setattr(sys, "argv", ["hubfast", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
    return stopped.value.code or 0, said.getvalue()
