"""What a gate weighed for one ticket, so that patient and auditor can weigh it again (rule G-5).

The ticket commits to all of it: the docket as the gate read it, the question as the gate put it, the
moment, and the decision. Law of the file: with the openings of that docket, `decided_again` says
whether the decision follows; whether the docket is the one of that height says the chain.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from salus.codec import Bytes32, Uint, Wire, encode
from salus.consent.decision import Decision, Verdict
from salus.consent.decision import Reason as Inner
from salus.consent.request import Request as Question
from salus.consent.terms import SALT_BYTES, TERMS_BYTES_MAX, Code, decode_terms
from salus.consent.weigh import Opened, Weighed, weigh, weigh_own
from salus.errors import BadMessage
from salus.granting import ROLE
from salus.hashing import hasher
from salus.permit import Classes, Docket, Outcome, Permit, Purpose, Reason
from salus.ticket import TICKET_EXPIRY_BLOCKS_MAX

TREAT = "TREAT"  # of v3-ActReason

_hash_weighing = hasher("access-weighing")

OWN_PURPOSES = (Purpose.TREATMENT, Purpose.OPERATIONS)  # of the custodian's own staff (rule C-6)

# Between the gate's moment and the time of the ticket's block: it waits for its block at most twenty
# seconds, and clocks of an hour's difference would make permits last or begin when the patient did not say.
MOMENT_APART_MAX_MS = 60_000

# Who asks has 20 blocks from the height that the gate reads. A docket that is older leaves out what
# the patient said since, and the chain weighs no terms.
WEIGHED_BLOCKS_MAX = TICKET_EXPIRY_BLOCKS_MAX + 1

# Roles of staff who treat; who writes bills or runs machines reads for another purpose, or not.
TREATING = frozenset(
    Code(ROLE, word) for word in ("clinician", "emergency", "laboratory", "nurse", "pharmacist")
)


class OpenedPermit(Wire, frozen=True):
    """The terms of one permit and the salt of their commitment."""

    permit: Bytes32
    salt: Bytes32
    terms: Annotated[bytes, msgspec.Meta(max_length=TERMS_BYTES_MAX)]


class Weighing(Wire, frozen=True):
    """`question`: None for the patient's own request, which nobody weighs; `decision`: None if an
    opening of the docket was missing, and then it was denied."""

    height: Uint  # of the certified state that was read
    at_ms: Uint  # by the gate's clock; `at_the_time` holds it to the ticket's block
    own_staff: bool
    permit: Bytes32 | None
    classes: Classes
    docket: Docket
    question: Question | None
    decision: Decision | None


def weighing_commitment(salt: bytes, weighing: Weighing) -> bytes:
    """H("access-weighing", salt32 ‖ encode(weighing)): `decision` of the ticket."""
    assert len(salt) == SALT_BYTES
    return _hash_weighing(salt + encode(weighing))


def at_the_time(weighing: Weighing, time_ms: int) -> bool:
    """Was it weighed when the chain decided? `time_ms`: of the ticket's block."""
    return abs(weighing.at_ms - time_ms) <= MOMENT_APART_MAX_MS


def weighed_lately(weighing: Weighing, height: int) -> bool:
    """Was a state weighed that the ticket's block could follow? `height`: of that block."""
    return 0 < height - weighing.height <= WEIGHED_BLOCKS_MAX


def same_docket(weighing: Weighing, present: Docket, *, whole: bool = False) -> bool:
    """No permit that stood then was left out, added, moved, changed or shown as ended or not. Of several
    the newest one speaks. `whole`: nothing was ever dropped from it; else a grant since may have dropped
    what says nothing any more (rule C-3), and one that was added cannot be told from that."""
    stood = [
        _as_of(one, weighing.height)
        for one in present.permits
        if one.granted_height <= weighing.height
    ]
    if whole or len(stood) == len(present.permits):
        return list(weighing.docket.permits) == stood
    then = iter(weighing.docket.permits)
    return all(one in then for one in stood)  # in this order


def _as_of(permit: Permit, height: int) -> Permit:
    ended = permit.ended_height
    later = ended is not None and ended > height
    return msgspec.structs.replace(permit, ended_height=None) if later else permit


def put(weighing: Weighing, openings: Mapping[bytes, Opened]) -> Weighed | None:
    """Weigh what it says; its own `decision` is not looked at. None: an opening is missing."""
    question = weighing.question
    if question is None:
        return Weighed(Outcome(True, Reason.OWN_REQUEST), Decision(Verdict.PERMIT, Inner.PERMITTED))
    if question.purpose == TREAT and TREATING.isdisjoint(question.roles):
        return Weighed(Outcome(False, Reason.TERMS), Decision(Verdict.DENY, Inner.OTHER_ROLE))
    what = weighing.classes, question, weighing.at_ms
    try:
        if weighing.own_staff:
            return weigh_own(weighing.docket, openings, *what)
        return weigh(weighing.docket, openings, weighing.permit, *what)
    except BadMessage as error:
        if error.code != "OPENING_MISSING":
            raise
        return None


def decided_again(weighing: Weighing, opened: tuple[OpenedPermit, ...]) -> bool:
    """Does its decision follow from its docket and these openings? Raises `BadMessage` (BAD_TERMS)
    for terms that are none."""
    openings = {one.permit: Opened(one.salt, decode_terms(one.terms)) for one in opened}
    found = put(weighing, openings)
    return weighing.decision == (None if found is None else found.decision)
