"""What `salus record watch` is made of, from the options of the command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.connect import connect
from cli.errors import CliError
from cli.session import Session
from cli.watch import Progress, Watch, run
from cli.watch_folder import Folder
from cli.watch_import import ChainImporter, DryImporter, Outcome
from cli.watch_journal import Journal


async def serve(
    session: Session,
    folder: Path,
    *,
    once: bool,
    report: Path | None,
    state: Path | None,
    retry_refused: bool,
    dry_run: bool,
    now: bool,
) -> int:
    """The exit code."""
    with _bar(session) as progress:
        if dry_run:
            checked = Watch(
                Folder(folder), DryImporter(), session.out, report=report, progress=progress
            )
            return _summary(session, checked, await run(checked, once=True))
        beside = _home(session) if state is None else state.parent
        state = state or beside / "watch.journal"
        report = report or beside / "watch-report.json"
        with Journal.open(state) as journal:
            if retry_refused:
                journal.forget("refused")
            async with connect(session, sign=True) as client:
                importer = ChainImporter(client, journal, timeout_s=session.timeout_s, now=now)
                watch = Watch(
                    Folder(folder), importer, session.out, report=report, progress=progress
                )
                code = await run(watch, once=once)
    return _summary(session, watch, code)


def _home(session: Session) -> Path:
    """Of the node whose vault it is: the state belongs to that one vault."""
    if session.home.is_testnet and session.node is None:
        raise CliError("USAGE", "which node of the testnet? --node NAME")
    home = session.home.target(session.node).home
    if home is None:
        raise CliError("USAGE", "the node's home is not here: say --state FILE")
    return home.path


def _summary(session: Session, watch: Watch, code: int) -> int:
    document = watch.tally.document(watch.folder)
    told = watch.report is not None and any(
        outcome.error is not None for outcome in watch.tally.outcomes.values()
    )
    text = (
        f"{session.out.mark(code == 0)} {document['imported']} imported"
        f" ({document['resources']} resources, {document['schemaless']} of them unchecked),"
        f" {document['known']} known, {document['refused']} refused, {document['failed']} failed,"
        f" {document['pending']} pending, {document['changing']} still being written"
    )
    if told:
        text += f"\n  refused files, why and what next: {watch.report}"
    session.out.line(document | {"exit": code, "report": str(watch.report) if told else None}, text)
    return code


@contextmanager
def _bar(session: Session) -> Iterator[Progress | None]:
    """A bar where a person looks at stderr, else None: then there are lines."""
    out = session.out
    if out.json or out.verbosity < 0 or not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as shown:
        yield _Bar(shown)


class _Bar:
    def __init__(self, shown: "object") -> None:
        from rich.progress import Progress as Shown

        assert isinstance(shown, Shown)
        self._shown = shown
        self._task = shown.add_task("files", total=0)
        self._total = self._refused = 0

    def found(self, files: int) -> None:
        self._total += files
        self._shown.update(self._task, total=self._total)

    def took(self, outcome: Outcome) -> None:
        self._refused += outcome.error is not None
        words = f"files ({self._refused} refused)" if self._refused else "files"
        self._shown.update(self._task, advance=1, description=words)
