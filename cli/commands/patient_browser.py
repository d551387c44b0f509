"""`salus patient browser …`: let a browser see and end permissions, by a key of its own."""

from datetime import date
from pathlib import Path

import click

from cli.connect import waits
from cli.cosign_options import cosigned
from cli.cosigning import deliver
from cli.errors import CliError
from cli.group import command
from cli.owners import as_owner, entry_of, now_ms, tell
from cli.session import Session, pass_session
from cli.wallets import open_wallet
from salus import browser_code
from salus.acts import relations
from salus.key_request import KeyRequest, Use
from salus.relation import DAY_MS, Right

_EPOCH_DAY = date(1970, 1, 1).toordinal()


@command()
@click.argument("name")
@click.option("--code", metavar="CODE", required=True, help="What the page shows.")
@click.option(
    "--rights",
    metavar="R,R",
    default="view,revoke,deny",
    show_default=True,
    help="Of view, revoke, deny.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    help="How long, in days.",
)
@click.option("--dry-run", is_flag=True, help="Check the code; send nothing.")
@cosigned
@pass_session
@waits
async def browser(
    session: Session,
    name: str,
    code: str,
    rights: str,
    days: int,
    dry_run: bool,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """Enter the key of a browser whose page shows CODE, for NAME.

    The key stays in that browser. It may see, end and deny permissions, and nothing more;
    `salus patient show NAME` lists it, `salus patient delegate remove NAME KEY` ends it. Where the
    hospital holds the patient's key it is co-signed."""
    found = browser_code.read(code)
    try:
        given = sorted({Right(word) for word in rights.split(",")})
    except ValueError:
        raise CliError("USAGE", "--rights: of view, revoke and deny") from None
    wallet = open_wallet(session, name)
    relation = wallet.relation(found.org)
    if relation.handle != found.handle:
        raise CliError(
            "BAD_CODE",
            f"the code is of another patient at {found.org}",
            next_step=f"salus patient show {name} names the handle to give to the page",
        )
    until_day = now_ms() // DAY_MS + days
    told = {
        "key": found.key.hex(),
        "rights": [right.value for right in given],
        "until": str(date.fromordinal(_EPOCH_DAY + until_day)),
    }
    if dry_run:
        session.out.result(told, "nothing sent (--dry-run)")
        return
    asked = KeyRequest(
        Use.DELEGATE, found.chain_id, relation.whose, found.key, None, found.possession
    )
    async with as_owner(session, wallet, relation) as (client, chain_id):
        if chain_id != found.chain_id:
            raise CliError("BAD_CODE", "the code is of another chain")
        entry = await entry_of(client, relation)
        unsigned = relations.add_delegate(asked, given, until_day)
        done = await deliver(session, client, relation, entry, unsigned, cosigners, draft)
    if done is not None:
        tell(session, "browser entered", name, relation, done, **told)
