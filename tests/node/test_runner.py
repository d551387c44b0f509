"""The order of effects, and what happens when one of them fails (S3)."""

import asyncio
from pathlib import Path
from typing import cast

import msgspec
import pytest

from cli.main import _known
from consensus.effects import Action, Effects, Execute, PersistBody, Send, Sending, ViewEntered
from consensus.events import Event, PendingWork, Tick
from consensus.messages import Fetch
from consensus.replica import Replica
from node.runner import Runner, Synced
from salus.codes import Exit
from salus.hashing import ZERO_HASH
from salus.vote import JournalEntry, VoteType
from storage.errors import StoreUnavailable
from storage.votes import floor_entry
from tests.node.network import hospitals
from tests.node.test_node import anchor

VOTE = JournalEntry(VoteType.COMMIT, 0, 0, 1, ZERO_HASH)
SEND = Send(Fetch(0, 1, ZERO_HASH, 0), 1)
VIEW = ViewEntered(1, 1)


class Script:
    """A replica whose steps are written down beforehand."""

    def __init__(self, *steps: Effects | Exception) -> None:
        self.steps = list(steps)

    def step(self, event: Event) -> Effects:
        effects = self.steps.pop(0)
        if isinstance(effects, Exception):
            raise effects
        return effects


class Hands:
    def __init__(self) -> None:
        self.done: list[object] = []
        self.fault: Exception | None = None

    def send(self, sending: Sending) -> None:
        self.done.append(sending)

    def act(self, action: Action) -> None:
        if self.fault is not None:
            raise self.fault
        self.done.append(action)

    def persist(
        self, bodies: list[PersistBody], entries: list[JournalEntry], synced: Synced
    ) -> None:
        self.done.append((bodies, entries))
        asyncio.get_running_loop().call_soon(synced, None)


def runner(hands: Hands, *steps: Effects | Exception) -> Runner:
    made = Runner(hands.persist, hands, 20)
    made.install(cast(Replica, Script(*steps)))
    return made


async def synced() -> None:
    """A turn of the loop in which votes gather, one in which they are written."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_nothing_overtakes_a_vote_on_its_way_to_disk() -> None:
    hands = Hands()
    made = runner(hands, Effects([VOTE], [SEND]), Effects([], [], [VIEW]))
    made.step(Tick())
    made.step(Tick())
    assert hands.done == []
    await synced()
    assert hands.done == [([], [VOTE]), SEND, VIEW]


async def test_the_core_hears_of_pending_work_when_that_changes() -> None:
    """And a new replica, which knows nothing, hears it in any case."""
    heard: list[Event] = []

    class Listener(Script):
        def step(self, event: Event) -> Effects:
            heard.append(event)
            return Effects()

    made = Runner(Hands().persist, Hands(), 20)
    made.install(cast(Replica, Listener()))
    for waits in (False, False, True, True, True, False):
        made.pending(waits)
    assert heard == [PendingWork(False), PendingWork(True), PendingWork(False)]
    made.install(cast(Replica, Listener()))
    made.pending(False)
    assert heard[3:] == [PendingWork(False)]


async def test_an_entry_of_the_shell_goes_to_disk_in_its_turn() -> None:
    """S12: a floor that overtook a vote would make the journal refuse the vote."""
    hands, floor = Hands(), floor_entry((0, 1))
    made = runner(hands, Effects([VOTE], [SEND]))
    made.step(Tick())
    made.persist_entry(floor)
    await synced()
    assert hands.done == [([], [VOTE, floor]), SEND]


@pytest.mark.parametrize("where", ["core", "hands", "disk"])
async def test_whatever_fails_ends_everything_with_its_cause(where: str) -> None:
    """Never half alive: a lost effect is never repeated."""
    hands, fault = Hands(), RuntimeError("a bug")
    steps: list[Effects | Exception] = [Effects([], [SEND], [VIEW, Execute(1, ZERO_HASH)])]
    if where == "core":
        steps = [fault]
    elif where == "hands":
        hands.fault = fault
    made = runner(hands, *steps)
    made.step(Tick())  # does not raise: whoever brought the event is not to blame
    if where == "disk":
        made.fatal(fault)
    with pytest.raises(RuntimeError, match="a bug"):
        await made.failure()
    before = list(hands.done)
    made.step(Tick())
    made.persist_entry(VOTE)
    await synced()
    assert hands.done == before


async def test_a_halted_node_has_nothing_to_say() -> None:
    """L24: what waits for the disk is dropped with it."""
    hands = Hands()
    made = runner(hands, Effects([VOTE], [SEND]))
    made.step(Tick())
    made.install(None)
    await synced()
    assert hands.done == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [(RuntimeError("a bug"), Exit.BUG), (StoreUnavailable("the disk is gone"), Exit.IO)],
)
async def test_a_node_that_fails_ends_with_the_exit_code_of_the_cause(
    tmp_path: Path, fault: Exception, code: Exit, caplog: pytest.LogCaptureFixture
) -> None:
    async with hospitals(tmp_path, 1) as group:
        node, task = group.nodes.pop(0), group._tasks.pop(0)

        def persist(bodies: list[PersistBody], entries: list[JournalEntry], synced: Synced) -> None:
            synced(fault)

        node.runner.persist = persist
        await node.facade.submit([anchor(group, 1).raw])
        with pytest.raises(BaseExceptionGroup) as caught:
            await task
    assert _known(caught.value).exit_code == code
    assert [r.getMessage() for r in caplog.records if r.levelname == "CRITICAL"] == ["fatal"]


async def test_the_votes_of_a_turn_share_one_sync_and_later_ones_wait_for_it() -> None:
    """Group commit: so many fsyncs as there are turns with a vote would be most of a block's time."""
    hands, later = Hands(), msgspec.structs.replace(VOTE, sequence=2)
    made = runner(hands, Effects([VOTE]), Effects([VOTE], [SEND]), Effects([later], [], [VIEW]))
    made.step(Tick())
    made.step(Tick())
    await asyncio.sleep(0)
    assert hands.done == [([], [VOTE, VOTE])]
    made.step(Tick())
    await asyncio.sleep(0)
    await synced()
    assert hands.done == [([], [VOTE, VOTE]), SEND, ([], [later]), VIEW]


async def test_a_node_that_stops_says_nothing_more() -> None:
    hands = Hands()
    made = runner(hands, Effects([VOTE], [SEND]), Effects([VOTE], [SEND]))
    made.step(Tick())
    await asyncio.sleep(0)  # it is being written
    made.close()
    made.step(Tick())
    await synced()
    assert hands.done == [([], [VOTE])]
