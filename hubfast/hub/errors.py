"""Errors on one line of a table: the line that says why."""

import re
import traceback

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # colours and bold type
NAMED = re.compile(r"^[\w.]*(Error|Exception|Warning|Interrupt): \S")  # the end of a traceback
REASON = re.compile(r"\b[Ee]rror: \S")
# First lines that only announce what follows.
ANNOUNCES = re.compile(r":$|^Exception encountered when calling|^The following operation failed")


def one_line(error: BaseException) -> str:
    """`Type: message` on one line.

    Of a message of several lines it is the one that says why: behind a traceback its last line,
    behind an announcement such as "Error(s) in loading state_dict:" what it announces. A failed
    assertion without a message is shown as it is written.
    """
    text = ANSI.sub("", _said(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = type(error).__name__
    if not lines and isinstance(error, AssertionError | NotImplementedError):
        return f"{kind}{_place(error)}"
    return f"{kind}: {_reason(lines)}" if lines else kind


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # its own code fails
        return "(it has no message)"


def _reason(lines: list[str]) -> str:
    if any("Traceback" in line for line in lines):
        return next((line for line in reversed(lines) if NAMED.search(line)), lines[-1])
    if len(lines) > 1 and ANNOUNCES.search(lines[0]):
        more = f" (and {len(lines) - 2} more lines)" if len(lines) > 2 else ""
        return f"{lines[0]} {lines[1]}{more}"
    return next((line for line in lines[1:] if REASON.search(line)), lines[0])


def _place(error: BaseException) -> str:
    """The line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    last = frames[-1]
    return f" in {last.filename.rpartition('/')[2]}, line {last.lineno}: {last.line}"
