"""Who asks, and what he gets by the newest certified state and the openings in the vault (C-4 … C-6).

The same for a request and for each chunk afterwards. Law of the file: one height for all that is
read of the state; an opening that is missing denies.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from node.openings import Openings
from node.readers import Reader, reader_of
from node.record_subject import require_relation
from salus.codec import decode_known
from salus.consent.decision import Decision
from salus.consent.terms import encode_terms
from salus.consent.weigh import Opened
from salus.consent.weighing import OWN_PURPOSES, OpenedPermit, Weighing, put
from salus.granting import Grantee, question_of
from salus.permit import EMPTY, Docket, Outcome, Purpose, Reason, docket_key
from salus.statemap import SALT_BYTES
from salus.ticket import Request
from storage.state import StateStore


@dataclass(frozen=True, slots=True)
class Judged:
    """What a ticket would claim, and all that it was judged by."""

    reader: Reader
    outcome: Outcome
    weighing: Weighing
    openings: Mapping[bytes, Opened]  # by permit

    @property
    def opened(self) -> tuple[OpenedPermit, ...]:
        """The openings as a ticket's file keeps them."""
        return tuple(
            OpenedPermit(permit, one.salt, encode_terms(one.terms))
            for permit, one in self.openings.items()
        )

    @property
    def decision(self) -> Decision | None:
        return self.weighing.decision


class Scales:
    """Of one organisation."""

    def __init__(self, state: StateStore, org: str, openings: Openings) -> None:
        self.state, self.org, self.openings = state, org, openings

    def judge(self, member: str, request: Request, now_ms: int) -> Judged:
        """`member`: who brought the request; its signatures are checked already. In a thread: reads
        the disk. Raises `SalusError` (UNKNOWN_RELATION, UNKNOWN_READER), `VaultDamaged`."""
        height, (reader, docket) = self.state.at_one_height(
            lambda: (self._reader(member, request, now_ms), self._docket(request))
        )
        openings: dict[bytes, Opened] = {}
        question = None
        if request.purpose is not Purpose.PATIENT_REQUEST:
            grantee = Grantee(reader.org, None if reader.staff is None else reader.staff.hex())
            question = question_of(
                grantee, request.classes, request.purpose, reader.roles, request.site
            )
            openings = self._openings(request.handle, docket)
        weighing = Weighing(
            height,
            now_ms,
            request.requester == self.org
            and request.purpose in OWN_PURPOSES
            and request.permit is None,
            request.permit,
            request.classes,
            docket,
            question,
            None,
        )
        weighed = put(weighing, openings)
        return Judged(
            reader,
            Outcome(False, Reason.TERMS) if weighed is None else weighed.outcome,
            msgspec.structs.replace(
                weighing, decision=None if weighed is None else weighed.decision
            ),
            openings,
        )

    def _reader(self, member: str, request: Request, now_ms: int) -> Reader:
        relation = require_relation(self.state, self.org, request.handle)
        return reader_of(self._read, member, request, relation, now_ms)

    def _docket(self, request: Request) -> Docket:
        if request.purpose is Purpose.PATIENT_REQUEST:
            return EMPTY  # nobody denies the patient's own view
        key = docket_key(self.org, request.handle, request.requester, request.purpose)
        stored = self._read(key)
        return EMPTY if stored is None else decode_known(stored, Docket)

    def _openings(self, handle: bytes, docket: Docket) -> dict[bytes, Opened]:
        """Those that somebody has shown."""
        found = {}
        for permit in docket.permits:
            opened = self.openings.opened(handle, permit.terms)
            if opened is not None:
                found[permit.id] = opened
        return found

    def _read(self, key: bytes) -> bytes | None:
        stored = self.state.get(key)
        return None if stored is None else stored[SALT_BYTES:]
