"""All scenarios of twins for n = 4, f = 1: every way to split five nodes in two, in every round.

After Bano et al., "Twins: BFT Systems Made Robust" (2020). Node 0 runs twice with one key; in each
round, which everybody begins by leaving its view, the network is split in one of 16 ways (`SPLITS`);
delivery is first come, first served. After the last round the network heals. Safety is asked all
the time, liveness after the heal.

Round by round: a world is copied before each split, so scenarios that begin alike share their
beginning. Two scenarios that differ only in which of the twins is which are run once (`mirrored`);
that is exact. With `prune` two worlds of one outline are looked at once; that is a good guess, and
the scenarios that are left out are counted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from multiprocessing import get_context
from typing import NamedTuple

from tests.sim.twins_world import NODES, PARAMETERS, TWIN, World, copied, outline

# The side of node 0: it alone, or with any of the other four. That is each way to put five nodes
# on two sides, "all together" among them: half of 2^5, for a side and its complement are one split.
SPLITS = tuple(
    frozenset((0, *others))
    for size in range(NODES)
    for others in combinations(range(1, NODES), size)
)
# The same split with the twins in each other's place. Where they stand together nothing changes.
MIRROR = tuple(
    SPLITS.index(side if TWIN in side else frozenset(range(NODES)) - (side - {0} | {TWIN}))
    for side in SPLITS
)
UNPRUNED_ROUNDS_MAX = 5  # 16^5 is about a million; more rounds are pruned
TASK_WORLDS = 16  # beginnings that one process takes at a time; neighbours share theirs
FAILURES_KEPT_MAX = 5

# After the heal: f + 2 views with timers fully grown, twice as long for the ticks in between.
_VIEW_TICKS = (PARAMETERS.progress_timeout_ms + PARAMETERS.view_change_timeout_ms) // 100
RECOVERY_TICKS_MAX = 2 * 3 * (_VIEW_TICKS << PARAMETERS.timeout_doublings_max)

Path = tuple[int, ...]  # one index of SPLITS a round


@dataclass(slots=True)
class Counts:
    """Of scenarios; each has the weight of all that it stands for."""

    scenarios: int = 0
    run: int = 0  # of those, the ones that were run to their end
    mirrored: int = 0  # the ones that are one of these with the twins exchanged
    pruned: int = 0  # the ones whose rest an outline that was met before had shown
    rounds_run: int = 0
    worlds: list[int] = field(default_factory=list)  # told apart, after each round but the last
    committed: int = 0  # scenarios in which something was committed before the heal
    recovery_ticks: int = 0  # the longest
    failed: int = 0
    failures: list[str] = field(default_factory=list)


class Kept(NamedTuple):
    """The beginning of scenarios: one that is run, and for how many it stands."""

    path: Path
    exactly: int  # itself, and its mirror image
    all: int  # and what was pruned in its favour


class Task(NamedTuple):
    """Beginnings, each with the splits of its next round; after the last round the heal follows."""

    parents: tuple[tuple[Path, tuple[int, ...]], ...]
    last: bool
    prune: bool


class Seen(NamedTuple):
    """What became of one of them."""

    failure: str = ""
    outline: bytes = b""
    committed: bool = False
    ticks: int = 0


def mirrored(path: Path) -> Path:
    """The same scenario with the twins exchanged: same key, same code. Only the order in which the
    two are served tells it from this one, and that order is arbitrary. The three others cannot be
    exchanged: they lead different views."""
    return tuple(MIRROR[split] for split in path)


def scenario(path: Path, world: World | None = None) -> World:
    """From the beginning to the moment after the last round of the path."""
    world = world or World()
    for number, split in enumerate(path):
        world.round(SPLITS[split], leave=number > 0)
    return world


def explore(
    beginning: Path, rounds: int, *, jobs: int = 1, prune: bool = False, mirror: bool = True
) -> Counts:
    """Every scenario that begins like this; the counts do not depend on `jobs`."""
    counts = Counts()
    kept = [Kept(beginning, 1, 1)]
    with _runner(jobs) as run:
        for length in range(len(beginning) + 1, rounds + 1):
            last = length == rounds
            children = [_children(parent, mirror=mirror) for parent in kept]
            tasks = [
                Task(
                    tuple(
                        (parent.path, tuple(child.path[-1] for child in below))
                        for parent, below in zip(
                            kept[at : at + TASK_WORLDS],
                            children[at : at + TASK_WORLDS],
                            strict=True,
                        )
                    ),
                    last,
                    prune,
                )
                for at in range(0, len(kept), TASK_WORLDS)
            ]
            results = (seen for part in run(tasks) for seen in part)
            grown = zip((child for below in children for child in below), results, strict=True)
            kept = _merge(grown, rounds - length, counts, last=last)
            if not last:
                counts.worlds.append(len(kept))
    return counts


def enumerate_all(rounds: int, jobs: int) -> Counts:
    return explore((), rounds, jobs=jobs, prune=rounds > UNPRUNED_ROUNDS_MAX)


def _children(parent: Kept, *, mirror: bool) -> list[Kept]:
    """The next round of a beginning. One that is its own mirror image has its children in pairs."""
    symmetric = mirror and mirrored(parent.path) == parent.path
    children = []
    for split in range(len(SPLITS)):
        image = MIRROR[split]
        if symmetric and image < split:
            continue
        weight = 2 if symmetric and image != split else 1
        path = (*parent.path, split)
        children.append(Kept(path, parent.exactly * weight, parent.all * weight))
    return children


def _merge(
    grown: Iterable[tuple[Kept, Seen]], rounds_left: int, counts: Counts, *, last: bool
) -> list[Kept]:
    """Counts what ended here, and keeps one beginning for each outline (each, if nobody prunes)."""
    kept: dict[Path | bytes, Kept] = {}
    below = len(SPLITS) ** rounds_left
    for child, seen in grown:
        counts.rounds_run += 1
        if last or seen.failure:
            counts.scenarios += child.all * below
            counts.run += 1
            counts.mirrored += child.exactly * below - 1
            counts.pruned += (child.all - child.exactly) * below
        if seen.failure:
            counts.failed += child.all * below
            if len(counts.failures) < FAILURES_KEPT_MAX:
                words = ",".join(map(str, child.path))
                counts.failures.append(f"splits {words}: {seen.failure}")
        elif last:
            counts.committed += child.all if seen.committed else 0
            counts.recovery_ticks = max(counts.recovery_ticks, seen.ticks)
        else:
            first = kept.setdefault(seen.outline or child.path, child)
            if first is not child:
                kept[seen.outline] = first._replace(all=first.all + child.all)
    return list(kept.values())


# -- what a process does ----------------------------------------------------------------------------


class _Trail:
    """The worlds along one path: the next path begins like it."""

    def __init__(self) -> None:
        self._path: Path = ()
        self._worlds = [World()]

    def reach(self, path: Path) -> World:
        common = 0
        while common < min(len(path), len(self._path)) and path[common] == self._path[common]:
            common += 1
        del self._worlds[common + 1 :]
        for number in range(common, len(path)):
            world = copied(self._worlds[-1])
            world.round(SPLITS[path[number]], leave=number > 0)
            self._worlds.append(world)
        self._path = path
        return self._worlds[-1]


def _perform(task: Task) -> list[Seen]:
    trail, seen = _Trail(), []
    for path, splits in task.parents:
        try:
            world = trail.reach(path)
        except AssertionError as error:  # only of a beginning that was asked for
            seen += [Seen(failure=_words(error))] * len(splits)
            continue
        for split in splits:
            child = copied(world)
            try:
                child.round(SPLITS[split], leave=bool(path))
                if task.last:
                    seen.append(_healed(child))
                else:
                    seen.append(Seen(outline=outline(child) if task.prune else b""))
            except AssertionError as error:
                seen.append(Seen(failure=_words(error)))
    return seen


def _healed(world: World) -> Seen:
    committed = bool(world.agreed)
    world.check()
    ticks = world.recover(RECOVERY_TICKS_MAX)
    world.check()
    return Seen(committed=committed, ticks=ticks)


def _words(error: AssertionError) -> str:
    return str(error) or "an assertion of the core"


@contextmanager
def _runner(jobs: int) -> Iterator[Callable[[Sequence[Task]], Iterator[list[Seen]]]]:
    """`with _runner(jobs) as run`: run(tasks) gives their results in their order."""
    if jobs == 1:
        yield lambda tasks: map(_perform, tasks)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield lambda tasks: pool.imap(_perform, tasks)


def main(rounds: int, jobs: int, *, as_json: bool) -> int:
    """For the command line; exit code 1 if a scenario failed."""
    numbers = enumerated(rounds, jobs, quiet=as_json)
    sys.stdout.write(json.dumps(numbers) + "\n")
    return 1 if numbers["failed"] else 0


def enumerated(rounds: int, jobs: int, *, quiet: bool) -> dict[str, float]:
    """For machines; prints what failed and, unless quiet, what there is to say to people."""
    started = time.perf_counter()
    counts = enumerate_all(rounds, jobs)
    for failure in counts.failures:
        sys.stdout.write(f"FAILED {failure}\n")
    if not quiet:
        sys.stdout.write(
            f"{counts.scenarios} scenarios of {rounds} rounds, {counts.failed} failed: "
            f"{counts.run} run, {counts.mirrored} their mirror images, {counts.pruned} pruned\n"
            f"{counts.rounds_run} rounds run; worlds after each: "
            f"{', '.join(map(str, counts.worlds))}; something was committed in "
            f"{counts.committed} before the heal; recovered within {counts.recovery_ticks} ticks\n"
        )
    return {
        "scenarios": counts.scenarios,
        "failed": counts.failed,
        "mirrored": counts.mirrored,
        "pruned": counts.pruned,
        "seconds": round(time.perf_counter() - started, 2),
    }
