"""How far a clock is off: by the median of enough validators, so that no liar sets it (G-20)."""

import pytest

from node.clock_watch import AHEAD_MAX_MS, BEHIND_MAX_MS, ahead_ms, trouble
from node.keeper import CLOCK_AHEAD_MAX_MS, TICKET_AGE_MAX_MS
from salus.parameters import Parameters


@pytest.mark.parametrize(
    ("peers", "ahead"),
    [
        ((100_000, 100_001, 99_999), 99_999),  # it is this clock
        ((100_000, 100_001, None), 100_000),  # one is down
        ((0, 20, -30), 0),
        ((4_000, 4_500, 4_900), 0),  # L21 allows for as much
        ((100_000, 20, -30), 0),  # one lies
        ((100_000, None, None), 0),  # too few to know
        ((100_000, 100_000, -(10**12)), 0),  # a liar may hide it, and moves it nowhere
        ((10**12, 20, None), 0),
        ((-100_000, -100_001, -99_999), -99_999),  # it is this clock, and it is behind
        ((-100_000, -100_001, None), -100_000),
        ((-4_000, -4_500, -4_900), 0),
        ((-100_000, 20, -30), 0),
        ((-100_000, None, None), 0),
        ((-100_000, -100_000, 10**12), 0),
        ((-(10**12), 20, None), 0),
        ((), 0),
    ],
)
def test_the_median_of_a_quorum_says_it(peers: tuple[int | None, ...], ahead: int) -> None:
    assert ahead_ms(peers, 2, 5_000) == ahead


def test_who_is_alone_is_right() -> None:
    assert ahead_ms((), 1, 5_000) == 0


def test_while_reads_go_on_the_keeper_has_time_for_them() -> None:
    assert 0 < AHEAD_MAX_MS <= TICKET_AGE_MAX_MS - 60_000
    assert 0 < BEHIND_MAX_MS <= CLOCK_AHEAD_MAX_MS - Parameters().clock_drift_max_ms


@pytest.mark.parametrize(
    ("ms", "code", "said"),
    [
        (AHEAD_MAX_MS, "OK", ""),
        (AHEAD_MAX_MS + 1, "CLOCK_AHEAD", "the clock of hosp-a is 240 s ahead of"),
        (0, "OK", ""),
        (-BEHIND_MAX_MS, "OK", ""),
        (-BEHIND_MAX_MS - 1_000, "CLOCK_BEHIND", "the clock of hosp-a is 51 s behind"),
    ],
)
def test_what_is_wrong_with_it_is_said_with_its_owner(ms: int, code: str, said: str) -> None:
    found, reason = trouble(ms, "hosp-a")
    assert found == code
    assert reason.startswith(said)
