"""A whole ledger in memory, without network or agreement: the real executor, contracts, stores.

Agreement is played by the test, which signs every header as a quorum of the epoch's validators
would. `block(...)` is one certified block, from proposal to stores.
"""

from collections.abc import Callable

from contracts.catalogue import registry
from node.executor import Executor
from node.genesis_block import genesis_block
from node.proofs import ProofMaker
from node.uncertified import Executed
from salus.block import Receipt, VerifiedTransactions, check_proposal, null_proposal
from salus.certificate import CertifiedBlock
from salus.genesis import Genesis
from salus.keys import SigningKey, verify
from salus.statemap import StateTree
from salus.transaction import ParsedTransaction
from salus.validators import ValidatorSet
from storage.blocks import BlockStore
from storage.bucket_log import LogPlace
from storage.kv import KeyValue, MemoryKV
from storage.state import StateStore
from tests import factories


class Ledger:
    def __init__(
        self,
        genesis: Genesis | None = None,
        kv: Callable[[str], KeyValue] = lambda name: MemoryKV(),
        log: LogPlace | None = None,
    ) -> None:
        """`kv`: makes the stores `state` and `blocks`; `log`: where the buckets lie, if not in the first."""
        self.genesis = genesis or factories.genesis()
        self.genesis_hash = self.genesis.hash()
        self.state = StateStore(kv("state"), self.genesis_hash, log=log)
        self.blocks = BlockStore(kv("blocks"), self.genesis_hash)
        self.tree = StateTree(self.genesis.parameters.state_bucket_bits)
        founding = genesis_block(self.genesis, registry())
        assert founding.epoch is not None
        self.state.initialise(founding)
        self.tree.load(self.state.buckets())
        self.executor = Executor(
            registry(), self.genesis, self.state, self.tree, founding.header, founding.epoch
        )
        self.proofs = ProofMaker(self.genesis, self.state, self.blocks, self.tree)

    @property
    def height(self) -> int:
        return self.state.height()

    def block(self, *transactions: ParsedTransaction) -> tuple[Receipt, ...]:
        """One certified block of these transactions; gives its receipts."""
        return self.propose(factories.proposal(self.height + 1, *transactions))

    def null_block(self) -> None:
        self.propose(null_proposal(self.height + 1))

    def propose(self, raw: bytes) -> tuple[Receipt, ...]:
        executed = self.execute(raw)
        self.certify(executed)
        return executed.receipts

    def execute(self, raw: bytes) -> Executed:
        """The next proposal, checked and run; its block waits for a certificate."""
        height, epoch = self.executor.head.height + 1, self.executor.epoch
        proposal = check_proposal(
            raw,
            height,
            self.genesis.chain_id,
            self.genesis_hash,
            epoch.parameters,
            VerifiedTransactions(verify),
        )
        executed = self.executor.execute(proposal)
        self.blocks.put_bodies([(height, proposal.digest, raw)])
        return executed

    def certify(self, executed: Executed) -> None:
        """Signed by a quorum of its epoch, and written."""
        header, epoch = executed.header, self.state.current_epoch()
        certificate = factories.certificate(header, self.genesis, self.signers(epoch.validators))
        self.state.commit(self.executor.batch(header.height, certificate))
        self.executor.certified(header.height)

    def restarted(self) -> Executor:
        """An executor as a restart makes it, from the stores alone."""
        head, epoch = self.state.head, self.state.current_epoch()
        tree = StateTree(
            self.tree.bits,
            height=head.height,
            uncertified_max=epoch.parameters.execute_ahead_max,
        )
        tree.load(self.state.buckets())
        recent = self.state.recent_ids(self.state.replay_start())
        return Executor(registry(), self.genesis, self.state, tree, head, epoch, recent)

    def signers(self, validators: ValidatorSet) -> list[SigningKey]:
        """The node keys of a set."""
        return [factories.key(f"node {one.member}") for one in validators.validators]

    def certified(self, height: int) -> CertifiedBlock:
        header = self.state.header(height)
        certificate, body = (
            self.state.certificate(height),
            self.blocks.body(height, header.proposal_digest),
        )
        assert certificate is not None
        assert body is not None
        return CertifiedBlock(header, certificate, body)
