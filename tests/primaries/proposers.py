"""Primaries that keep every rule but their office: late, in drops, or blind for one hospital."""

import msgspec

from consensus.effects import BuildProposal
from consensus.events import ProposalBuilt
from node.proposer import Proposer


class SlowProposer(Proposer):
    """Holds each permission back for nine tenths of the progress timeout, then uses it."""

    permitted_ms = 0

    def permit(self, permission: BuildProposal) -> None:
        super().permit(permission)
        self.permitted_ms = self.now_ms()

    def wait_ms(self) -> int | None:
        left = super().wait_ms()
        if left is None:
            return None
        held_ms = self.parameters.progress_timeout_ms * 9 // 10
        return max(left, held_ms - (self.now_ms() - self.permitted_ms))


class DrippingProposer(Proposer):
    """Proposes in time, one transaction of all that wait."""

    def propose(self) -> ProposalBuilt | None:
        fair = self.parameters
        self.parameters = msgspec.structs.replace(fair, block_transactions_max=1)
        try:
            return super().propose()
        finally:
            self.parameters = fair

    def wait_ms(self) -> int | None:
        left = super().wait_ms()
        return None if left is None else max(left, 50 - (self.now_ms() - self.last_proposed_ms))


class CensoringProposer(Proposer):
    """Sees nothing of one hospital's transactions."""

    censored = b""  # the key of its operator

    def propose(self) -> ProposalBuilt | None:
        pool = self.mempool
        hidden = {
            tx_id: entry
            for tx_id, entry in pool._waiting.items()
            if entry.tx.body.sender == self.censored
        }
        for tx_id in hidden:
            del pool._waiting[tx_id]
        try:
            return super().propose()
        finally:
            pool._waiting.update(hidden)
