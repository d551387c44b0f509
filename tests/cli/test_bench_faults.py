"""What a fault of the primary cost is read off what the clients saw, and off the chain."""

import pytest

from cli.bench import faults
from cli.bench.faults import GAP_MS, Outcome, Seen
from cli.errors import CliError


def seen(*done_s: float) -> Seen:
    found = Seen()
    found.done = [(0.0, at) for at in done_s]
    return found


def test_a_gap_is_a_silence_of_all_clients_together() -> None:
    step = GAP_MS / 1000 / 2
    steady = [10 + step * n for n in range(9)]
    assert seen(*steady).gaps(10, 10 + 8 * step) == []
    [(began, ms)] = seen(10.0, 10.2, 11.9, 12.0).gaps(10, 12.1)
    assert (began, round(ms)) == (10.2, 1_700)


def test_a_silence_until_the_end_and_one_from_the_beginning_count_too() -> None:
    assert [round(ms) for _, ms in seen(5.0).gaps(3, 7)] == [2_000, 2_000]
    assert [round(ms) for _, ms in seen().gaps(3, 7)] == [4_000]
    assert seen(1.0, 2.0, 9.0).gaps(3, 3.2) == [], "what is outside is not asked about"


def outcome(lost: int, twice: int) -> Outcome:
    return Outcome("SIGKILL", 1, 1, 1, 0, lost, twice, 1, 1, 1.0, 1.0, 0, 0.0, 1.0)


@pytest.mark.parametrize(("lost", "twice"), [(1, 0), (0, 1)])
def test_a_lost_transaction_is_no_figure_but_a_failure(lost: int, twice: int) -> None:
    faults.check([outcome(0, 0)])
    with pytest.raises(CliError, match="lost"):
        faults.check([outcome(0, 0), outcome(lost, twice)])
