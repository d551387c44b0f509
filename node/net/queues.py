"""What waits to be sent to one peer: four classes, consensus first, each bounded (B26).

A full consensus queue means the peer reads too slowly to take part: the caller disconnects it,
and it re-syncs. Full gossip drops its oldest, which announcements repair. Full blocks and
bulk refuse the newest: whoever asked will ask again. Pure: no loop, no clock.
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
    # As many answers of the largest size as are given to one peer at once, and its questions.
    QueueClass.BULK: QueueLimits(256, 10 * MIB),
}


_REFUSE_NEWEST = frozenset({QueueClass.BLOCKS, QueueClass.BULK})


@dataclass(slots=True)
class _Lane:
    limits: QueueLimits
    frames: deque[bytes] = field(default_factory=deque)
    bytes: int = 0


class SendQueue:
    __slots__ = ("_lanes", "dropped_total", "waiting")

    def __init__(self, limits: dict[QueueClass, QueueLimits] | None = None) -> None:
        limits = limits or QUEUE_LIMITS
        self._lanes = tuple(_Lane(limits[lane]) for lane in QueueClass)
        self.dropped_total = 0
        self.waiting = 0  # frames, in all lanes

    def push(self, lane_class: QueueClass, frame: bytes) -> Pushed:
        lane, size = self._lanes[lane_class], len(frame)
        limits, frames, outcome = lane.limits, lane.frames, Pushed.QUEUED
        while len(frames) >= limits.count_max or lane.bytes + size > limits.bytes_max:
            if lane_class is QueueClass.CONSENSUS:
                return Pushed.OVERFLOW
            self.dropped_total += 1
            if lane_class in _REFUSE_NEWEST or not frames:
                return Pushed.REFUSED
            lane.bytes -= len(frames.popleft())
            self.waiting -= 1
            outcome = Pushed.DROPPED_OLDEST
        frames.append(frame)
        lane.bytes += size
        self.waiting += 1
        return outcome

    def pop_batch(self) -> list[bytes]:
        """The frames of the next WebSocket message: consensus first, bulk last.

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
                self.waiting -= 1
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
        return self.waiting > 0
