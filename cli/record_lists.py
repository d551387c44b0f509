"""A patient's records at the command line: which there are, and what was examined, as tickets permit it.

A list is a read like any other: asked for with a person's key, decided on the chain, told to the patient.
Who has the patient's wallet knows the custodians; staff have them from permits that came to their node.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from cli import wallets
from cli.errors import CliError
from cli.reading import at_node, signer_at, site_of
from cli.session import Session
from salus.asking import Wish
from salus.client import Client
from salus.client_results import KeyOf, Listed
from salus.errors import SalusError
from salus.keys import Signer
from salus.permit import Classes, Purpose
from salus.reading import FINER_TERMS, OTHER_CLASSES, TOO_MANY
from salus.relation import Whose

HANDLE_HEX_CHARS = 64


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks, by which node, and where."""

    client: Client
    wish: Wish
    places: tuple[Whose, ...]
    key: KeyOf


@asynccontextmanager
async def reader(
    session: Session, patient: str, org: str | None, purpose: Purpose
) -> AsyncIterator[Reader]:
    """For --as of the session. `patient`: a wallet's name, or the handle that he has here; `org`: one
    custodian alone. Raises `CliError`."""
    async with at_node(session, purpose) as client:
        member, chain = (await client.status()).member, await client.chain()
        if member is None:
            raise CliError("NOT_ENABLED", "this node is no member's: nobody reads through it")
        places = await _places(session, client, patient, org)
        keys: dict[Whose, Signer | SalusError] = {}
        for whose in places:
            try:
                keys[whose] = await signer_at(session, client, purpose, whose)
            except SalusError as error:  # of one relation; it hides nothing of the others
                keys[whose] = error

        def key(whose: Whose) -> Signer:
            found = keys[whose]
            if isinstance(found, SalusError):
                raise found
            return found

        site = await site_of(client, None, purpose)
        wish = Wish(chain.genesis.chain_id, member, purpose, site=site)
        yield Reader(client, wish, tuple(places), key)


async def lists(
    session: Session,
    patient: str,
    org: str | None,
    purpose: Purpose,
    classes: Classes | None,
) -> list[dict[str, Any]]:
    """One answer for each custodian, as --json prints it: what was decided, and the records."""
    async with reader(session, patient, org, purpose) as at:
        return [
            said(one) for one in await at.client.results.lists(at.places, at.wish, at.key, classes)
        ]


# Of which records nobody says whether there are any.
LEFT_OUT = {
    OTHER_CLASSES: "records that carry another class too are not among them",
    FINER_TERMS: "nothing is listed: the terms withhold more than whole classes",
    TOO_MANY: "the oldest are not among them: ask for fewer classes",
}


def standing(answer: dict[str, Any]) -> str | None:
    """Why the list is not all that there is, in plain words; None: it is."""
    if answer["decision"] != "PERMIT":
        what = "denied" if answer["decision"] else "no answer"
        return f"{answer['custodian']}: {what}, {answer['reason']}"
    if answer["complete"]:
        return None
    why = "; ".join(LEFT_OUT.get(word, word) for word in answer["left_out"])
    classes = ", ".join(answer["classes"])
    return f"{answer['custodian']}: of the classes you may see here ({classes}); {why}"


def said(listed: Listed) -> dict[str, Any]:
    about = {"custodian": listed.whose.org, "handle": listed.whose.handle.hex()}
    rest = {
        "complete": listed.complete,
        "left_out": list(listed.left_out),
        "records": [
            {
                "record_id": one.record_id,
                "version": one.version,
                "classes": [kind.value for kind in one.classes],
                "media_type": one.media_type,
                "height": one.height,
            }
            for one in listed.records
        ],
    }
    if listed.decision is None:
        return about | {"decision": None, "reason": listed.reason} | rest
    return (
        about
        | {
            "decision": "PERMIT" if listed.decision else "DENY",
            "reason": listed.reason,
            "ticket_tx": listed.ticket_tx,
            "ticket_height": listed.ticket_height,
            "classes": [kind.value for kind in listed.classes],
        }
        | rest
    )


async def _places(session: Session, client: Client, patient: str, org: str | None) -> list[Whose]:
    """By the wallet, or by the handle here and what came with permits. Raises `CliError` (USAGE)."""
    if len(patient) == HANDLE_HEX_CHARS and not wallets.has_wallet(session, patient):
        try:
            handle = bytes.fromhex(patient)
        except ValueError:
            raise CliError("USAGE", "a handle has 64 hex digits") from None
        return [Whose(org, handle)] if org is not None else await client.results.places(handle)
    wallet = wallets.open_wallet(session, patient)
    found = wallet.contents.relations if org is None else (wallet.relation(org),)
    return [one.whose for one in found]
