"""`salus demo`: the story of `cli/demo.py` in a home of its own, cleaned up however it ends."""

import asyncio
import shutil
import signal
import tempfile
from importlib import resources
from pathlib import Path

import click

from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session

BUNDLE_BYTES_MAX = 16 * 2**20


@command()
@click.option("--bundle", type=click.Path(path_type=Path), help="Your own FHIR R4 resource (JSON).")
@click.option(
    "--story",
    type=click.Choice(["consent", "ledger", "all"]),
    default="all",
    show_default=True,
    help="A patient decides; four hospitals agree; both.",
)
@click.option("--fast", is_flag=True, help="Fewer records, and no final check of the disks.")
@click.option("--keep", is_flag=True, help="Keep the home of the four nodes afterwards.")
@pass_session
def demo(session: Session, bundle: Path | None, story: str, fast: bool, keep: bool) -> None:
    """Four hospitals, one story, every step checked.

    Ends with a proof that another process verifies without a network. Under a minute.
    """
    from cli.demo import Demo, amended
    from node.fhir import check_fhir

    if bundle is None:
        data = resources.files("cli") / "data"
        first = (data / "visit-1.json").read_bytes()
        second = (data / "visit-2.json").read_bytes()
    else:
        with bundle.open("rb") as stream:
            first = stream.read(BUNDLE_BYTES_MAX + 1)
        check_fhir(first, "application/fhir+json")
        second = amended(first)
    if session.home_given:
        home = session.home.path
        if home.exists() and any(home.iterdir()):
            raise CliError("REFUSES_OVERWRITE", f"{home} is not empty")
        home.mkdir(parents=True, exist_ok=True)
    else:
        home = Path(tempfile.mkdtemp(prefix="salus-demo-"))
    told = Demo(session.out, home, first, second, fast=fast, stories=story)
    try:
        last = asyncio.run(_until_signal(told))
    except BaseException:
        session.out.note(f"the logs are kept in {home / 'logs'}")
        raise
    finally:
        told.clean_up()
    if not (keep or session.home_given):
        shutil.rmtree(home, ignore_errors=True)
    document = {"verified": True, "steps": told.story.steps, "seconds": told.story.seconds}
    session.out.result(document, last)


async def _until_signal(story: "object") -> str:
    """SIGTERM and SIGHUP end the story as Ctrl-C does: with its processes."""
    from cli.demo import Demo

    assert isinstance(story, Demo)
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await story.run()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
