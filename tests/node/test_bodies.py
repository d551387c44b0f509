"""Which bodies memory keeps, which may make room, and that a loss is loud (S3, B25)."""

import msgspec
import pytest

from node.bodies import Bodies, BodyMissing
from salus.block import null_proposal, proposal_digest
from salus.parameters import Parameters
from storage.blocks import BlockStore
from storage.kv import MemoryKV

PARAMETERS = msgspec.structs.replace(
    Parameters(), in_flight_proposals_max=1, execute_ahead_max=1, block_bytes_max=4096
)
ROOM = 4  # blocks of the largest size that fit


class Shelf:
    """`Bodies` over a store in memory, with a core that counts on what stands in `pinned`."""

    def __init__(self) -> None:
        self.pinned: set[tuple[int, bytes]] = set()
        self.dropped: list[tuple[int, bytes]] = []
        self.store = BlockStore(MemoryKV(), bytes(32))
        self.bodies = self.again(0)

    def again(self, height: int) -> Bodies:
        bodies = Bodies(
            self.store,
            height,
            lambda *key: key in self.pinned,
            lambda *key: self.dropped.append(key),
        )
        bodies.begin_epoch(PARAMETERS)
        return bodies

    def admit(self, sequence: int, *, pinned: bool = True) -> bool:
        raw = body(sequence)
        key = (sequence, proposal_digest(raw))
        if pinned:
            self.pinned.add(key)
        return self.bodies.admit(*key, raw)

    def write(self, *sequences: int) -> None:
        found = self.bodies.persist([key(sequence) for sequence in sequences])
        self.store.put_bodies(found)
        self.bodies.persisted(found)


def body(sequence: int) -> bytes:
    return sequence.to_bytes(2) * 2048


def key(sequence: int) -> tuple[int, bytes]:
    return sequence, proposal_digest(body(sequence))


def test_what_the_core_counts_on_is_never_pushed_out() -> None:
    shelf = Shelf()
    assert [shelf.admit(n) for n in range(1, ROOM + 2)] == [True] * ROOM + [False]
    assert all(shelf.bodies.get(*key(n)) == body(n) for n in range(1, ROOM + 1))


def test_what_stands_on_disk_makes_room_first_and_is_not_lost() -> None:
    shelf = Shelf()
    assert shelf.admit(9, pinned=False)
    for n in range(1, ROOM):
        shelf.admit(n)
    shelf.write(1)
    assert shelf.admit(ROOM)
    assert shelf.dropped == []
    assert shelf.bodies.get(*key(1)) == body(1)
    assert shelf.bodies.persist([key(1)]) == []


def test_what_nobody_counts_on_makes_room_and_the_core_is_told() -> None:
    shelf = Shelf()
    for n in (5, 7, 6):
        shelf.admit(n, pinned=False)
    assert shelf.admit(1)
    assert shelf.admit(2)
    assert shelf.dropped == [key(7)]
    assert shelf.bodies.get(*key(7)) is None


def test_my_own_proposal_always_finds_room() -> None:
    shelf = Shelf()
    for n in range(1, ROOM + 1):
        shelf.admit(n)
    shelf.bodies.put(*key(9), body(9))
    assert shelf.bodies.get(*key(9)) == body(9)


def test_a_vote_does_not_leave_without_its_body() -> None:
    """S3: whoever asks to persist what is nowhere hears of it."""
    bodies = Shelf().bodies
    with pytest.raises(BodyMissing):
        bodies.persist([key(3)])


def test_a_null_proposal_needs_no_place() -> None:
    digest = proposal_digest(null_proposal(3))
    assert Shelf().bodies.persist([(3, digest)]) == []


def test_an_empty_body_is_a_body() -> None:
    bodies = Shelf().bodies
    digest = proposal_digest(b"")
    bodies.put(1, digest, b"")
    assert bodies.get(1, digest) == b""


def test_a_restart_knows_what_is_on_disk() -> None:
    shelf = Shelf()
    shelf.admit(2)
    shelf.write(2)
    again = shelf.again(1)
    assert again.persist([key(2)]) == []
    assert again.orphaned(2, bytes(32))
    assert not again.orphaned(*key(2))


def test_a_certified_height_leaves_memory() -> None:
    shelf = Shelf()
    shelf.admit(1)
    shelf.bodies.certified(1)
    assert shelf.bodies.get(*key(1)) is None
    assert not shelf.admit(1)
    assert shelf.bodies.persist([key(1)]) == []  # its block brought it, or another body
