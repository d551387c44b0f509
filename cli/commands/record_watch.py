"""`salus record watch`: a folder whose files become records."""

from pathlib import Path

import click

from cli.connect import waits
from cli.group import command
from cli.session import Session, pass_session


@command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--once", is_flag=True, help="What is there now, then end.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--retry-refused", is_flag=True, help="Try files again that were refused before.")
@click.option("--dry-run", is_flag=True, help="Check the files here; send nothing.")
@click.option("--now", is_flag=True, help="Anchor each file alone and at once, not in batches.")
@pass_session
@waits
async def watch(
    session: Session,
    folder: Path,
    once: bool,
    report: Path | None,
    state: Path | None,
    retry_refused: bool,
    dry_run: bool,
    now: bool,
) -> int:
    """Serve a folder: each whole file becomes a record, once.

    Files that are still being written are left alone, links are not followed. A file is known by
    its content: a changed one is a new record. What is done is kept in --state (default:
    watch.journal in the node's home), so that nothing is anchored twice after a kill. Refused
    files are told with codes and next steps in --report (default: watch-report.json beside it),
    the only place where names of files stand.
    """
    from cli.watch_command import serve

    return await serve(
        session,
        folder,
        once=once,
        report=report,
        state=state,
        retry_refused=retry_refused,
        dry_run=dry_run,
        now=now,
    )
