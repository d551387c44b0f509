"""All scenarios of twins for n = 4, f = 1: every way to split five nodes in two, in every view.

After Bano et al., "Twins: BFT Systems Made Robust" (2020). Node 0 runs twice with one key; in each
view the network is split in one of 16 ways (`SPLITS`), delivery is first come, first served. After
the last view the network heals. Safety is asked all the time, liveness after the heal.

Scenarios that agree in their first views share them: a world is copied before each split. Two
scenarios that have come to the same world (`mark`) have one future, so it is looked at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import combinations
from multiprocessing import get_context

from tests.sim.twins_world import NODES, PARAMETERS, World, copied, mark

# The side of node 0: it alone, or with any of the other four. That is each way to put five nodes
# on two sides, "all together" among them: half of 2^5.
SPLITS = tuple(
    frozenset((0, *others))
    for size in range(NODES)
    for others in combinations(range(1, NODES), size)
)
SHARED_VIEWS = 2  # are gone through once; each world that they lead to is a job
FAILURES_KEPT_MAX = 5

# After the heal: f + 2 views with timers fully grown, twice as long for the ticks in between.
_VIEW_TICKS = (PARAMETERS.progress_timeout_ms + PARAMETERS.view_change_timeout_ms) // 100
RECOVERY_TICKS_MAX = 2 * 3 * (_VIEW_TICKS << PARAMETERS.timeout_doublings_max)

Path = tuple[int, ...]  # one index of SPLITS a view


@dataclass(slots=True)
class Counts:
    scenarios: int = 0
    pruned: int = 0  # of those, the ones whose rest another one had already shown
    views_run: int = 0
    heals_run: int = 0
    committed: int = 0  # heals after a run in which something had been committed before
    recovery_ticks: int = 0  # the longest
    failures: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            together = max(mine, theirs) if each.name == "recovery_ticks" else mine + theirs
            setattr(self, each.name, together)
        del self.failures[FAILURES_KEPT_MAX:]


def scenario(path: Path) -> World:
    """One of them, from the beginning to the moment before the heal."""
    world = World()
    for view, split in enumerate(path):
        world.phase(SPLITS[split], leave=view > 0)
    return world


def explore(path: Path, views: int, counts: Counts) -> None:
    """Everything below a path, each distinct world once."""
    _below(scenario(path), path, views, counts, set())


def _below(world: World, path: Path, views: int, counts: Counts, seen: set[bytes]) -> None:
    if len(path) == views:
        _heal(world, path, counts)
        return
    for split in range(len(SPLITS)):
        child, longer = copied(world), (*path, split)
        try:
            child.phase(SPLITS[split], leave=bool(path))
            counts.views_run += 1
        except AssertionError as error:
            _fail(longer, error, counts)
            counts.scenarios += len(SPLITS) ** (views - len(longer))
            continue
        name = mark(child)
        if name in seen:
            below = len(SPLITS) ** (views - len(longer))
            counts.scenarios += below
            counts.pruned += below
        else:
            seen.add(name)
            _below(child, longer, views, counts, seen)


def _heal(world: World, path: Path, counts: Counts) -> None:
    counts.scenarios += 1
    counts.heals_run += 1
    counts.committed += bool(world.agreed)
    try:
        world.check()
        counts.recovery_ticks = max(counts.recovery_ticks, world.recover(RECOVERY_TICKS_MAX))
        world.check()
    except AssertionError as error:
        _fail(path, error, counts)


def _fail(path: Path, error: AssertionError, counts: Counts) -> None:
    words = str(error) or "an assertion of the core"
    counts.failures.append(f"splits {','.join(map(str, path))}: {words}")


def enumerate_all(views: int, jobs: int) -> Counts:
    """Every scenario of so many views. The counts do not depend on the number of jobs."""
    counts = Counts()
    starts = _starts(min(SHARED_VIEWS, views - 1), counts)
    tasks = [(path, views, times) for path, times in starts]
    if jobs == 1:
        for task in tasks:
            counts.add(_job(task))
    else:
        with get_context("spawn").Pool(jobs) as pool:
            for part in pool.imap(_job, tasks):
                counts.add(part)
    return counts


def _starts(views: int, counts: Counts) -> Iterator[tuple[Path, int]]:
    """The distinct worlds after so many views, and how many scenarios lead to each."""
    level: dict[bytes, tuple[Path, int]] = {b"": ((), 1)}
    for _ in range(views):
        following: dict[bytes, tuple[Path, int]] = {}
        for path, times in level.values():
            before = scenario(path)
            for split in range(len(SPLITS)):
                world, longer = copied(before), (*path, split)
                world.phase(SPLITS[split], leave=bool(path))
                counts.views_run += 1
                name = mark(world)
                first, already = following.get(name, (longer, 0))
                following[name] = (first, already + times)
        level = following
    yield from level.values()


def _job(task: tuple[Path, int, int]) -> Counts:
    path, views, times = task
    counts = Counts()
    explore(path, views, counts)
    repeated = (times - 1) * counts.scenarios  # scenarios that came to this start as well
    counts.scenarios += repeated
    counts.pruned += repeated
    return counts
