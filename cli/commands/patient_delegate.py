"""`salus patient delegate …`: browsers, devices and persons with some of the owner's rights, for a
while."""

from datetime import date
from pathlib import Path

import click

from cli.commands.patient_guardian import asked_by, friend_key
from cli.connect import short, waits
from cli.cosign_options import cosigned
from cli.cosigning import deliver
from cli.errors import CliError
from cli.group import group
from cli.owners import as_owner, at_custodian, entry_of, now_ms, tell
from cli.session import Session, pass_session
from cli.shown import relation_shown
from cli.wallets import open_wallet
from salus import key_request
from salus.acts import relations
from salus.key_request import Use
from salus.patient_keys import Relation, browser_keys
from salus.relation import DAY_MS, Right

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@group()
def delegate() -> None:
    """Keys that may view, revoke or deny for the patient."""


@delegate.command()
@click.argument("name")
@click.argument("who", metavar="[WALLET|FILE]", required=False)
@click.option("--device", type=click.IntRange(min=0), metavar="N", help="Instead: browser N's key.")
@_at
@click.option("--rights", default="view", show_default=True, help="Of view, revoke, deny.")
@click.option("--until", default="365d", show_default=True, metavar="90d|DATE", help="Last day.")
@cosigned
@pass_session
@waits
async def add(
    session: Session,
    name: str,
    who: str | None,
    device: int | None,
    org: str | None,
    rights: str,
    until: str,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """Give a wallet of this home, or the key that a request file asks for, some rights.

    Where the hospital holds the patient's key it is co-signed."""
    if (who is None) == (device is None):
        raise CliError("USAGE", "name a wallet, a request file, or --device N")
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, chain_id):
        entry = await entry_of(client, relation)
        if who is not None:
            asked = await asked_by(session, client, who, chain_id, relation, Use.DELEGATE)
        else:
            assert device is not None
            key = browser_keys(wallet.seed, Relation(chain_id, relation.org), device).signing
            asked = key_request.make(Use.DELEGATE, chain_id, relation.whose, key)
        unsigned = relations.add_delegate(asked, _rights(rights), _last_day(until))
        done = await deliver(session, client, relation, entry, unsigned, cosigners, draft)
    if done is not None:
        tell(session, "delegated", name, relation, done, key=asked.key.hex())


@delegate.command()
@click.argument("name")
@click.argument("who", metavar="WALLET|KEY")
@_at
@cosigned
@pass_session
@waits
async def remove(
    session: Session,
    name: str,
    who: str,
    org: str | None,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """Take the rights back, at once; a delegate (--as) may also give them back itself."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, chain_id):
        entry = await entry_of(client, relation)
        key = friend_key(session, who, chain_id, relation, entry)
        unsigned = relations.remove_delegate(relation.whose, key)
        done = await deliver(session, client, relation, entry, unsigned, cosigners, draft)
    if done is not None:
        tell(session, "removed", name, relation, done, key=key.hex())


@delegate.command("list")
@click.argument("name")
@_at
@pass_session
@waits
async def list_(session: Session, name: str, org: str | None) -> None:
    """The delegates of a relation, also those whose last day is over."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with at_custodian(session, relation) as client:
        chain_id = (await client.chain()).genesis.chain_id
        entry = await entry_of(client, relation)
    rows = relation_shown(wallet, chain_id, relation, entry, None, now_ms())["delegates"]
    session.out.table(
        {"patient": name, "at": relation.org, "delegates": rows},
        ("KEY", "RIGHTS", "UNTIL", "ENDED"),
        [(short(one["key"]), ", ".join(one["rights"]), one["until"], one["ended"]) for one in rows],
    )


def _rights(text: str) -> list[Right]:
    words = {one.value: one for one in Right}
    given = text.split(",")
    unknown = [word for word in given if word not in words]
    if unknown:
        raise CliError("BAD_RIGHTS", f"«{unknown[0]}» is none of {', '.join(words)}")
    return [words[word] for word in given]


def _last_day(text: str) -> int:
    """`90d` from today, or a date; as UTC days since 1970."""
    number, unit = text[:-1], text[-1:]
    if unit == "d" and number.isascii() and number.isdigit() and len(number) <= 5:
        return now_ms() // DAY_MS + int(number)
    try:
        return date.fromisoformat(text).toordinal() - _EPOCH_DAY
    except ValueError:
        raise CliError("USAGE", "--until: 90d, or a date like 2027-01-31") from None
