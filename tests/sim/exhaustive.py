"""All scenarios of twins for n = 4, f = 1: every way to split five nodes in two, in every round.

After Bano et al., "Twins: BFT Systems Made Robust" (2020). Node 0 runs twice with one key; in each
round, which everybody begins by leaving its view, the network is split in one of 16 ways (`SPLITS`);
delivery is first come, first served. After the last round the network heals. Safety is asked all
the time, liveness after the heal.

Scenarios that begin alike share their beginning: a world is copied before each split. With `prune`
two worlds of one outline are looked at once, and the scenarios that are left out are counted.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, fields
from itertools import combinations
from multiprocessing import get_context

from tests.sim.twins_world import NODES, PARAMETERS, World, copied, outline

# The side of node 0: it alone, or with any of the other four. That is each way to put five nodes
# on two sides, "all together" among them: half of 2^5.
SPLITS = tuple(
    frozenset((0, *others))
    for size in range(NODES)
    for others in combinations(range(1, NODES), size)
)
UNPRUNED_ROUNDS_MAX = 5  # 16^5 is about a million; more rounds are pruned
SHARED_ROUNDS = 2  # each beginning of so many rounds is a job
FAILURES_KEPT_MAX = 5

# After the heal: f + 2 views with timers fully grown, twice as long for the ticks in between.
_VIEW_TICKS = (PARAMETERS.progress_timeout_ms + PARAMETERS.view_change_timeout_ms) // 100
RECOVERY_TICKS_MAX = 2 * 3 * (_VIEW_TICKS << PARAMETERS.timeout_doublings_max)

Path = tuple[int, ...]  # one index of SPLITS a round


@dataclass(slots=True)
class Counts:
    scenarios: int = 0
    pruned: int = 0  # of those, the ones whose rest an outline that was met before had shown
    rounds_run: int = 0
    committed: int = 0  # scenarios in which something was committed before the heal
    recovery_ticks: int = 0  # the longest
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            together = max(mine, theirs) if each.name == "recovery_ticks" else mine + theirs
            setattr(self, each.name, together)
        del self.failures[FAILURES_KEPT_MAX:]


def scenario(path: Path) -> World:
    """From the beginning to the moment after the last round of the path."""
    world = World()
    for number, split in enumerate(path):
        world.round(SPLITS[split], leave=number > 0)
    return world


def explore(path: Path, rounds: int, *, prune: bool = False) -> Counts:
    """Every scenario that begins like this."""
    counts = Counts()
    try:
        world = scenario(path)
    except AssertionError as error:
        _fail(path, error, counts, len(SPLITS) ** (rounds - len(path)))
    else:
        _below(world, path, rounds, counts, set() if prune else None)
    return counts


def _below(
    world: World, path: Path, rounds: int, counts: Counts, seen: set[tuple[int, bytes]] | None
) -> None:
    if len(path) == rounds:
        _heal(world, path, counts)
        return
    below = len(SPLITS) ** (rounds - len(path) - 1)
    for split in range(len(SPLITS)):
        # The last one may have the world itself.
        child = world if split == len(SPLITS) - 1 else copied(world)
        longer = (*path, split)
        counts.rounds_run += 1
        try:
            child.round(SPLITS[split], leave=bool(path))
        except AssertionError as error:
            _fail(longer, error, counts, below)
            continue
        if seen is not None:
            key = (len(longer), outline(child))
            if key in seen:
                counts.scenarios += below
                counts.pruned += below
                continue
            seen.add(key)
        _below(child, longer, rounds, counts, seen)


def _heal(world: World, path: Path, counts: Counts) -> None:
    counts.committed += bool(world.agreed)
    try:
        world.check()
        ticks = world.recover(RECOVERY_TICKS_MAX)
        world.check()
    except AssertionError as error:
        _fail(path, error, counts, 1)
        return
    counts.scenarios += 1
    counts.recovery_ticks = max(counts.recovery_ticks, ticks)


def _fail(path: Path, error: AssertionError, counts: Counts, scenarios: int) -> None:
    counts.scenarios += scenarios
    counts.failed += scenarios
    words = str(error) or "an assertion of the core"
    counts.failures.append(f"splits {','.join(map(str, path))}: {words}")


def enumerate_all(rounds: int, jobs: int) -> Counts:
    """Every scenario of so many rounds; the counts do not depend on `jobs`."""
    shared = min(SHARED_ROUNDS, rounds)
    beginnings: list[Path] = [()]
    for _ in range(shared):
        beginnings = [(*path, split) for path in beginnings for split in range(len(SPLITS))]
    tasks = [(path, rounds) for path in beginnings]
    counts = Counts()
    if jobs == 1:
        for task in tasks:
            counts.add(_job(task))
        return counts
    with get_context("spawn").Pool(jobs) as pool:
        for part in pool.imap(_job, tasks):
            counts.add(part)
    return counts


def _job(task: tuple[Path, int]) -> Counts:
    path, rounds = task
    return explore(path, rounds, prune=rounds > UNPRUNED_ROUNDS_MAX)


def main(rounds: int, jobs: int, *, as_json: bool) -> int:
    """For the command line; exit code 1 if a scenario failed."""
    started = time.perf_counter()
    counts = enumerate_all(rounds, jobs)
    for failure in counts.failures:
        sys.stdout.write(f"FAILED {failure}\n")
    seconds = round(time.perf_counter() - started, 2)
    if not as_json:
        sys.stdout.write(
            f"{counts.scenarios} scenarios of {rounds} rounds, {counts.failed} failed, "
            f"{counts.pruned} pruned; {counts.rounds_run} rounds run; something was committed in "
            f"{counts.committed} before the heal; recovered within {counts.recovery_ticks} ticks\n"
        )
    numbers = {"scenarios": counts.scenarios, "failed": counts.failed, "pruned": counts.pruned}
    sys.stdout.write(json.dumps({**numbers, "seconds": seconds}) + "\n")
    return 1 if counts.failed else 0
