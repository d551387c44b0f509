"""What nodes of a run share when they execute, and what stays their own (execution.py)."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from node.executor import Executed, Executor
from salus.block import ParsedProposal
from tests.sim.cluster import Cluster
from tests.sim.execution import SharingExecutor
from tests.sim.liars import BrokenTree
from tests.sim.plan import Plan, draw


@contextmanager
def counted() -> Iterator[list[int]]:
    """The heights that were really executed."""
    heights: list[int] = []
    real = Executor._run

    def run(self: Executor, proposal: ParsedProposal) -> tuple[Executed, list[tuple[bytes, int]]]:
        heights.append(proposal.body.sequence)
        return real(self, proposal)

    with patch.object(Executor, "_run", run):
        yield heights


def _calm() -> Plan:
    """Nobody lies, nothing is lost, and execution is shared."""
    return next(
        plan
        for plan in map(draw, range(1, 400))
        if plan.seed % 4 and plan.n == 4 and not plan.faulty and not plan.losers
    )


def test_sharing_changes_nothing_and_executes_less() -> None:
    seed = _calm().seed
    with counted() as shared:
        first = Cluster(draw(seed)).run()
    with counted() as alone:
        apart = Cluster(draw(seed))
        apart.outcomes = apart.signed = None
        second = apart.run()
    assert first.failure is None
    assert first == second
    assert 2 * len(shared) < len(alone)


def test_a_tree_that_computes_wrongly_shows_in_the_header_of_its_node() -> None:
    cluster = Cluster(_calm())
    cluster.nodes[2].tree_type = BrokenTree  # and it shares, unlike a liar that diverges
    real = SharingExecutor._run

    def shares(
        self: SharingExecutor, proposal: ParsedProposal
    ) -> tuple[Executed, list[tuple[bytes, int]]]:
        self.outcomes = cluster.outcomes
        return real(self, proposal)

    with patch.object(SharingExecutor, "_run", shares):
        failure = cluster.run().failure
    assert failure is not None
    assert "two headers at height" in failure or "halted" in failure


def test_who_would_run_other_transactions_executes_by_itself() -> None:
    """S15: the index of what was executed is each node's own."""
    cluster = Cluster(_calm())
    real = Executor._ran_before

    def ran_before(self: Executor, ids: list[tuple[bytes, int]]) -> set[bytes]:
        mine = self is getattr(cluster.nodes[1], "executor", None) and self.head.height > 1
        return {tx_id for tx_id, _ in ids} if mine else real(self, ids)

    with patch.object(Executor, "_ran_before", ran_before):
        failure = cluster.run().failure
    assert failure is not None
    assert "two headers at height" in failure or "halted" in failure
