"""Messages at the command line: who writes, where it is kept, whose key signed what is read."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from cli import reading, wallets
from cli.connect import connect
from cli.errors import CliError
from cli.owners import as_owner, at_custodian
from cli.session import Session
from cli.shown import time_text
from salus.client import Client, Committed
from salus.client_messages import Letter
from salus.forms_records import RecordForm, Staged
from salus.message import Author, Message
from salus.wallet import KnownRelation


@asynccontextmanager
async def _writer(
    session: Session, relation: KnownRelation, patient: str | None
) -> AsyncIterator[tuple[Client, Author]]:
    """A client that holds the author's key. `patient`: the wallet's name, if there is one here."""
    if patient is not None and session.key in (None, patient):
        wallet = wallets.open_wallet(session, patient)
        async with as_owner(session, wallet, relation) as (client, _):
            yield client, Author.PATIENT
        return
    if session.key is None:
        raise CliError("USAGE", "who writes? --as STAFF, or the patient's wallet")
    async with at_custodian(session, relation, sign=True) as client:
        yield client, Author.STAFF


async def send(
    session: Session,
    relation: KnownRelation,
    patient: str | None,
    subject: str,
    text: str,
    reply_to: str | None,
) -> tuple[Message, Staged, Committed]:
    """Signed by --as, kept by the custodian, anchored by its operator."""
    async with _writer(session, relation, patient) as (client, author):
        assert client.signer is not None
        letter = await client.messages.write(
            relation.whose, author, client.signer, text, subject=subject, reply_to=reply_to
        )
    async with connect(replace(session, key=None), sign=True) as operator:
        staged, done = await operator.messages.send(letter)
    return letter, staged, done


async def listed(
    session: Session, relation: KnownRelation, patient: str | None
) -> list[RecordForm]:
    """Newest first: for the patient by a session of his key, else those of the node at hand."""
    if patient is not None and session.key in (None, patient):
        wallet = wallets.open_wallet(session, patient)
        async with as_owner(session, wallet, relation) as (client, _):
            assert client.signer is not None
            return await client.messages.letters(relation.whose, client.signer)
    async with at_custodian(session, relation) as client:
        return await client.messages.letters(relation.whose)


async def read(session: Session, relation: KnownRelation, wanted: reading.Reading) -> Letter | None:
    """Through the gate, verified; None if it was denied. Raises `BadMessage` (BAD_LETTER)."""
    with tempfile.TemporaryDirectory(prefix="salus-message-") as folder:  # readable by this user
        done = await reading.read(session, wanted, Path(folder) / "message", None)
        if done.path is None:
            return None
        document = done.path.read_bytes()
    async with at_custodian(session, relation) as client:
        return await client.messages.opened(relation.whose, document, done.ticket_height)


def sent_text(sent_ms: int) -> str:
    """When the author says that he wrote; he may say anything."""
    try:
        return time_text(sent_ms)
    except (ValueError, OverflowError, OSError):
        return f"{sent_ms} ms after 1970"
