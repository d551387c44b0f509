"""`salus bench`: measures a network of processes on this machine."""

import asyncio
import tempfile
from pathlib import Path

import click

from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session

FREE_BYTES_MIN = 4 * 2**30  # four nodes for a minute at full speed, compaction included


@command()
@click.option("--validators", type=click.IntRange(1, 26), default=4, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 3_600), default=20, show_default=True)
@click.option("--rate", type=click.IntRange(1, 100_000), help="Open loop, one transaction each.")
@click.option("--prefill", type=click.IntRange(0, 10_000_000), default=100_000, show_default=True)
@click.option("--operations", type=click.IntRange(1, 400), default=1, help="Per transaction.")
@pass_session
def bench(
    session: Session,
    validators: int,
    seconds: int,
    rate: int | None,
    prefill: int,
    operations: int,
) -> None:
    """Throughput and latency of N validators on this machine.

    By the project's yardstick, docs/performance.md.
    """
    from cli.bench import Options, document, run

    options = Options(validators, seconds, rate, prefill, operations)
    with tempfile.TemporaryDirectory(prefix="salus-bench-") as place:
        import shutil

        if shutil.disk_usage(place).free < FREE_BYTES_MIN:
            raise CliError("DISK_FULL", f"less than {FREE_BYTES_MIN >> 30} GiB free in {place}")
        summary = document(asyncio.run(run(Path(place) / "net", options, session.out.note)))
    lines = ["SUMMARY"] + [f"  {name:<24} {value}" for name, value in summary.items()]
    session.out.result(summary, "\n".join(lines))
