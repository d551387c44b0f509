"""The watchdog itself: each broken promise is noticed."""

from collections.abc import Callable

import pytest

from consensus.events import Executed
from consensus.invariants import Watch, check
from consensus.log import Slot
from consensus.messages import Prepare
from consensus.state import State
from tests.consensus.lab import A, B, C, Lab, prepared, vote


def busy() -> Lab:
    lab = Lab()
    lab.commit(1, A)
    lab.step(Executed(1, C, 0))
    lab.propose(2, B)
    lab.hear(vote(Prepare, 3, 0, 2, B))
    return lab


def _set(name: str, value: object) -> Callable[[State], None]:
    return lambda s: setattr(s, name, value)


def _set_log(name: str, value: object) -> Callable[[State], None]:
    return lambda s: setattr(s.log, name, value)


def _flood(s: State) -> None:
    for sequence in range(3, 9):
        s.log.slots[sequence] = Slot(sequence)
    s.log.slots[9] = Slot(9)


BROKEN: dict[str, Callable[[State], None]] = {
    "executed more than committed": _set_log("executed", 5),
    "ran too far ahead": _set_log("executing", 7),
    "a low watermark without proof": _set_log("low", 3),
    "a wish below the view": _set("view", 3),
    "a commit without a quorum": lambda s: setattr(s.log.slots[2], "committed", C),
    "a body not on disk": lambda s: s.log.slots[1].persisted.clear(),
    "prepared in a later view": lambda s: setattr(s.log.slots[2], "prepared", prepared(1, 2, B)),
    "a slot beyond the watermark": _flood,
    "doublings without a cap": _set("doublings", 7),
}


@pytest.mark.parametrize("harm", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_promise_is_noticed(harm: Callable[[State], None]) -> None:
    lab = busy()
    check(lab.replica)
    harm(lab.state)
    with pytest.raises(AssertionError):
        check(lab.replica)


def test_heights_and_views_only_grow() -> None:
    watch, lab = Watch(), busy()
    watch.check(lab.replica)
    fresh = Lab()
    with pytest.raises(AssertionError):
        watch.check(fresh.replica)
