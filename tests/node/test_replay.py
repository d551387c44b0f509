"""The index of executed ids: none is missed, few others are taken for one, bounded, dropped when passed."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.replay import FILTER_BYTES, FRESH_MAX, HEIGHTS_PER_BUCKET, ReplayIndex
from salus.parameters import Parameters
from tests.memory import held_bytes


def tx_id(n: int) -> bytes:
    return sha256(n.to_bytes(8)).digest()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 400)), max_size=60))
def test_against_a_plain_set(entries: list[tuple[int, int]]) -> None:
    """Few ids are told exactly."""
    index, model = ReplayIndex(), set()
    for n, expiry in entries:
        assert index.maybe(tx_id(n), expiry) == ((n, expiry // HEIGHTS_PER_BUCKET) in model)
        index.add([(tx_id(n), expiry)])
        model.add((n, expiry // HEIGHTS_PER_BUCKET))


@pytest.mark.parametrize("count", [FRESH_MAX - 1, FRESH_MAX, 10 * FRESH_MAX + 7, 300_000])
def test_of_many_ids_of_one_expiry_each_is_found_and_hardly_another(count: int) -> None:
    """Half a minute of a fast chain, if all who send choose one expiry."""
    index = ReplayIndex()
    for first in range(0, count, 1_000):
        index.add((tx_id(n)[:8], 100) for n in range(first, min(count, first + 1_000)))
    assert len(index) == count
    assert all(index.maybe(tx_id(n), 100) for n in range(count))
    assert index.among([(tx_id(n), 100) for n in range(0, count, 7)]) == [
        tx_id(n) for n in range(0, count, 7)
    ]
    taken_for_one = sum(index.maybe(tx_id(n), 100) for n in range(count, count + 10_000))
    (bucket,) = index._buckets.values()
    assert len(bucket.fresh) < FRESH_MAX
    assert len(bucket.filters) == (0 if count < FRESH_MAX else 1 if count < 30_000 else 4)
    assert taken_for_one <= 25 * len(bucket.filters), "of 10,000"


@pytest.mark.parametrize("at_once", [1, FRESH_MAX - 1, 5 * FRESH_MAX])
def test_no_filter_takes_more_than_it_has_room_for(at_once: int) -> None:
    """However many a block has."""
    index, count = ReplayIndex(), 40 * FRESH_MAX
    for first in range(0, count, at_once):
        some = range(first, min(count, first + at_once))
        index.add([(tx_id(n), 100) for n in some])
        assert all(index.maybe(tx_id(n), 100) for n in some)
    (bucket,) = index._buckets.values()
    assert bucket.packed == len(index) == count
    assert all(one.room >= 0 for one in bucket.filters)
    assert [8 * len(one.words) for one in bucket.filters] == [FILTER_BYTES, 2 * FILTER_BYTES]


def test_a_bucket_of_few_ids_takes_hardly_more_than_a_filter_would() -> None:
    """Whoever sends chooses how many ids a bucket has."""

    def executed() -> ReplayIndex:
        index = ReplayIndex()
        for n in range(10 * (FRESH_MAX - 1)):
            index.add([(tx_id(n), HEIGHTS_PER_BUCKET * (n % 10))])
        return index

    assert held_bytes(executed, 12 * FILTER_BYTES) <= 12 * FILTER_BYTES


def test_a_few_ids_spread_over_the_widest_window_take_little_memory() -> None:
    """Any sender chooses the expiry of what it sends."""
    widest = Parameters.__annotations__["expiry_window_blocks"].__metadata__[0].le
    assert widest is not None

    def spread() -> ReplayIndex:
        index = ReplayIndex()
        for expiry in range(0, widest, HEIGHTS_PER_BUCKET):
            index.add([(tx_id(expiry), expiry)])
        assert len(index) == len(index._buckets) >= 15_625
        return index

    assert held_bytes(spread, 16 * 2**20) <= 16 * 2**20


@pytest.mark.parametrize("buckets", [1, 6])
def test_many_ids_take_a_few_bytes_each(buckets: int) -> None:
    """However their expiries lie: 4 million stay below 28 MB."""
    count = 192_000

    def executed() -> ReplayIndex:
        index = ReplayIndex()
        for first in range(0, count, 1_000):
            block = range(first, first + 1_000)
            index.add([(tx_id(n), HEIGHTS_PER_BUCKET * (n % buckets)) for n in block])
        return index

    bound = 7 * count
    assert held_bytes(executed, bound) <= bound


def test_what_expired_is_dropped_and_nothing_else() -> None:
    """Rule S15: at `height` + 1 and later, no proposal may hold what expires at `height`."""
    index = ReplayIndex()
    for expiry in range(1, 300):
        index.add([(tx_id(expiry), expiry)])
    for height in range(1, 300):
        index.passed(height)
        assert all(index.maybe(tx_id(expiry), expiry) for expiry in range(height + 1, 300))
        assert len(index) < 300 - height + HEIGHTS_PER_BUCKET
    index.passed(300 + HEIGHTS_PER_BUCKET)
    assert len(index) == 0
