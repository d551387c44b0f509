"""Contents of buckets by number: within their bytes, and never another content than the newest."""

import tracemalloc
from random import Random

from salus.statemap import ENTRY_BYTES
from storage import state
from storage.bucket_cache import CONTENT_OVERHEAD_BYTES, BucketCache

BUCKETS = 2**18  # of the default parameters


def size(held: dict[int, bytes]) -> int:
    return sum(len(content) + CONTENT_OVERHEAD_BYTES for content in held.values())


def test_what_it_knows_is_what_was_put_last_and_fits_into_its_bytes() -> None:
    random, put, fullest = Random(0), dict[int, bytes](), 0
    cache = BucketCache(40 * (CONTENT_OVERHEAD_BYTES + 2 * ENTRY_BYTES))
    for _ in range(500):
        dropped = [random.randrange(120) for _ in range(3)]  # some twice, or not there
        cache.drop_all(dropped)
        assert {cache.get(index) for index in dropped} == {None}
        block = {
            random.randrange(100): random.randbytes(random.randrange(5) * ENTRY_BYTES)
            for _ in range(8)
        }
        cache.put_all(block)
        put |= block
        known = {index: cache.get(index) for index in range(110)}
        found = {index: content for index, content in known.items() if content is not None}
        assert found == {index: put[index] for index in found}
        assert cache.bytes == size(found) <= cache.bytes_max
        fullest = max(fullest, len(found))
    assert fullest > 30, "it is full, not empty"


def test_an_empty_bucket_is_known_to_be_empty() -> None:
    cache = BucketCache(1_000)
    cache.put(3, b"")
    assert cache.get(3) == b""
    assert cache.get(2) is None
    assert cache.get(4) is None


def test_no_more_goes_than_is_needed_and_each_goes_in_its_turn() -> None:
    cache, gone = BucketCache(10 * (CONTENT_OVERHEAD_BYTES + ENTRY_BYTES)), list[int]()
    cache.put_all({index: bytes(ENTRY_BYTES) for index in range(11)})
    for _ in range(22):
        (missing,) = [index for index in range(11) if cache.get(index) is None]
        gone.append(missing)
        cache.put(missing, bytes(ENTRY_BYTES))
    assert gone == [*range(11), *range(11)]


def test_a_content_that_is_too_large_for_it_is_not_kept() -> None:
    cache = BucketCache(1_000)
    cache.put_all({0: bytes(64), 1: bytes(2_000)})
    assert (cache.get(1), cache.bytes <= 1_000) == (None, True)
    none = BucketCache(0)
    none.put(0, bytes(64))
    assert (none.get(0), none.bytes) == (None, 0)


def test_from_when_not_all_finds_room_it_takes_its_share_and_no_more() -> None:
    entry = CONTENT_OVERHEAD_BYTES + ENTRY_BYTES
    cache = BucketCache(10 * entry, 6 * entry)
    cache.put_all({index: bytes(ENTRY_BYTES) for index in range(10)})
    assert (cache.bytes, cache.room) == (10 * entry, 0)
    cache.put(10, bytes(ENTRY_BYTES))
    assert [index for index in range(11) if cache.get(index) is None] == [0, 1, 2, 3, 4]
    assert (cache.bytes, cache.room) == (6 * entry, 0)
    cache.put_all(dict.fromkeys(range(9), bytes(ENTRY_BYTES)))
    assert cache.bytes == 6 * entry, "the larger bound does not come back"


def test_all_buckets_of_a_million_keys_have_room() -> None:
    contents = BUCKETS * CONTENT_OVERHEAD_BYTES + 10**6 * ENTRY_BYTES
    assert contents <= state.BUCKET_CACHE_BYTES


def test_it_takes_no_more_memory_than_it_says() -> None:
    """Three times what it holds, of a sixteenth of the buckets of 10^6 keys."""
    bytes_max, number = 2**20, BUCKETS // 16
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        cache = BucketCache(bytes_max)
        for index in range(number):
            cache.put(index, bytes(256))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert cache.bytes > 0.9 * bytes_max
    assert taken <= bytes_max + 9 * number, "and the slots of its list"
