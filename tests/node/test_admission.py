"""The door: whose transactions are checked while more come than can be (node/turns.py)."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from node.admission import Admission
from node.gossip import Gossip, GossipTask
from node.mempool import Mempool
from node.metrics import Metrics
from node.turns import Turns
from node.verify import VerifyPool
from salus.forms import TransactionState
from salus.transaction import ParsedTransaction
from tests import factories
from tests.steps import stepped

GENESIS = factories.genesis(4)
PEERS = "hosp-b", "hosp-c", "hosp-d"
BATCH = 10
CHECK_S = 0.01  # of the stepped clock


class Slow(VerifyPool):
    """The real one, on a core that takes so long for each batch."""

    async def verify(
        self, transactions: Sequence[ParsedTransaction], *, urgent: bool = False
    ) -> list[bool]:
        await asyncio.sleep(CHECK_S)
        return await super().verify(transactions, urgent=urgent)


def door() -> Admission:
    mempool = Mempool(GENESIS.chain_id, GENESIS.hash(), GENESIS.parameters)
    gossip = GossipTask(Gossip(mempool, PEERS, None), lambda *_: True)
    made = Admission(mempool, Slow(0), gossip, Metrics(), lambda tx: None, lambda: None)
    made.turns = Turns(2 * BATCH)
    return made


def batches(count: int) -> list[list[bytes]]:
    numbers = iter(range(count * BATCH))
    return [
        [factories.transaction(GENESIS, number=next(numbers)).raw for _ in range(BATCH)]
        for _ in range(count)
    ]


@stepped
async def test_clients_of_the_primary_do_not_keep_out_what_other_nodes_have_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are served as each of the others is, however many they are: else those others' transactions wait
    until their nodes complain of the primary (L17), and the next one does the same."""
    monkeypatch.setattr("node.gossip.INTAKE_BATCH", BATCH)
    admission = door()
    mine, others = batches(90)[:60], batches(90)[60:]
    asked = [asyncio.create_task(admission.submit(part, room=1_000)) for part in mine]
    intake = asyncio.create_task(admission.gossip.run(admission.intake))
    for number, part in enumerate(others):
        assert admission.gossip.put(PEERS[number % 3], part)
    await asyncio.sleep(20 * CHECK_S)
    from_mine = {tx for part in mine for tx in part}
    taken = Counter(tx.raw in from_mine for tx in _all(admission.mempool))
    assert sum(taken.values()) >= 38 * BATCH
    assert abs(taken[False] - 3 * taken[True]) <= 6 * BATCH, taken
    answers = await asyncio.gather(*asked)
    assert {one.state for part in answers for one in part} == {TransactionState.PENDING}
    assert admission.mempool.pending == 90 * BATCH
    intake.cancel()
    await asyncio.gather(intake, return_exceptions=True)


@stepped
async def test_what_the_node_itself_has_to_say_does_not_wait_behind_its_clients() -> None:
    """Its return to the vote, its tickets: few, and others wait for them."""
    admission = door()
    *mine, own = batches(61)
    asked = [asyncio.create_task(admission.submit(part, room=1_000)) for part in mine]
    await asyncio.sleep(0)
    (answer, *_) = await admission.submit(own[:1])
    assert answer.state is TransactionState.PENDING
    assert admission.mempool.pending <= 4 * BATCH
    await asyncio.gather(*asked)


@stepped
async def test_a_single_transaction_waits_behind_no_import() -> None:
    """A revocation, an emergency: arrays leave it room (node/drain.py), and no place before it."""
    admission = door()
    *arrays, other = batches(61)
    asked = [asyncio.create_task(admission.submit(part, room=1_000)) for part in arrays]
    await asyncio.sleep(0)
    (answer,) = await admission.submit(other[:1], room=1_000)
    assert answer.state is TransactionState.PENDING
    assert admission.mempool.pending <= 4 * BATCH
    await asyncio.gather(*asked)


def _all(mempool: Mempool) -> list[ParsedTransaction]:
    return [tx for tx_id in mempool.ids(10**6) if (tx := mempool.find(tx_id)) is not None]
