"""In which line of node.toml a key stands; tomllib gives values without places.

A reader for error messages only: on a file that it misreads it names no line or a near one,
never a wrong value.
"""

import re

_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.-]+)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")
_POSITION = re.compile(r"\(at line (\d+), column \d+\)")


def key_lines(text: str) -> dict[str, int]:
    """«p2p», «p2p.listen» → line, from 1. The first place counts."""
    lines: dict[str, int] = {}
    table = ""
    inside = ""  # the quotes of a text over several lines
    for number, line in enumerate(text.split("\n"), 1):
        if inside:
            inside = "" if inside in line else inside
            continue
        if header := _HEADER.match(line):
            table = header[1]
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            name = re.sub(r"\s", "", key[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
            for quotes in ('"""', "'''"):
                if line.count(quotes) % 2:
                    inside = quotes
    return lines


def error_line(text: str, message: str) -> int:
    """The line of a syntax error, from tomllib's message; «end of document» is the last."""
    found = _POSITION.search(message)
    return int(found[1]) if found else len(text.rstrip("\n").split("\n"))


def element_line(text: str, key_line: int, element: str) -> int:
    """The line of an entry of a list that begins in `key_line`."""
    for number, line in enumerate(text.split("\n")[key_line - 1 :], key_line):
        if element in line:
            return number
    return key_line
