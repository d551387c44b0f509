"""The node's hands: effects of the core become frames, executions and writes.

Law of the file: nothing here decides; it looks up bytes for digests, calls the part that does
the work, and turns what comes of it into the next event.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from consensus.effects import (
    Action,
    BuildProposal,
    CatchUp,
    CheckProposal,
    Evidence,
    Execute,
    Halt,
    Quarantine,
    Rejected,
    Send,
    SendBlocks,
    SendBody,
    Sending,
    ViewEntered,
    ViewLeft,
    WriteBlock,
)
from consensus.events import Executed
from consensus.messages import PrePrepare, encode_message
from node.bodies import Bodies
from node.judge import Judge
from node.net.frames import MIB, BodyFrame, Kind, PrePrepareFrame
from node.net.limits import TokenBucket
from node.pipeline import Pipeline
from node.proposer import Proposer
from node.runner import Runner
from node.seats import Seats
from node.sync import Sync, SyncNetwork
from salus.codec import encode

log = logging.getLogger("salus.outlet")

# Of one member: twice the largest body, or a window of small ones, a second.
FETCHED_BYTES_PER_S = 32 * MIB

Alarm = Callable[[Evidence | Quarantine | Halt | ViewEntered | ViewLeft], None]


class Transport(SyncNetwork, Protocol):
    def broadcast(self, kind: Kind, payload: bytes, members: Iterable[str]) -> int: ...


class Outlet:
    def __init__(
        self,
        runner: Runner,
        network: Transport,
        bodies: Bodies,
        judge: Judge,
        pipeline: Pipeline,
        proposer: Proposer,
        sync: Sync,
        seats: Seats,
        alarm: Alarm,
    ) -> None:
        self.runner, self.network, self.bodies = runner, network, bodies
        self.judge, self.pipeline, self.proposer, self.sync = judge, pipeline, proposer, sync
        self.seats, self.alarm = seats, alarm
        self.members: Sequence[str] = ()  # of the epoch's validator set, by index
        self.me: int | None = None
        self._others: list[str] = []
        self._drawn: dict[str, TokenBucket] = {}  # by member
        self._called = False  # `_propose` comes with the next turn of the loop
        self._clock: asyncio.TimerHandle | None = None  # rings when it will be
        self._rings_at = 0.0

    def begin_epoch(self, members: Sequence[str], me: int | None) -> None:
        self.members, self.me = members, me
        self._others = [member for index, member in enumerate(members) if index != me]

    # -- sending --------------------------------------------------------------------------------

    def send(self, sending: Sending) -> None:
        match sending:
            case Send(message, to):
                kind, payload = Kind.CONSENSUS, encode_message(message)
                if isinstance(message, PrePrepare) and message.sender == self.me:
                    body = self.bodies.get(message.sequence, message.digest)
                    if body is not None:
                        kind, payload = Kind.PRE_PREPARE, encode(PrePrepareFrame(payload, body))
                if to is None:
                    self.network.broadcast(kind, payload, self._others)
                elif to != self.me:
                    self.network.send(self.members[to], kind, payload)
            case SendBody(to, sequence, digest):
                body = self.bodies.get(sequence, digest)
                if body is not None and self._may_cost(self.members[to], len(body)):
                    payload = encode(BodyFrame(sequence, digest, body))
                    self.network.send(self.members[to], Kind.BODY, payload)
            case SendBlocks(to, above, epoch):
                member = self.seats.member(epoch, to)
                if member is not None:
                    self.sync.offer(member, above)

    def _may_cost(self, member: str, size: int) -> bool:
        """A FETCH of 40 bytes draws a whole body: what it does not get, it asks of another."""
        now_ms = int(asyncio.get_running_loop().time() * 1000)
        bucket = self._drawn.get(member)
        if bucket is None:
            bucket = TokenBucket(FETCHED_BYTES_PER_S, 2 * FETCHED_BYTES_PER_S, now_ms)
            self._drawn[member] = bucket
        return bucket.take(size, now_ms)

    # -- doing ----------------------------------------------------------------------------------

    def act(self, action: Action) -> None:
        match action:
            case BuildProposal():
                self.proposer.permit(action)
                self.nudge()
            case CheckProposal():
                self.judge.check(action)
            case Execute(sequence, digest):
                header = self.pipeline.execute(sequence, digest)
                self.proposer.committed(sequence)
                self.runner.step(Executed(sequence, header.hash(), header.epoch_end))
                self.nudge()
            case WriteBlock(height, certificate):
                self.pipeline.certify(height, certificate)
            case CatchUp(height):
                self.sync.want(height)
            case ViewEntered() | ViewLeft():
                self.proposer.withdraw()
                self.alarm(action)
            case Rejected():
                pass  # The inlet has seen it and scores the connection that brought the message.
            case Evidence() | Quarantine() | Halt():
                self.alarm(action)

    # -- proposing ------------------------------------------------------------------------------

    def nudge(self) -> None:
        """Something changed that may make it time to propose: asked for every transaction. What
        else this turn of the loop brings goes along, and a clock that is set already rings for all."""
        wait_ms = self.proposer.wait_ms()
        if wait_ms == 0:
            if not self._called:
                self._called = True
                asyncio.get_running_loop().call_soon(self._propose)
        elif wait_ms is not None:
            self._ring_after(wait_ms)

    def _propose(self) -> None:
        """Use the core's permission to propose as soon as the pacing says so."""
        self._called = False
        try:
            built = self.proposer.propose()
            if built is not None:
                self.runner.step(built)
                self.nudge()
            elif (wait_ms := self.proposer.wait_ms()) is not None:
                self._ring_after(max(wait_ms, 1))  # the pool could not give what it promised
        except Exception as error:  # noqa: BLE001 - a primary that cannot propose only seems to live
            self.runner.fatal(error)

    def _ring_after(self, wait_ms: int) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + wait_ms / 1000
        if self._clock is not None:
            if self._rings_at <= at:
                return  # What rings too early asks again.
            self._clock.cancel()
        self._clock, self._rings_at = loop.call_at(at, self._rings), at

    def _rings(self) -> None:
        self._clock = None
        self._propose()
