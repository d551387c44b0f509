"""What a neighbour takes now and then is forgiven; what the work takes is not."""

from collections.abc import Callable

import pytest

from tests.memory import TRIES, held_bytes, peak_bytes

LARGE = 1_000_000


@pytest.mark.parametrize("measure", [peak_bytes, held_bytes])
def test_what_not_every_try_takes_does_not_count(
    measure: Callable[[Callable[[], object], int], int],
) -> None:
    tries: list[int] = []

    def work() -> bytes:
        tries.append(0)
        return bytes(LARGE if len(tries) < TRIES else 1)

    assert measure(work, LARGE // 2) < LARGE // 2
    assert len(tries) == TRIES
    assert LARGE <= measure(lambda: bytes(LARGE), LARGE // 2) < 2 * LARGE


def test_what_is_let_go_counts_for_the_peak_only() -> None:
    def work() -> None:
        bytes(LARGE)

    assert peak_bytes(work, 0) >= LARGE
    assert held_bytes(work, 0) < LARGE // 2
