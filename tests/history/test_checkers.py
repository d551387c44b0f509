"""The judges themselves: histories that are right, and every way in which one can be wrong."""

import math
import random
from itertools import count

import pytest

from tests.history.growth import check_set
from tests.history.linear import _effect, check_register
from tests.history.operation import Kind, Operation, Outcome


def op(
    kind: Kind, began_s: float, ended_s: float | None, *argument: int, result: object = None
) -> Operation:
    """`ended_s` None: open."""
    made = Operation(0, kind, 0, argument, began_s, result=result)
    if ended_s is not None:
        made.ended_s, made.outcome = ended_s, Outcome.DONE
    return made


def write(began_s: float, ended_s: float | None, value: int) -> Operation:
    return op(Kind.WRITE, began_s, ended_s, value)


def read(began_s: float, ended_s: float | None, value: int) -> Operation:
    return op(Kind.READ, began_s, ended_s, result=value)


def swap(
    began_s: float, ended_s: float | None, expected: int, value: int, equal: bool
) -> Operation:
    return op(Kind.SWAP, began_s, ended_s, expected, value, result=equal)


def add(began_s: float, ended_s: float | None, element: int) -> Operation:
    return op(Kind.ADD, began_s, ended_s, element)


def see(began_s: float, ended_s: float, *elements: int, again: set[int] | None = None) -> Operation:
    return op(Kind.SEE, began_s, ended_s, result=(set(elements), again or set()))


REGISTER_GOOD = {
    "nothing": [],
    "the first value": [read(0, 1, 0)],
    "one after the other": [write(0, 1, 5), read(2, 3, 5), swap(4, 5, 5, 6, True), read(6, 7, 6)],
    "a read beside a write sees either": [write(0, 9, 5), read(1, 2, 0), read(3, 4, 5)],
    "two writes beside each other, in the order of the reads": [
        write(0, 9, 5), write(0, 9, 6), read(1, 2, 6), read(3, 4, 5), read(10, 11, 5),
    ],
    "an open write that took effect late": [write(0, None, 5), read(1, 2, 0), read(3, 4, 5)],
    "an open write that never did": [write(0, None, 5), read(1, 2, 0), read(30, 40, 0)],
    "an open swap that took effect": [
        write(0, 1, 1), swap(2, None, 1, 2, False), read(3, 4, 1), read(5, 6, 2),
    ],
    "an open swap that found something else": [
        write(0, 1, 1), swap(2, None, 9, 2, False), read(3, 4, 1),
    ],
    "a swap that was told no": [write(0, 1, 1), swap(2, 3, 0, 7, False), read(4, 5, 1)],
    "an open read says nothing": [write(0, 1, 1), read(2, None, 77), read(3, 4, 1)],
    "a chain that only one order explains": [
        write(0, 20, 1), swap(0, 20, 3, 4, True), swap(0, 20, 1, 2, True), swap(0, 20, 2, 3, True),
        read(21, 22, 4),
    ],
}  # fmt: skip

