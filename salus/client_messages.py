"""Letters between a patient and the staff of his hospital: `client.messages`.

A letter is a record: its author signs it, the custodian's operator anchors it, and who reads it
asks the gate for a ticket.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from salus import message
from salus.asking import Wish
from salus.client_me import MyClient
from salus.forms_records import RecordForm, Staged
from salus.keys import Signer
from salus.message import Author, Message
from salus.relation import Whose

if TYPE_CHECKING:
    from salus.client import Client
    from salus.client_transactions import Committed

PER_PAGE = 100  # as many as the node gives


@dataclass(frozen=True, slots=True)
class Letter:
    """A message as it was read, and whose key signed it by the chain of now."""

    message: Message
    by: str  # the patient, a delegate, ORG staff; or a key that is in force no more
    ticket_height: int | None


class MessagesClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def write(
        self,
        whose: Whose,
        author: Author,
        key: Signer,
        text: str,
        *,
        subject: str = "",
        reply_to: str | None = None,
    ) -> Message:
        """Signed by its author, not sent yet. Raises `BadMessage` (BAD_LETTER)."""
        return message.write(
            key,
            author,
            chain_id=(await self._client.chain()).genesis.chain_id,
            custodian=whose.org,
            handle=whose.handle,
            sent_ms=time.time_ns() // 1_000_000,
            subject=subject,
            text=text,
            reply_to=reply_to,
        )

    async def send(self, letter: Message) -> tuple[Staged, "Committed"]:
        """Into the vault of the custodian's node, whose operator signs."""
        return await self._client.record_add(
            letter.document(), message.MEDIA_TYPE, handle=letter.handle
        )

    async def letters(self, whose: Whose, owner: Signer | None = None) -> list[RecordForm]:
        """Newest first, without what they say: by a session of the owner's or a delegate's key, else
        those of the first node's vault, which only its own people may list."""
        if owner is not None:
            mine = await MyClient.log_in(self._client, owner, whose.handle)
            found = list((await mine.records()).items)
        else:
            found = [one async for one in self._all()]
        handle = whose.handle.hex()
        return [
            one for one in found if one.media_type == message.MEDIA_TYPE and one.handle == handle
        ]

    async def read(self, record_id: bytes, whose: Whose, wish: Wish, key: Signer) -> Letter | None:
        """Through the gate, verified; None if it was denied. Raises `BadMessage` (BAD_LETTER)."""
        with tempfile.TemporaryDirectory(prefix="salus-message-") as folder:  # of this user alone
            output = Path(folder) / "message"
            done = await self._client.access.read(record_id, wish, key, output, custodian=whose.org)
            if done.path is None:
                return None
            document = await asyncio.to_thread(done.path.read_bytes)
        return await self.opened(whose, document, done.ticket_height)

    async def opened(self, whose: Whose, document: bytes, ticket_height: int | None) -> Letter:
        """A document that was read, as a letter. Raises `BadMessage` (BAD_LETTER)."""
        chain_id = (await self._client.chain()).genesis.chain_id
        found = message.read(document, chain_id, whose.org, whose.handle)
        return Letter(found, await self._author(whose, found), ticket_height)

    async def _all(self) -> AsyncIterator[RecordForm]:
        after: str | None = None
        while True:
            page = await self._client.records(after=after, limit=PER_PAGE)
            for one in page.items:
                yield one
            if page.next is None:
                return
            after = page.next

    async def _author(self, whose: Whose, found: Message) -> str:
        key = bytes.fromhex(found.key)
        if found.author is Author.STAFF:
            answer = await self._client.query("members", "key", public_key=found.key)
            if answer is None:
                return "an unknown key"
            return f"{answer['member']} {answer['capacity']}, {answer['status']}"
        entry = (await self._client.patients.get(whose)).settled_at(time.time_ns() // 1_000_000)
        if key == entry.owner_key:
            return "the patient"
        if any(one.key == key for one in entry.delegates):
            return "a delegate of the patient"
        return "a key that the relation does not have any more, or never had"
