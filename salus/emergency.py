"""An emergency case: its state, its deadlines and who reviews it (rules E-1 … E-9 of decision 0014).

One function says whether a case opens anything, and one who reviews it, for the contract, the
holders and whoever checks them. What the chain may not show, the reason above all, stands in
salus/emergency_forms.py.
"""

from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec

from salus.codec import Bytes32, Uint, Wire, encode
from salus.hashing import hasher
from salus.relation import DAY_MS, Day
from salus.validators import MemberId

HOLDERS_MAX = 16  # SLIP-39 makes no more shares of one secret
THRESHOLD_MIN = 2  # one holder alone reads nothing
PANEL_MAX = 16  # reviewers drawn in advance; their lapses take a quarter of a year and more
ALONE_MAX = 8  # cases of one clinician that wait for a colleague: a night of accidents, no more
LATE_MAX = (
    32  # undecided late cases of one clinician that are counted; those beyond are entered too
)

_hash_case = hasher("emergency-case")
_hash_draw = hasher("emergency-draw")

Holders = Annotated[tuple[MemberId, ...], msgspec.Meta(min_length=2, max_length=HOLDERS_MAX)]
Threshold = Annotated[int, msgspec.Meta(ge=THRESHOLD_MIN, le=HOLDERS_MAX)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class Verdict(StrEnum):
    JUSTIFIED = "justified"
    ABUSE = "abuse"


class Cosign(Wire, frozen=True):
    """A clinician of another organisation agreed."""

    org: MemberId
    staff: Bytes32
    time_ms: Uint


class Decided(Wire, frozen=True):
    """A reviewer's verdict; `grounds`: commitment to what he wrote."""

    org: MemberId
    verdict: Verdict
    grounds: Bytes32
    time_ms: Uint
    lapses: Count  # reviewers before him whose time ran out


class Case(Wire, frozen=True):
    """State value under `case_key(id)`."""

    id: Bytes32
    org: MemberId  # the custodian of the relation
    handle: Bytes32
    opener: MemberId
    staff: Bytes32  # the clinician's handle at the opener
    details: Bytes32  # commitment to reason, place and clinician
    alone: bool  # the clinician may read before anybody co-signs
    late: bool  # read while nothing could be certified, entered afterwards
    opened_ms: Uint
    opened_height: Uint
    cosign_until_ms: Uint  # the deadlines as of the opening: a vote changes none that runs
    open_until_ms: Uint
    justify_until_ms: Uint
    review_ms: Uint
    cosign: Cosign | None
    justification: Bytes32 | None
    justified_ms: Uint | None
    dispute: Bytes32 | None
    disputed_ms: Uint | None
    decided: Decided | None
    overruled: Decided | None  # the verdict that the patient disputed
    panel: Annotated[tuple[MemberId, ...], msgspec.Meta(max_length=PANEL_MAX)] | None
    holders: Annotated[tuple[MemberId, ...], msgspec.Meta(max_length=HOLDERS_MAX)]  # of `late`
    before: Bytes32 | None  # the case before it under the same handle

    @property
    def live(self) -> bool:
        """Could anything be read under it? If not there is nothing to justify or to review."""
        return self.alone or self.late or self.cosign is not None

    def opens(self, now_ms: int) -> bool:
        """May a holder give its share now (rule E-3)? The patient's word, or a verdict, ends it."""
        if self.disputed_ms is not None or self.decided is not None:
            return False
        if self.cosign is not None:
            return now_ms < self.open_until_ms
        return self.alone and now_ms < self.cosign_until_ms

    def uncosigned(self, now_ms: int) -> bool:
        """Nobody agreed in time, and no reviewer has looked at it yet."""
        return self.cosign is None and self.decided is None and now_ms >= self.cosign_until_ms

    def unjustified(self, now_ms: int) -> bool:
        """The opener's own failure (rule E-5); it stays one until a reviewer decides."""
        if not self.live or self.decided is not None:
            return False
        justified = self.justified_ms
        return now_ms >= self.justify_until_ms and (
            justified is None or justified >= self.justify_until_ms
        )

    @property
    def review_from_ms(self) -> int:
        """When the first reviewer's time begins: the patient's word and the opener's failure do not
        wait for a justification."""
        if self.disputed_ms is not None:
            return self.disputed_ms
        justified = self.justified_ms
        return self.justify_until_ms if justified is None else min(justified, self.justify_until_ms)

    def lapses(self, now_ms: int) -> int:
        """How many reviewers' times are over."""
        return max(0, now_ms - self.review_from_ms) // self.review_ms

    def reviewers(self, now_ms: int) -> tuple[str, ...]:
        """Who may decide, in the order drawn: the one whose time it is stands last; those before
        him let theirs run out, and may still decide as long as nobody has (rule E-6)."""
        if self.panel is None or self.decided is not None or not self.live:
            return ()
        if now_ms < self.review_from_ms:
            return ()
        cosigner = None if self.cosign is None else self.cosign.org
        uninvolved = tuple(one for one in self.panel if one != cosigner)
        return (uninvolved or self.panel)[: self.lapses(now_ms) + 1]


class Due(Wire, frozen=True):
    """So many cases of an organisation are to be justified until the end of this day."""

    day: Day
    count: Count


class Standing(Wire, frozen=True):
    """State value under `standing_key(org)`: what speaks for and against an organisation."""

    opened: Count
    due: Annotated[tuple[Due, ...], msgspec.Meta(max_length=64)]  # ascending; justify_ms ≤ 30 days
    overdue: Count  # cases that nobody justified in time and nobody has reviewed
    abuses: Count
    lapses: Count  # reviews that it let lapse
    sanction_until_ms: Uint  # after an abuse

    def at(self, now_ms: int) -> "Standing":
        """With the days that are over counted as overdue."""
        today = now_ms // DAY_MS
        over = sum(one.count for one in self.due if one.day < today)
        kept = tuple(one for one in self.due if one.day >= today)
        return msgspec.structs.replace(self, due=kept, overdue=self.overdue + over)

    def with_due(self, until_ms: int, change: int) -> "Standing":
        """One more (+1) or fewer (−1) to justify until then; of a standing `at` this time."""
        day = until_ms // DAY_MS - 1
        counts = {one.day: one.count for one in self.due}
        if change < 0 and day not in counts:
            return msgspec.structs.replace(self, overdue=self.overdue + change)
        counts[day] = counts.get(day, 0) + change
        due = tuple(Due(one, counts[one]) for one in sorted(counts) if counts[one])
        return msgspec.structs.replace(self, due=due)

    def restricted(self, now_ms: int) -> bool:
        """Must another organisation co-sign before anything is read (rule E-7)?"""
        return now_ms < self.sanction_until_ms or self.at(now_ms).overdue > 0


NEW = Standing(0, (), 0, 0, 0, 0)


class Waiting(Wire, frozen=True):
    """A case that a clinician opened alone, and until when a colleague can agree."""

    case: Bytes32
    until_ms: Uint


class Clinician(Wire, frozen=True):
    """State value under `clinician_key(org, staff)`: cases neither co-signed nor reviewed."""

    waiting: Annotated[tuple[Waiting, ...], msgspec.Meta(max_length=ALONE_MAX)]
    late: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=LATE_MAX)]

    def restricted(self, now_ms: int) -> bool:
        """May this clinician open nothing alone (rule E-4)?"""
        over = any(now_ms >= one.until_ms for one in self.waiting)
        return over or len(self.waiting) >= ALONE_MAX

    def without(self, case: bytes) -> "Clinician":
        return Clinician(
            tuple(one for one in self.waiting if one.case != case),
            tuple(one for one in self.late if one != case),
        )


