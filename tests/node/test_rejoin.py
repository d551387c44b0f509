"""A wiped validator asks again when the ledger says «too soon», on a chain where nothing else passes."""

from collections.abc import Sequence
from pathlib import Path

from node.api.view import Submitted
from node.errand import RETRY_S
from node.rejoin import Rejoin
from salus.epoch import EpochRecord
from salus.forms import TransactionState
from tests import factories
from tests.node.network import eventually, hospitals


async def test_a_rejoin_that_was_executed_and_refused_is_followed_by_a_new_one() -> None:
    """Its own blocks are what brings the height from which on it may."""
    sent: list[bytes] = []
    executed: int | None = None

    async def submit(raws: Sequence[bytes]) -> list[Submitted]:
        sent.extend(raws)
        return [Submitted(TransactionState.PENDING, height=executed) for _ in raws]

    rejoin = Rejoin(factories.key("node a"), "test-chain", bytes(32), submit, None)
    await rejoin.ask(7, 0.0)
    await rejoin.ask(7, 0.8 * RETRY_S)
    assert len(sent) == 1
    await rejoin.ask(7, RETRY_S + 0.0)
    assert sent[1] == sent[0]  # nobody has executed it: the same bytes once more
    executed = 8
    await rejoin.ask(8, 2.0 * RETRY_S)
    assert sent[2] == sent[0]
    await rejoin.ask(8, 2.2 * RETRY_S)
    assert len(sent) == 3
    await rejoin.ask(8, 3.0 * RETRY_S)
    assert sent[3] != sent[0]
    assert len(rejoin.sent) == 2


async def test_a_rejoin_that_was_granted_is_not_asked_for_again() -> None:
    """The epoch's end takes its time; a second one could be granted in the next, for nothing."""
    sent: list[bytes] = []

    async def submit(raws: Sequence[bytes]) -> list[Submitted]:
        sent.extend(raws)
        return [Submitted(TransactionState.COMMITTED, height=8) for _ in raws]

    rejoin = Rejoin(factories.key("node a"), "test-chain", bytes(32), submit, None)
    for turn in range(5):
        await rejoin.ask(8 + turn, turn * (RETRY_S + 1.0))
    assert len(set(sent)) == 1
    rejoin.begin_epoch()
    assert len(rejoin.sent) == 1, "and it stays known as my own"


async def test_a_rejoin_that_somebody_else_sent_in_my_name_ends_my_votes_until_my_own(
    tmp_path: Path,
) -> None:
    """S4: a copy of the key is at work, and votes in the new epoch; two must not."""
    async with hospitals(tmp_path) as group:
        node, genesis = group.nodes[3], group.genesis
        copy = Rejoin(
            group.keys[3], genesis.chain_id, genesis.hash(), group.nodes[0].admission.submit, None
        )
        signings: list[tuple[int, str]] = []
        begin = node.epochs.begin

        def began(epoch: EpochRecord) -> None:
            begin(epoch)
            signings.append((epoch.epoch, node.vitals.signing()))

        node.epochs.begin = began  # type: ignore[method-assign]
        await copy.ask(0, 0.0)
        await eventually(lambda: len(signings) >= 2)
        assert signings[:2] == [(1, "quarantine"), (2, "signing")]
        assert node.vitals.quarantined is None
        # The others took part all the while.
        assert {group.nodes[index].vitals.signing() for index in range(3)} == {"signing"}


async def test_who_ends_right_after_the_block_that_grants_a_copys_rejoin_gives_way_at_the_next_start(
    tmp_path: Path,
) -> None:
    """S4: the boundary block is on disk, and nothing that should have followed was done."""
    async with hospitals(tmp_path) as group:
        node, genesis = group.nodes[3], group.genesis
        copy = Rejoin(
            group.keys[3], genesis.chain_id, genesis.hash(), group.nodes[0].admission.submit, None
        )
        node.epochs.over = lambda following: None  # type: ignore[method-assign]
        await copy.ask(0, 0.0)
        await eventually(lambda: node.pipeline.epoch.epoch == 1)
        await group.stop(3)
        again = group.start(3)
        assert again.pipeline.epoch.epoch == 1
        assert again.vitals.signing() == "quarantine"
        assert again.voter.journal is None


async def test_a_rejoin_that_an_earlier_process_of_this_home_sent_costs_nothing(
    tmp_path: Path,
) -> None:
    """It may wait in the pools of the others for long, as after the loss of more than f journals."""
    waiting: list[bytes] = []

    async def hold(raws: Sequence[bytes]) -> list[Submitted]:
        waiting.extend(raws)
        return [Submitted(TransactionState.PENDING) for _ in raws]

    async with hospitals(tmp_path) as group:
        genesis = group.genesis
        before = Rejoin(group.keys[3], genesis.chain_id, genesis.hash(), hold, group.nodes[3].state)
        await before.ask(0, 0.0)
        await group.stop(3)
        node = group.start(3)
        await group.connected()
        await group.nodes[0].admission.submit(waiting)
        await eventually(lambda: node.pipeline.epoch.epoch == 1)
        assert node.vitals.signing() == "signing"
        assert node.voter.first_epoch == 0, "its journal is the old one"
