"""A limit on the time that models may run."""

import time

from hubfast.utils.durations import in_words


class TimeIsUp(BaseException):
    """The budget is spent; the message says so. Like Ctrl-C it is no fault of a model."""


class Budget:
    """Counts from when it is made.

    Args:
        seconds: How long models may run; None for as long as they need.
    """

    def __init__(self, seconds: float | None = None):
        self.seconds = seconds
        self._begun = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._begun

    def check(self) -> None:
        """To be called as models advance.

        Raises:
            TimeIsUp: The budget is spent.
        """
        if self.seconds is not None and self.spent > self.seconds:
            raise TimeIsUp(f"the budget of {in_words(self.seconds)} is spent")
