"""`salus api METHOD PATH`: the HTTP API with our fail-over, token and errors."""

import json
import sys
from pathlib import Path

import click

from cli.connect import connect, waits
from cli.group import command
from cli.session import Session, pass_session


@command()
@click.argument("method", type=click.Choice(["GET", "POST"], case_sensitive=False))
@click.argument("path")
@click.option("-d", "--data", metavar="TEXT|@FILE|-", help="The body; @FILE reads a file.")
@click.option("--content-type", default="application/json", show_default=True)
@pass_session
@waits
async def api(
    session: Session, method: str, path: str, data: str | None, content_type: str
) -> None:
    """A raw call to the HTTP API."""
    path = path if path.startswith("/") else f"/v1/{path}"
    async with connect(session) as client:
        answer = await client.api(method.upper(), path, read_data(data), content_type)
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if kind.endswith("json"):
        document = answer.json()
        session.out.result(document, json.dumps(document, indent=2, ensure_ascii=False))
    elif session.out.json:
        session.out.result({"content_type": kind, "body": answer.body.hex()})
    else:
        sys.stdout.buffer.write(answer.body)


def read_data(data: str | None) -> bytes | None:
    if data is None:
        return None
    if data == "-":
        return sys.stdin.buffer.read()
    return Path(data[1:]).read_bytes() if data.startswith("@") else data.encode()
