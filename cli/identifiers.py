"""A person's identifiers as a command is given them: SYSTEM|VALUE, from the line, a file, stdin or a prompt.

They go to the hospital's own node and stay nowhere; no message of ours repeats one.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import CliError
from salus.desk_asks import IDENTIFIERS_MAX, Typed
from salus.identity_tag import SYSTEM_CHARS_MAX, VALUE_CHARS_MAX, normalise

F = TypeVar("F", bound=Callable[..., Any])

LINE_CHARS_MAX = SYSTEM_CHARS_MAX + 1 + VALUE_CHARS_MAX
FILE_CHARS_MAX = IDENTIFIERS_MAX * (LINE_CHARS_MAX + 2)


def identified(function: F) -> F:
    """--identifier and --identifier-file, as `texts` and `listed`; `given` reads them."""
    function = click.option(
        "--identifier",
        "texts",
        multiple=True,
        metavar="SYSTEM|VALUE",
        help="A number of the person, with the URI of who gave it; «-» asks for it, or reads stdin. "
        "Repeatable.",
    )(function)
    return click.option(
        "--identifier-file",
        "listed",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The same, one a line, where no list of processes and no history shows it.",
    )(function)


def given(texts: tuple[str, ...], listed: Path | None) -> tuple[Typed, ...]:
    """Checked for their form. Raises `CliError` (USAGE), `BadMessage` (BAD_IDENTIFIER)."""
    lines: list[str] = []
    for text in texts:
        lines += _asked() if text == "-" else [text]
    if listed is not None:
        with listed.open(encoding="utf-8", errors="surrogateescape") as stream:
            lines += _lines(stream.read(FILE_CHARS_MAX + 1))
    if len(lines) > IDENTIFIERS_MAX:
        raise CliError("USAGE", f"at most {IDENTIFIERS_MAX} identifiers at once")
    return tuple(_typed(line) for line in lines)


def _typed(line: str) -> Typed:
    system, bar, value = line.partition("|")
    if not bar:
        raise CliError("USAGE", "an identifier is written SYSTEM|VALUE, as in FHIR")
    normalise(system, value)  # the node does it again; here it is refused before anything is made
    return Typed(system, value)


def _asked() -> list[str]:
    if os.isatty(sys.stdin.fileno()):
        return [click.prompt("SYSTEM|VALUE", hide_input=True, err=True)]
    return _lines(sys.stdin.read(FILE_CHARS_MAX + 1))


def _lines(text: str) -> list[str]:
    if len(text) > FILE_CHARS_MAX:
        raise CliError("USAGE", f"at most {IDENTIFIERS_MAX} identifiers at once, one a line")
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise CliError("USAGE", "no identifier was given")
    return found
