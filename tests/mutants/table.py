"""The table of docs/testing.md: rule, mutant, judge, and how many seeds it survived."""

from collections.abc import Iterable
from pathlib import Path

from tests.mutants.judge import Verdict
from tests.mutants.mutant import SIMULATOR

PAGE = Path("docs/testing.md")
BEGIN = "<!-- begin: mutants (./scripts/mutants --rewrite) -->"
END = "<!-- end: mutants -->"
HEAD = "| rule | mutant | judge | seeds until death |"


def row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    if mutant.judge == SIMULATOR:
        seeds = str(verdict.seeds_median) if verdict.killed else "**survives**"
        return f"| {mutant.rule} | {mutant.name} | simulator | {seeds} |"
    file, _, test = mutant.judge.partition("::")
    said = "–" if verdict.killed else "**survives**"
    return f"| {mutant.rule} | {mutant.name} | `{Path(file).name}::{test}` | {said} |"


def rows(page: str) -> list[str]:
    """Those of the page, without the head."""
    lines = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    return lines[2:]


def rewrite(page: str, verdicts: Iterable[Verdict]) -> str:
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the markers {BEGIN} and {END}")
    lines = [HEAD, "| --- | --- | --- | --- |", *map(row, verdicts)]
    return before + begin + "\n" + "\n".join(lines) + "\n" + end + after
