"""Lists of a patient's records, and what was examined already: `client.results`.

    places = await client.results.places(handle_here)
    found = await client.results.find(places, wish, key, ResultCode.parse("http://loinc.org|4548-4"))

Asked through the gates: each list and each record is a read of its own, under a ticket, and stands in
the patient's trail. Of a record only the results are asked for; what else stands in it stays withheld.
"""

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from salus.asking import Wish
from salus.client_access import Read
from salus.client_errors import ClientError
from salus.errors import SalusError
from salus.ips.joined import JoinedView, Source
from salus.ips.results import Result, ResultCode, results
from salus.keys import Signer
from salus.permit import Classes, RecordClass
from salus.reading import OTHER_CLASSES, RECORD_LIST, UNSAID, Found, Located, record_list
from salus.relation import Whose

if TYPE_CHECKING:
    from salus.client import Client

FHIR_TYPES = ("application/fhir+json", "application/fhir+ndjson", "application/json")
READS_MAX = (
    50  # of one search at one custodian: each is a ticket, and a line that the patient reads
)

# A key for what is asked: of staff the same everywhere, of a patient another in each relation.
KeyOf = Callable[[Whose], Signer]


class ListedRecord(msgspec.Struct, frozen=True):
    """A line of a custodian's list (node/record_list.py); more may stand in it one day."""

    record_id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
    version: Annotated[int, msgspec.Meta(ge=1)]
    classes: tuple[RecordClass, ...]
    media_type: str = ""
    height: int | None = None


Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Z_]{1,32}$(?!\n)")]


