"""Opening what a certified ticket permits: the keeper's keys, and what is shown of each version.

Law of the file: keys come from the keeper alone, for the proof of the ticket; content is read, cut
and forgotten.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from node.gate_records import Kept, keys_of
from node.keeper import UnwrapRequest
from node.keeper_weighing import InnerDecision
from node.proofs import ProofMaker
from node.shown import Chunks, Shown, cut
from node.ticket_files import TicketFile
from salus.consent.redact import Wanted
from salus.errors import SalusError
from salus.granting import beyond
from salus.permit import Purpose, docket_key
from salus.ticket import Request
from storage.errors import DocumentMissing
from storage.vault import Vault

CUTS_AT_ONCE = 2  # each may have a document in memory, with its parts

# So long nothing is permitted for a keeper that did not answer, or goes by another time and would refuse the
# next one too: each try would be one more ticket in the patient's trail, of a read that never was.
KEEPER_RESTS_S = 5.0
_RESTS = frozenset({"KEEPER_DOWN", "CLOCK_BEHIND"})


class Keeper(Protocol):
    """`node.keeper_socket.KeeperDesk`."""

    async def unwrap(self, request: UnwrapRequest) -> tuple[bytes, ...]: ...


class Opened(NamedTuple):
    """A version by its commitment: where it lies, what opens it, what is shown of it."""

    commitment: bytes
    document: bytes
    key: bytes
    shown: Shown


class Opener:
    """`clock`: seconds that only grow."""

    def __init__(
        self,
        proofs: ProofMaker,
        keeper: Keeper,
        vault: Vault,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._proofs, self._keeper, self._vault = proofs, keeper, vault
        self._clock, self._random = clock, random
        self._cuts = asyncio.Semaphore(CUTS_AT_ONCE)
        self._rests_until_s, self._refusal = float("-inf"), ("", "")

    def require_keeper(self) -> None:
        """Before a ticket is made. Raises `SalusError` (KEEPER_DOWN, CLOCK_BEHIND)."""
        if self._clock() < self._rests_until_s:
            code, message = self._refusal
            raise SalusError(f"a moment ago: {message}", code=code)

    async def opened(
        self, file: TicketFile, kept: tuple[Kept, ...], wanted: Wanted
    ) -> list[Opened]:
        """The ticket is certified. Raises `SalusError` (KEEPER_DOWN, KEEPER_REFUSED, TICKET_OLD,
        CLOCK_BEHIND, ERASED)."""
        proof = await self._proofs.file(file.tx_id)
        assert proof is not None, "the ticket is certified"
        inner = InnerDecision(file.decision_salt, file.weighing, file.opened)
        docket = await self._docket(file.ask.request)
        question = UnwrapRequest(proof, file.ask.records_salt, keys_of(kept), inner, docket)
        try:
            keys = await self._keeper.unwrap(question)
        except SalusError as error:
            if error.code in _RESTS:
                self._rests_until_s = self._clock() + KEEPER_RESTS_S
                self._refusal = error.code, error.message
            raise
        asked = file.ask.request.classes
        return [
            await self._one(
                one, key, Wanted((*wanted.obligations, *beyond(asked, one.key.classes)))
            )
            for one, key in zip(kept, keys, strict=True)
        ]

    async def _docket(self, request: Request) -> bytes:
        """That no permit was left out, for the keeper (rule K-4); certified with the ticket or later."""
        if request.purpose is Purpose.PATIENT_REQUEST:
            return b""
        place = request.custodian, request.handle, request.requester, request.purpose
        return await self._proofs.state_file(lambda _: (docket_key(*place),))

    async def _one(self, kept: Kept, key: bytes, wanted: Wanted) -> Opened:
        private = kept.private
        chunks = self._chunks(private.document, key)
        async with self._cuts:
            try:
                shown = await asyncio.to_thread(cut, private, wanted, chunks, self._random)
            except DocumentMissing:
                raise _gone() from None
        return Opened(private.commitment, private.document, key, shown)

    def read(self, shown: Shown, document: bytes, key: bytes, start: int, size: int) -> bytes:
        """Shown bytes of an opened version. In a thread. Raises `SalusError` (ERASED)."""
        try:
            return shown.read(start, size, self._chunks(document, key))
        except DocumentMissing:
            raise _gone() from None

    def _chunks(self, document: bytes, key: bytes) -> Chunks:
        return lambda first: self._vault.get(document, key=key, first=first)


def _gone() -> SalusError:
    return SalusError("the document was erased meanwhile", code="ERASED")
