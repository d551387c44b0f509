"""The permits of a relation, as the certified state has them (rule P-13 of decision 0016).

    keys_of       which state values belong to the list, for whoever makes the proof
    permits_of    the list, walked from its head; what is missing is said, never passed over
    complete      whether files that follow one another hold all of it

Pure; the manner is that of salus/trail.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from salus.codec import Wire, decode
from salus.errors import VerificationError
from salus.permit import (
    Docket,
    Permit,
    PermitHead,
    PermitPlace,
    Purpose,
    docket_key,
    head_key,
    place_key,
)
from salus.relation import RelationEntry, relation_key
from salus.state_file import ProvedState

W = TypeVar("W", bound=Wire)
Value = Callable[[bytes], bytes | None]  # a state value by its key

PERMITS_PER_FILE = 128  # each with its docket of at most 11 kB, and a kilobyte or two of proofs


@dataclass(frozen=True, slots=True)
class Stands:
    """A permit of the chain that says something still."""

    id: bytes
    grantee: str
    purpose: Purpose
    terms: bytes  # the commitment


@dataclass(frozen=True, slots=True)
class PermitList:
    """Of one file, newest first. `start`: where the file before has ended; None: this is the first.
    `next`: where the next file goes on; None: the list ends here."""

    relation: RelationEntry | None
    height: int
    count: int  # of the whole list, by the certified head
    walked: int  # in this file, those that were dropped since counted too
    stands: tuple[Stands, ...]
    start: bytes | None
    next: bytes | None


def keys_of(org: str, handle: bytes, value: Value, start: bytes | None = None) -> Iterator[bytes]:
    """The keys of a list, in the order in which they are walked."""
    yield relation_key(org, handle)
    yield head_key(org, handle)
    head = _read(PermitHead, value(head_key(org, handle)))
    at = start or (None if head is None else head.newest)
    dockets: set[bytes] = set()
    for _ in range(PERMITS_PER_FILE):
        if at is None:
            break
        yield (key := place_key(org, handle, at))
        place = _read(PermitPlace, value(key))
        at = None if place is None else place.before
        if place is not None:
            docket = docket_key(org, handle, place.grantee, place.purpose)
            if docket not in dockets:
                dockets.add(docket)
                yield docket


def permits_of(
    org: str, handle: bytes, state: ProvedState, start: bytes | None = None
) -> PermitList:
    """The list that a verified file proves. `start`: the `next` of the file before.

    Raises `VerificationError` if it is cut, or leads to a permit that is not this relation's."""
    head = _read(PermitHead, state.value(head_key(org, handle)))
    at = start or (None if head is None else head.newest)
    found: list[Stands] = []
    walked = 0
    while at is not None and walked < PERMITS_PER_FILE:
        place = _read(PermitPlace, state.value(place_key(org, handle, at)))
        if place is None:
            raise VerificationError("the list leads to a permit that this relation does not have")
        permit = _standing(org, handle, state, place, at)
        if permit is not None:
            found.append(Stands(at, place.grantee, place.purpose, permit.terms))
        at, walked = place.before, walked + 1
    return PermitList(
        relation=_read(RelationEntry, state.value(relation_key(org, handle))),
        height=state.height,
        count=0 if head is None else head.count,
        walked=walked,
        stands=tuple(found),
        start=start,
        next=at,
    )


def complete(lists: Sequence[PermitList]) -> bool:
    """Do the files, in order, hold the whole list as of the height of the first? The others go on
    where the one before has ended, and none is of an older state: a permit's place never changes,
    but one that has ended since would stand again."""
    follow = all(
        before.next == after.start and after.height >= before.height
        for before, after in pairwise(lists)
    )
    whole = lists[0].start is None and lists[-1].next is None
    return follow and whole and sum(one.walked for one in lists) == lists[0].count


def _standing(
    org: str, handle: bytes, state: ProvedState, place: PermitPlace, permit: bytes
) -> Permit | None:
    key = docket_key(org, handle, place.grantee, place.purpose)
    docket = _read(Docket, state.value(key))
    permits = () if docket is None else docket.permits
    return next((one for one in permits if one.id == permit), None)


def _read(kind: type[W], value: bytes | None) -> W | None:
    return None if value is None else decode(value, kind)
