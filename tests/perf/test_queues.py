"""Making room in what is full costs the same, however much it holds: a ratio within one run.

The first key of a plain dict is found by a walk over the holes that earlier first keys have left: 18 µs
at 65,536 keys, 0.2 µs of an `OrderedDict`, or where many go with one walk. No count of instructions shows that.
"""

from collections.abc import Callable
from itertools import count
from statistics import median
from time import thread_time

import pytest

from node import keeper, meters, verified
from node.keeper import SeenSignatures
from node.meters import CommitMeter
from node.metrics import Metrics
from node.verified import Verified
from salus.transaction import ParsedTransaction
from storage.cache import ENTRY_OVERHEAD_BYTES, ByteBoundCache
from tests import factories

SMALL, LARGE = 256, 65_536
EVICTIONS = 2_000
ROUNDS = 9  # the middle one counts: holes come and go, and so do neighbours
RATIO_MAX = 6  # a plain dict: 19 to 51; these: 1.0 to 1.4

Put = Callable[[int], object]


def _cache(size: int) -> Put:
    cache: ByteBoundCache[int] = ByteBoundCache(size * (ENTRY_OVERHEAD_BYTES + 1))
    return lambda number: cache.put(number, b"1")


def _extras(size: int, patch: pytest.MonkeyPatch) -> Put:
    patch.setattr(verified, "EXTRAS_MAX", size)
    held, body = Verified(), factories.transaction(factories.genesis()).body

    def put(number: int) -> None:
        raw = number.to_bytes(32)
        held.remember([ParsedTransaction(raw, body, raw, raw)])

    return put


def _signatures(size: int, patch: pytest.MonkeyPatch) -> Put:
    patch.setattr(keeper, "SIGNATURES_SEEN_MAX", size)
    patch.setattr(keeper, "verify", lambda key, payload, signature: True)
    seen = SeenSignatures()
    return lambda number: seen.verify(bytes(32), number.to_bytes(8), bytes(64))


def _submitted(size: int, patch: pytest.MonkeyPatch) -> Put:
    patch.setattr(meters, "SUBMITTED_MAX", size)
    meter = CommitMeter(Metrics())
    return lambda number: meter.submitted([number.to_bytes(32)], 0.0)


def _filled(make: Callable[[int], Put], size: int) -> "tuple[Put, count[int]]":
    put, numbers = make(size), count()
    for _ in range(2 * size):
        put(next(numbers))
    return put, numbers


def _seconds(put: Put, numbers: "count[int]") -> float:
    began = thread_time()
    for _ in range(EVICTIONS):
        put(next(numbers))
    return thread_time() - began


@pytest.mark.parametrize("what", ["cache", "extras", "signatures", "submitted"])
def test_making_room_costs_no_more_where_much_is_held(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = []
    for size in (SMALL, LARGE):
        with monkeypatch.context() as patch:
            make: dict[str, Callable[[int], Put]] = {
                "cache": _cache,
                "extras": lambda size: _extras(size, patch),
                "signatures": lambda size: _signatures(size, patch),
                "submitted": lambda size: _submitted(size, patch),
            }
            put, numbers = _filled(make[what], size)
            spent.append(median(_seconds(put, numbers) for _ in range(ROUNDS)))
    small, large = spent
    assert large < RATIO_MAX * small, (
        f"{large / small:.0f} times as much for {LARGE} as for {SMALL}"
    )
