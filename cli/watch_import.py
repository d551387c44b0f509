"""One document of a watched folder: into the vault, anchored once, whatever was cut off before.

    unknown → sending → signed → done | refused

Law of the file: each step is in the journal before the next one can have an effect outside.
"""

import asyncio
import hashlib
import os
from dataclasses import dataclass, field
from typing import Literal, Protocol

from cli.errors import CliError, from_library
from cli.watch_journal import Entry, Journal
from salus.client import Client
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
from salus.forms import Staged

TRIES_MAX = 3  # transactions for one document: each later one because the one before has expired
STAGE_S = 60.0  # for 32 MiB over a slow line, checked, cut and encrypted
ADOPT_RECORDS_MAX = 500  # the newest; what was cut off without a trace is among the last few

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


class Importer(Protocol):
    async def take(self, content: bytes, media_type: str) -> Outcome:
        """Raises `UnreachableError`, `NotReadyError`, `AuthError`: nothing can be done now."""


class ChainImporter:
    """Through a node; the journal remembers."""

    def __init__(self, client: Client, journal: Journal, *, timeout_s: float) -> None:
        """`timeout_s`: until a transaction without an outcome counts as pending."""
        self._client, self._journal, self._timeout_s = client, journal, timeout_s
        # record id → SHA-256 of its document, of what lay staged when we began.
        self._orphans: dict[str, bytes] | None = None

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
        notices: tuple[str, ...] = ()
        if entry is None or entry.state == "sending":
            staged = None if entry is None else await self._orphan(content)
            if staged is None:
                self._journal.note(Entry(identity, "sending"))
                staged = await self._client.record_stage(content, media_type, timeout_s=STAGE_S)
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

    async def _orphan(self, content: bytes) -> Staged | None:
        """The record that an earlier life staged without hearing its id: it is taken up, so that
        the vault does not keep the document twice."""
        if self._orphans is None:
            self._orphans = {}
            ours = {entry.record_id for entry in self._journal.entries.values()}
            after, seen = None, 0
            while seen < ADOPT_RECORDS_MAX:
                page = await self._client.records(after=after, limit=100)
                for form in page.items:
                    states = [version.state for version in form.versions]
                    if states == ["staged"] and form.record_id not in ours:
                        _, document = await self._client.record_document(form.record_id)
                        self._orphans[form.record_id] = hashlib.sha256(document).digest()
                after, seen = page.next, seen + len(page.items)
                if after is None:
                    break
        digest = hashlib.sha256(content).digest()
        found = next((i for i, other in self._orphans.items() if other == digest), None)
        if found is None:
            return None
        del self._orphans[found]
        try:
            return await self._client.record_staged(found)
        except NotFoundError:  # somebody else has anchored it meanwhile
            return None


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
        self._key = os.urandom(32)

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
