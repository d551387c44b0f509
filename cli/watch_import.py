"""One document of a watched folder: into the vault, anchored once, whatever was cut off before.

    unknown → sending → done | refused                 with the node's batches (rule B-6)
    unknown → sending → signed → done | refused        alone and at once

Law of the file: each step is in the journal before the next one can have an effect outside.
"""

import asyncio
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from cli.errors import CliError, from_library
from cli.watch_journal import Entry, Journal
from salus.client import Client, Committed
from salus.client_errors import (
    AuthError,
    ClientError,
    NotFoundError,
    NotReadyError,
    PendingError,
    RejectedError,
    RequestError,
    UnreachableError,
)
from salus.codes import Family, lookup
from salus.errors import SalusError
from salus.forms_records import Staged

TRIES_MAX = 3  # transactions for one document: each later one because the one before has expired
RECORD_ID_BYTES = 16  # as nodes draw them
STAGE_S = 60.0  # for 32 MiB over a slow line, checked, cut and encrypted

Kind = Literal["imported", "known", "refused", "failed", "pending"]


@dataclass(frozen=True)
class Outcome:
    """What became of one document; `failed` is worth another try, `refused` is not."""

    kind: Kind
    id: str
    record_id: str = ""
    tx_id: str = ""
    height: int = 0
    resources: int = 0
    schemaless: int = 0
    notices: tuple[str, ...] = ()
    error: CliError | None = field(default=None, compare=False)


# Documents on their way. Alone: enough to fill blocks, and few to send again after a kill. Of a batch each
# waits for the time, in the node's vault and, small, here: 64 in ten seconds are 6 a second.
AT_ONCE_ALONE, AT_ONCE_BATCHED = 4, 64


class Importer(Protocol):
    at_once: int

    async def take(self, content: bytes, media_type: str) -> Outcome:
        """Raises `UnreachableError`, `NotReadyError`, `AuthError`: nothing can be done now."""


