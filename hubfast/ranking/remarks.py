"""What libraries said while models ran, each thing once, with the models that it is about."""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

LONGEST = 300  # characters of a remark
MOST = 20  # number of remarks; more are counted
NAMED = 3  # models named with one; more are counted


class Remarks:
    """Collects remarks; those that differ only in their numbers are one."""

    def __init__(self) -> None:
        self._model: str | None = None
        self._texts: dict[str, str] = {}  # the first of each kind, by kind
        self._models: dict[str, list[str | None]] = {}  # None: outside any model

    @contextmanager
    def about(self, model: str) -> Iterator[None]:
        """While it is open, what is added is about this model."""
        self._model = model
        try:
            yield
        finally:
            self._model = None

    def add(self, text: str) -> None:
        """Adds a remark; its line breaks become spaces."""
        line = " ".join(text.split())
        kind = re.sub(r"\d+", "#", line)
        self._texts.setdefault(kind, line)
        models = self._models.setdefault(kind, [])
        if self._model not in models:
            models.append(self._model)

    def lines(self, models: Sequence[str], known: Collection[str] = ()) -> tuple[str, ...]:
        """Gives every remark as a line.

        Args:
            models: Names of all that ran; a remark on each of several is said without them.
            known: Remarks that are said elsewhere.
        """
        kinds = [kind for kind, text in self._texts.items() if text not in known]
        told = [self._line(kind, models) for kind in kinds[:MOST]]
        more = len(kinds) - MOST
        return (*told, *([f"{more} more kinds of warnings"] if more > 0 else ()))

    def _line(self, kind: str, models: Sequence[str]) -> str:
        text, about = self._texts[kind], self._models[kind]
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}\N{HORIZONTAL ELLIPSIS}"
        names = [name for name in about if name is not None]
        if len(names) < len(about) or len(names) == len(models) > 1:
            return f"warning: {text}"
        listed = ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)
        return f"warning from {listed}: {text}"
