"""`salus patient card …`: what an unconscious patient carries, so that his relation can be found (rule
I-9).

A card's secret comes from the patient's seed and its number; on the chain stands a key that only the
card's secret gives.
"""

import sys
from pathlib import Path

import click

from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import group
from cli.owners import as_owner, tell
from cli.session import Session, pass_session
from cli.wallets import OpenWallet, open_wallet
from salus import card as cards
from salus import files
from salus.client_errors import ClientError
from salus.own_relation import OwnRelation
from salus.patient_keys import Relation, card_secret, card_tag
from salus.wallet import KnownRelation

CARDS_MAX = 64  # that a patient loses at one organisation

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")
_text = click.argument("text", metavar="CARD|-")


@group()
def card() -> None:
    """Cards by which a clinician finds the relation of somebody who cannot speak."""


@card.command()
@click.argument("name")
@_at
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write what stands on the card there, and not to the terminal.",
)
@pass_session
@waits
async def issue(session: Session, name: str, org: str | None, output: Path | None) -> None:
    """Enter the next card, and show what to print on it: as text, or for any QR code maker."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, chain_id):
        own = OwnRelation(wallet.seed, chain_id, relation)
        for number in range(CARDS_MAX):
            try:
                text, done = await client.cards.issue(own, number)
            except ClientError as error:
                if error.code != "DUPLICATE_CARD":
                    raise
                continue  # issued before, perhaps by another device of the patient
            break
        else:
            raise CliError("DUPLICATE_CARD", f"«{name}» had {CARDS_MAX} cards at {relation.org}")
    shown = {"number": number, "card": card_tag(own.card(number)).hex()}
    if output is None:
        tell(session, "card issued", name, relation, done, **shown, payload=text)
        session.out.note(f"  {text}")
    else:
        files.write_new(output, f"{text}\n".encode())
        tell(session, "card issued", name, relation, done, **shown, file=str(output))


@card.command()
@click.argument("name")
@click.argument("which", metavar="NUMBER|CARD|-")
@_at
@pass_session
@waits
async def end(session: Session, name: str, which: str, org: str | None) -> None:
    """A card was lost: it finds nobody any more. By the patient, or the organisation (--as)."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    context = as_owner(session, wallet, relation)
    async with context as (client, chain_id):
        tag = card_tag(_secret(wallet, chain_id, relation, which))
        done = await client.cards.end_tag(relation.whose, tag)
    tell(session, "card ended", name, relation, done, card=tag.hex())


@card.command()
@_text
@pass_session
@waits
async def find(session: Session, text: str) -> None:
    """Whose a card is: organisation and handle. «-» reads it from stdin, where no list of
    processes shows it."""
    async with connect(session) as client:
        found = await client.cards.find(_read(text))
    handle = found.whose.handle.hex()
    document = {"at": found.whose.org, "handle": handle, "height": found.height}
    session.out.result(document, f"{found.whose.org}  handle {handle}")


def _secret(wallet: OpenWallet, chain_id: str, relation: KnownRelation, which: str) -> bytes:
    """Of a card by its number at this relation, or by what stands on it."""
    if which.isascii() and which.isdigit() and int(which) < CARDS_MAX:
        return card_secret(wallet.seed, Relation(chain_id, relation.org), int(which))
    return cards.parse(_read(which))


def _read(text: str) -> str:
    return sys.stdin.read(4 * cards.CARD_CHARS) if text == "-" else text
