"""The index of executed ids: exact by 8 bytes, bounded, dropped when passed."""

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from node.replay import FRESH_MAX, HEIGHTS_PER_BUCKET, RUN_MAX, ReplayIndex
from salus.parameters import Parameters
from tests.memory import held_bytes


def tx_id(n: int) -> bytes:
    return sha256(n.to_bytes(8)).digest()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 400)), max_size=60))
def test_against_a_plain_set(entries: list[tuple[int, int]]) -> None:
    index, model = ReplayIndex(), set()
    for n, expiry in entries:
        assert index.maybe(tx_id(n), expiry) == ((n, expiry // HEIGHTS_PER_BUCKET) in model)
        index.add([(tx_id(n), expiry)])
        model.add((n, expiry // HEIGHTS_PER_BUCKET))


def test_many_ids_of_one_bucket_are_all_found() -> None:
    index = ReplayIndex()
    count = 10 * FRESH_MAX + 7
    index.add((tx_id(n)[:8], 100) for n in range(count))
    assert len(index) == count
    assert all(index.maybe(tx_id(n), 100) for n in range(count))
    assert not any(index.maybe(tx_id(n), 100) for n in range(count, count + 1000))
    (bucket,) = index._buckets.values()
    assert len(bucket.fresh) < FRESH_MAX
    assert len(bucket.runs) <= 4


def test_an_id_that_only_shares_the_filter_s_bit_is_not_held() -> None:
    index = ReplayIndex()
    for n in range(FRESH_MAX + 1):
        index.add([(n.to_bytes(8), 100)])
        assert index.maybe((0).to_bytes(8), 100)
        assert index.maybe(n.to_bytes(8), 100)
        assert not index.maybe((n + 2 * FRESH_MAX).to_bytes(8), 100)


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


def test_runs_stay_short_enough_to_merge() -> None:
    index = ReplayIndex()
    for n in range(3 * RUN_MAX):
        index.add([(n.to_bytes(8), 100)])
    (bucket,) = index._buckets.values()
    assert max(len(run) for run in bucket.runs) <= RUN_MAX
    assert len(bucket.runs) <= 8


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
