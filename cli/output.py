"""Everything a command prints: results on stdout, progress on stderr, one JSON object for --json.

Law of the file: with --json nothing else reaches stdout; without a terminal there are no frames
and no colours, so that a pipe reads plain columns.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


class Output:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool, verbosity: int, color: bool) -> None:
        self.json, self.verbosity = as_json, verbosity
        self._color = color and not os.environ.get("NO_COLOR")

    @property
    def fancy(self) -> bool:
        """A person looks at stdout and wants colours."""
        return self._color and not self.json and sys.stdout.isatty()

    def result(self, document: Any, text: str | None = None) -> None:
        """The answer of the command: `document` for machines, `text` for people."""
        if self.json:
            click.echo(json.dumps(document, ensure_ascii=False, default=_plain))
        elif text is not None:
            click.echo(text)
        else:
            click.echo(fields(document) if isinstance(document, Mapping) else str(document))

    def line(self, document: Mapping[str, Any], text: str) -> None:
        """One of many answers: NDJSON for machines, a line for people; flushed at once."""
        click.echo(json.dumps(document, ensure_ascii=False, default=_plain) if self.json else text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """What people want to know on the way; -q silences it."""
        if self.verbosity >= 0:
            click.echo(text, err=True)

    def detail(self, text: str) -> None:
        """Only with -v."""
        if self.verbosity > 0:
            click.echo(text, err=True)

    def table(
        self, document: Any, columns: Sequence[str], rows: Iterable[Sequence[object]]
    ) -> None:
        """`document` for machines, a table for people; plain columns where nobody looks."""
        cells = [[str(cell) for cell in row] for row in rows]
        if self.json:
            self.result(document)
        elif self.fancy:
            _rich_table(columns, cells)
        else:
            click.echo(columns_text(columns, cells))

    def mark(self, ok: bool | None) -> str:
        """✓, ✗ or ! (None: a warning), coloured for people."""
        sign, colour = {True: ("✓", "green"), False: ("✗", "red"), None: ("!", "yellow")}[ok]
        return click.style(sign, fg=colour) if self.fancy else sign


def printable(text: str) -> str:
    """What came from elsewhere, for a terminal: no letter of it moves the cursor or hides."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def columns_text(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, *cells)
    )


def fields(document: Mapping[str, Any], indent: str = "") -> str:
    """Names and values, one a line; nested things below their name."""
    width = max((len(name) for name in document), default=0)
    lines = []
    for name, value in document.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}", fields(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            lines.append(f"{indent}{name}")
            lines += [fields(item, indent + "  - ") for item in value]
        else:
            shown = (
                printable(value) if isinstance(value, str) else json.dumps(value, default=_plain)
            )
            lines.append(f"{indent}{name.ljust(width)}  {shown}")
    return "\n".join(lines)


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))  # Text: nothing in a cell is markup
    Console().print(table)


def _plain(value: object) -> object:
    """What JSON has no word for: bytes as hex, paths and enums as text."""
    return value.hex() if isinstance(value, bytes) else str(value)
