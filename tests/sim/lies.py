"""The lies: what a liar says in place of what its core said, or of its own accord.

Silence, double votes, false content, other people's old words. Each function gets the liar, for
whom the message is, and yields what leaves instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from consensus.effects import BuildProposal, SendBlocks
from consensus.events import Received
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    Fetch,
    Message,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    Vote,
    encode_message,
    payload,
)
from salus.block import proposal_digest
from salus.codec import encode
from tests.sim.forgeries import (
    Parcel,
    backdating,
    false_prepared,
    forged_view_change,
    lying_new_view,
    show_backdated,
    stale_certificate,
)
from tests.sim.founding import EARLIER_DOMAIN, anchor, make_body, null, number
from tests.sim.signatures import keyed

if TYPE_CHECKING:
    from tests.sim.liars import LiarNode


LONG_BLOCKS = 400  # so long it may be proposed


def flipped(digest: bytes, bit: int = 1) -> bytes:
    return bytes([digest[0] ^ bit]) + digest[1:]


# -- rewriting what leaves ------------------------------------------------------------------------


def silent(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    return iter(())


def selective(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    """Half of the members hear nothing; which half changes."""
    if liar.half[to]:
        yield message, body


def equivocator(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    """Two bodies to two halves, and the votes that belong to each."""
    if isinstance(message, PrePrepare) and body is not None:
        epoch, view, sequence = message.epoch, message.view, message.sequence
        other = make_body(sequence, liar.me, view, liar.clock_ms() + 1, ())
        digest = proposal_digest(other)
        liar.alternative[epoch, view, sequence] = digest
        if liar.half[to]:
            liar.bodies.put(sequence, digest, other)
            message, body = liar.sign(msgspec.structs.replace(message, digest=digest)), other
        yield message, body
        # A PREPARE beside it, which must not count (S5).
        beside = Prepare(epoch, view, sequence, proposal_digest(body), 0, NO_SIGNATURE)
        yield liar.sign(beside), None
        return
    if isinstance(message, (Prepare, Commit)) and liar.half[to]:
        second = liar.alternative.get((message.epoch, message.view, message.sequence))
        if second is not None:
            yield liar.sign(msgspec.structs.replace(message, digest=second)), None
            return
    yield message, body


def double_voter(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    """Votes for this and for that."""
    if isinstance(message, (Prepare, Commit, Checkpoint)) and liar.random.random() < 0.5:
        other = liar.sign(msgspec.structs.replace(message, digest=flipped(message.digest)))
        if liar.random.random() < 0.5:
            yield other, None
            return
        yield other, None
    yield message, body


def wrong_header(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    if isinstance(message, Checkpoint):
        message = liar.sign(msgspec.structs.replace(message, digest=flipped(message.digest)))
    yield message, body


def lying_status(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    if isinstance(message, Status):
        random = liar.random.random
        message = liar.sign(
            msgspec.structs.replace(
                message,
                certified=int(random() * (message.certified + 30)),
                view=int(random() * (message.view + 2)),
                wish=message.wish + int(random() * 5),
                epoch=message.epoch + (random() < 0.1),
            )
        )
    yield message, body


def slow_primary(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    """Its proposals come just under the time-out, and sometimes just above."""
    return _late(liar, to, message, body, 0.6, 0.45)


def dripping(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    """They always come in time, with one transaction each (`LiarNode.propose`), whatever waits."""
    return _late(liar, to, message, body, 0.5, 0.25)


def _late(
    liar: LiarNode, to: int, message: Message, body: bytes | None, least: float, more: float
) -> Iterator[Parcel]:
    if isinstance(message, (PrePrepare, NewView)):
        timeouts = least + more * liar.random.random()
        extra = liar.parameters.progress_timeout_ms * timeouts
        for address in liar.cluster.addresses[to]:
            liar.cluster.network.carry(
                liar, address, "on_message", (Received(message), body), extra
            )
        return
    yield message, body


def bodiless(liar: LiarNode, to: int, message: Message, body: bytes | None) -> Iterator[Parcel]:
    """PRE-PREPAREs without their body, sometimes."""
    if body is not None and liar.random.random() < 0.3:
        body = None
    yield message, body


def bad_body(liar: LiarNode, asked: BuildProposal) -> bytes:
    """Each of the things that rules S15 and L21 forbid."""
    if liar.limit_falls and (liar.long is None or liar.limit_fell):
        return overlong(liar, asked)
    kind = int(liar.random.random() * 11)
    sequence, proposer, view, clock = asked.sequence, liar.me, asked.view, liar.clock_ms()
    cluster = liar.cluster
    tx = cluster.transaction(liar.member, liar.height)
    transactions: tuple[bytes, ...] = (tx.raw,)
    if kind == 0:
        transactions = (b"garbage",)
    elif kind == 1:
        clock += 60_000
    elif kind == 2:
        sequence += 1
    elif kind == 3:
        view += 1
    elif kind == 4:
        proposer = (proposer + 1) % liar.validators.n
    elif kind == 5:  # twice in one proposal
        transactions = (tx.raw, tx.raw)
    elif kind == 6:  # an operation of somebody else, under his name
        forged = msgspec.structs.replace(tx.body, signature=keyed(b"nobody", tx.signed))
        # Signed by nobody, or by him, in another chain of this name (S1).
        transactions = (cluster.founding.earlier(tx) if sequence % 2 else encode(forged),)
    elif kind in (7, 8):
        return untimely_body(liar, asked, far=kind == 8)
    elif kind == 9 and cluster.sent:  # executed before, which is lawful and must be skipped
        transactions = (cluster.sent[int(liar.random.random() * len(cluster.sent))],)
    else:
        return null(asked.sequence)[1]
    return make_body(sequence, proposer, view, clock, transactions)


def untimely_body(liar: LiarNode, asked: BuildProposal, far: bool | None = None) -> bytes:
    """With a transaction that is outlived, or one that is valid for longer than the window."""
    if far is None:
        far = liar.random.random() < 0.5
    after = asked.sequence + 2 * liar.parameters.expiry_window_blocks if far else -64
    tx = liar.cluster.transaction(liar.member, after)
    return make_body(asked.sequence, liar.me, asked.view, liar.clock_ms(), (tx.raw,))


def overlong(liar: LiarNode, asked: BuildProposal) -> bytes:
    """A transaction that everybody verifies in a proposal of a false name, which comes to nothing;
    and again, by its own, when a vote has made it too long: its bytes decide, and not what somebody
    has verified before (S15)."""
    proposer = liar.me
    if not liar.limit_fell:
        proposer = (proposer + 1) % liar.validators.n
    if liar.long is None:
        first, second = anchor(2 * asked.sequence), anchor(2 * asked.sequence + 1)
        made = liar.cluster.founding.transaction(
            liar.member, first, liar.height + LONG_BLOCKS, more=(second,)
        )
        liar.long = made.raw
    elif liar.limit_fell:
        liar.cluster.cover("what was verified before is too long by now")
    return make_body(asked.sequence, proposer, asked.view, liar.clock_ms(), (liar.long,))


def false_blocks(liar: LiarNode, sending: SendBlocks) -> None:
    """Blocks with another body, or with a certificate that lacks signatures."""
    member = liar.seats.member(sending.epoch, sending.to)
    out = []
    for height in range(sending.above + 1, sending.above + 9):
        block = liar.source.block(height)
        if block is None:
            break
        certificate = block.certificate
        kind = int(liar.random.random() * 5)
        if kind == 0:
            other = make_body(height, liar.me, 0, liar.clock_ms(), ())
            block = msgspec.structs.replace(block, proposal=other)
        elif kind == 1:
            fewer = msgspec.structs.replace(certificate, signatures=certificate.signatures[:-1])
            block = msgspec.structs.replace(block, certificate=fewer)
        elif kind == 2:
            wrong = msgspec.structs.replace(
                certificate, header_hash=flipped(certificate.header_hash)
            )
            block = msgspec.structs.replace(block, certificate=wrong)
        elif kind == 3 and height > 1:  # a true one, of the block before
            older = liar.source.block(height - 1)
            if older is not None and older.certificate is not None:
                block = msgspec.structs.replace(block, certificate=older.certificate)
        out.append(block)
    if out and member is not None:
        liar.post(number(member), "on_blocks", tuple(out))


def agree(liar: LiarNode, message: Message) -> None:
    """Votes for everything that anybody proposes, signs every header, joins every complaint: what
    an equivocating primary needs beside it."""
    if isinstance(message, PrePrepare):
        for kind in (Prepare, Commit):
            vote = kind(
                message.epoch, message.view, message.sequence, message.digest, 0, NO_SIGNATURE
            )
            liar.say(liar.sign(vote))
    elif isinstance(message, Checkpoint):
        liar.say(liar.sign(message))
    elif isinstance(message, ViewChange) and message.view > liar.view:
        liar.say(liar.sign(ViewChange(message.epoch, message.view, None, (), 0, NO_SIGNATURE)))


# -- speaking of its own accord -------------------------------------------------------------------


def inflate(liar: LiarNode) -> None:
    """Wishes far ahead (L19: for f ≥ 1 one node's huge number moves nobody)."""
    if liar.random.random() < 0.2:
        view = liar.view + 1 + int(liar.random.random() ** 4 * 1_000_000)
        liar.say(liar.sign(ViewChange(liar.epoch, view, None, (), 0, NO_SIGNATURE)))
        status = Status(liar.epoch, liar.view, view, liar.height, 0, NO_SIGNATURE)
        liar.say(liar.sign(status))


def spread_forged_view_change(liar: LiarNode) -> None:
    if liar.random.random() < 0.1:
        assert liar.replica is not None
        slots = liar.replica.state.log.slots
        known = tuple(
            prepared for q in sorted(slots) if (prepared := slots[q].prepared) is not None
        )
        empty = ViewChange(liar.epoch, liar.view + 1, None, known, 0, NO_SIGNATURE)
        forged = msgspec.structs.replace(empty, prepared=false_prepared(liar, empty))
        liar.say(liar.sign(forged))


def flood(liar: LiarNode) -> None:
    """Garbage at every tick: far futures, foreign names, bad signatures, empty proofs."""
    random = liar.random
    if random.random() < 0.05:  # headers of heights that nobody can have executed (B25)
        digest, victim = bytes(32), int(random.random() * liar.plan.n)
        for height in range(liar.height + 1, liar.height + 4 * liar.parameters.watermark_window):
            far = Checkpoint(liar.epoch, 0, height, digest, 0, NO_SIGNATURE)
            liar.say(liar.sign(far), victim)
    for _ in range(6):
        epoch = liar.epoch + (int(random.random() * 4) - 1 if random.random() < 0.2 else 0)
        view = liar.view + int(random.random() ** 3 * 50)
        sequence = liar.height + int(random.random() ** 2 * 100)
        digest = bytes([int(random.random() * 256)]) * 32
        sender = int(random.random() * (liar.validators.n + 2))
        kind = int(random.random() * 8)
        epoch = max(0, epoch)
        message: Message
        if kind < 4:
            vote = (PrePrepare, Prepare, Commit, Checkpoint)[kind]
            message = vote(epoch, view, sequence, digest, sender, digest * 2)
        elif kind == 4:
            message = ViewChange(epoch, view + 1, None, (), sender, digest * 2)
        elif kind == 5:
            message = NewView(epoch, view + 1, (), (), sender, digest * 2)
        elif kind == 6:
            message = Status(epoch, view, view + 1, sequence, sender, digest * 2)
        else:
            message = Fetch(epoch, sequence, digest, sender)
        if kind < 7 and random.random() < 0.6:
            message = liar.sign(message)
        liar.say(message, int(random.random() * liar.plan.n))


def replay(liar: LiarNode) -> None:
    """Other people's old messages, to anybody, of any epoch; and signatures that fit elsewhere."""
    random = liar.random
    for _ in range(3):
        if liar.heard:
            message = liar.heard[int(random.random() * len(liar.heard))]
            die = random.random()
            if die < 0.2 and not isinstance(message, Fetch):
                message = msgspec.structs.replace(message, epoch=message.epoch + 1)
            elif die < 0.4 and isinstance(message, (Prepare, Commit, Checkpoint)):
                message = of_earlier_founding(liar, message)
            liar.say(message, int(random.random() * liar.plan.n))


def of_earlier_founding(liar: LiarNode, message: Vote) -> Message:
    """What its sender said in this place there, where all else was other than here (S1)."""
    if message.epoch != liar.epoch or message.sender >= liar.validators.n:
        return message
    other = msgspec.structs.replace(message, digest=flipped(message.digest), signature=NO_SIGNATURE)
    key = liar.validators.key(message.sender)
    signature = keyed(key, payload(EARLIER_DOMAIN, other))
    return msgspec.structs.replace(other, signature=signature)


def garbage(liar: LiarNode) -> None:
    """Bytes that are no message, and bytes that nearly are one."""
    random = liar.random
    for member in liar.hands.others:
        if random.random() < 0.3:
            frame = random.randbytes(int(random.random() * 80))
            if liar.heard and random.random() < 0.7:
                whole = bytearray(encode_message(liar.heard[-1]))
                whole[int(random.random() * len(whole))] ^= 1 << int(random.random() * 8)
                frame = bytes(whole) + b"\0" * (random.random() < 0.2)
            liar.post(member, "on_bytes", frame)


Rewrite = Callable[["LiarNode", int, Message, bytes | None], Iterator[Parcel]]

REWRITES: dict[str, Rewrite] = {
    "silent": silent,
    "selective": selective,
    "equivocator": equivocator,
    "double-voter": double_voter,
    "lying-new-view": lying_new_view,
    "backdating": backdating,
    "forged-view-change": forged_view_change,
    "stale-certificate": stale_certificate,
    "wrong-header": wrong_header,
    "slow-primary": slow_primary,
    "dripping": dripping,
    "lying-status": lying_status,
    "bad-proposer": bodiless,
}

SPEECHES: dict[str, Callable[[LiarNode], None]] = {
    "backdating": show_backdated,
    "inflated-view": inflate,
    "forged-view-change": spread_forged_view_change,
    "flooder": flood,
    "replayer": replay,
    "garbage": garbage,
}