class _List(msgspec.Struct, frozen=True):
    complete: bool = False
    left_out: Annotated[tuple[Word, ...], msgspec.Meta(max_length=16)] = ()
    records: tuple[ListedRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """What one custodian answered. `decision`: None if it did not, and `reason` is why."""

    whose: Whose
    classes: Classes  # that were asked for
    decision: bool | None
    reason: str
    ticket_tx: str | None = None
    ticket_height: int | None = None
    # Words of salus.reading: what may be missing, by what was asked for and permitted. Whether there is
    # any such record is not said.
    left_out: tuple[str, ...] = ()
    records: tuple[ListedRecord, ...] = ()  # newest first

    @property
    def complete(self) -> bool:
        """All records that the patient has here are in it."""
        return self.decision is True and not self.left_out


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found, newest first. `whole`: every place was read to its end, and asked for all classes;
    else something may have been examined that nobody showed."""

    found: tuple[Result, ...]
    lists: tuple[Listed, ...]
    reads: int  # documents that were opened, a ticket each
    unread: tuple[tuple[str, str], ...]  # (record id, why) of those that were not
    whole: bool


class ResultsClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def places(self, here: bytes) -> list[Whose]:
        """Where records of a patient may be, whom the first node's organisation knows under `here`: at
        itself, and at whoever sent it a permit of his."""
        member = (await self._client.status()).member
        known = [] if member is None else [Whose(member, here)]
        for one in (await self._client.access.permits_of(here)).items:
            place = Whose(one.custodian, bytes.fromhex(one.handle))
            known += [] if place in known else [place]
        return known

    async def listed(
        self, whose: Whose, wish: Wish, key: Signer, classes: Classes | None = None
    ) -> Listed:
        """Which records there are of these classes; default: of all that the wish may see. Raises
        `SalusError`."""
        asked = classes or await self._classes(whose, wish)
        wanted = record_list(whose.org, whose.handle, asked)
        found = Found(whose.org, Located(whose.handle, wanted.version, wanted.commitment, asked))
        with tempfile.TemporaryDirectory() as folder:  # of this user alone, and gone at once
            output = Path(folder) / "list"
            done = await self._client.access.read(RECORD_LIST, wish, key, output, found=found)
            raw = b"" if done.path is None else await asyncio.to_thread(output.read_bytes)
        told = (whose, asked, done.permitted, done.reason, done.ticket_tx, done.ticket_height)
        if not done.permitted:
            return Listed(*told)
        listed = read_list(raw)
        return Listed(*told, left_out(asked, listed), listed.records)

    async def lists(
        self,
        places: Sequence[Whose],
        wish: Wish,
        key: KeyOf,
        classes: Classes | None = None,
    ) -> list[Listed]:
        """Of several custodians; one that cannot be reached hides nothing of the others. Raises
        `SalusError` if none answers."""
        answers: list[Listed] = []
        failed: SalusError | None = None
        for whose in places:
            try:
                answers.append(await self.listed(whose, wish, key(whose), classes))
            except SalusError as error:
                failed = failed or error
                answers.append(Listed(whose, classes or (), None, error.code))
        if failed is not None and all(one.decision is None for one in answers):
            raise failed
        return answers

    async def find(
        self,
        places: Sequence[Whose],
        wish: Wish,
        key: KeyOf,
        code: ResultCode,
        since_ms: int = 0,
        reads_max: int = READS_MAX,
    ) -> Searched:
        """Has this been examined since then? The newest `reads_max` records with results are opened at
        each place. Whether a result is still good enough, a doctor decides."""
        view, lists = JoinedView(), await self.lists(places, wish, key)
        unread: list[tuple[str, str]] = []
        whole, reads = True, 0
        for listed in lists:
            fitting = [one for one in listed.records if _fits(one)]
            # A list of some classes is silent about records that have another one beside results.
            whole &= listed.complete and len(fitting) <= reads_max
            unread += [(one.record_id, "NOT_ASKED") for one in fitting[reads_max:]]
            # Oldest first: a later state of the same thing takes its place.
            for one in reversed(fitting[:reads_max]):
                why = await self._add(view, listed.whose, one, wish, key(listed.whose))
                reads += why is None
                unread += [] if why is None else [(one.record_id, why)]
        found = tuple(results(view, code, since_ms))
        return Searched(found, tuple(lists), reads, tuple(unread), whole and not unread)

    async def read_into(
        self,
        view: JoinedView,
        whose: Whose,
        record: ListedRecord,
        wish: Wish,
        key: Signer,
        classes: Classes | None = None,
    ) -> Read:
        """One record of a list through the gate into a view; of its `classes`, default all. Raises
        `SalusError`."""
        record_id = bytes.fromhex(record.record_id)
        found = await self._client.access.locate(
            record_id, version=record.version, custodian=whose.org
        )
        if classes is not None:
            held = tuple(one for one in found.located.classes if one in classes)
            located = msgspec.structs.replace(found.located, classes=held)
            found = msgspec.structs.replace(found, located=located)
        with tempfile.TemporaryDirectory() as folder:  # of this user alone, and gone at once
            output = Path(folder) / "document"
            done = await self._client.access.read(
                record_id, wish, key, output, version=record.version, found=found
            )
            if done.path is None or done.part is None:
                return done
            content = await asyncio.to_thread(output.read_bytes)
        commitment = done.part.commitment.hex()
        source = Source(whose.org, record.record_id, record.version, commitment, record.height)
        view.add(content, source)
        return done

    async def _add(
        self, view: JoinedView, whose: Whose, record: ListedRecord, wish: Wish, key: Signer
    ) -> str | None:
        """None, or why nothing came."""
        only = (RecordClass.RESULTS,)
        try:
            done = await self.read_into(view, whose, record, wish, key, only)
        except SalusError as error:
            return error.code
        return None if done.path is not None else done.reason

    async def _classes(self, whose: Whose, wish: Wish) -> Classes:
        """All, or those of the permit that will be cited: more would be denied."""
        every = tuple(RecordClass)
        if wish.own or whose.org == wish.requester:
            return every
        docket = await self._client.access.docket(whose.org, whose.handle, wish)
        standing = [one for one in docket.permits if one.ended_height is None]
        return standing[-1].classes if standing else every


def read_list(raw: bytes) -> _List:
    """A custodian's list, which it derived and signed. Raises `ClientError` (BAD_ANSWER)."""
    try:
        return msgspec.convert(json.loads(raw), _List)
    except (ValueError, RecursionError, msgspec.ValidationError):
        raise ClientError("the custodian's list has not its form") from None


def left_out(asked: Classes, said: _List) -> tuple[str, ...]:
    """What a list of these classes may leave out: what it says, and what follows from the question."""
    found = [] if set(asked) == set(RecordClass) else [OTHER_CLASSES]
    found += [word for word in said.left_out if word not in found]
    return tuple(found) if found or said.complete else (UNSAID,)


def _fits(record: ListedRecord) -> bool:
    fhir = record.media_type.split(";")[0] in FHIR_TYPES
    return fhir and RecordClass.RESULTS in record.classes
