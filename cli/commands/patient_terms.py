"""`salus patient terms …`: what a hospital's terms say, and that a patient accepts them."""

from pathlib import Path

import click

from cli.connect import waits
from cli.errors import CliError
from cli.group import group
from cli.owners import as_owner, tell
from cli.session import Session, pass_session
from cli.wallets import open_wallet

TERMS_BYTES_MAX = 2**20  # a contract of 300 pages as text

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@group()
def terms() -> None:
    """An organisation's terms, by version."""


@terms.command()
@click.argument("name")
@_at
@click.option("--document", type=_file, metavar="FILE", required=True, help="What was read.")
@pass_session
@waits
async def accept(session: Session, name: str, org: str | None, document: Path) -> None:
    """Accept the newest terms: those whose hash is that of the document that you read."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    read = read_terms(document)
    async with as_owner(session, wallet, relation) as (client, _):
        version, done = await client.terms.accept(relation.whose, read)
    tell(session, "accepted", name, relation, done, version=version)


def read_terms(path: Path) -> bytes:
    with path.open("rb") as stream:
        raw = stream.read(TERMS_BYTES_MAX + 1)
    if len(raw) > TERMS_BYTES_MAX:
        raise CliError("TOO_LARGE", f"{path} has more than {TERMS_BYTES_MAX} bytes")
    return raw
