"""The table of docs/testing.md: rule, mutant, judge, and how many seeds it survived."""

from collections.abc import Iterable
from pathlib import Path

from tests.mutants.judge import Verdict
from tests.mutants.mutant import SIMULATOR, Mutant

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
    why = f": {mutant.why}" if mutant.why else ""
    return f"| {mutant.rule} | {mutant.name} | `{Path(file).name}::{test}`{why} | {said} |"


def rows(page: str) -> list[str]:
    """Those of the page, without the head."""
    lines = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    return lines[2:]


def rewrite(page: str, verdicts: Iterable[Verdict], known: Iterable[Mutant]) -> str:
    """The page with these verdicts; of the other `known` bugs the rows stay as they are."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the markers {BEGIN} and {END}")
    found = {name_of(line): line for line in rows(page)}
    found |= {verdict.mutant.name: row(verdict) for verdict in verdicts}
    lines = [HEAD, "| --- | --- | --- | --- |"]
    lines += [found[mutant.name] for mutant in known if mutant.name in found]
    return before + begin + "\n" + "\n".join(lines) + "\n" + end + after


def name_of(line: str) -> str:
    return line.split("|")[2].strip()
