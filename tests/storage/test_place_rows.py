"""Rows l: whatever blocks have said, and whichever rows have gone, the last word about each bucket is there."""

from array import array
from pathlib import Path
from random import Random

import pytest

from salus.statemap import BUCKET_BITS_MAX
from storage import keys
from storage.errors import StoreDamaged
from storage.kv import LevelKV, MemoryKV, Put
from storage.place_rows import AGAIN, ENTRY_BYTES, PlaceRows, put_into

BUCKETS = 300
CHANGED = 7


class Chain:
    """Blocks one after the other, and what a restart would find."""

    def __init__(self, seed: int, again_min: int) -> None:
        self.kv, self.random, self.again_min = MemoryKV(), Random(seed), again_min
        self.rows = PlaceRows(again_min)
        self.places, self.lengths = array("Q"), array("I")

    def block(self, *, small: bool = False) -> None:
        new = {
            self.random.randrange(BUCKETS): (self.random.getrandbits(63) + 1, 64)
            if self.random.random() < 0.8
            else (0, 0)
            for _ in range(CHANGED)
        }
        if small:
            puts = [self.rows.put_alone(new)]
        else:
            puts = self.rows.puts(self.places, self.lengths, new)
        self.kv.write(puts, sync=True)
        put_into(self.places, self.lengths, new)

    def restart(self) -> None:
        self.rows = PlaceRows(self.again_min)
        self.places, self.lengths = self.rows.load(self.kv)

    @property
    def entries(self) -> int:
        return sum(len(row) for _, row in self.kv.scan(keys.PLACES)) // ENTRY_BYTES


@pytest.mark.parametrize("again_min", [1, 50, 1_000])
@pytest.mark.parametrize("seed", range(3))
def test_a_restart_finds_what_the_last_block_left(seed: int, again_min: int) -> None:
    chain = Chain(seed, again_min)
    for height in range(400):
        chain.block(small=chain.random.random() < 0.3)
        if height % 3 == 0:
            assert PlaceRows().load(chain.kv) == (chain.places, chain.lengths)
        if height % 17 == 0:
            chain.restart()


def test_of_all_rows_at_most_two_thirds_are_old() -> None:
    """However long the chain is: two rounds, and in each an entry for every two that it repeats."""
    chain = Chain(5, 1)
    most = 0
    for _ in range(1_000):
        chain.block()
        most = max(most, chain.entries)
    assert 2.5 * BUCKETS < most <= 3 * BUCKETS + 2 * (AGAIN + 1) * CHANGED


def test_rows_that_a_restart_found_go_after_a_round() -> None:
    chain = Chain(6, 1)
    for _ in range(100):
        chain.block()
    before = [key for key, _ in chain.kv.scan(keys.PLACES)]
    chain.restart()
    round_blocks = -(-BUCKETS // (AGAIN * (CHANGED - 1))) + 1
    for _ in range(round_blocks):
        chain.block()
    assert not {*before} & {key for key, _ in chain.kv.scan(keys.PLACES)}


def test_the_form_of_a_row() -> None:
    rows = PlaceRows()
    places, lengths = array("Q", [0, 7 << 32 | 5]), array("I", [0, 64])
    assert rows.puts(places, lengths, {3: (8 << 32 | 9, 128)}) == [
        (
            b"l" + bytes(8),
            bytes.fromhex("00000000 00000001 00000003")
            + bytes.fromhex("0000000000000000 0000000700000005 0000000800000009")
            + bytes.fromhex("00000000 00000040 00000080"),
        )
    ]


def _rows(*numbers: int) -> list[Put]:
    rows, puts = PlaceRows(), list[Put]()
    for number in numbers:
        rows._next = number
        puts.append(rows.put_alone({1: (1 << 32, 64)}))
    return puts


@pytest.mark.parametrize(
    "puts",
    [
        [(keys.PLACES + b"\1", bytes(ENTRY_BYTES))],
        [(keys.places_key(0) + b"\0", bytes(ENTRY_BYTES))],
        [(keys.places_key(0), bytes(ENTRY_BYTES - 1))],
        [(keys.places_key(0), b"")],
        [(keys.places_key(0), (1 << BUCKET_BITS_MAX).to_bytes(4) + bytes(12))],
        _rows(3, 5),  # one is missing
    ],
)
def test_rows_that_nobody_wrote_are_damage(puts: list[Put], tmp_path: Path) -> None:
    """And the store that has them can be closed at once."""
    kv = LevelKV(tmp_path)
    kv.write(puts, sync=True)
    with pytest.raises(StoreDamaged) as damage:
        PlaceRows().load(kv)
    assert "«l»" in damage.value.message or "no state has" in damage.value.message
    assert kv._inside == 0
    kv.close()
