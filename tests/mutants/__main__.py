"""`./scripts/mutants`: is every rule held by something that notices when it is broken?

Exit 0 when every mutant was killed, 1 when one survives, 2 for a wrong argument or a mutant that is
no use (it does not fit the code, or fails in the normal case).
"""

import argparse
import json
import os
import sys

from tests.mutants.catalogue import MUTANTS
from tests.mutants.judge import RANGES, Broken, Verdict, confirm, judge_all
from tests.mutants.mutant import SIMULATOR, Mutant
from tests.mutants.table import PAGE, rewrite
from tests.mutants.workshop import ROOT


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    chosen = _chosen(options.only)
    verdicts: list[Verdict] = []
    if not options.json:
        _print(f"{'rule':<5} {'mutant':<62} {'seeds':>6}  caught by")
    try:
        for verdict in judge_all(chosen, max(1, options.jobs), ranges=options.ranges):
            verdicts.append(verdict)
            if not options.json:
                _print(_line(verdict))
        confirm(verdicts)
    except Broken as error:
        sys.stderr.write(f"scripts/mutants: {error}\n")
        return 2
    if options.rewrite:
        page = ROOT / PAGE
        page.write_text(rewrite(page.read_text(), verdicts, MUTANTS))
    survivors = [verdict.mutant.name for verdict in verdicts if not verdict.killed]
    total = len(verdicts)
    _print(
        json.dumps(
            {"total": total, "killed": total - len(survivors), "survivors": survivors},
            ensure_ascii=False,
        )
    )
    return 1 if survivors else 0


def _line(verdict: Verdict) -> str:
    mutant = verdict.mutant
    seeds = "–" if verdict.seeds_median is None else str(verdict.seeds_median)
    by = verdict.words if mutant.judge == SIMULATOR else mutant.judge.rpartition("/")[2]
    return f"{mutant.rule:<5} {mutant.name:<62} {seeds:>6}  {by[:90] if verdict.killed else 'SURVIVES'}"


def _chosen(only: list[str]) -> tuple[Mutant, ...]:
    known = {name for mutant in MUTANTS for name in (mutant.name, mutant.rule)}
    for name in only:
        if name not in known:
            sys.stderr.write(f"scripts/mutants: there is no mutant and no rule «{name}»\n")
            raise SystemExit(2)
    return tuple(m for m in MUTANTS if not only or m.name in only or m.rule in only)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/mutants",
        description="Plants known bugs in copies of the code and sees each one fall.",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a mutant, or all of a rule"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes"
    )
    parser.add_argument(
        "--ranges", type=int, default=RANGES, metavar="R", help="ranges of 5,000 seeds, at most"
    )
    parser.add_argument("--json", action="store_true", help="no table, only the last line")
    parser.add_argument(
        "--rewrite", action="store_true", help="write these rows of the table in docs/testing.md"
    )
    return parser.parse_args(arguments)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
