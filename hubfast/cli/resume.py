"""What a command that is stopped leaves, and the command that goes on from there."""

import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from hubfast.cli.stopping import Stopping, stopping
from hubfast.utils.terminal import error_console

CHECKPOINT = "checkpoint.pt"  # the file of the Trainer, in its folder or a folder in that


@contextmanager
def resumable(folder: Path) -> Iterator[Stopping]:
    """Says on Ctrl-C or SIGTERM what is kept and how to go on; exit codes as `stopping`'s.

    Args:
        folder: Where the run inside writes its checkpoints.
    """
    started = time.time()
    with stopping() as told:
        try:
            yield told
        except KeyboardInterrupt:
            from hubfast.tuning.distributed import is_first_process

            if is_first_process():
                _say(folder, started, sys.argv[1:])
            raise typer.Exit(told.code or 128 + signal.SIGINT) from None


def _say(folder: Path, started: float, arguments: list[str]) -> None:
    written = {path: path.stat().st_mtime for path in folder.glob(f"**/{CHECKPOINT}")}
    resumed = "--resume" in arguments
    own = {path: at for path, at in written.items() if resumed or at >= started}
    # Going on from the checkpoint of an earlier run would give the model of that run.
    resume = [] if resumed or (written and not own) else ["--resume"]
    kept = f"the last checkpoint is {max(own, key=own.__getitem__)}" if own else "no checkpoint yet"
    command = shlex.join(["hubfast", *arguments, *resume])
    said = f"stopped; {kept}. {'To go on' if own else 'To start again'}:\n{command}"
    error_console().print(said, soft_wrap=True)  # a line of a terminal can be copied whole
