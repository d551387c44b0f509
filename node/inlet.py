"""Frames from peers, each handed to whom it concerns; consensus frames become events.

Law of the file: a frame is checked here only as far as it must be turned into a call (size and
rate were checked by the transport, signatures are checked by the core and the certificates).
Whatever is wrong raises a `SalusError`, which the transport counts against the peer.
"""

import asyncio
from collections.abc import Awaitable, Callable

from consensus.effects import Rejected
from consensus.events import BodyArrived, Received
from consensus.messages import Fetch, Message, PrePrepare, Status, decode_message
from node.admission import Admission
from node.bodies import Bodies
from node.divergence import Divergence
from node.errors import BadFrame
from node.evidence import EvidenceDesk
from node.net.calls import Calls
from node.net.frames import BodyFrame, EvidenceFrame, Kind, PrePrepareFrame
from node.net.limits import TokenBucket
from node.roster import Roster
from node.runner import Runner
from node.seats import Seats
from node.sync import Sync
from salus.block import proposal_digest
from salus.codec import decode

# Of one member: a window of bodies that it lacks, asked for again five times a second.
FETCHES_PER_S = 320

# Votes are made of them, so they wait while the disk is far behind.
_STEPS = frozenset({Kind.CONSENSUS, Kind.PRE_PREPARE, Kind.EVIDENCE})


class Inlet:
    def __init__(
        self,
        runner: Runner,
        bodies: Bodies,
        admission: Admission,
        sync: Sync,
        seats: Seats,
        evidence: EvidenceDesk,
        divergence: Divergence,
        roster: Roster,
        pass_on: Callable[[str, bytes], None],
        calls: Calls,
    ) -> None:
        self.runner, self.bodies, self.admission, self.sync = runner, bodies, admission, sync
        self.seats, self.evidence, self.pass_on = seats, evidence, pass_on
        self.divergence, self.roster, self.calls = divergence, roster, calls
        self._fetches: dict[str, TokenBucket] = {}  # by member

    def deliver(self, member: str, kind: Kind, payload: bytes) -> Awaitable[None] | None:
        """One frame of a member; raises `SalusError` when it is the member's fault. What comes
        back has to be awaited: only some frames wait for something, and votes are many."""
        if kind is not Kind.BLOCKS and not self.roster.is_member(member):
            return None  # A pinned peer that the state does not know: it brings blocks, no more.
        if kind in _STEPS and self.runner.full:
            return self._when_there_is_room(member, kind, payload)
        match kind:
            case Kind.CONSENSUS:
                self._consensus(member, payload)
            case Kind.PRE_PREPARE:
                self._pre_prepare(payload)
            case Kind.BODY:
                self._body(payload)
            case Kind.GET_BLOCKS:
                return self.sync.serve(member, payload)
            case Kind.BLOCKS:
                self.sync.receive(member, payload)
            case Kind.TRANSACTIONS | Kind.ANNOUNCE | Kind.REQUEST:
                self.admission.receive(member, kind, payload)
            case Kind.GET_WRITES:
                self.divergence.serve(member, payload)
            case Kind.WRITES:
                self.divergence.receive(member, payload)
            case Kind.EVIDENCE:
                self._evidence(member, payload)
            case Kind.CALL | Kind.REPLY:
                self.calls.receive(member, kind, payload)
            case _:
                raise BadFrame(f"a {kind.name} frame is not legal here", code="FRAME_KIND")
        return None

    async def _when_there_is_room(self, member: str, kind: Kind, payload: bytes) -> None:
        await self.runner.room()
        match kind:
            case Kind.CONSENSUS:
                self._consensus(member, payload)
            case Kind.PRE_PREPARE:
                self._pre_prepare(payload)
            case _:
                self._evidence(member, payload)

    def _consensus(self, member: str, payload: bytes) -> None:
        message = decode_message(payload)
        if isinstance(message, (Fetch, Status)):
            # Never relayed and perhaps unsigned: they only speak for the connection they came on.
            # The set of an epoch that has not begun here is not known.
            seat = self.seats.index(member, message.epoch)
            if seat != message.sender and self.seats.known(message.epoch):
                raise BadFrame("a request in somebody else's name", code="FRAME_SENDER")
            if isinstance(message, Status):
                if self.seats.index(member, self.seats.epoch) is not None:
                    self.sync.claim(member, message.certified)
            elif not self._may_fetch(member):
                return
        self._received(message)

    def _may_fetch(self, member: str) -> bool:
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        bucket = self._fetches.get(member)
        if bucket is None:
            bucket = TokenBucket(FETCHES_PER_S, 2 * FETCHES_PER_S, now_ms)
            self._fetches[member] = bucket
        return bucket.take(1, now_ms)

    def _pre_prepare(self, payload: bytes) -> None:
        frame = decode(payload, PrePrepareFrame)
        message = decode_message(frame.message)
        if not isinstance(message, PrePrepare) or proposal_digest(frame.body) != message.digest:
            raise BadFrame("the body is not the one that the PRE-PREPARE names", code="FRAME_BODY")
        if len(frame.body) > self.bodies.body_bytes_max:
            raise BadFrame("the body is larger than a block may be", code="FRAME_BODY")
        self._received(message)
        self._arrived(message.sequence, message.digest, frame.body)

    def _received(self, message: Message) -> None:
        """Raises if the core calls the message a lie: whoever passed it on is scored (B25)."""
        for action in self.runner.step(Received(message)).deliver:
            if isinstance(action, Rejected):
                raise BadFrame(action.reason, code="BAD_MESSAGE")

    def _evidence(self, member: str, payload: bytes) -> None:
        """Evidence from a peer: its messages go the way of all messages, so that whoever has
        not seen one of them yet sees the contradiction with his own eyes (L23)."""
        messages = self.evidence.examine(decode(payload, EvidenceFrame))
        if len(messages) == 2 and self.evidence.passed_on(messages[0]):
            self.pass_on(member, payload)
        for message in messages:
            self._received(message)

    def _body(self, payload: bytes) -> None:
        frame = decode(payload, BodyFrame)
        if proposal_digest(frame.body) != frame.digest:
            raise BadFrame("the body does not have its digest", code="FRAME_BODY")
        if len(frame.body) > self.bodies.body_bytes_max:
            raise BadFrame("the body is larger than a block may be", code="FRAME_BODY")
        self._arrived(frame.sequence, frame.digest, frame.body)

    def _arrived(self, sequence: int, digest: bytes, body: bytes) -> None:
        """Kept only if the core wants it now, whoever sent it: it asks again for what it lacks."""
        if self.runner.wants(sequence, digest) and self.bodies.admit(sequence, digest, body):
            self.runner.step(BodyArrived(sequence, digest))
