"""Who may do what, and by which rules, in each epoch: read once when it begins, asked of every
receipt (S13, S16). What the contracts decide is looked at from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contracts.errors import CONTRACT_FAULT, NOT_AUTHORISED, WRONG_VERSION
from contracts.members import MemberStatus, all_members, members
from contracts.state import ReadState
from salus.block import OK, Receipt
from salus.codec import decode
from salus.transaction import Operation, ParsedTransaction
from tests.sim.poison import OUTCOMES, FailArgs

if TYPE_CHECKING:
    from node.executor import Executed
    from tests.sim.cluster import Cluster
    from tests.sim.work import Worker

POISON = b"\xa6poison\xa4fail"  # contract and method, as encoded


class Law:
    def __init__(self, cluster: Cluster) -> None:
        self.cover = cluster.cover
        founders = cluster.founding.genesis.members
        # By epoch: the keys that open something, and the version of the contract that is voted on.
        self.keys = {0: {key for one in founders for key in (one.node_key, one.operator_key)}}
        self.versions = {0: 1}

    def executed(self, node: Worker, executed: Executed) -> None:
        """The first honest node has executed it; all others give the same header, or halt."""
        epoch = executed.header.epoch
        proposal = node.bodies.parsed(executed.header.proposal_digest)
        if proposal is not None:
            receipts = {one.tx_id: one for one in executed.receipts if one.operation == 0}
            for tx in proposal.transactions:
                self._receipt(epoch, tx, receipts[tx.id])
        if executed.epoch is not None:
            self._begin(node, executed)

    def _receipt(self, epoch: int, tx: ParsedTransaction, receipt: Receipt) -> None:
        stands = tx.body.sender in self.keys[epoch]
        if receipt.ok:
            assert stands, f"a key that opens nothing did something in epoch {epoch} (S13)"
        elif receipt.code == NOT_AUTHORISED and not stands:
            self.cover("S13 a key that was replaced or suspended opens nothing")
        if POISON not in tx.body.operations[0] or receipt.code in ("DUPLICATE", NOT_AUTHORISED):
            return
        operation = decode(tx.body.operations[0], Operation)
        active = self.versions[epoch]
        if operation.version != active:
            expected = WRONG_VERSION
            self.cover("S13 a version that is not active is refused")
        else:
            how = decode(operation.args, FailArgs).how
            expected = OK if active == 2 else OUTCOMES.get(how, CONTRACT_FAULT)
        assert receipt.code == expected, (
            f"version {operation.version} in epoch {epoch}, where {active} is active: {receipt.code}"
        )

    def _begin(self, node: Worker, executed: Executed) -> None:
        assert executed.epoch is not None
        record = executed.epoch
        entries = all_members(ReadState(node.executor.read, members.name))
        active = [one for one in entries if one.status is MemberStatus.ACTIVE]
        seated = {validator.member for validator in record.validators.validators}
        assert seated <= {one.id for one in active}, "who is suspended or gone has a vote (S13)"
        self.keys[record.epoch] = {k for one in active for k in (one.node_key, one.operator_key)}
        versions = {one.contract: one.version for one in record.parameters.contracts}
        before = self.versions[record.epoch - 1]
        self.versions[record.epoch] = versions["poison"]
        if versions["poison"] != before:
            self.cover("S13 another version of a contract is active")
