"""What the custodian keeps of a ticket, and whether it is what the ticket committed to.

    LookOpening     from the custodian's vault, to the patient, a delegate or the custodian's auditor
    OpeningsAsk     who asks for them, signed by his key
    faults          the checks, by whoever has the ticket from the certified state

Law of the file: nothing of an opening is believed that does not lead to the ticket, so a custodian
that tells another story than the one it was held to is seen. Pure.
"""

from typing import Annotated

import msgspec

from salus.codec import Bytes16, Bytes32, Bytes64, Uint, Wire, encode
from salus.consent.decision import Verdict
from salus.consent.weighing import (
    OpenedPermit,
    Weighing,
    at_the_time,
    decided_again,
    same_docket,
    weighed_lately,
    weighing_commitment,
)
from salus.errors import BadMessage
from salus.genesis import ChainId
from salus.hashing import domain
from salus.keys import Verifier, verify
from salus.permit import DOCKET_PERMITS_MAX, Docket, Reason
from salus.reading import CARE_BYTES_MAX, Asked
from salus.ticket import (
    RECORDS_PER_TICKET_MAX,
    Request,
    care_commitment,
    records_commitment,
    request_commitment,
)
from salus.trail import Look
from salus.validators import MemberId

NONCE_BYTES = 16
OPENINGS_PER_ASK = 16  # with 64 permits of 16 kB each, the largest opening has a megabyte
ASK_AHEAD_MS_MAX = 300_000  # five minutes: clocks differ

_ASK = domain("audit-openings")


class Cut(Wire, frozen=True):
    """A version of which not all was shown. `derived`: the commitment of what was made of it."""

    commitment: Bytes32
    withheld: Uint
    derived: Bytes32 | None


class InnerOpening(Wire, frozen=True):
    """What says more than a request does: it goes when the records of the ticket are erased
    (rule X-7 of decision 0015)."""

    care_salt: Bytes32
    care: Annotated[bytes, msgspec.Meta(max_length=CARE_BYTES_MAX)]
    decision_salt: Bytes32
    weighing: Weighing
    opened: Annotated[tuple[OpenedPermit, ...], msgspec.Meta(max_length=DOCKET_PERMITS_MAX)]
    cut: Annotated[tuple[Cut, ...], msgspec.Meta(max_length=RECORDS_PER_TICKET_MAX)]


class LookOpening(Wire, frozen=True):
    """`staff`: the handle of the staff member whose key signed. `inner`: None once it was erased."""

    request: Request
    signature: Bytes64
    request_salt: Bytes32
    records_salt: Bytes32
    versions: Annotated[tuple[Asked, ...], msgspec.Meta(max_length=RECORDS_PER_TICKET_MAX)]
    staff: Bytes32 | None
    tx_id: Bytes32  # of the ticket
    inner: InnerOpening | None


class OpeningsAsk(Wire, frozen=True):
    """`key`: of the owner, of a delegate who may view, of the custodian's operator or of its staff
    with the role administration. `expires_ms`: Unix milliseconds, at most five minutes ahead."""

    chain_id: ChainId
    custodian: MemberId
    handle: Bytes32
    requests: Annotated[
        tuple[Bytes16, ...], msgspec.Meta(min_length=1, max_length=OPENINGS_PER_ASK)
    ]
    key: Bytes32
    expires_ms: Uint
    nonce: Bytes16  # random: each ask is answered once

    def payload(self) -> bytes:
        """What is signed."""
        return _ASK + encode(self)


class SignedAsk(Wire, frozen=True):
    ask: OpeningsAsk
    signature: Bytes64


class Openings(Wire, frozen=True):
    """In the order asked; None where the vault has nothing of this handle under a request id."""

    openings: Annotated[tuple[LookOpening | None, ...], msgspec.Meta(max_length=OPENINGS_PER_ASK)]


def faults(
    chain_id: str,
    org: str,
    look: Look,
    opening: LookOpening,
    docket: Docket | None = None,
    granted: int | None = None,
    verifier: Verifier = verify,
) -> tuple[str, ...]:
    """Where an opening does not lead to the ticket; empty: all of it does.

    `docket`: of (handle, requester, purpose) in a certified state, to see whether what was weighed is what
    stood; `granted`: how many permits that state has under the handle in all, None if nobody knows."""
    ticket, request = look.ticket, opening.request
    found = []
    told = (
        (request.chain_id, request.custodian, request.handle, request.request_id),
        (request.requester, request.purpose, request.classes, request.permit, request.records),
    )
    stands = (
        (chain_id, org, ticket.handle, look.request_id),
        (ticket.requester, ticket.purpose, ticket.classes, ticket.permit, ticket.records),
    )
    salted = request_commitment(opening.request_salt, request, opening.signature)
    if told != stands or salted != ticket.request:
        found.append("request")
    if not verifier(request.key, request.payload(), opening.signature):
        found.append("signature")
    versions = tuple(one.commitment for one in opening.versions)
    if records_commitment(opening.records_salt, versions) != ticket.records:
        found.append("records")
    if opening.inner is not None:
        found += _inner_faults(look, opening.inner, docket, granted)
        asked = opening.inner.weighing.question
        if asked is not None and asked.sites != (() if request.site is None else (request.site,)):
            found.append("site")  # it was weighed as if it came from elsewhere
    return tuple(found)


def _inner_faults(
    look: Look, inner: InnerOpening, docket: Docket | None, granted: int | None
) -> list[str]:
    ticket, weighing = look.ticket, inner.weighing
    found = []
    if care_commitment(inner.care_salt, inner.care) != ticket.care:
        found.append("care")
    if weighing_commitment(inner.decision_salt, weighing) != ticket.decision:
        found.append("decision")
    if not _weighed(weighing, inner.opened):
        found.append("weighing")
    if not at_the_time(weighing, ticket.time_ms):
        found.append("moment")
    if not _follows(look, weighing):
        found.append("outcome")
    stale = not weighed_lately(weighing, ticket.height)
    # A docket drops what says nothing any more only where it is full (rule C-3).
    whole = granted is not None and granted <= DOCKET_PERMITS_MAX
    if stale or (docket is not None and not same_docket(weighing, docket, whole=whole)):
        found.append("docket")
    return found


def _weighed(weighing: Weighing, opened: tuple[OpenedPermit, ...]) -> bool:
    try:
        return decided_again(weighing, opened)
    except BadMessage:
        return False


def _follows(look: Look, weighing: Weighing) -> bool:
    """Is the ticket what this decision leads to? The chain's own denials need no inner one."""
    ticket, decision = look.ticket, weighing.decision
    if (weighing.classes, weighing.permit) != (ticket.classes, ticket.permit):
        return False
    permits = decision is not None and decision.verdict is Verdict.PERMIT
    if ticket.permitted:
        return permits
    return not permits or ticket.reason is not Reason.TERMS
