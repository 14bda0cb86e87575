"""What a command says when it fails: one line and an exit code, the traceback on demand."""

import dis
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.text import Text

from hubfast.cli.output import with_options
from hubfast.utils.terminal import error_console

DEBUG = "--debug"
FAILED = 1  # exit code: what was asked for is right, and could not be done
REFUSED = 2  # exit code: an argument or a file is not what it must be
FAULT = 70  # exit code: the fault is hubfast's own, EX_SOFTWARE of sysexits.h
RAISES = {dis.opmap["RAISE_VARARGS"], dis.opmap["RERAISE"]}


def without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, which may stand anywhere before a `--`, and if it did."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != DEBUG]
    return [*kept, *arguments[end:]], len(kept) < end


@contextmanager
def told(debug: bool) -> Iterator[None]:
    """Turns an error into a line on standard error, and ends the process.

    Input that is refused has exit code 2, a run that failed 1, and a fault of hubfast 70. Ctrl-C
    and exits pass.

    Args:
        debug: Whether the traceback is shown, too.
    """
    try:
        yield
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        line, code = _line(error)
        error_console().print(Text.assemble(("error:", "red"), f" {with_options(line)}"))
        sys.exit(code)


def _line(error: Exception) -> tuple[str, int]:
    """What is said of an error, and the exit code."""
    kind, said = type(error).__name__, " ".join(str(error).split())
    match error:
        case OSError() | ModuleNotFoundError():
            return said or kind, REFUSED
        case ValueError() | TypeError() if _meant(error):
            return said or kind, REFUSED
        case FloatingPointError():  # training diverged
            return said or kind, FAILED
        case MemoryError():
            return f"memory ran out: {said or kind}", FAILED
    if kind == "OutOfMemoryError":  # torch's, which is not imported here
        return f"memory ran out: {said}", FAILED
    where = f"{kind}: {said}" if said else kind
    return f"this is a fault of hubfast, run again with {DEBUG} for the traceback: {where}", FAULT


def _meant(error: Exception) -> bool:
    """Whether the error was raised by a statement, and not by an operation that hubfast tried.

    What a library raises counts as meant: it says what is wrong with its argument.
    """
    found = error.__traceback__
    if found is None:
        return True
    while found.tb_next is not None:
        found = found.tb_next
    if not found.tb_frame.f_globals.get("__name__", "").startswith("hubfast."):
        return True
    return found.tb_frame.f_code.co_code[found.tb_lasti] in RAISES
