"""The inner decision of a ticket, as the keeper weighs it again before it opens anything (rule K-4).

The chain knows the outer permit alone; that the patient's terms allow it the gate says, and the
ticket commits to what it weighed. Law of the file: it is opened to the keeper too, it permits, it follows from
the terms that it names, its moment is that of the ticket's block, and its docket is the chain's. Whether
the staff member is who is named there, patient and auditor see (salus/looks.py).
"""

from typing import Annotated

import msgspec

from contracts.access import TicketArgs
from salus.codec import Bytes32, Wire
from salus.consent.decision import Verdict
from salus.consent.weighing import (
    OWN_PURPOSES,
    OpenedPermit,
    Weighing,
    at_the_time,
    decided_again,
    same_docket,
    weighed_lately,
    weighing_commitment,
)
from salus.errors import BadMessage, SalusError
from salus.permit import DOCKET_PERMITS_MAX, Docket, Purpose


class InnerDecision(Wire, frozen=True):
    """What opens `decision` of a ticket; `opened`: the terms of the permits that were weighed."""

    salt: Bytes32
    weighing: Weighing
    opened: Annotated[tuple[OpenedPermit, ...], msgspec.Meta(max_length=DOCKET_PERMITS_MAX)]


def check_inner(inner: InnerDecision, org: str, args: TicketArgs, time_ms: int) -> None:
    """`org`: the custodian; `time_ms`: of the ticket's block. Raises `SalusError` (KEEPER_REFUSED,
    TICKET_OLD)."""
    weighing, decision = inner.weighing, inner.weighing.decision
    if weighing_commitment(inner.salt, weighing) != args.decision:
        raise _refused("the inner decision is another than the ticket commits to")
    own = args.requester == org and args.purpose in OWN_PURPOSES and args.permit is None
    asked = (args.classes, args.permit, own, args.purpose is Purpose.PATIENT_REQUEST)
    weighed = (weighing.classes, weighing.permit, weighing.own_staff, weighing.question is None)
    if weighed != asked:
        raise _refused("another request was weighed than the ticket is of")
    if decision is None or decision.verdict is not Verdict.PERMIT:
        raise _refused("the inner decision permits nothing")
    try:
        follows = decided_again(weighing, inner.opened)
    except BadMessage:
        follows = False
    if not follows:
        raise _refused("the inner decision does not follow from the patient's terms")
    if not at_the_time(weighing, time_ms):
        apart_ms = weighing.at_ms - time_ms
        side = "ahead of" if apart_ms > 0 else "behind"
        raise SalusError(
            f"the gate weighed by a time {abs(apart_ms) // 1_000} s {side} the ticket's block",
            code="TICKET_OLD",
        )


def check_docket(weighing: Weighing, docket: Docket, height: int) -> None:
    """`docket`: as the chain proves it, at the ticket's `height` or later. Raises `SalusError`
    (KEEPER_REFUSED, TICKET_OLD)."""
    if not weighed_lately(weighing, height) or not same_docket(weighing, docket):
        raise _refused("a permit was left out, or shown otherwise than it stood")
    # Else a gate would say that it weighed the block before a denial. Its terms are not known here, and
    # it is rare that somebody says something in the seconds of a request: who reads asks anew.
    said = [at for one in docket.permits for at in (one.granted_height, one.ended_height or 0)]
    if any(at > weighing.height for at in said):
        raise SalusError("the patient has said something since it was weighed", code="TICKET_OLD")


def _refused(why: str) -> SalusError:
    return SalusError(f"the keeper refuses: {why}", code="KEEPER_REFUSED")
