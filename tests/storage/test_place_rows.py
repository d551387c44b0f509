"""Rows l: whatever blocks have said, and whichever rows have gone, the last word about each bucket is there."""

from array import array
from pathlib import Path
from random import Random

import pytest

from salus.statemap import BUCKET_BITS_MAX
from storage import keys
from storage.errors import StoreDamaged
from storage.kv import LevelKV, MemoryKV, Put
from storage.place_rows import AGAIN_MIN, ENTRY_BYTES, GONE_MIN, GONE_SHARE, PlaceRows, put_into

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
            puts = self.rows.put_alone(new)
        else:
            puts = self.rows.puts(self.places, self.lengths, new)
        gone = [key for key, row in puts if row is None]
        assert puts[0][1] is not None
        assert len(gone) <= GONE_MIN + len(puts[0][1]) // ENTRY_BYTES // GONE_SHARE
        assert all(self.kv.get(key) for key in gone), "nothing goes twice"
        self.kv.write(puts, sync=True)
        put_into(self.places, self.lengths, new)

    def restart(self) -> None:
        self.rows = PlaceRows(self.again_min)
        self.places, self.lengths = self.rows.load(self.kv)

    def found_again(self) -> bool:
        """By a restart; the last buckets may be empty, and not said at all."""
        places, lengths = PlaceRows().load(self.kv)
        more = array("I", bytes(4 * (len(self.places) - len(places))))
        return (places + array("Q", more), lengths + more) == (self.places, self.lengths)

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
            assert chain.found_again()
        if height % 17 == 0:
            chain.restart()


def test_of_all_rows_at_most_two_thirds_are_old() -> None:
    """However long the chain is: two rounds, and in each an entry for every two that it repeats; and the
    rows of the one before go."""
    chain = Chain(5, 1)
    most = 0
    for _ in range(1_000):
        chain.block()
        most = max(most, chain.entries)
    assert 2 * BUCKETS < most <= 3.5 * BUCKETS


@pytest.mark.parametrize("every", [1, 2, 7, 30])
def test_restarts_leave_no_more_rows(every: int) -> None:
    """A round goes on where it was, else none would end."""
    chain = Chain(6, 1)
    most = 0
    for height in range(1_200):
        chain.block()
        most = max(most, chain.entries)
        if height % every == 0:
            chain.restart()
    assert most <= 5 * BUCKETS


def test_rows_of_small_blocks_go_too() -> None:
    """Of which there may be one for each bucket."""
    chain = Chain(7, 1)
    for _ in range(2_000):
        chain.block(small=chain.random.random() < 0.7)
    assert len(list(chain.kv.scan(keys.PLACES))) < 2 * BUCKETS
    assert chain.found_again()


def test_larger_blocks_are_not_kept_by_the_rows_of_small_ones() -> None:
    """Rows go from the oldest on: while thousands of small ones go, larger ones must not pile up behind them."""
    chain = Chain(8, 1)
    while len(list(chain.kv.scan(keys.PLACES))) < BUCKETS:
        chain.rows._again, chain.rows._began = (
            0,
            chain.rows._next,
        )  # a large block is a long time ago
        new = {chain.random.randrange(BUCKETS): (chain.random.getrandbits(63) + 1, 64)}
        chain.kv.write(chain.rows.put_alone(new), sync=True)
        put_into(chain.places, chain.lengths, new)
    most = 0
    for _ in range(600):
        chain.block()
        most = max(most, chain.entries)
    assert most <= 5 * BUCKETS, most
    assert chain.found_again()


@pytest.mark.parametrize("again_min", [AGAIN_MIN, 5])
@pytest.mark.parametrize("changed", [1, 1_000])
def test_how_many_places_a_block_says_again(again_min: int, changed: int) -> None:
    places, lengths = array("Q", [1 << 32] * 9_000), array("I", [64] * 9_000)
    rows = PlaceRows() if again_min == AGAIN_MIN else PlaceRows(again_min)
    ((_, row),) = rows.puts(places, lengths, dict.fromkeys(range(changed), (2 << 32, 64)))
    assert row is not None
    assert len(row) // ENTRY_BYTES == changed + (2_000 if changed > 1 else again_min)


def test_the_form_of_a_row() -> None:
    """What is empty is not said again."""
    rows = PlaceRows()
    places, lengths = array("Q", [0, 7 << 32 | 5]), array("I", [0, 64])
    assert rows.puts(places, lengths, {3: (8 << 32 | 9, 128), 4: (0, 0)}) == [
        (
            b"l" + bytes(8),
            bytes.fromhex("00000001 00000003 00000004")
            + bytes.fromhex("0000000700000005 0000000800000009 0000000000000000")
            + bytes.fromhex("00000040 00000080 00000000"),
        )
    ]


def _rows(*numbers: int) -> list[Put]:
    rows, puts = PlaceRows(), list[Put]()
    for number in numbers:
        rows._next = number
        puts += rows.put_alone({1: (1 << 32, 64)})
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
        [(keys.PLACES + b"\xff" * 8, bytes(ENTRY_BYTES))],
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
