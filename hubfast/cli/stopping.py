"""What a command does when it is told to stop while it has something to show."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from hubfast.utils.terminal import error_console

GRACE = 1.0  # seconds in which the same signal twice counts once
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Whether the command was told to stop, and by which signal."""

    def __init__(self) -> None:
        self.code = 0  # exit code: 130 after Ctrl-C, 143 after SIGTERM
        self._since = 0.0
        self._process = os.getpid()
        self._showing = False

    def show(self) -> None:
        """From now on signals no longer stop the command: it shows what it has, then ends."""
        self._showing = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raises KeyboardInterrupt, but not for a second signal right behind the first."""
        if os.getpid() != self._process:  # this is a worker that was forked from here
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        first, now = not self.code, time.monotonic()
        if first:
            self.code, self._since = 128 + number, now
        if self._showing or not (first or now - self._since > GRACE):
            return
        raise KeyboardInterrupt


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM inside ends a command as Ctrl-C does, what it has begun cleaned up; exit code 143."""
    told = Stopping()
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, told.handle) if main else None
    try:
        yield
    except SystemExit:
        if told.code:
            raise SystemExit(told.code) from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Raises KeyboardInterrupt inside at Ctrl-C and SIGTERM; the exit code says which it was.

    What the block does after `show` is done to its end.
    """
    told = Stopping()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, told.handle) for number in SIGNALS if main}
    try:
        yield told
    except KeyboardInterrupt:
        error_console().print("stopped before there was anything to show")
        raise typer.Exit(told.code or 128 + signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if told.code:
        raise typer.Exit(told.code)
