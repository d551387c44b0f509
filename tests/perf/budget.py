"""The budget: what each piece of work may cost, per unit, as a table that people read in a diff.

More than `TOLERANCE` above it is a failure. So is less by more than `SLACK`: what was won is lost again
unnoticed if the table does not say so. `pytest --rewrite` writes what the code now costs.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from tests.perf.counting import Counts

PATH = Path(__file__).parent / "budget.txt"
# docs/performance.md: what costs more than 3 % says why it is worth it.
TOLERANCE, SLACK = 0.03, 0.10
ROUNDING = 0.005  # of the table
PYTHON = "3.11"  # whose instructions are counted; under another one all the rest is held
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
COLUMNS = tuple(one.name for one in fields(Counts))
HEAD = f"""\
# What a unit of fixed work may cost: counted, not timed (tests/perf). {TOLERANCE:.0%} more is a failure, and
# {SLACK:.0%} less asks for a new table: pytest tests/perf --rewrite. Instructions are those of Python {PYTHON}.
"""

Table = Mapping[str, Counts]  # by "piece / unit"


def write(table: Table) -> str:
    rows = [("", *COLUMNS)]
    rows += [
        (name, *(f"{getattr(counts, one):.2f}" for one in COLUMNS))
        for name, counts in table.items()
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        row[0].ljust(widths[0])
        + "".join("  " + cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    return HEAD + "\n".join(line.rstrip() for line in lines) + "\n"


def read(text: str) -> dict[str, Counts]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    columns = lines[0].split()
    table = {}
    for line in lines[1:]:
        cells = line.rsplit(None, len(columns))
        table[cells[0]] = Counts(**dict(zip(columns, map(float, cells[1:]), strict=True)))
    return table


def differences(budget: Table, seen: Table, python: str = HERE) -> list[str]:
    """Each in words."""
    found = [
        f"{name}: in the budget or in the work, and not in both"
        for name in budget.keys() ^ seen.keys()
    ]
    for name in budget.keys() & seen.keys():
        for column in COLUMNS:
            if column == "instructions" and python != PYTHON:
                continue
            allowed, spent = getattr(budget[name], column), getattr(seen[name], column)
            if not _low(allowed) <= spent <= _high(allowed):
                share = f", {spent / allowed - 1:+.1%}" if allowed else ""
                found.append(f"{name}: {spent:.2f} {column}, the budget says {allowed:.2f}{share}")
    return sorted(found)


def _high(allowed: float) -> float:
    return allowed * (1 + TOLERANCE) + ROUNDING


def _low(allowed: float) -> float:
    return allowed * (1 - SLACK) - ROUNDING


def said(lines: Iterable[str]) -> str:
    return "\n".join(
        [
            "the same work costs otherwise than tests/perf/budget.txt says:",
            *lines,
            "wanted? pytest tests/perf --rewrite, read the difference, and say why in the commit",
        ]
    )
