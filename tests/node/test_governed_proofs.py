"""Real votes, real epochs, and what follows from them for proofs and disks (rules S13, S14).

The contract decides here, not the test: proofs made in every epoch verify by the genesis hash
alone, and the disk is derived again, contracts included, to the last byte.
"""

import secrets
from typing import Any

from cli.commands.db import _replay
from contracts.governance import PARAMETER_NAMES, VoteArgs, governance
from contracts.records import AnchorArgs
from salus.codec import encode
from salus.governance import possession
from salus.keys import SigningKey
from salus.parameters import Parameters
from salus.proof import write_proof
from salus.transaction import Operation, ParsedTransaction
from salus.validators import ValidatorSet
from salus.verifier import verify_file
from storage.check import check_stores
from tests import factories
from tests.ledger import Ledger

SHORT = Parameters(
    watermark_window=8,
    in_flight_proposals_max=2,
    execute_ahead_max=4,
    epoch_blocks_max=1_000,
    state_bucket_bits=5,
)
SECOND = "node hosp-d, second"


class Voting(Ledger):
    """Five validators; every proposal is made by hosp-a and approved by all of them in turn."""

    def __init__(self) -> None:
        super().__init__(factories.genesis(5, observers=1, parameters=SHORT))
        labels = [f"node {member.id}" for member in self.genesis.members] + [SECOND]
        self._held = {key.public_key: key for key in map(factories.key, labels)}

    def signers(self, validators: ValidatorSet) -> list[SigningKey]:
        return [self._held[one.public_key] for one in validators.validators]

    def send(self, member: str, operation: Operation, kind: str = "operator") -> ParsedTransaction:
        """Certified and OK, in a block of its own."""
        signer = factories.key(f"{kind} {member}")
        tx = factories.transaction(
            self.genesis, operation, signer=signer, expiry_height=self.height + 60
        )
        receipts = self.block(tx)
        assert [receipt.code for receipt in receipts] == ["OK"], receipts
        return tx

    def anchor(self, member: str) -> ParsedTransaction:
        args = AnchorArgs(secrets.token_bytes(32), 1, bytes(32), bytes(32))
        return self.send(member, Operation("records", "anchor", 1, encode(args)))

    def change(self, number: int, action: str, **fields: Any) -> None:
        """Voted and in force: the epoch that brings it has begun."""
        method = governance.methods[f"propose_{action}"]
        args = method.args(
            activation_height=0, expiry_height=self.height + 100, reasons=bytes(32), **fields
        )
        self.send("hosp-a", method.operation(args))
        epoch = self.state.current_epoch()
        seated = [one.member for one in epoch.validators.validators]
        for member in seated[1 : 2 * len(seated) // 3 + 1]:
            self.send(member, Operation("governance", "vote", 1, encode(VoteArgs(number, True))))
        end = self.state.current_epoch().end
        assert end == self.height + self.state.current_epoch().parameters.watermark_window
        while self.height < end:
            self.block()


def test_proofs_of_every_epoch_and_the_disk_follow_what_was_voted() -> None:
    ledger = Voting()
    anchored = [(ledger.anchor("hosp-a"), 5)]

    ledger.change(1, "remove_validator", member="hosp-b")
    anchored.append((ledger.anchor("hosp-b"), 4))  # a member still, without a vote
    word = factories.key(SECOND).sign(possession(ledger.genesis.chain_id, "hosp-d", "node"))
    ledger.change(
        2,
        "rotate_node_key",
        member="hosp-d",
        new_key=factories.key(SECOND).public_key,
        possession=word,
    )
    anchored.append((ledger.anchor("hosp-d"), 4))
    limits: dict[str, int | None] = dict.fromkeys(PARAMETER_NAMES)
    limits |= {"watermark_window": 12, "execute_ahead_max": 6, "expiry_window_blocks": 64}
    ledger.change(3, "change_parameters", **limits)
    anchored.append((ledger.anchor("hosp-c"), 4))
    ledger.change(4, "remove_member", member="hosp-e")
    anchored.append((ledger.anchor("hosp-a"), 3))

    state = ledger.state
    assert state.current_epoch().epoch == len(anchored) - 1
    assert state.current_epoch().parameters.watermark_window == 12
    last = state.current_epoch().validators
    assert [one.member for one in last.validators] == ["hosp-a", "hosp-c", "hosp-d"]
    assert last.key(2) == factories.key(SECOND).public_key

    for epoch, (tx, n) in enumerate(anchored):
        for as_of in (False, True):
            bundle = ledger.proofs.bundle(tx.id, as_of=as_of)
            assert bundle is not None
            report = verify_file(write_proof(bundle), ledger.genesis_hash)
            checks = {check.name: check.detail for check in report.checks}
            followed = len(anchored) - 1 if as_of else epoch
            assert f"{followed} changes of epoch followed" in checks["validators"]
            assert f"of {n} signed" in checks["certificate"]
    replay = _replay(ledger.genesis)
    assert list(check_stores(ledger.blocks, state, ledger.genesis, replay=replay)) == []
    assert ledger.restarted().head == state.head
