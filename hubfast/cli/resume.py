"""What a command that is stopped leaves, and the command that goes on from there."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.text import Text

from hubfast.cli.stopping import Stopping, stopping
from hubfast.utils.terminal import error_console

CHECKPOINT = "checkpoint.pt"  # the file of the Trainer, in its folder or a folder in that
HEAD_START = 1.0  # seconds in which the first process says its error, before torchrun ends it
SPEAKERS = 2  # processes that say that one is gone: one of them may be that one


@contextmanager
def resumable(folder: Path) -> Iterator[Stopping]:
    """Says on Ctrl-C or SIGTERM what is kept and how to go on; exit codes as `stopping`'s.

    So it does with exit code 1 when another process of the training is gone. An error of the
    first process is said by that one only; the others end with exit code 2.

    Args:
        folder: Where the run inside writes its checkpoints.
    """
    started = time.time()
    with stopping() as told:
        try:
            yield told
        except (KeyboardInterrupt, Exception) as error:
            from hubfast.tuning.lost import ProcessLost
            from hubfast.tuning.processes import FirstProcessFailed

            told.show()
            lost = isinstance(error, ProcessLost)
            # The signal that stops this process may have ended another one before.
            if isinstance(error, KeyboardInterrupt) or (lost and told.code):
                if _rank() == 0:
                    _say(folder, started, sys.argv[1:])
                raise typer.Exit(told.code or 128 + signal.SIGINT) from None
            if isinstance(error.__cause__, FirstProcessFailed):
                time.sleep(HEAD_START)
                raise typer.Exit(2) from None
            if not lost:
                raise
            if _rank() < SPEAKERS:
                error_console().print(Text.assemble(("error:", "red"), f" {error}"))
                _say(folder, started, sys.argv[1:])
            raise typer.Exit(1) from None


def _rank() -> int:
    from torch import distributed

    there = distributed.is_available() and distributed.is_initialized()
    return distributed.get_rank() if there else int(os.environ.get("RANK", 0))


def _launcher() -> list[str]:
    """How this command was started, up to its own arguments."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ["hubfast"]
    local, nodes = (os.environ.get(f"{name}_WORLD_SIZE", "1") for name in ("LOCAL", "GROUP"))
    several = ["--nnodes", nodes, "..."] if nodes != "1" else []
    return ["torchrun", *several, "--nproc-per-node", local, "-m", "hubfast"]


def _say(folder: Path, started: float, arguments: list[str]) -> None:
    written = {path: path.stat().st_mtime for path in folder.glob(f"**/{CHECKPOINT}")}
    resumed = "--resume" in arguments
    own = {path: at for path, at in written.items() if resumed or at >= started}
    # Going on from the checkpoint of an earlier run would give the model of that run.
    resume = [] if resumed or (written and not own) else ["--resume"]
    kept = f"the last checkpoint is {max(own, key=own.__getitem__)}" if own else "no checkpoint yet"
    command = shlex.join([*_launcher(), *arguments, *resume])
    said = f"stopped; {kept}. {'To go on' if own else 'To start again'}:\n{command}"
    error_console().print(said, soft_wrap=True)  # a line of a terminal can be copied whole