REGISTER_BAD = {
    "a stale read": [write(0, 1, 5), write(2, 3, 6), read(4, 5, 5)],
    "a lost write": [write(0, 1, 5), read(2, 3, 0)],
    "a value that nobody wrote": [write(0, 1, 5), read(2, 3, 7)],
    "a read from the future": [read(0, 1, 5), write(2, 3, 5)],
    "back and forth": [write(0, 9, 5), read(1, 2, 5), read(3, 4, 0)],
    "back and forth with an open write": [
        write(0, None, 5), read(1, 2, 0), read(3, 4, 5), read(5, 6, 0),
    ],
    "two swaps of one value": [
        write(0, 1, 1), swap(2, 9, 1, 2, True), swap(2, 9, 1, 3, True),
    ],
    "a swap that was told no, with nothing else there": [
        write(0, 1, 1), swap(2, 3, 1, 2, False),
    ],
    "a swap that was told yes, of what was not there": [swap(0, 1, 8, 9, True)],
    "an open write before it was asked for": [read(0, 1, 5), write(2, None, 5)],
    "two readers in two orders": [
        write(0, 9, 5), write(0, 9, 6), read(1, 2, 5), read(3, 4, 6), read(5, 6, 5),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", REGISTER_GOOD)
def test_a_register_that_was_one_is_believed(name: str) -> None:
    verdict = check_register(REGISTER_GOOD[name])
    assert verdict.linearizable
    assert verdict.decided


@pytest.mark.parametrize("name", REGISTER_BAD)
def test_a_register_that_was_none_is_not(name: str) -> None:
    verdict = check_register(REGISTER_BAD[name])
    assert not verdict.linearizable
    assert verdict.decided


def test_the_longest_order_ends_where_it_breaks() -> None:
    history = [write(0, 1, 5), read(2, 3, 5), read(4, 5, 6), read(6, 7, 6)]
    verdict = check_register(history)
    assert list(verdict.longest) == history[:2]


def test_what_is_not_decided_is_no_pass() -> None:
    history = [write(0, None, number) for number in range(1, 20)]
    history += [read(40, 50, 99), *(read(30, 31 + number, number) for number in range(1, 20))]
    verdict = check_register(history, pairs_max=100)
    assert (verdict.linearizable, verdict.decided) == (False, False)


def plainly(history: list[Operation]) -> bool:
    """The definition itself: some order of some of the open ones and all others explains it."""
    done = [o for o in history if o.outcome is Outcome.DONE]

    def goes_on(left: list[Operation], value: int) -> bool:
        if not any(o in done for o in left):
            return True
        first_s = min(o.ended_s for o in left)
        return any(
            (after := _effect(o, value)) is not None
            and goes_on([other for other in left if other is not o], after)
            for o in left
            if o.began_s <= first_s
        )

    return goes_on(history, 0)


def small(rng: random.Random) -> list[Operation]:
    """Any operations at any times: true and false ones, many open."""
    history = []
    for number in range(1, 7):
        began_s = rng.randrange(8)
        ended = None if rng.random() < 0.35 else began_s + rng.randrange(1, 5)
        expected = rng.randrange(4)
        history.append(
            rng.choice(
                (
                    write(began_s, ended, number),
                    swap(began_s, ended, expected, number, rng.random() < 0.5),
                    read(began_s, began_s + 1, expected),
                )
            )
        )
    return history


def test_the_search_says_what_the_definition_says() -> None:
    """What it leaves out it may leave out."""
    rng, verdicts = random.Random(11), []
    for _ in range(3_000):
        history = small(rng)
        verdicts.append(check_register(history).linearizable)
        assert verdicts[-1] == plainly(history), [str(o) for o in history]
    assert 300 < sum(verdicts) < 2_700, "both happen"


def made_up(rng: random.Random, lie: bool) -> list[Operation]:
    """A true register of one order, seen by clients who overlap; `lie`: one read says otherwise."""
    value, values, now_s = 0, count(1), 0.0
    history: list[Operation] = []
    for _ in range(40):
        now_s += 1
        began_s, ended_s = now_s - rng.random() * 4, now_s + rng.random() * 4
        kind = rng.choice((Kind.WRITE, Kind.SWAP, Kind.READ, Kind.READ))
        is_open = kind is not Kind.READ and rng.random() < 0.1
        if kind is Kind.READ:
            history.append(read(began_s, ended_s, value))
            continue
        if is_open and rng.random() < 0.5:
            history.append(write(began_s, None, next(values)))  # it never took effect
            continue
        ended = None if is_open else ended_s
        if kind is Kind.WRITE:
            value = next(values)
            history.append(write(began_s, ended, value))
        else:
            expected = value if rng.random() < 0.7 else value + 1_000
            new = next(values)
            history.append(swap(began_s, ended, expected, new, expected == value))
            value = new if expected == value else value
    if lie:
        reads = [o for o in history if o.kind is Kind.READ]
        # Everything that could explain it was long over, or not yet asked for.
        history.append(read(now_s + 10, now_s + 11, reads[0].result + 5_000))
    rng.shuffle(history)
    return history


@pytest.mark.parametrize("seed", range(40))
def test_histories_of_a_true_register_pass_and_with_one_lie_they_do_not(seed: int) -> None:
    assert check_register(made_up(random.Random(seed), lie=False)).linearizable
    verdict = check_register(made_up(random.Random(seed), lie=True))
    assert (verdict.linearizable, verdict.decided) == (False, True)


SET_GOOD = {
    "nothing": [],
    "what was added is there": [add(0, 1, 7), see(2, 3, 7)],
    "a read beside an addition sees either": [add(0, 9, 7), see(1, 2), see(3, 4, 7)],
    "an open addition": [add(0, None, 7), see(1, 2), see(3, 4, 7)],
    "an open addition that never came": [add(0, None, 7), see(1, 2), see(30, 40)],
    "two reads beside each other": [add(0, 9, 1), see(1, 8), see(1, 8, 1)],
}
SET_BAD = {
    "lost": [add(0, 1, 7), see(2, 3)],
    "from the future": [see(0, 1, 7), add(2, 3, 7)],
    "added twice": [add(0, 1, 7), see(2, 3, 7, again={7})],
    "invented": [add(0, 1, 7), see(2, 3, 7, 8)],
    "vanished": [add(0, None, 7), see(1, 2, 7), see(3, 4)],
    "two orders": [add(0, 9, 1), add(0, 9, 2), see(1, 8, 1), see(1, 8, 2)],
}


@pytest.mark.parametrize("name", SET_GOOD)
def test_a_set_that_only_grew_is_believed(name: str) -> None:
    assert check_set(SET_GOOD[name]) == []


@pytest.mark.parametrize("name", SET_BAD)
def test_every_fault_of_a_set_is_named(name: str) -> None:
    wrong = check_set(SET_BAD[name])
    assert wrong
    assert all(line.startswith(name) for line in wrong)


def test_an_addition_that_failed_must_not_be_there() -> None:
    refused = add(0, None, 7)
    refused.failed(1)
    assert check_set([refused, see(2, 3)]) == []
    assert check_set([refused, see(2, 3, 7)])[0].startswith("invented")


def test_an_open_operation_has_no_end() -> None:
    assert add(0, None, 7).ended_s == math.inf
