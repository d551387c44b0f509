"""The stage table of `salus bench --profile`: what a transaction costs a node, and what it must."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.bench.profiled_validator import STAGES_FILE
from cli.bench.stages import NAMES
from cli.home import TestnetNode


@dataclass(frozen=True, slots=True)
class Stage:
    """Microseconds of one core for a transaction at one node; `limit_us`: of the bare primitive, None
    where there is none."""

    stage: str
    us_per_tx: float
    share: float
    limit_us: float | None


def spent(nodes: Sequence[TestnetNode]) -> dict[str, float]:
    """Seconds so far, of all nodes together."""
    total = dict.fromkeys(NAMES, 0.0)
    for node in nodes:
        try:
            said = json.loads((Path(node.home) / STAGES_FILE).read_text())
        except FileNotFoundError:
            continue  # half a second after its start
        for name in NAMES:
            total[name] += said[name]
    return total


def table(
    before: dict[str, float],
    after: dict[str, float],
    transactions: int,
    validators: int,
    limits: dict[str, float],
) -> list[Stage]:
    """In the order of a transaction's way."""
    seconds = {name: after[name] - before[name] for name in NAMES}
    whole = sum(seconds.values()) or 1.0
    each = 1e6 / max(1, transactions * validators)
    return [
        Stage(
            name,
            round(seconds[name] * each, 1),
            round(seconds[name] / whole, 3),
            None if name not in limits else round(limits[name], 2),
        )
        for name in NAMES
    ]


def text(stages: Sequence[Stage]) -> str:
    """For people."""
    lines = ["STAGE            µs PER TX AND NODE   SHARE   LIMIT µs"]
    for one in stages:
        limit = "" if one.limit_us is None else f"{one.limit_us:9.2f}"
        lines.append(f"{one.stage:<16} {one.us_per_tx:18.1f}  {one.share:6.1%}  {limit}")
    total = sum(one.us_per_tx for one in stages)
    bare = sum(one.limit_us or 0 for one in stages)
    return "\n".join([*lines, f"{'all':<16} {total:18.1f}  {'':>6}  {bare:9.2f}"])
