"""Outer permits and inner terms together: what a request gets, for gate, patient's page and auditor.

The chain decides by the docket alone (salus/permit.py); the terms behind it may narrow that and
never widen it (rule C-5). Law of the file: all openings of the docket are weighed. What is not
known may deny, so a missing one is an error here and a denial at the gate.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from salus.consent.decide import Consent, Standing, decide
from salus.consent.decision import Decision, Verdict
from salus.consent.decision import Reason as Inner
from salus.consent.request import Request
from salus.consent.terms import Terms, terms_commitment
from salus.errors import BadMessage
from salus.permit import Docket, Effect, Outcome, Permit, Reason, RecordClass
from salus.permit import decide as decide_outer
from salus.permit import decide_own as decide_own_outer
from salus.relation import DAY_MS


@dataclass(frozen=True, slots=True)
class Opened:
    """Terms and the salt that opens their commitment, which is made once and not at each weighing."""

    salt: bytes
    terms: Terms
    commitment: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "commitment", terms_commitment(self.salt, self.terms))


class Weighed(NamedTuple):
    """`outcome`: what a ticket may claim; `decision`: what of the documents must be withheld."""

    outcome: Outcome
    decision: Decision


def citable(docket: Docket, classes: Collection[RecordClass], day: int) -> bytes | None:
    """The newest permit that a request of this day may cite; None if the chain permits by none."""
    for permit in reversed(docket.permits):
        if decide_outer(docket, permit.id, classes, day).permitted:
            return permit.id
    return None


def weigh(
    docket: Docket,
    openings: Mapping[bytes, Opened],
    cited: bytes | None,
    classes: Collection[RecordClass],
    question: Request,
    now_ms: int,
) -> Weighed:
    """A request that cites a permit. `openings`: by permit id; `classes`: the coarse ones asked for,
    `question` the same in full. Raises `BadMessage` (OPENING_MISSING)."""
    found = consents_of(docket, openings, now_ms)
    decision = decide([consent for _, consent in found], question, now_ms)
    if decision.verdict is Verdict.PERMIT and any(
        permit.effect is Effect.DENY and consent.name in decision.consents
        for permit, consent in found
    ):
        # Who may only deny (a delegate, a hospital's key) must not permit by what its terms say.
        decision = Decision(Verdict.DENY, Inner.DENIED, (), decision.consents)
    outer = decide_outer(docket, cited, classes, now_ms // DAY_MS)
    if decision.verdict is not Verdict.PERMIT:
        return Weighed(outer if not outer.permitted else Outcome(False, Reason.TERMS), decision)
    if not outer.permitted:
        decision = Decision(Verdict.DENY, Inner.DENIED, (), decision.consents)
    return Weighed(outer, decision)


def weigh_own(
    docket: Docket,
    openings: Mapping[bytes, Opened],
    classes: Collection[RecordClass],
    question: Request,
    now_ms: int,
) -> Weighed:
    """The custodian's own staff, who need no permit (rule C-6): each denial is heard by itself, and
    what several withhold is withheld together. Raises as `weigh`."""
    outer = decide_own_outer(docket, classes, now_ms // DAY_MS)
    heard = [
        decide([consent], question, now_ms)
        for permit, consent in consents_of(docket, openings, now_ms)
        if permit.effect is Effect.DENY
    ]
    for decision in heard:
        if decision.verdict is Verdict.DENY:
            return Weighed(outer if not outer.permitted else Outcome(False, Reason.TERMS), decision)
    if not outer.permitted:
        return Weighed(outer, Decision(Verdict.DENY, Inner.DENIED))
    obligations = tuple(dict.fromkeys(one for each in heard for one in each.obligations))
    names = tuple(sorted({name for each in heard for name in each.consents}))
    reason = Inner.PERMITTED_IN_PART if obligations else Inner.PERMITTED
    return Weighed(outer, Decision(Verdict.PERMIT, reason, obligations, names))


def consents_of(
    docket: Docket, openings: Mapping[bytes, Opened], now_ms: int
) -> list[tuple[Permit, Consent]]:
    """The docket's permits with their terms, in the order of commitment. Raises `BadMessage`
    (OPENING_MISSING) if one has none, or other terms than it commits to."""
    day = now_ms // DAY_MS
    found = []
    for place, permit in enumerate(docket.permits):
        opened = openings.get(permit.id)
        if opened is None or opened.commitment != permit.terms:
            raise BadMessage(
                f"nobody here knows what permit {permit.id.hex()} says", code="OPENING_MISSING"
            )
        if permit.effect is Effect.PERMIT and day < permit.from_day:
            continue  # not begun, whatever its terms say: it takes no older one's place
        over = permit.ended_height is not None or day > permit.until_day
        standing = Standing.ENDED if over else Standing.ACTIVE
        found.append((permit, Consent(permit.id.hex(), opened.terms, standing, place, place)))
    return found
