"""`salus bench`: measures a network of processes on this machine."""

import tempfile
from pathlib import Path

import click

from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session


@command()
@click.option("--validators", type=click.IntRange(1, 26), default=4, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 3_600), default=20, show_default=True)
@click.option("--rate", type=click.IntRange(1, 100_000), help="Open loop, one transaction each.")
@click.option("--prefill", type=click.IntRange(0, 10_000_000), default=100_000, show_default=True)
@click.option("--operations", type=click.IntRange(1, 400), default=1, help="Per transaction.")
@click.option("--lies/--no-lies", default=True, help="A lying primary after the measurement.")
@pass_session
def bench(
    session: Session,
    validators: int,
    seconds: int,
    rate: int | None,
    prefill: int,
    operations: int,
    lies: bool,
) -> None:
    """Throughput and latency of N validators on this machine.

    By the project's yardstick, docs/performance.md.
    """
    from cli import loop
    from cli.bench import Options, document, run

    options = Options(validators, seconds, rate, prefill, operations, lies)
    with tempfile.TemporaryDirectory(prefix="salus-bench-") as place:
        import shutil

        free, needed = shutil.disk_usage(place).free, options.disk_bytes
        if free < needed:
            raise CliError(
                "DISK_FULL",
                f"{free >> 20} MiB free in {place}, {needed >> 20} MiB needed",
                next_step="shorter: --seconds; or another disk: TMPDIR=…",
            )
        summary = document(loop.run(run(Path(place) / "net", options, session.out.note)))
    lines = ["SUMMARY"] + [f"  {name:<24} {value}" for name, value in summary.items()]
    session.out.result(summary, "\n".join(lines))
