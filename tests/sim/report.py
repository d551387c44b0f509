"""What a batch of runs has reached, for people; and the numbers of its last line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.sim.cluster import COUNTED, Result
from tests.sim.rules import ELSEWHERE, RULES

# Of a batch of 20,000 runs each rule's branch is to be reached 100 times (consensus.md, «Numbers»).
REACHED_SHARE_MIN = 100 / 20_000
SHARES_MIN = {"≥ 2 view changes": 0.30, "crash inside a persist": 0.20}


@dataclass(slots=True)
class Summary:
    runs: int = 0
    events: int = 0
    heights: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    covered: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)
    recovery: list[float] = field(default_factory=list)
    seconds: float = 0.0
    signatures_per_s: int | None = None  # of all jobs together, just before; None in a small batch

    def add(self, result: Result) -> None:
        self.runs += 1
        self.events += result.events
        self.heights += result.heights
        self.covered.update(result.covered)
        self.rejections.update(result.rejections)
        self.recovery.append(result.recovery)
        if result.failure is not None:
            self.failures.append((result.seed, result.failure))

    def numbers(self) -> dict[str, Any]:
        """The last line of `--json`. `coverage`: in how many runs each branch, fault and lie was.

        `too_few` names what the batch did not reach often enough; of a batch of a few runs it says
        little."""
        return {
            "runs": self.runs,
            "failed": len(self.failures),
            "counted": self.covered[COUNTED],
            "events": self.events,
            "seconds": round(self.seconds, 2),
            "signatures_per_s": self.signatures_per_s,
            "coverage": dict(sorted(self.covered.items())),
            "too_few": list(self.too_few()),
        }

    def too_few(self) -> Iterator[str]:
        runs = max(1, self.runs)
        least = SHARES_MIN | {
            what: REACHED_SHARE_MIN for what in self.covered if _rule(what) is not None
        }
        yield from (what for what, share in least.items() if self.covered[what] / runs < share)
        reached = {_rule(what) for what in self.covered}
        yield from (rule for rule in RULES if rule not in ELSEWHERE and rule not in reached)


def report(summary: Summary) -> Iterator[str]:
    """In shares of the runs; a run counts for a branch once, however often it was there."""
    runs = max(1, summary.runs)
    recovery = sorted(summary.recovery)
    yield (
        f"{summary.runs} runs, {len(summary.failures)} failed; {summary.covered[COUNTED]} count "
        f"({COUNTED}); {summary.events} events, {summary.events // runs} a run; "
        f"{summary.heights // runs} heights a run; "
        f"{summary.runs / max(summary.seconds, 1e-9):,.1f} runs/s"
    )
    if summary.signatures_per_s is not None:
        spent = summary.seconds * summary.signatures_per_s / runs
        yield (
            f"{summary.signatures_per_s:,} signatures/s verified by all jobs just before: "
            f"a run takes as long as {spent:,.0f} of them"
        )
    if recovery:
        yield (
            f"recovery after the heal, in shares of its bound: median "
            f"{recovery[len(recovery) // 2]:.3f}, slowest {recovery[-1]:.3f}"
        )
    for what, least in SHARES_MIN.items():
        share = summary.covered[what] / runs
        yield f"{what}: {share:.1%} of the runs, {least:.0%} wanted{_missed(share < least)}"
    yield from _rules(summary, runs)
    yield "faults and lies, in so many runs:"
    others = {what: n for what, n in summary.covered.items() if _rule(what) is None}
    for what, count in sorted(others.items(), key=lambda item: (-item[1], item[0])):
        yield f"  {count:7} {count / runs:6.1%}  {what}"
    if summary.rejections:
        yield "refused from liars, so often:"
        for what, count in sorted(summary.rejections.items(), key=lambda item: (-item[1], item[0])):
            yield f"  {count:7}         {what}"


def _rules(summary: Summary, runs: int) -> Iterator[str]:
    yield "branches of the rules, in so many runs:"
    for rule in RULES:
        branches = {what: n for what, n in summary.covered.items() if _rule(what) == rule}
        if rule in ELSEWHERE:
            yield f"          –      {rule} {ELSEWHERE[rule]}"
        elif not branches:
            yield f"        0        {rule} not reached{_missed(True)}"
        for what, count in sorted(branches.items(), key=lambda item: (-item[1], item[0])):
            yield (
                f"  {count:7} {count / runs:6.1%}  {what}"
                f"{_missed(count / runs < REACHED_SHARE_MIN)}"
            )


def _rule(what: str) -> str | None:
    word = what.split(" ", 1)[0]
    return word if word in RULES else None


def _missed(missed: bool) -> str:
    return "  ← too few" if missed else ""
