"""What a node takes from its clients is what it sees committed: a flood is refused, not stored."""

from node.drain import BACKLOG_S, FLOOR_TRANSACTIONS, LATER_TRANSACTIONS_MAX, WINDOW_MS, Drain


def served_evenly(drain: Drain, per_s: int, seconds: int, taken: int = 0) -> int:
    """The room at the end of so many seconds with a look every 50 ms."""
    room = 0
    for ms in range(0, 1000 * seconds + 1, 50):
        room = drain.room(taken, per_s * ms // 1000, ms)
    return room


def test_an_idle_node_takes_a_burst_and_no_more() -> None:
    drain = Drain()
    assert drain.room(0, 0, 0) == FLOOR_TRANSACTIONS
    assert drain.room(FLOOR_TRANSACTIONS - 1, 0, 1) == 1
    assert drain.room(FLOOR_TRANSACTIONS, 0, 2) == 0
    assert drain.room(FLOOR_TRANSACTIONS + 500, 0, 3) == 0, "never less than none"


def test_what_nothing_serves_yet_takes_half_of_the_least_room_at_most() -> None:
    assert 0 < 2 * LATER_TRANSACTIONS_MAX <= Drain().room(0, 0, 0)


def test_a_busy_node_takes_what_is_committed_in_two_seconds() -> None:
    per_s = 3_000
    assert served_evenly(Drain(), per_s, 5) == BACKLOG_S * per_s
    assert served_evenly(Drain(), per_s, 5, taken=4_000) == BACKLOG_S * per_s - 4_000


def test_a_chain_that_stands_still_leaves_the_floor() -> None:
    drain = Drain()
    served_evenly(drain, 3_000, 5)
    assert drain.room(6_000, 15_000, 5_000 + WINDOW_MS // 2) < 1_000, (
        "the rate falls with the window"
    )
    assert drain.room(6_000, 15_000, 5_000 + 3 * WINDOW_MS) == 0
    assert drain.room(0, 15_000, 5_000 + 3 * WINDOW_MS) == FLOOR_TRANSACTIONS


def test_one_commit_after_a_long_silence_is_no_high_rate() -> None:
    drain = Drain()
    drain.room(0, 0, 0)
    assert drain.room(0, 500, 60_000) == FLOOR_TRANSACTIONS
    assert drain.room(0, 1_000, 60_050) == FLOOR_TRANSACTIONS


def test_many_looks_keep_few_marks() -> None:
    drain = Drain()
    for ms in range(20_000):
        drain.room(0, ms, ms)
    assert len(drain._marks) <= WINDOW_MS / 100 + 2
