"""Proofs that prove nothing: tampered NEW-VIEWs, false prepared certificates, stale watermarks.

What rules S7–S9 are there for: each function makes one that its receivers must refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

import msgspec

from consensus.messages import (
    NO_SIGNATURE,
    Commit,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
)
from consensus.proofs import choose
from salus.certificate import Certificate, IndexedSignature
from tests.sim.founding import null

if TYPE_CHECKING:
    from tests.sim.liars import LiarNode

Parcel = tuple[Message, bytes | None]  # a message, with its body if it is a PRE-PREPARE


def lying_new_view(
    liar: LiarNode, to: int, message: Message, body: bytes | None
) -> Iterator[Parcel]:
    """A NEW-VIEW with a wrong choice, and votes that go along with it."""
    if isinstance(message, NewView):
        message = tampered_new_view(liar, message, liar.random)
    yield message, body


def tampered_new_view(liar: LiarNode, message: NewView, random: Random) -> NewView:
    votes, changes = message.pre_prepares, message.view_changes
    kind = int(random.random() * 9)
    if kind == 8:
        return backdated_new_view(liar, message)
    if kind == 0 and votes:  # a prepared digest replaced by null
        index = int(random.random() * len(votes))
        vote = votes[index]
        empty = msgspec.structs.replace(vote, digest=null(vote.sequence)[0])
        votes = (*votes[:index], liar.sign(empty), *votes[index + 1 :])
    elif kind == 1 and votes:  # the last ones dropped
        votes = votes[:-1]
    elif kind == 2:  # the prepared certificates of one VIEW-CHANGE dropped
        index = int(random.random() * len(changes))
        bare = msgspec.structs.replace(changes[index], prepared=())
        changes = (*changes[:index], bare, *changes[index + 1 :])
        votes = ()
    elif kind == 3:  # too few VIEW-CHANGEs
        changes = changes[:-1]
    elif kind == 4 and changes:  # one VIEW-CHANGE twice
        changes = (changes[0], *changes[:-1])
    elif kind == 5:  # nobody has prepared anything: the choice fits, their signatures do not
        changes = tuple(msgspec.structs.replace(change, prepared=()) for change in changes)
        votes = ()
    elif kind == 6 and votes:  # as it must be, but the PRE-PREPAREs are not signed
        votes = tuple(msgspec.structs.replace(vote, signature=bytes(64)) for vote in votes)
    else:  # something of its own on top
        sequence = votes[-1].sequence + 1 if votes else liar.height + 1
        mine = PrePrepare(message.epoch, message.view, sequence, bytes(32), liar.me, NO_SIGNATURE)
        votes = (*votes, liar.sign(mine))
    forged = msgspec.structs.replace(message, view_changes=changes, pre_prepares=votes)
    return liar.sign(forged)  # type: ignore[no-any-return]


def backdated_new_view(liar: LiarNode, message: NewView) -> NewView:
    """Shown to whoever is late: its own VIEW-CHANGE names what was prepared in the very view that
    it began, and the choice follows from that."""
    assert liar.replica is not None
    s = liar.replica.state
    prepared = tuple(
        slot.prepared
        for _, slot in sorted(s.log.slots.items())
        if slot.prepared is not None and slot.prepared_view == message.view
    )
    mine = [change for change in message.view_changes if change.sender == liar.me]
    if not prepared or not mine:
        return message
    low = mine[0].low
    base = s.base if low is None else low.height
    known = {p.pre_prepare.sequence: p for p in (*mine[0].prepared, *prepared)}
    told = tuple(known[q] for q in sorted(known) if base < q <= base + s.log.window)
    forged = liar.sign(msgspec.structs.replace(mine[0], prepared=told))
    changes = tuple(forged if c.sender == liar.me else c for c in message.view_changes)
    votes = tuple(
        liar.sign(PrePrepare(message.epoch, message.view, sequence, digest, 0, NO_SIGNATURE))
        for sequence, digest in choose(changes, s.base).digests
    )
    made = msgspec.structs.replace(message, view_changes=changes, pre_prepares=votes)
    return liar.sign(made)  # type: ignore[no-any-return]


def backdating(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    """With its COMMIT it has prepared something in the view that it leads. From then on it has another
    NEW-VIEW for whoever asks late."""
    assert liar.replica is not None
    began, forged = liar.replica.state.new_view, liar.backdated
    if isinstance(message, NewView):
        if forged is not None and (forged.epoch, forged.view) == (message.epoch, message.view):
            message = forged
    elif isinstance(message, Commit) and began is not None and began.sender == liar.me:
        liar.backdated = backdated_new_view(liar, began)
    yield message, body


def show_backdated(liar: LiarNode) -> None:
    """To whoever is late, before the others have told him of the view."""
    assert liar.replica is not None
    s, forged = liar.replica.state, liar.backdated
    if forged is None or (forged.epoch, forged.view) != (s.epoch, s.view) or s.in_view_change:
        return
    for index, view in enumerate(s.reached):
        if view < s.view:
            liar.say(forged, liar.hands.numbers[index])


def forged_view_change(
    liar: LiarNode, to: int, message: Message, body: bytes | None
) -> Iterator[Parcel]:
    if isinstance(message, ViewChange):
        message = liar.sign(
            msgspec.structs.replace(message, prepared=false_prepared(liar, message))
        )
    yield message, body


def false_prepared(liar: LiarNode, message: ViewChange) -> tuple[PreparedCertificate, ...]:
    """Certificates with too few or foreign signatures, of a wrong primary, view or sequence."""
    random = liar.random
    low = 0 if message.low is None else message.low.height
    n = liar.validators.n
    # The last view that it led itself.
    own = message.view - 1 - (message.epoch + message.view - 1 - liar.me) % n
    view = own if own >= 0 and random.random() < 0.7 else max(0, message.view - 1)
    primary = (message.epoch + view) % n
    q = liar.validators.quorum
    sequence = max(low, liar.height) + 1 + int(random.random() * 3)
    if message.prepared and random.random() < 0.7:  # against what others may have committed
        known = message.prepared[int(random.random() * len(message.prepared))]
        sequence = known.pre_prepare.sequence
    # A digest whose body everybody has, so that a replica which believes this can go on.
    digest = null(sequence)[0] if random.random() < 0.7 else bytes([7]) * 32
    vote = PrePrepare(message.epoch, view, sequence, digest, primary, bytes(64))
    others = [i for i in range(n) if i != primary]
    mine = liar.sign(Prepare(message.epoch, view, sequence, digest, 0, NO_SIGNATURE)).signature
    kind = int(random.random() * 7)
    if kind == 6:
        return repeated_prepare(liar, message, low)
    if kind == 0:
        return ()  # what it had prepared is not mentioned: nobody can prove that
    if kind == 1:  # its own signature under every name
        signatures = tuple(IndexedSignature(i, mine) for i in others[: q - 1])
    elif kind == 2:  # its own alone
        signatures = (IndexedSignature(liar.me, mine),)[: int(random.random() * 2)]
    elif kind == 3:  # one member several times
        signatures = tuple(IndexedSignature(liar.me, mine) for _ in range(q - 1))
    elif kind == 4:  # signatures that were given to something else
        heard = [m for m in liar.heard if isinstance(m, (Prepare, Commit))]
        signatures = tuple(
            IndexedSignature(m.sender, m.signature)
            for m in sorted(heard[-q:], key=lambda m: m.sender)
        )[: q - 1]
    else:  # a real one, moved to another sequence or beyond the window
        real = message.prepared
        if real:
            moved = msgspec.structs.replace(real[-1].pre_prepare, sequence=sequence + 40)
            return (*real[:-1], PreparedCertificate(moved, real[-1].prepares))
        signatures = ()
    if primary == liar.me:
        vote = liar.sign(vote)
    return (PreparedCertificate(vote, signatures),)


def repeated_prepare(
    liar: LiarNode, message: ViewChange, low: int
) -> tuple[PreparedCertificate, ...]:
    """A true PRE-PREPARE of somebody else, and its own true PREPARE q−1 times."""
    high = low + liar.parameters.watermark_window
    for vote in reversed(liar.heard):
        if isinstance(vote, PrePrepare) and vote.epoch == message.epoch:
            led = vote.sender == liar.validators.primary(vote.view) != liar.me
            if led and vote.view < message.view and low < vote.sequence <= high:
                place = (vote.epoch, vote.view, vote.sequence, vote.digest)
                mine = liar.sign(Prepare(*place, 0, NO_SIGNATURE)).signature
                again = (IndexedSignature(liar.me, mine),) * (liar.validators.quorum - 1)
                return (PreparedCertificate(vote, again),)
    return ()


def stale_certificate(
    liar: LiarNode, to: int, message: Message, body: bytes | None
) -> Iterator[Parcel]:
    """An old low watermark, one of another epoch, or a forged one, in place of the newest."""
    if isinstance(message, ViewChange):
        if message.low is not None and message.low not in liar.certificates:
            liar.certificates.append(message.low)
        heights = range(max(1, liar.height - 20), liar.height + 1)
        blocks = [liar.state.certificate(height) for height in heights]
        pool: list[Certificate | None] = [*liar.certificates, *blocks, None]
        low = pool[int(liar.random.random() * len(pool))]
        if low is not None and liar.random.random() < 0.4:  # higher than anybody has certified
            low = msgspec.structs.replace(low, epoch=message.epoch, height=liar.height + 1)
        message = liar.sign(msgspec.structs.replace(message, low=low))
    yield message, body
