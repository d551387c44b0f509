"""The command line of the simulator: many seeds on all cores, or one seed explained.

`A..B` is half open: A, A+1, …, B−1. Exit 0 when every run held, 1 when one failed, 2 for a
wrong argument. A run that fails prints the command that replays it.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from multiprocessing import get_context

from tests.sim import compiled
from tests.sim.cluster import Result, run_seed
from tests.sim.plan import draw
from tests.sim.report import Summary, report

if not compiled.active():  # It copies objects slot by slot, and compiled ones have no slots.
    from tests.sim import exhaustive

CHUNK_SEEDS = 20
COLLECT_SEEDS = 500
COLLECT_COMPILED_SEEDS = 20  # their cycles cannot be cut; 20 runs are some 20 MB
FAILURES_PRINTED_MAX = 20
NIGHTLY_SEEDS = 1_000_000
NIGHTLY_TWINS = 5  # rounds: 1,048,576 scenarios


def run_seeds(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    """In the order of the seeds, whatever the number of processes."""
    if jobs == 1:
        yield from map(run_quietly, seeds)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(run_quietly, seeds, chunksize=CHUNK_SEEDS)


def run_quietly(seed: int) -> Result:
    # A run leaves no cycles behind (`Cluster.dissolve`), so the collector would look for nothing:
    # a whole collection costs as much as half a run.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return run_seed(seed)
    finally:
        if seed % (COLLECT_COMPILED_SEEDS if compiled.active() else COLLECT_SEEDS) == 0:
            gc.collect()
        if collecting:
            gc.enable()


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.compiled:
        return compiled.run([each for each in arguments if each != "--compiled"])
    if options.twins:
        return exhaustive.main(options.twins, options.jobs, as_json=options.json)
    if options.explain:
        return _explain(range(*options.seeds))
    summary = _summary(*((0, NIGHTLY_SEEDS) if options.nightly else options.seeds), options.jobs)
    if not options.json:
        for line in report(summary):
            _print(line)
    numbers: dict[str, object] = {**summary.numbers()}
    failed = bool(summary.failures)
    if options.nightly:  # whatever the seeds have said
        twins = exhaustive.enumerated(NIGHTLY_TWINS, options.jobs, quiet=options.json)
        numbers["twins"] = twins
        failed = failed or twins["failed"] > 0
    _print(json.dumps(numbers))
    return 1 if failed else 0


def _summary(first: int, last: int, jobs: int) -> Summary:
    """Of all seeds; says at once which failed."""
    started = time.perf_counter()
    summary = Summary()
    jobs = max(1, min(jobs, (last - first + CHUNK_SEEDS - 1) // CHUNK_SEEDS))
    for result in run_seeds(range(first, last), jobs):
        summary.add(result)
        if result.failure is not None and len(summary.failures) <= FAILURES_PRINTED_MAX:
            _print(f"seed {result.seed} FAILED: {result.failure}")
            _print(
                f"  replay: ./scripts/simulate --seeds {result.seed}..{result.seed + 1} --explain"
            )
    summary.seconds = time.perf_counter() - started
    return summary


def _explain(seeds: range) -> int:
    failed = 0
    for seed in seeds:
        for line in draw(seed).describe():
            _print(line)
        result = run_seed(seed, _print)
        outcome = "held" if result.failure is None else f"FAILED: {result.failure}"
        _print(f"seed {seed}: {result.events} events, {result.heights} heights, {outcome}")
        failed += result.failure is not None
    return 1 if failed else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Drives the real consensus core through faults and lies; one seed is one run.",
    )
    parser.add_argument(
        "--seeds", type=_range, default=(0, 2000), metavar="A..B", help="A, A+1, …, B−1"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes"
    )
    parser.add_argument(
        "--nightly",
        action="store_true",
        help=f"the seeds 0..{NIGHTLY_SEEDS}, then the twins of {NIGHTLY_TWINS} rounds: some hours",
    )
    parser.add_argument(
        "--twins", type=int, metavar="ROUNDS", help="all scenarios of twins, of so many rounds"
    )
    parser.add_argument(
        "--long", dest="twins", action="store_const", const=4, help="the twins of four rounds"
    )
    parser.add_argument(
        "--compiled", action="store_true", help="as machine code, built once (docs/testing.md)"
    )
    parser.add_argument("--json", action="store_true", help="no summary, only the last line")
    parser.add_argument("--explain", action="store_true", help="print every event of the seeds")
    options = parser.parse_args(arguments)
    if options.compiled and (options.twins or options.nightly):
        parser.error("twins are run interpreted: --compiled goes with --seeds")
    return options


def _range(text: str) -> tuple[int, int]:
    first, dots, last = text.partition("..")
    if not dots or not first.isdigit() or not last.isdigit() or int(first) >= int(last):
        raise argparse.ArgumentTypeError("A..B with A < B; B itself is not run")
    return int(first), int(last)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
