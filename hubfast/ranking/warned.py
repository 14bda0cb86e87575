"""Hears the warnings of libraries instead of having them written across a progress bar."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.file_proxy import FileProxy

# Their loggers write to the terminal by handlers of their own, or by logging's last resort.
LIBRARIES = (
    *("absl", "datasets", "huggingface_hub", "keras", "onnx", "onnxscript", "PIL", "sklearn"),
    *("tensorflow", "timm", "torch", "torchvision", "transformers"),
)
PIPE_LINE = 2000  # bytes: a pipe takes lines of up to 4096 whole


class Hearing:
    """While it is open, `hear` gets the text of every warning, and of library log records.

    Nothing is heard that the filters of `warnings` and the levels of loggers suppress; those, and
    handlers that the user gave to `logging`, are left as they are. Threads that were there before
    go on as before. Forked processes, such as those of a DataLoader, send theirs by a pipe, which
    `collect` reads.
    """

    def __init__(self, hear: Callable[[str], None]):
        self._hear = hear
        self._open = False
        self._process = os.getpid()
        self._others = {*threading.enumerate()} - {threading.current_thread()}
        self._previous: Any = None
        self._handlers: list[logging.Handler] = []
        self._pipe: tuple[int, int] | None = None

    def start(self) -> None:
        """Begins to listen."""
        self._open = True
        self._previous = warnings.showwarning
        warnings.showwarning = self.showwarning
        if hasattr(os, "fork"):
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, False)
        self.listen()

    def listen(self) -> None:
        """Hears loggers of libraries that were imported meanwhile, and repeated warnings again."""
        with warnings.catch_warnings():  # forgets which were shown, as this always does
            pass
        loggers = [logging.getLogger(name) for name in LIBRARIES if name in _loggers()]
        for handler in (logging.lastResort, *(h for logger in loggers for h in logger.handlers)):
            if isinstance(handler, logging.StreamHandler) and _on_screen(handler.stream):
                handler.addFilter(self.filter)  # once, however often it is added
                self._handlers.append(handler)

    def collect(self) -> None:
        """Hears what forked processes have sent."""
        if self._pipe is None:
            return
        sent = b""
        while part := _read(self._pipe[0]):
            sent += part
        for line in sent.decode("utf-8", "replace").splitlines():
            self._hear(line)

    def stop(self) -> None:
        """Stops listening, and restores what was there, unless others have replaced it since."""
        self.collect()
        self._open = False
        for handler in self._handlers:
            handler.removeFilter(self.filter)
        if warnings.showwarning == self.showwarning:
            warnings.showwarning = self._still_open()
        for end in self._pipe or ():
            os.close(end)
        self._pipe = None

    def showwarning(
        self, message: Any, category: Any, filename: str, lineno: int, *rest: Any, **named: Any
    ) -> None:
        """Stands for `warnings.showwarning`."""
        if not self._take(str(message)):
            self._previous(message, category, filename, lineno, *rest, **named)

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets through, as the filter of a handler, what is not heard here."""
        return record.levelno < logging.WARNING or not self._take(record.getMessage())

    def _take(self, text: str) -> bool:
        if not self._open or threading.current_thread() in self._others:
            return False
        if os.getpid() == self._process:
            self._hear(text)
            return True
        line = " ".join(text.split()).encode("utf-8", "replace")[:PIPE_LINE] + b"\n"
        try:
            return self._pipe is not None and os.write(self._pipe[1], line) == len(line)
        except OSError:  # the pipe is full or closed
            return False

    def _still_open(self) -> Any:
        """Gives what was there before, unless it is a Hearing that has ended meanwhile."""
        found = self._previous
        while isinstance(owner := getattr(found, "__self__", None), Hearing) and not owner._open:
            found = owner._previous
        return found


@contextmanager
def hearing(hear: Callable[[str], None]) -> Iterator[Hearing]:
    """Gives a Hearing for as long as it is open."""
    heard = Hearing(hear)
    heard.start()
    try:
        yield heard
    finally:
        heard.stop()


def _loggers() -> dict[str, Any]:
    return logging.root.manager.loggerDict


def _on_screen(stream: Any) -> bool:
    screens = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return stream in screens or isinstance(stream, FileProxy)  # rich's, while it shows a bar


def _read(end: int) -> bytes:
    try:
        return os.read(end, 1 << 16)
    except BlockingIOError:  # the pipe holds nothing
        return b""
