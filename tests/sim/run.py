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
from typing import Any

from tests.sim import compiled, yardstick
from tests.sim.cluster import Result, run_seed
from tests.sim.plan import draw
from tests.sim.report import Summary, report

if not compiled.active():  # It copies objects slot by slot, and compiled ones have no slots.
    from tests.sim import exhaustive

CHUNK_SEEDS = 20
COLLECT_SEEDS = 500
YARDSTICK_SEEDS = 500  # of fewer nobody compares the time
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
    # a whole collection costs as much as half a run. Cycles of compiled objects cannot be cut; what
    # is left of one run is a thirtieth of all objects, and its memory is warm for the next one.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return run_seed(seed)
    finally:
        if seed % COLLECT_SEEDS == 0:
            gc.collect()
        elif compiled.active():
            gc.collect(0)  # of the youngest: all that came into being since the last time
        if collecting:
            gc.enable()


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.twins:
        return exhaustive.main(options.twins, options.jobs, as_json=options.json)
    if options.nightly:
        options.seeds = (0, NIGHTLY_SEEDS)
    if options.explain:
        if options.compiled:
            return compiled.run([*_plainly(options), "--explain"], _print)
        return _explain(range(*options.seeds))
    status, numbers = (_compiled if _compiles(options) else _interpreted)(options)
    if status > 1:
        return status
    if options.nightly:  # whatever the seeds have said
        twins = exhaustive.enumerated(NIGHTLY_TWINS, options.jobs, quiet=options.json)
        numbers["twins"] = twins
        status = 1 if twins["failed"] else status
    _print(json.dumps(numbers))
    return status


def _compiles(options: argparse.Namespace) -> bool:
    """Asked for, or worth its building."""
    first, last = options.seeds
    many = last - first >= compiled.FROM_SEEDS and not compiled.active()
    return options.compiled or (many and not options.interpreted)


def _interpreted(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """Or in the process that is compiled: as this one is. The exit code and the numbers."""
    summary = _summary(*options.seeds, options.jobs)
    if not options.json:
        for line in report(summary):
            _print(line)
    return (1 if summary.failures else 0), dict(summary.numbers())


def _compiled(options: argparse.Namespace) -> tuple[int, dict[str, Any]]:
    """The same of a process that runs machine code, or of one that says why it does not."""
    lines: list[str] = []  # the newest one: the last are the numbers

    def hear(line: str) -> None:
        if lines:
            _print(lines.pop())
        lines.append(line)

    status = compiled.run([*_plainly(options), *["--json"] * options.json], hear)
    return status, json.loads(lines[0]) if lines and status < 2 else {}


def _plainly(options: argparse.Namespace) -> list[str]:
    """The same seeds, as that process is."""
    first, last = options.seeds
    return ["--interpreted", f"--seeds={first}..{last}", f"--jobs={options.jobs}"]


def _summary(first: int, last: int, jobs: int) -> Summary:
    """Of all seeds; says at once which failed."""
    summary = Summary()
    jobs = max(1, min(jobs, (last - first + CHUNK_SEEDS - 1) // CHUNK_SEEDS))
    if last - first >= YARDSTICK_SEEDS:
        summary.signatures_per_s = yardstick.signatures_per_s(jobs)
    started = time.perf_counter()
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
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--compiled",
        action="store_true",
        help=f"as machine code, built once; from {compiled.FROM_SEEDS} seeds on by itself",
    )
    how.add_argument("--interpreted", action="store_true", help="however many they are")
    parser.add_argument("--json", action="store_true", help="no summary, only the last line")
    parser.add_argument("--explain", action="store_true", help="print every event of the seeds")
    options = parser.parse_args(arguments)
    if options.compiled and options.twins:
        parser.error("twins are run interpreted: --compiled goes with --seeds")
    return options


def _range(text: str) -> tuple[int, int]:
    first, dots, last = text.partition("..")
    if not dots or not first.isdigit() or not last.isdigit() or int(first) >= int(last):
        raise argparse.ArgumentTypeError("A..B with A < B; B itself is not run")
    return int(first), int(last)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
