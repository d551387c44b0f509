"""A wiped validator asks again when the ledger says «too soon», on a chain where nothing else passes."""

from collections.abc import Sequence

from node.api.view import Submitted
from node.rejoin import RETRY_S, Rejoin
from salus.forms import TransactionState
from tests import factories


async def test_a_rejoin_that_was_executed_and_refused_is_followed_by_a_new_one() -> None:
    """Its own blocks are what brings the height from which on it may."""
    sent: list[bytes] = []
    executed: int | None = None

    async def submit(raws: Sequence[bytes]) -> list[Submitted]:
        sent.extend(raws)
        return [Submitted(TransactionState.PENDING, height=executed) for _ in raws]

    rejoin = Rejoin(factories.key("node a"), "test-chain", bytes(32), submit)
    await rejoin.ask(7, 0.0)
    await rejoin.ask(7, RETRY_S - 1.0)
    assert len(sent) == 1
    await rejoin.ask(7, RETRY_S + 0.0)
    assert sent[1] == sent[0]  # nobody has executed it: the same bytes once more
    executed = 8
    await rejoin.ask(8, 2.0 * RETRY_S)
    assert sent[2] == sent[0]
    await rejoin.ask(8, 2.0 * RETRY_S + 1)
    assert len(sent) == 3
    await rejoin.ask(8, 3.0 * RETRY_S)
    assert sent[3] != sent[0]
    assert len(rejoin.sent) == 2
