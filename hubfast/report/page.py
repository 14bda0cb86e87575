"""One HTML page of sections that loads nothing: style, script and drawings are inside."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hubfast.utils.files import replacing

ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading.

    Args:
        title: Text of the heading and of the entry in the contents.
        body: HTML in which everything untrusted is escaped, as `render` returns it. Scripts in it
            do not run; a table with the attribute `data-sortable` can be sorted by its
            `th[data-sort]` columns.
        id: Unique in the page: `lower-case-words`.

    Raises:
        TypeError: The body is not Markup, so perhaps not escaped.
        ValueError: The title is empty, or the id malformed.
    """

    title: str
    body: Markup
    id: str

    def __post_init__(self) -> None:
        if not isinstance(self.body, Markup):
            raise TypeError(f"body must be Markup (escaped HTML), got {type(self.body).__name__}")
        if not self.title.strip():
            raise ValueError("title must not be empty")
        if not ID.fullmatch(self.id):
            raise ValueError(f"id must be lower-case words joined by hyphens, got {self.id!r}")


def write_page(
    path: str | Path, title: str, sections: Sequence[Section], subtitle: str = ""
) -> None:
    """Writes the page to `path`, whole or not at all. The same content gives the same bytes.

    Args:
        path: The HTML file, replaced if there is one.
        title: Title of the page, as plain text.
        sections: The sections in reading order, at least one.
        subtitle: A line under the title, as plain text.

    Raises:
        TypeError, ValueError: There is no title or no section, something is no section, or two
            sections have the same id.
        OSError: The file cannot be written.
    """
    if not title.strip():
        raise ValueError("title must not be empty")
    for section in sections:
        if not isinstance(section, Section):
            raise TypeError(f"sections must hold Section, got {type(section).__name__}")
    ids = [section.id for section in sections]
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(f"sections must be at least one, with unique ids, got {ids}")
    script = Markup(files(__package__).joinpath("page.js").read_text(encoding="utf-8"))
    page = render(
        "page.html",
        title=title,
        subtitle=subtitle,
        sections=sections,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    with replacing(path) as partial:
        # File names that are not UTF-8 reach here as lone surrogates, which UTF-8 has no bytes for.
        partial.write_bytes(page.encode("utf-8", "replace"))


def render(template: str, **values: Any) -> Markup:
    """Fills a template of this package with `values`, which are escaped unless Markup."""
    environment = Environment(
        loader=PackageLoader("hubfast.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["percent"] = _percent
    return Markup(environment.get_template(template).render(values))


def _breakable(name: str) -> Markup:
    """A long name that may go on in the next line after its separators."""
    return Markup("<wbr>").join(re.findall(r"[^./_@:-]+[./_@:-]*|[./_@:-]+", name))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"
