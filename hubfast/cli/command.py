"""A command whose error about a value says what was given."""

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from hubfast.utils.names import brief


class Command(TyperCommand):
    """A command whose parser's errors end with the value that it could not take."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments of the command."""
        given = list(args)  # the parser consumes them
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = self._with_value(ctx, error, given)
            raise

    def _with_value(self, ctx: Any, error: typer.BadParameter, args: Sequence[str]) -> str:
        if error.param is None or not error.message:  # a parameter that is missing
            return error.message
        values, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        value = values.get(error.param.name)
        shown = brief(value)
        if value is None or shown in error.message:
            return error.message
        return f"{error.message.rstrip('.')}, got {shown}"