NOBODY = Clinician((), ())


class Summary(Wire, frozen=True):
    """State value under `summary_key(org, handle)`: who keeps shares of the key of a summary."""

    commitment: Bytes32 | None  # to the ciphertext; null: none was deposited, or all was withdrawn
    holders: Annotated[tuple[MemberId, ...], msgspec.Meta(max_length=HOLDERS_MAX)]
    threshold: Annotated[int, msgspec.Meta(ge=0, le=HOLDERS_MAX)]
    generation: Uint  # of the key; raised with every deposit, and with opting out and in
    height: Uint
    opted_out: bool
    former: Annotated[tuple[MemberId, ...], msgspec.Meta(max_length=HOLDERS_MAX)]


class CaseTrail(Wire, frozen=True):
    """State value under `trail_key(org, handle)`: the newest case of a handle, and how many."""

    newest: Bytes32
    count: Uint


# -- ids, places, the draw -------------------------------------------------------------------


def case_id(patient: tuple[str, bytes], opener: str, staff: bytes, nonce: bytes) -> bytes:
    """The id of a case. With its opener inside, nobody else can enter a waiting one first; with the
    patient, custodian and handle, it stands for no other summary that is read in an outage."""
    return _hash_case(encode((*patient, opener, staff, nonce)))


def case_key(case: bytes) -> bytes:
    return b"emergency/case/" + case


def trail_key(org: str, handle: bytes) -> bytes:
    return b"emergency/trail/" + org.encode("ascii") + b"/" + handle


def summary_key(org: str, handle: bytes) -> bytes:
    return b"emergency/summary/" + org.encode("ascii") + b"/" + handle


def standing_key(org: str) -> bytes:
    return b"emergency/standing/" + org.encode("ascii")


def clinician_key(org: str, staff: bytes) -> bytes:
    return b"emergency/clinician/" + org.encode("ascii") + b"/" + staff


def justify_until(opened_ms: int, wait_ms: int) -> int:
    """The end of the UTC day on which the time to justify is over: people count days."""
    return ((opened_ms + wait_ms) // DAY_MS + 1) * DAY_MS


class Parties(NamedTuple):
    """Who has a part in a case, and so does not review it."""

    opener: str
    custodian: str
    others: frozenset[str]  # who co-signed, and whose verdict is disputed


def draw(block: bytes, case: bytes, active: tuple[str, ...], parties: Parties) -> tuple[str, ...]:
    """The reviewers in their order, at most PANEL_MAX (rule E-6). `block`: the hash of a header that
    did not exist when the case was opened; `active`: all organisations that could.

    In a consortium so small that all have a part, the nearest to an outsider decides."""
    others = tuple(one for one in active if one != parties.opener)
    involved = {parties.opener, parties.custodian, *parties.others}
    free = (
        tuple(one for one in others if one not in involved)
        or tuple(one for one in others if one not in parties.others)
        or others
    )
    ranked = sorted(free, key=lambda one: _hash_draw(encode((block, case, one))))
    return tuple(ranked[:PANEL_MAX])
