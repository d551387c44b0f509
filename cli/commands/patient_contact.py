"""`salus patient contact` and `salus patient notices`: hear of what happens to one's relation."""

import click

from cli.connect import plain, waits
from cli.errors import CliError
from cli.group import command
from cli.output import printable
from cli.owners import at_custodian
from cli.session import Session, pass_session
from cli.shown import time_text
from cli.wallets import open_wallet

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")


@command()
@click.argument("name")
@_at
@click.option("--email", metavar="ADDRESS", help="By mail.")
@click.option("--webhook", metavar="URL", help="By a POST, to a host that the operator lists.")
@click.option("--print", "letter", metavar="ADDRESS", help="By letter: on the list to be printed.")
@click.option("--none", "nowhere", is_flag=True, help="Not any more; forget what was sent.")
@click.option(
    "--language",
    type=click.Choice(["en", "zh"]),
    default="en",
    show_default=True,
    help="Of messages.",
)
@pass_session
@waits
async def contact(
    session: Session,
    name: str,
    org: str | None,
    email: str | None,
    webhook: str | None,
    letter: str | None,
    nowhere: bool,
    language: str,
) -> None:
    """Say where to be told; the custodian keeps it in its vault, and nobody else learns it.

    A message says that something happened, where and on which day: no name, nothing medical."""
    given = [
        (carrier, address)
        for carrier, address in (("email", email), ("webhook", webhook), ("print", letter))
        if address is not None
    ]
    if len(given) + nowhere != 1:
        raise CliError("USAGE", "one of --email, --webhook, --print and --none")
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    carrier, address = given[0] if given else (None, None)
    async with at_custodian(session, relation) as client:
        await client.set_contact(relation.handle.hex(), carrier, address, language)
    how = f"by {carrier}" if carrier else "no more"
    session.out.result(
        {"patient": name, "at": relation.org, "carrier": carrier},
        f"{session.out.mark(True)} «{name}» is told {how} by {relation.org}",
    )


@command()
@click.argument("name")
@_at
@pass_session
@waits
async def notices(session: Session, name: str, org: str | None) -> None:
    """What the patient was told, and whether it arrived; newest first."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with at_custodian(session, relation) as client:
        page = await client.notices(relation.handle.hex())
    columns = ("WHEN", "WHAT", "TIMES", "DELIVERY", "TRIED")
    rows = [
        (
            time_text(one.time_ms),
            printable(one.kind),
            one.count,
            printable(one.delivery),
            one.attempts,
        )
        for one in page.notices
    ]
    session.out.table({"patient": name, "at": relation.org} | plain(page), columns, rows)
