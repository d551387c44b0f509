"""`salus events`: certified events as they come, resumable by their id."""

import asyncio
from contextlib import aclosing

import click

from cli.connect import connect, waits
from cli.group import command
from cli.session import Session, pass_session


@command()
@click.option("--kind", metavar="PATTERN", help="Only these, e.g. records.* or records.anchored.")
@click.option("--after", metavar="HEIGHT.INDEX", help="Resume behind this event; 0 = all kept.")
@click.option("--follow/--no-follow", default=True, help="Wait for more (default).")
@click.option("--checkpoint", type=click.Path(dir_okay=False), help="Remember the place here.")
@pass_session
@waits
async def events(
    session: Session, kind: str | None, after: str | None, follow: bool, checkpoint: str | None
) -> None:
    """Follow what the contracts say, block by block.

    With --json one object a line; --checkpoint makes a reader that resumes where it was.
    """
    from salus.client_events import FileCheckpoint

    store = FileCheckpoint(checkpoint) if checkpoint else None
    async with (
        connect(session) as client,
        aclosing(client.events(kind, after=after, checkpoint=store)) as feed,
    ):
        while True:
            try:
                # Without --follow: over when nothing has come for as long as --timeout says.
                async with asyncio.timeout(None if follow else min(session.timeout_s, 2.0)):
                    event = await anext(feed)
            except TimeoutError:
                return
            document = {
                "id": event.id,
                "kind": event.kind,
                "time": event.time,
                "tx_id": event.tx_id,
                "operation": event.operation,
                "data": event.data,
            }
            facts = " ".join(f"{name}={value}" for name, value in event.data.items())
            session.out.line(document, f"{event.id:>10}  {event.time}  {event.kind}  {facts}")
            await event.ack()
