"""What waits to be sent to one peer: three classes, consensus first, each bounded (B26).

A full consensus queue means the peer reads too slowly to take part: the caller disconnects it,
and it re-syncs. Full gossip drops its oldest, which announcements repair. Full blocks refuse
the newest: whoever asked will ask again. Pure: no loop, no clock.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from node.net.frames import COALESCE_BYTES, FRAMES_PER_MESSAGE_MAX, MIB, QueueClass


class Pushed(Enum):
    QUEUED = "queued"
    DROPPED_OLDEST = "dropped_oldest"
    REFUSED = "refused"
    OVERFLOW = "overflow"  # consensus: disconnect


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Per peer and class: how many frames, how many bytes may wait."""

    count_max: int
    bytes_max: int


QUEUE_LIMITS: dict[QueueClass, QueueLimits] = {
    # A watermark window of 64 sequences × 4 messages × 16; two NEW-VIEWs or proposals at the max.
    QueueClass.CONSENSUS: QueueLimits(4_096, 64 * MIB),
    # One answer of the largest size, and the requests beside it.
    QueueClass.BLOCKS: QueueLimits(256, 32 * MIB),
    # About two seconds of saturation.
    QueueClass.GOSSIP: QueueLimits(20_000, 16 * MIB),
}


@dataclass(slots=True)
class _Lane:
    limits: QueueLimits
    frames: deque[bytes] = field(default_factory=deque)
    bytes: int = 0


class SendQueue:
    __slots__ = ("_lanes", "dropped_total")

    def __init__(self, limits: dict[QueueClass, QueueLimits] | None = None) -> None:
        limits = limits or QUEUE_LIMITS
        self._lanes = tuple(_Lane(limits[lane]) for lane in QueueClass)
        self.dropped_total = 0

    def push(self, lane_class: QueueClass, frame: bytes) -> Pushed:
        lane = self._lanes[lane_class]
        outcome = Pushed.QUEUED
        while self._full(lane, len(frame)):
            if lane_class is QueueClass.CONSENSUS:
                return Pushed.OVERFLOW
            self.dropped_total += 1
            if lane_class is QueueClass.BLOCKS or not lane.frames:
                return Pushed.REFUSED
            lane.bytes -= len(lane.frames.popleft())
            outcome = Pushed.DROPPED_OLDEST
        lane.frames.append(frame)
        lane.bytes += len(frame)
        return outcome

    @staticmethod
    def _full(lane: _Lane, frame_bytes: int) -> bool:
        return (
            len(lane.frames) >= lane.limits.count_max
            or lane.bytes + frame_bytes > lane.limits.bytes_max
        )

    def pop_batch(self) -> list[bytes]:
        """The frames of the next WebSocket message: consensus first, then blocks, then gossip.

        Small frames that wait together travel together; a large one travels alone, so that a
        vote that arrives meanwhile waits for one message at most."""
        batch: list[bytes] = []
        size = 0
        for lane in self._lanes:
            frames = lane.frames
            while frames:
                length = len(frames[0])
                if batch and (
                    size + length > COALESCE_BYTES or len(batch) == FRAMES_PER_MESSAGE_MAX
                ):
                    return batch
                size += length
                lane.bytes -= length
                batch.append(frames.popleft())
        return batch

    def depths(self) -> dict[str, int]:
        """Frames waiting, by class: for status and metrics."""
        return {
            lane_class.name.lower(): len(lane.frames)
            for lane_class, lane in zip(QueueClass, self._lanes, strict=True)
        }

    @property
    def bytes(self) -> int:
        return sum(lane.bytes for lane in self._lanes)

    def __bool__(self) -> bool:
        votes, blocks, gossip = self._lanes
        return bool(votes.frames or blocks.frames or gossip.frames)
