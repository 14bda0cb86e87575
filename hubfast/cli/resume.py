"""What a command that is stopped leaves, and the command that goes on from there."""

import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer
from rich.console import Console

CHECKPOINT = "checkpoint.pt"  # of the Trainer, in its folder or a folder in that


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """On Ctrl-C or SIGTERM: says what is kept and how to go on, and exits with code 130.

    Args:
        folder: Where the run inside writes its checkpoints.
    """
    started = time.time()
    main = threading.current_thread() is threading.main_thread()  # others get no signals
    before = signal.signal(signal.SIGTERM, _stop) if main else None
    try:
        yield
    except KeyboardInterrupt:
        from hubfast.tuning.distributed import is_first_process

        if is_first_process():
            _say(folder, started, sys.argv[1:])
        raise typer.Exit(130) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(folder: Path, started: float, arguments: list[str]) -> None:
    written = {path: path.stat().st_mtime for path in folder.glob(f"**/{CHECKPOINT}")}
    resumed = "--resume" in arguments
    own = {path: at for path, at in written.items() if resumed or at >= started}
    # Going on from the checkpoint of an earlier run would give the model of that run.
    resume = [] if resumed or (written and not own) else ["--resume"]
    kept = f"the last checkpoint is {max(own, key=own.__getitem__)}" if own else "no checkpoint yet"
    command = shlex.join(["hubfast", *arguments, *resume])
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    console.print(f"stopped; {kept}. {'To go on' if own else 'To start again'}:\n{command}")
