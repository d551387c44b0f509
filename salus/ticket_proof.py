"""What a ticket's proof file says to the reader: that his request was decided, and how.

The reader checks it before he takes a byte, so that no custodian's node answers him off the record
(health.md §4.2). Pure; the chain up to the certified block is checked by `salus.verifier`.
"""

from dataclasses import dataclass

from salus.codec import Bytes16, Bytes32, Bytes64, Uint, Wire, decode
from salus.errors import VerificationError
from salus.permit import Classes, Purpose, Reason
from salus.proof import read_proof
from salus.reading import Ask
from salus.ticket import care_commitment
from salus.transaction import Operation
from salus.validators import MemberId

_TICKET = ("access", "ticket", 1)
_DECIDED = "access.decided"


class TicketArguments(Wire, frozen=True):
    """The arguments of access.ticket, version 1; a test holds them to the contract's own."""

    handle: Bytes32
    request_id: Bytes16
    requester: MemberId
    purpose: Purpose
    classes: Classes
    permit: Bytes32 | None
    narrowed: bool
    expiry_height: Uint
    records: Bytes32
    request: Bytes32
    decision: Bytes32
    care: Bytes32
    owner_key: Bytes32 | None
    owner_signature: Bytes64 | None


@dataclass(frozen=True, slots=True)
class ProvedTicket:
    """`custodian_key`: the node key that signed the ticket, in force when it was executed."""

    permitted: bool
    reason: Reason
    height: int
    custodian_key: bytes


def proved_ticket(raw: bytes, ask: Ask) -> ProvedTicket:
    """`raw`: a proof file that `salus.verifier` has accepted. Raises `VerificationError` unless it is
    the ticket of this very request."""
    bundle = read_proof(raw)
    operation = decode(bundle.operation.operation, Operation)
    if (operation.contract, operation.method, operation.version) != _TICKET:
        raise VerificationError("the proof is of another operation than a ticket")
    args, request = decode(operation.args, TicketArguments), ask.request
    shown = (args.handle, args.request_id, args.requester, args.purpose, args.classes, args.permit)
    asked = (
        request.handle,
        request.request_id,
        request.requester,
        request.purpose,
        request.classes,
        request.permit,
    )
    opened = ask.commitment(), ask.records(), care_commitment(ask.care_salt, ask.care)
    if shown != asked or (args.request, args.records, args.care) != opened:
        raise VerificationError("the ticket is of another request than the one that was signed")
    said = [one.data for one in bundle.operation.receipt.events if one.kind == _DECIDED]
    if len(said) != 1 or said[0].get("org") != request.custodian:
        raise VerificationError("the ticket is of another custodian")
    permitted, reason = said[0].get("permitted"), str(said[0].get("reason"))
    if reason not in set(Reason):
        raise VerificationError("the ticket was decided by a rule that this version does not know")
    return ProvedTicket(
        permitted is True,
        Reason(reason),
        bundle.header.height,
        bundle.operation.sender,
    )
