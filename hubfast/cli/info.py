"""`hubfast info`."""

from rich.table import Table

from hubfast.utils.terminal import output_console


def info() -> None:
    """Show versions, and which backends are active and why."""
    from hubfast.info import info as collect

    table = Table(show_header=False, box=None)
    for label, text in collect().items():
        table.add_row(label, text)
    output_console().print(table)
