"""`--ray` with and without an address."""

from collections.abc import Sequence
from typing import Any

from hubfast.cli.command import Command
from hubfast.extraction.cluster.address import is_address


class RankCommand(Command):
    """A command whose option `--ray` may stand alone, and then is `--ray auto`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the arguments of the command."""
        return super().parse_args(ctx, with_address(args))


def with_address(args: Sequence[str]) -> list[str]:
    """The arguments with `auto` behind each `--ray` that no address follows."""
    found = []
    for i, argument in enumerate(args):
        found.append(argument)
        if argument == "--":
            return [*found, *args[i + 1 :]]
        if argument == "--ray" and not is_address("".join(args[i + 1 : i + 2])):
            found.append("auto")
    return found