class ChainImporter:
    """Through a node; the journal remembers."""

    def __init__(
        self, client: Client, journal: Journal, *, timeout_s: float, now: bool = False
    ) -> None:
        """`timeout_s`: until a transaction without an outcome counts as pending. `now`: each alone, not
        in the node's batches."""
        self._client, self._journal, self._timeout_s = client, journal, timeout_s
        self._now, self.at_once = now, AT_ONCE_ALONE if now else AT_ONCE_BATCHED
        self._roots: dict[str, tuple[asyncio.Task[Committed], bool]] = {}  # …, does it send?

    async def take(self, content: bytes, media_type: str) -> Outcome:
        identity = self._journal.id_of(content)
        entry = self._journal.entries.get(identity)
        if entry is not None and entry.state == "done":
            return _counted("known", entry)
        if entry is not None and entry.state == "refused":
            return Outcome("refused", identity, error=CliError(entry.code, entry.message))
        try:
            return await self._take(identity, entry, content, media_type)
        except (AuthError, NotReadyError, UnreachableError):
            raise
        except PendingError as error:
            return Outcome("pending", identity, tx_id=error.tx_id or "", error=from_library(error))
        except ClientError as error:
            told = from_library(error)
            if not _at_fault(error):
                return Outcome("failed", identity, error=told)
            self._journal.note(Entry(identity, "refused", code=told.code, message=told.message))
            return Outcome("refused", identity, error=told)

    async def _take(
        self, identity: str, entry: Entry | None, content: bytes, media_type: str
    ) -> Outcome:
        if not self._now and (entry is None or entry.state == "sending"):
            return await self._in_batch(identity, entry, content, media_type)
        notices: tuple[str, ...] = ()
        if entry is None or entry.state == "sending":
            if entry is None or not entry.record_id:
                entry = Entry(identity, "sending", record_id=secrets.token_hex(RECORD_ID_BYTES))
                self._journal.note(entry)
            try:
                # An earlier life's call may still be under way: under the same id it is one record.
                staged = await self._client.record_stage(
                    content, media_type, record_id=entry.record_id, timeout_s=STAGE_S
                )
            except NotFoundError:  # nothing waits: somebody has anchored it meanwhile
                standing = (await self._client.record(entry.record_id)).versions[-1]
                if standing.height is None:
                    raise
                return self._done(entry, standing.tx_id or "", standing.height, notices)
            notices = staged.notices
            entry = await self._signed(identity, staged)
        for left in reversed(range(TRIES_MAX)):
            try:
                done = await self._client.commit(bytes.fromhex(entry.transaction), self._timeout_s)
            except RejectedError as error:
                standing = (await self._client.record(entry.record_id)).versions[-1]
                if standing.height is not None:  # an earlier transaction of ours came through
                    return self._done(entry, standing.tx_id or "", standing.height, notices)
                if error.code != "EXPIRED" or not left:
                    raise
                staged = await self._client.record_staged(entry.record_id)
                entry = await self._signed(identity, staged, entry)
            else:
                return self._done(entry, done.tx_id, done.height, notices)
        raise AssertionError("the last try returns or raises")

    async def _in_batch(
        self, identity: str, entry: Entry | None, content: bytes, media_type: str
    ) -> Outcome:
        """Its id is one record, and a root is anchored once: no transaction need be kept."""
        if entry is None or not entry.record_id:
            entry = Entry(identity, "sending", record_id=secrets.token_hex(RECORD_ID_BYTES))
            # Synced: it may be anchored by another one of its batch, whatever becomes of this process.
            self._journal.note(entry, sync=True)
        counted: Staged | None = None
        for left in reversed(range(TRIES_MAX)):
            try:
                staged = await self._client.record_stage(
                    content,
                    media_type,
                    record_id=entry.record_id,
                    batched=True,
                    timeout_s=STAGE_S,
                )
                counted = counted or staged
                done = await self._anchored(staged)
            except NotReadyError as error:
                if error.code == "NOT_ANCHORED":  # who of its batch was to send has not yet
                    raise PendingError(error.message) from None
                if error.code != "NODE_BUSY" or not left:  # an earlier life's call waits still
                    raise
            except NotFoundError:  # nothing waits: it has been anchored meanwhile
                return await self._standing(entry, counted)
            except RejectedError as error:
                if error.code != "EXPIRED" or not left:
                    raise
            else:
                entry = _with_counts(entry, counted)
                return self._done(entry, done.tx_id, done.height, counted.notices)
        raise AssertionError("the last try returns or raises")

    async def _standing(self, entry: Entry, counted: Staged | None) -> Outcome:
        """As the chain has it. Raises `NotFoundError` if it is not there."""
        version = (await self._client.record(entry.record_id)).versions[-1]
        if version.height is None:
            raise NotFoundError(f"record {entry.record_id} is neither staged nor anchored")
        notices = () if counted is None else counted.notices
        return self._done(
            _with_counts(entry, counted), version.tx_id or "", version.height, notices
        )

    async def _anchored(self, staged: Staged) -> Committed:
        """One of this process sends what anchors a root; the others of it wait for that one."""
        task, sends = self._roots.get(staged.root, (None, False))
        if task is None or (staged.operations and not sends):
            task = asyncio.create_task(self._client.record_anchored(staged, self._timeout_s))
            self._roots[staged.root] = mine = task, bool(staged.operations)

            def ended(_: object) -> None:
                if self._roots.get(staged.root) is mine:
                    del self._roots[staged.root]

            task.add_done_callback(ended)
        return await asyncio.shield(task)

    async def _signed(self, identity: str, staged: Staged, counted: Entry | None = None) -> Entry:
        transaction = await self._client.staged_transaction(staged)
        entry = Entry(
            identity,
            "signed",
            record_id=staged.record_id,
            transaction=transaction.raw.hex(),
            resources=(counted or staged).resources,
            schemaless=(counted or staged).schemaless,
        )
        self._journal.note(entry, sync=True)
        return entry

    def _done(self, entry: Entry, tx_id: str, height: int, notices: tuple[str, ...]) -> Outcome:
        # Not synced: if it is lost, the same bytes are sent again and give the same answer.
        done = Entry(
            entry.id,
            "done",
            record_id=entry.record_id,
            resources=entry.resources,
            schemaless=entry.schemaless,
        )
        self._journal.note(done)
        return _counted("imported", done, tx_id, height, notices)


def _with_counts(entry: Entry, staged: Staged | None) -> Entry:
    if staged is None:
        return entry
    return msgspec.structs.replace(entry, resources=staged.resources, schemaless=staged.schemaless)


def _counted(
    kind: Kind, entry: Entry, tx_id: str = "", height: int = 0, notices: tuple[str, ...] = ()
) -> Outcome:
    return Outcome(
        kind,
        entry.id,
        entry.record_id,
        tx_id,
        height,
        entry.resources,
        entry.schemaless,
        notices,
    )


def _at_fault(error: ClientError) -> bool:
    """Is it the document's own fault, which no second try mends?"""
    return isinstance(error, RequestError) and (
        lookup(error.code).family is Family.DOCUMENT or error.code == "TOO_LARGE"
    )


class DryImporter:
    """The same check that the node makes at its edge; nothing is sent and nothing remembered."""

    def __init__(self) -> None:
        self._key, self.at_once = os.urandom(32), AT_ONCE_ALONE

    async def take(self, content: bytes, media_type: str) -> Outcome:
        from node.fhir import check_fhir

        identity = hashlib.blake2b(content, key=self._key, digest_size=32).hexdigest()
        try:
            checked = await asyncio.to_thread(check_fhir, content, media_type)
        except SalusError as error:
            return Outcome("refused", identity, error=from_library(error))
        if checked is None:
            return Outcome("imported", identity)
        return Outcome(
            "imported",
            identity,
            resources=checked.resources,
            schemaless=checked.schemaless,
            notices=checked.notices,
        )
