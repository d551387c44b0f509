"""Plants mutants and asks their judges, a process each, some of them at a time."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from tests.mutants.mutant import SIMULATOR, Mutant
from tests.mutants.workshop import Workshop

SEEDS_MAX = 5_000  # within so many, from 0 on, a bug of the protocol must be found

# A mutant that falls as fast as this is asked in further ranges, for the median.
SEEDS_CHEAP_MAX = 100
RANGES = 1  # more, for the median, by --ranges


class Broken(Exception):
    """The mutant or its judge is no use: it does not fit the code, or fails in the normal case."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`seeds`: until death, in each range that was asked; empty for named tests and survivors."""

    mutant: Mutant
    killed: bool
    seeds: tuple[int, ...] = ()
    words: str = ""

    @property
    def seeds_median(self) -> int | None:
        return round(median(self.seeds)) if self.seeds else None


def judge(mutant: Mutant, workshop: Workshop, *, ranges: int = RANGES) -> Verdict:
    """Raises `Broken`."""
    with workshop.planted(mutant):
        if mutant.judge != SIMULATOR:
            return Verdict(mutant, _ask(mutant, workshop, ()).caught)
        first = _ask(mutant, workshop, [range(SEEDS_MAX)])
        if first.seeds[0] is None:
            return Verdict(mutant, False)
        taken = first.seeds
        if ranges > 1 and first.seeds[0] <= SEEDS_CHEAP_MAX:
            more = [range(SEEDS_MAX * i, SEEDS_MAX * (i + 1)) for i in range(1, ranges)]
            taken += _ask(mutant, workshop, more).seeds
    # A range in which it survived counts with all of its seeds.
    return Verdict(mutant, True, tuple(n or SEEDS_MAX for n in taken), first.words)


def confirm(verdicts: Sequence[Verdict]) -> None:
    """It was the bugs: without any the named tests pass, and the seeds that killed hold. Raises
    `Broken`."""
    killers = {
        SEEDS_MAX * number + taken - 1
        for verdict in verdicts
        for number, taken in enumerate(verdict.seeds)
        if taken < SEEDS_MAX
    }
    tests = {verdict.mutant.judge for verdict in verdicts} - {SIMULATOR}
    with (
        TemporaryDirectory(prefix="mutants-") as directory,
        Workshop(Path(directory)) as clean,
    ):
        if tests and _ask(_plain(" ".join(sorted(tests))), clean, ()).caught:
            raise Broken("a named test fails without any bug: ./scripts/test says which")
        seeds = [range(seed, seed + 1) for seed in sorted(killers)]
        held = _ask(_plain(SIMULATOR), clean, seeds).seeds
        for seed, failed in zip(sorted(killers), held, strict=True):
            if failed is not None:
                raise Broken(f"seed {seed} fails without any bug: ./scripts/simulate replays it")


def _plain(judge: str) -> Mutant:
    return Mutant("", "no bug at all", (), judge)


def judge_all(mutants: Sequence[Mutant], jobs: int, *, ranges: int = RANGES) -> Iterator[Verdict]:
    """In the order of `mutants`. Raises `Broken`."""
    with TemporaryDirectory(prefix="mutants-") as directory, ExitStack() as workshops:
        free: SimpleQueue[Workshop] = SimpleQueue()
        for job in range(jobs):
            place = Path(directory) / str(job)
            place.mkdir()
            free.put(workshops.enter_context(Workshop(place)))

        def one(mutant: Mutant) -> Verdict:
            workshop = free.get()
            try:
                return judge(mutant, workshop, ranges=ranges)
            finally:
                free.put(workshop)

        with ThreadPoolExecutor(jobs) as pool:
            try:
                yield from pool.map(one, mutants)
            finally:
                pool.shutdown(cancel_futures=True)


class _Answer(msgspec.Struct, frozen=True):
    """What tests/mutants/trial.py prints."""

    lawful: bool
    caught: bool
    seeds: tuple[int | None, ...]
    words: str


def _ask(mutant: Mutant, workshop: Workshop, ranges: Sequence[range]) -> _Answer:
    bounds = [str(bound) for seeds in ranges for bound in (seeds.start, seeds.stop)]
    done = workshop.tried((mutant.judge, mutant.needs, *bounds))
    if done.code:
        raise Broken(f"«{mutant.name}» ({mutant.rule}): {done.err.strip()[-2000:]}")
    answer = msgspec.json.decode(done.out, type=_Answer)
    if not answer.lawful:
        raise Broken(f"«{mutant.name}» ({mutant.rule}) shows in the normal case already")
    return answer
