"""`salus bench`: measures a network of processes on this machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session

if TYPE_CHECKING:
    from cli.bench.transactions import Options

GROWTH_KEY_BYTES = 1_000  # of disk for each key, compaction included
FAULTS_RATE = 300  # a load that three of four carry easily: the fault shows, not the lack of room


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of the command line; each measurement takes what concerns it."""

    validators: int
    seconds: int
    rate: int | None
    prefill: int
    operations: int
    lies: bool
    profile: bool
    folder: Path | None
    patients: int
    permits: int
    reads: int
    megabytes: int
    sizes: str
    bucket_bits: int
    behind_transactions: int
    behind_blocks: int
    verify_all: bool
    state_keys: int
    report: Path | None


Say = Callable[[str], None]
Figures = dict[str, object]


@command()
@click.option("--validators", type=click.IntRange(1, 31), default=4, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 3_600), default=20, show_default=True)
@click.option("--rate", type=click.IntRange(1, 100_000), help="Open loop, one transaction each.")
@click.option("--prefill", type=click.IntRange(0, 10_000_000), default=100_000, show_default=True)
@click.option("--operations", type=click.IntRange(1, 400), default=1, help="Per transaction.")
@click.option(
    "--measure",
    type=click.Choice(
        [
            "transactions",
            "import",
            "decisions",
            "reads",
            "faults",
            "overload",
            "growth",
            "wan",
            "catchup",
        ]
    ),
    default="transactions",
    show_default=True,
    help="What: docs/performance.md says how.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Of FHIR documents, for --measure import.",
)
@click.option(
    "--patients", type=click.IntRange(1, 1_000_000), default=100_000, help="For decisions."
)
@click.option("--permits", type=click.IntRange(5, 100), default=20, help="Of each patient.")
@click.option(
    "--reads",
    type=click.IntRange(
        1, 1_000
    ),  # of one doctor: no gate makes 1,500 tickets at once for a person
    default=100,
    help="For reads.",
)
@click.option(
    "--megabytes", type=click.IntRange(1, 120), default=100, help="Of the large document read."
)
@click.option("--sizes", default="1000,100000,1000000", help="State keys, for growth.")
@click.option(
    "--bucket-bits", type=click.IntRange(8, 24), default=18, help="Of the state's tree, for growth."
)
@click.option(
    "--behind-transactions",
    type=click.IntRange(0, 10_000_000),
    default=0,
    help="At least, for catchup.",
)
@click.option(
    "--behind-blocks",
    type=click.IntRange(0, 1_000_000),
    default=0,
    help="At least, and small ones, for catchup.",
)
@click.option("--verify-all", is_flag=True, help="What clients signed, too, for catchup.")
@click.option(
    "--state-keys",
    type=click.IntRange(0, 10_000_000),
    default=0,
    help="That the chain begins with, for transactions and --report.",
)
@click.option("--profile", is_flag=True, help="And what a transaction costs, stage by stage.")
@click.option(
    "--report",
    type=click.Path(file_okay=False, path_type=Path),
    help="Curves, tables and the machine, written into this folder.",
)
@click.option("--lies/--no-lies", default=True, help="A lying primary after the measurement.")
@pass_session
def bench(session: Session, measure: str, **options: Any) -> None:
    """Throughput and latency of N validators on this machine.

    By the project's yardstick, docs/performance.md.
    """
    wishes = Wishes(**options)
    with tempfile.TemporaryDirectory(prefix="salus-bench-") as place:
        figures, text = MEASURES[measure](Path(place), wishes, session.out.note)
    session.out.result(figures, text)


def _transactions(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import stage_table
    from cli.bench.transactions import Options, document, run

    options = Options(
        wishes.validators,
        wishes.seconds,
        wishes.rate,
        wishes.prefill,
        wishes.state_keys,
        wishes.operations,
        wishes.lies,
        wishes.profile,
    )
    free, needed = shutil.disk_usage(place).free, options.disk_bytes
    if free < needed:
        raise CliError(
            "DISK_FULL",
            f"{free >> 20} MiB free in {place}, {needed >> 20} MiB needed",
            next_step="shorter: --seconds; or another disk: TMPDIR=…",
        )
    if wishes.report is not None:
        return _reported(place, wishes.report, options, say)
    summary, stages = loop.run(run(place / "net", options, say))
    figures = document(summary)
    text = _list(figures)
    if wishes.profile:
        text += "\n" + stage_table.text(stages)
        figures["stages"] = [asdict(stage) for stage in stages]
    return figures, text


def _reported(place: Path, folder: Path, options: Options, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import report

    made = loop.run(report.run(place / "net", options, say))
    files = report.write(folder, made)
    return report.document(made), "\n".join(f"wrote {file}" for file in files)


def _import(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import imports

    if wishes.folder is None:
        raise CliError("USAGE", "which documents? --folder DIR")
    run = imports.run(place, wishes.folder, wishes.validators, say)
    figures = asdict(loop.run(run))
    return figures, _list(figures)


def _decisions(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli.bench import decisions

    figures = asdict(decisions.run(place, wishes.patients, wishes.permits, say))
    return figures, _list(figures)


def _reads(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import reads

    figures = asdict(loop.run(reads.run(place, wishes.reads, wishes.megabytes * 10**6, say)))
    return figures, _list(figures)


def _faults(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import faults

    outcomes = loop.run(faults.run(place, wishes.rate or FAULTS_RATE, wishes.seconds, say))
    faults.check(outcomes)
    rows = [asdict(outcome) for outcome in outcomes]
    return {"faults": rows}, "\n".join(map(_list, rows))


def _overload(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import overload

    run = overload.run(place / "net", wishes.validators, wishes.seconds, wishes.prefill, say)
    figures = asdict(loop.run(run))
    return figures, _list(figures)


def _growth(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli.bench import growth

    sizes = [int(size) for size in wishes.sizes.split(",") if size.isdigit()]
    if not sizes or len(sizes) != wishes.sizes.count(",") + 1:
        raise CliError("USAGE", "--sizes: numbers of state keys, e.g. 1000,100000,1000000")
    needed = GROWTH_KEY_BYTES * max(sizes)
    if (free := shutil.disk_usage(place).free) < needed:
        raise CliError("DISK_FULL", f"{free >> 20} MiB free, {needed >> 20} MiB needed")
    rows = [asdict(row) for row in growth.run(place, sizes, wishes.bucket_bits, say)]
    return {"growth": rows}, "\n".join(map(_list, rows))


def _wan(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import wan

    rows = [asdict(row) for row in loop.run(wan.run(place, [wishes.validators], say))]
    return {"wan": rows}, "\n".join(map(_list, rows))


def _catchup(place: Path, wishes: Wishes, say: Say) -> tuple[Figures, str]:
    from cli import loop
    from cli.bench import catchup

    wish = catchup.Wish(
        wishes.seconds, wishes.behind_transactions, wishes.behind_blocks, wishes.verify_all
    )
    figures = asdict(loop.run(catchup.run(place / "net", wish, say)))
    return figures, _list(figures)


def _list(figures: Figures) -> str:
    return "\n".join(["SUMMARY", *(f"  {name:<24} {value}" for name, value in figures.items())])


MEASURES: dict[str, Callable[[Path, Wishes, Say], tuple[Figures, str]]] = {
    "transactions": _transactions,
    "import": _import,
    "decisions": _decisions,
    "reads": _reads,
    "faults": _faults,
    "overload": _overload,
    "growth": _growth,
    "wan": _wan,
    "catchup": _catchup,
}
