"""The progress of long work: a bar on a terminal, plain lines elsewhere, both on stderr."""

import logging
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from threading import Event, Thread
from typing import Any

from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hubfast.utils.terminal import error_console

EVERY = 5.0  # seconds from one plain line to the next


class Bars(Progress):
    """The progress of tasks.

    A task that knows better than its count how long it takes has a field `left`, a callable that
    gives the seconds left or None, and a field `at_most` where it may well take less.
    """

    def show(self, content: RenderableType) -> None:
        """Shows this above the bars of a terminal, in place of what the tasks are called."""

    def say(self, line: str) -> None:
        """Writes a line where there is no terminal."""


def progress_bar(shown: bool) -> Bars:
    """What is being done, how much of it, and the time left.

    On a terminal that is a bar, gone when the work is done. Elsewhere it is a plain line when a
    task begins, every five seconds while it lasts, and at the end. Standard output is left alone.
    """
    console = error_console()
    bar = console.is_jupyter or (console.file.isatty() and not console.is_dumb_terminal)
    kind = _Bar if bar else _PlainLines
    return kind(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _TimeLeftColumn(),
        console=console,
        disable=not shown,
        transient=True,
    )


class _TimeLeftColumn(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        if "left" not in task.fields:
            return super().render(task)
        left = task.fields["left"]()
        if left is None:
            return Text("-:--:--", style="progress.remaining")
        bound = "at most " if task.fields.get("at_most") else ""
        return Text(f"{bound}{timedelta(seconds=round(left))}", style="progress.remaining")


class _Bar(Bars):
    """A bar that log lines do not tear: handlers that hold the terminal write above it, too."""

    _above: RenderableType | None = None

    def __init__(self, *columns: ProgressColumn, **options: Any):
        super().__init__(*columns, **options)
        self._moved: list[tuple[logging.StreamHandler, Any]] = []

    def show(self, content: RenderableType) -> None:
        if not self.console.is_jupyter:
            self._above = content
            self.columns = (BarColumn(), TaskProgressColumn(), _TimeLeftColumn())

    def get_renderables(self) -> Iterable[RenderableType]:
        if self._above is not None:
            yield self._above
        yield self.make_tasks_table(self.tasks)

    def start(self) -> None:
        screens = (sys.stdout, sys.stderr)
        super().start()
        if sys.stderr is screens[1]:  # disabled, or inside another bar: nothing is redirected
            return
        for handler in _stream_handlers():
            if handler.stream in screens:
                self._moved.append((handler, handler.setStream(sys.stderr)))

    def stop(self) -> None:
        for handler, stream in self._moved:
            handler.setStream(stream)
        self._moved.clear()
        super().stop()


def _stream_handlers() -> Iterator[logging.StreamHandler]:
    """Those of all loggers."""
    known = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in known:
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler):
                yield handler


class _PlainLines(Bars):
    """The same as lines of text, for log files and pipes."""

    def __init__(self, *columns: ProgressColumn, **options: Any):
        super().__init__(*columns, **options)
        self._said: dict[TaskID, str] = {}  # the last line of each task
        self._done = Event()
        self._clock: Thread | None = None

    def start(self) -> None:
        if not self.disable and self._clock is None:
            self._clock = Thread(target=self._repeat, name="progress", daemon=True)
            self._clock.start()

    def stop(self) -> None:
        if self._clock is not None and not self._done.is_set():
            self._done.set()
            self._clock.join()
            self._say(new=True)

    def add_task(self, description: str, *args: Any, **options: Any) -> TaskID:
        task = super().add_task(description, *args, **options)
        self._announce(task)
        return task

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._announce(task_id)

    def say(self, line: str) -> None:
        if not self.disable:
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _announce(self, task: TaskID) -> None:
        """The first line of a task, as soon as it has a description."""
        if task not in self._said and not self.disable:
            self._say(task)

    def _repeat(self) -> None:
        while not self._done.wait(EVERY):
            self._say()

    def _say(self, only: TaskID | None = None, *, new: bool = False) -> None:
        """A line for every task, or for one; with `new` only where it says something new."""
        for task in self.tasks:
            line = _line(task)
            if (
                task.description
                and only in (None, task.id)
                and not (new and self._said.get(task.id) == line)
            ):
                self._said[task.id] = line
                self.say(line)


def _line(task: Task) -> str:
    elapsed = f"{task.elapsed or 0.0:.0f} s"
    if task.total is None:
        return f"{task.description}, {elapsed}"
    left = task.fields["left"]() if "left" in task.fields else task.time_remaining
    bound = "at most " if task.fields.get("at_most") else ""
    rest = "" if task.finished or not left else f", {bound}{left:.0f} s left"
    share = f" ({task.percentage:.0f} %)"
    return f"{task.description} {task.completed:g}/{task.total:g}{share}, {elapsed}{rest}"
