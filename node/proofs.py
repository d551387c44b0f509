"""Makes proof files from the stores: everything that `salus/verifier.py` will want to see.

Law of the file: a proof speaks of certified blocks on disk and of nothing else. The state tree
follows the store by a moment, as a block is written in a thread; a state proof is made only
while both stand at the same height, and checked before it is handed out.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from salus import merkle
from salus.block import Header, Proposal, receipt_leaf
from salus.certificate import Certificate, EpochStep
from salus.codec import decode
from salus.errors import BadMessage, SalusError, VerificationError
from salus.genesis import Genesis
from salus.proof import (
    LINKS_MAX,
    PROOF_VERSION,
    AnchorArguments,
    AsOf,
    OperationProof,
    ProofBundle,
    RecordProof,
    write_proof,
)
from salus.record import anchor_key, anchoring_org, spent_key
from salus.state_file import STATE_FILE_VERSION, StateBundle, write_state_file
from salus.statemap import StateProof, StateTree, bucket_of, key_hash, verify_state
from salus.transaction import Operation, operation_leaves, parse
from storage.blocks import BlockStore
from storage.state import StateStore

ATTEMPTS_MAX = 100  # a commit takes milliseconds; after a second something else is wrong
ATTEMPT_PAUSE_S = 0.01

Values = Callable[[bytes], bytes | None]  # what is proved of a key


class StateMoved(SalusError):
    """A block was written while the proof was made; the next attempt sees the new state."""

    code = "BUSY"


class ProofMaker:
    def __init__(
        self, genesis: Genesis, state: StateStore, blocks: BlockStore, tree: StateTree
    ) -> None:
        self.genesis, self.state, self.blocks, self.tree = genesis, state, blocks, tree
        self.genesis_hash = genesis.hash()

    async def file(
        self,
        tx_id: bytes,
        operation: int = 0,
        *,
        record: RecordProof | None = None,
        as_of: bool = False,
        links_to: int | None = None,
    ) -> bytes | None:
        """A proof file, None if the transaction is not certified. Large ones are encoded in a
        thread. Raises `SalusError` (BAD_ARGUMENT, PRUNED, TOO_LARGE, BUSY)."""
        for _ in range(ATTEMPTS_MAX):
            try:
                bundle = self.bundle(
                    tx_id, operation, record=record, as_of=as_of, links_to=links_to
                )
            except StateMoved:
                await asyncio.sleep(ATTEMPT_PAUSE_S)
                continue
            return None if bundle is None else await asyncio.to_thread(write_proof, bundle)
        raise StateMoved("the state kept changing while the proof was made; try again")

    def bundle(
        self,
        tx_id: bytes,
        operation: int = 0,
        *,
        record: RecordProof | None = None,
        as_of: bool = False,
        links_to: int | None = None,
    ) -> ProofBundle | None:
        """One attempt; raises `StateMoved` where `file` tries again.

        `as_of`: add what the newest certified state says (records.anchor only). `links_to`: add
        the headers up to this height, for whoever pins a block there.
        """
        found = self.state.find_transaction(tx_id)
        if found is None:
            return None
        height, index = found
        header = self.state.header(height)
        proof = self._operation(header, index, tx_id, operation)
        standing = self._as_of(proof, record) if as_of else None
        newest = header if standing is None else standing.header
        return ProofBundle(
            PROOF_VERSION,
            self.genesis,
            self._epochs(newest.epoch),
            header,
            self._certificate(height),
            proof,
            record,
            standing,
            self._links(height, links_to),
        )

    # -- the operation -----------------------------------------------------------------------

    def _operation(self, header: Header, index: int, tx_id: bytes, at: int) -> OperationProof:
        body = self.blocks.body(header.height, header.proposal_digest)
        if body is None:
            raise SalusError(
                f"the transactions of height {header.height} are no longer kept", code="PRUNED"
            )
        raw = decode(body, Proposal).transactions[index]
        parameters = self.state.epoch(header.epoch).parameters
        tx = parse(raw, self.genesis.chain_id, self.genesis_hash, parameters)
        assert tx.id == tx_id, "the index of transactions names another one"
        if not 0 <= at < len(tx.body.operations):
            raise BadMessage(
                f"the transaction has operations 0 to {len(tx.body.operations) - 1}",
                code="BAD_ARGUMENT",
            )
        receipts = self.state.receipts(header.height)
        # Every transaction has receipts, in order: their ids are the ids of the block.
        ids = list(dict.fromkeys(receipt.tx_id for receipt in receipts))
        number = next(
            i
            for i, receipt in enumerate(receipts)
            if (receipt.tx_id, receipt.operation) == (tx_id, at)
        )
        body_leaves = operation_leaves(tx.body.operations)
        return OperationProof(
            tx.body.version,
            tx.body.sender,
            tx.body.nonce,
            tx.body.first_height,
            tx.body.expiry_height,
            tx.body.independent,
            tx.body.signature,
            tx.body.operations[at],
            at,
            len(body_leaves),
            _path(body_leaves, at),
            index,
            _path([merkle.leaf_hash(one) for one in ids], index),
            receipts[number],
            number,
            _path([receipt_leaf(receipt) for receipt in receipts], number),
        )

    def state_of(self, key: bytes) -> tuple[Header, StateProof]:
        """What the newest certified state says of a key; raises `StateMoved` between two blocks."""
        height = self.tree.certified_height
        if self.state.height() != height:
            raise StateMoved("the state tree is a block behind the store")
        header = self.state.header(height)
        return header, self._state_proof(key, header)

    async def state_file(self, walk: Callable[[Values], Iterable[bytes]]) -> bytes:
        """A state file (salus/state_file.py) of the keys that `walk` names, all of the newest certified
        height; it may read the value of each key that it has named. Raises `SalusError` (BUSY,
        NOT_CERTIFIED, TOO_LARGE)."""
        for _ in range(ATTEMPTS_MAX):
            try:
                bundle = self._state_bundle(walk)
            except StateMoved:
                await asyncio.sleep(ATTEMPT_PAUSE_S)
                continue
            return await asyncio.to_thread(write_state_file, bundle)
        raise StateMoved("the state kept changing while the proof was made; try again")

    def _state_bundle(self, walk: Callable[[Values], Iterable[bytes]]) -> StateBundle:
        """One attempt: all at one height, for nothing is awaited here."""
        found: dict[bytes, tuple[Header, StateProof]] = {}
        # The walk reads what is proved, so that both are of one moment.
        for key in walk(lambda key: found[key][1].value):
            found[key] = self.state_of(key)
        header, _ = next(iter(found.values()))
        if any(other != header for other, _ in found.values()):
            raise StateMoved("a block was written while the proof was made")
        epochs, certificate = self.trust(header)
        values = tuple(proof for _, proof in found.values())
        return StateBundle(STATE_FILE_VERSION, self.genesis, epochs, header, certificate, values)

    def trust(self, header: Header) -> tuple[tuple[EpochStep, ...], Certificate]:
        """What leads from genesis to a certified header."""
        return self._epochs(header.epoch), self._certificate(header.height)

    # -- the state ---------------------------------------------------------------------------

    def _as_of(self, proof: OperationProof, record: RecordProof | None) -> AsOf:
        operation = decode(proof.operation, Operation)
        if (operation.contract, operation.method, operation.version) != ("records", "anchor", 1):
            raise BadMessage(
                "only an anchored batch has a standing that can be proved", code="BAD_ARGUMENT"
            )
        if not proof.receipt.ok:
            raise BadMessage("the operation was refused: nothing was anchored", code="BAD_ARGUMENT")
        root = decode(operation.args, AnchorArguments).root
        height = self.tree.certified_height
        if self.state.height() != height:
            raise StateMoved("the state tree is a block behind the store")
        header = self.state.header(height)
        org = anchoring_org(proof.receipt)
        anchor = self._state_proof(anchor_key(org, root), header)
        assert anchor.value is not None, "an accepted anchor stands in the state"
        spent = None
        if record is not None:
            spent = self._state_proof(spent_key(org, record.tag_hash), header)
        return AsOf(header, self._certificate(height), anchor, spent)

    def _state_proof(self, key: bytes, header: Header) -> StateProof:
        stored = self.state.get(key)
        bucket = self.state.bucket(bucket_of(key_hash(key), self.tree.bits))
        proof = self.tree.prove(key, stored, bucket)
        try:
            verify_state(proof, header.state_root, bits=self.tree.bits)
        except VerificationError:
            raise StateMoved("a block was written while the proof was made") from None
        return proof

    # -- the chain ---------------------------------------------------------------------------

    def _epochs(self, newest: int) -> tuple[EpochStep, ...]:
        records = [self.state.epoch(number) for number in range(newest + 1)]
        return tuple(
            EpochStep(self.state.header(new.base), self._certificate(new.base), new.validators)
            for _, new in pairwise(records)
        )

    def _certificate(self, height: int) -> Certificate:
        certificate = self.state.certificate(height)
        if certificate is None:
            raise BadMessage("the genesis block has no certificate", code="BAD_ARGUMENT")
        return certificate

    def _links(self, height: int, links_to: int | None) -> tuple[Header, ...]:
        if links_to is None:
            return ()
        if not height < links_to <= min(self.state.height(), height + LINKS_MAX):
            raise BadMessage(
                f"headers can be added from {height + 1} to {self.state.height()}, "
                f"at most {LINKS_MAX}",
                code="BAD_ARGUMENT",
            )
        return tuple(self.state.header(at) for at in range(height + 1, links_to + 1))


def _path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    return tuple(merkle.inclusion_proof(leaves, index))
