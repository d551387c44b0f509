"""Executes agreed proposals, in order, and derives the header that the validators certify.

Synchronous and clock-free: the simulator and an audit drive the real one. Executed blocks that
are not certified yet lie in `Uncertified`; at most `execute_ahead_max` (rule B28). Law of the
file: whatever fails, `execute` leaves the executor as it was or moves it by exactly one whole
block.
"""

from collections.abc import Iterable
from operator import methodcaller

import msgspec

from contracts.context import BlockFacts
from contracts.errors import DUPLICATE, StoreFailed
from contracts.registry import Active, Registry
from contracts.runtime import Runtime, Turns, fixed_depth
from contracts.state import Overlay, ReadState
from node.errors import UpgradeNeeded
from node.replay import ReplayIndex
from node.uncertified import CertifiedState, Executed, Head, Uncertified
from salus.block import (
    BLOCK_VERSION,
    Header,
    ParsedProposal,
    Receipt,
    receipts_root,
    transactions_root,
)
from salus.certificate import Certificate
from salus.codec import decode, encode
from salus.epoch import EPOCH_STATE_KEY, EpochRecord
from salus.errors import BadMessage
from salus.genesis import Genesis
from salus.parameters import Parameters
from salus.statemap import SALT_BYTES, StateTree, as_stored
from salus.transaction import ParsedTransaction
from salus.writeset import write_sets_kept
from storage.errors import StoreDamaged
from storage.state import BlockBatch

# Whose a key is is asked twice for every transaction, for the quotas of the pool. A change of the
# members is seen at once, the end of a staff key's period after so many blocks.
ORGANISATIONS_MAX = 10_000
ORGANISATIONS_BLOCKS = 16


class Executor:
    """The head of the chain as executed here, and the way to move it by one block."""

    def __init__(
        self,
        registry: Registry,
        genesis: Genesis,
        reader: CertifiedState,
        tree: StateTree,
        head: Header,
        epoch: EpochRecord,
        recent: Iterable[tuple[int, list[tuple[bytes, int]]]] = (),
    ) -> None:
        """`head`: the newest certified header; `epoch`: of the block after it; `recent`:
        height and (first 8 bytes of the id, expiry) of the blocks of one expiry window.
        Raises `StoreDamaged` if the state on disk is not that of the head."""
        if tree.root != head.state_root:
            raise StoreDamaged("the state on disk does not hash to the head's state root")
        self.registry, self.reader, self.tree = registry, reader, tree
        self.chain_id = genesis.chain_id
        self.head = head
        self.certified_head = head
        self.epoch = epoch
        self._begin_epoch(epoch)
        # Of the block after the certified head: while an epoch's last block waits for its
        # certificate the head is in the next one already.
        self.certified_epoch, self.certified_active = epoch, self.active
        self._uncertified = Uncertified(reader, tree)
        self.read = self._uncertified.read  # the value of a state key at the head, without salt
        self._organisations: dict[bytes, str | None] = {}
        self.replay = ReplayIndex()
        for _, ids in recent:
            self.replay.add(ids)
        self.replay.passed(head.height)

    # ── moving ───────────────────────────────────────────────────────────────

    def execute(self, proposal: ParsedProposal) -> Executed:
        """Run the next proposal on top of the head. Raises `UpgradeNeeded` before the last block of
        an epoch, when the next one needs a contract that this software lacks."""
        height = self.head.height + 1
        assert proposal.body.sequence == height, "blocks are executed in order, each once (S6)"
        assert len(self._uncertified) < self.epoch.parameters.execute_ahead_max, (
            "too far ahead (B28)"
        )
        executed, new = self._run(proposal)
        self._push(executed, new)
        return executed

    def _run(self, proposal: ParsedProposal) -> tuple[Executed, list[tuple[bytes, int]]]:
        """The block, already in the tree, and (id, expiry) of its transactions that ran for the first
        time. It follows from the head's header and the proposal alone."""
        body, parent, epoch = proposal.body, self.head, self.epoch
        height = parent.height + 1
        block = BlockFacts(
            self.chain_id,
            height,
            max(parent.time_ms, body.time_ms),  # S11; a null proposal's time is 0
            epoch.epoch,
            epoch.validators,
            epoch.parameters,
            self._header_hash,
        )
        head = self._uncertified.head()
        runtime = Runtime(self.active, block, Overlay(head.read, epoch.parameters))
        receipts: list[Receipt] = []
        new = ids = [(tx.id, tx.body.expiry_height) for tx in proposal.transactions]
        ran = self._ran_before(ids)
        if ran:
            new = [one for one in ids if one[0] not in ran]
        with fixed_depth():
            for tx in proposal.transactions:
                if tx.id in ran:
                    receipts += _duplicate(tx)
                    runtime.called += [None] * len(tx.body.operations)
                else:
                    receipts += runtime.run(tx)
            # L is 8 at least: an end that is fixed here and now lies ahead.
            last = height == epoch.end
            turns = runtime.take_turns(proposal.digest, last=last)
        if last:
            # What a transaction asked for in this block, this very end grants.
            end, next_epoch = height, self._next_epoch(height, runtime.overlay, turns)
        else:
            end = self._epoch_end(height, runtime.ends_epoch or turns.end_epoch)
            next_epoch = None
        self._write_epoch(runtime.overlay, end, next_epoch, proposal.digest)
        writes, buckets, write_set = self._stored(runtime.overlay, head)

        state_root = self.tree.update(height, buckets)  # From here on nothing may fail.
        encoded = tuple(map(encode, receipts))
        validators_hash = parent.next_validators_hash
        header = Header(
            version=BLOCK_VERSION,
            epoch=epoch.epoch,
            height=height,
            parent_hash=parent.hash(),
            time_ms=block.time_ms,
            proposal_digest=proposal.digest,
            proposer=body.proposer,
            origin_view=body.origin_view,
            transactions_count=len(proposal.transactions),
            transactions_root=transactions_root(proposal.transactions),
            receipts_count=len(receipts),
            receipts_root=receipts_root(encoded),
            state_root=state_root,
            validators_hash=validators_hash,
            next_validators_hash=next_epoch.validators.hash() if next_epoch else validators_hash,
            parameters_hash=self.parameters_hash,
            epoch_end=end,
        )
        executed = Executed(
            header,
            tuple(receipts),
            encoded,
            tuple(tx_id for tx_id, _ in ids),
            tuple(expiry for _, expiry in ids),
            writes,
            buckets,
            write_set,
            write_sets_kept(epoch.parameters),
            next_epoch,
            tuple(runtime.faults),
            runtime.calls(receipts),
        )
        return executed, new

    def batch(self, height: int, certificate: Certificate) -> BlockBatch:
        """What the store commits for the oldest uncertified block. Changes nothing here: while
        the batch is on its way to disk, reads are still served from memory."""
        executed = self._uncertified.block(height)
        assert executed is not None
        assert height == self.certified_head.height + 1, "oldest first"
        return BlockBatch(
            header=executed.header,
            certificate=certificate,
            receipts=executed.receipts,
            tx_ids=executed.tx_ids,
            expiries=executed.expiries,
            writes=executed.writes,
            buckets=executed.buckets,
            write_set=executed.write_set,
            write_sets_kept=executed.write_sets_kept,
            epoch=executed.epoch,
            receipts_encoded=executed.receipts_encoded,
        )

    def certified(self, height: int) -> Executed:
        """The batch of `height` is on disk: from now on the store answers for it."""
        assert height == self.certified_head.height + 1
        executed = self._uncertified.pop(height)
        self.tree.certified(height)
        self.certified_head = executed.header
        if executed.epoch is not None:
            # One end at the most lies in the stack: epochs are longer than execution runs ahead.
            self.certified_epoch, self.certified_active = executed.epoch, self.active
        return executed

    # ── asking ───────────────────────────────────────────────────────────────

    def executed(self, height: int) -> Executed | None:
        """A block that is executed and not certified on disk yet."""
        return self._uncertified.block(height)

    def is_executed(self, tx: ParsedTransaction) -> bool:
        """Does a block up to the head hold this transaction? (rule S15: then it is skipped)"""
        return self.replay.maybe(tx.id, tx.body.expiry_height) and self._ran(tx.id)

    def organisation(self, sender: bytes) -> str | None:
        """The member that a key speaks for at the head; None for strangers."""
        if sender not in self._organisations:
            membership = self.active.membership
            identity = membership.identify(
                ReadState(self.read, membership.contract), sender, self.head.time_ms
            )
            self._organisations[sender] = identity.member if identity else None
        return self._organisations[sender]

    def simulate(self, tx: ParsedTransaction) -> tuple[int, tuple[Receipt, ...]]:
        """What the transaction would do in the block after the certified one; changes nothing."""
        certified, epoch = self.certified_head, self.certified_epoch
        block = BlockFacts(
            self.chain_id,
            certified.height + 1,
            certified.time_ms,
            epoch.epoch,
            epoch.validators,
            epoch.parameters,
            self._header_hash,
        )
        overlay = Overlay(self._read_certified, epoch.parameters)
        with fixed_depth():
            if self.replay.maybe(tx.id, tx.body.expiry_height) and (
                self.reader.find_transaction(tx.id) is not None
            ):
                return block.height, tuple(_duplicate(tx))
            return block.height, tuple(Runtime(self.certified_active, block, overlay).run(tx))

    # ── the pieces of a block ────────────────────────────────────────────────

    def _epoch_end(self, height: int, asked: bool) -> int:
        """◆ S13: a change at h, or an epoch grown old, ends it at exactly h + L."""
        epoch = self.epoch
        if epoch.end == 0 and (asked or height - epoch.base >= epoch.parameters.epoch_blocks_max):
            return height + epoch.parameters.watermark_window
        return epoch.end

    def _next_epoch(self, height: int, overlay: Overlay, turns: Turns) -> EpochRecord:
        """Set, limits and contract versions as the state and the turns now say; an end that a
        turn asks for is one of the new epoch, at birth."""
        number, parameters = self.epoch.epoch + 1, turns.parameters
        membership = self.active.membership
        validators = membership.validator_set(ReadState(overlay.peek, membership.contract), number)
        assert validators.n > 0, "an epoch without validators could never end"
        _activate(self.registry, parameters, f"block {height} hands over to the next epoch")
        end = height + parameters.watermark_window if turns.end_epoch else 0
        return EpochRecord(number, height, validators, parameters, end)

    def _write_epoch(
        self, overlay: Overlay, end: int, next_epoch: EpochRecord | None, digest: bytes
    ) -> None:
        if end == self.epoch.end and next_epoch is None:
            return
        record = next_epoch or msgspec.structs.replace(self.epoch, end=end)
        overlay.begin_system(digest)
        overlay.put(EPOCH_STATE_KEY, encode(record))

    def _stored(
        self, overlay: Overlay, head: Head
    ) -> tuple[dict[bytes, bytes | None], dict[int, bytes], bytes]:
        return as_stored(overlay.writes, head.places, head.contents)

    def _ran_before(self, ids: Iterable[tuple[bytes, int]]) -> set[bytes]:
        """Which of these transactions, each by id and expiry height, a block up to the head holds."""
        return {tx_id for tx_id in self.replay.among(ids) if self._ran(tx_id)}

    def _ran(self, tx_id: bytes) -> bool:
        return self._uncertified.ran(tx_id) or self.reader.find_transaction(tx_id) is not None

    def _push(self, executed: Executed, new: list[tuple[bytes, int]]) -> None:
        """`new`: id and expiry height of those that were no duplicates."""
        height, end = executed.header.height, executed.header.epoch_end
        self.replay.add(new)
        self.replay.passed(height)
        if (
            len(self._organisations) > ORGANISATIONS_MAX
            or height % ORGANISATIONS_BLOCKS == 0
            or any(map(self._of_membership, executed.writes))
        ):
            self._organisations.clear()
        self._uncertified.push(executed, [tx_id for tx_id, _ in new])
        self.head = executed.header
        if executed.epoch is not None:
            self._begin_epoch(executed.epoch)
        elif end != self.epoch.end:
            self.epoch = msgspec.structs.replace(self.epoch, end=end)

    def _begin_epoch(self, epoch: EpochRecord) -> None:
        self.epoch = epoch
        self.parameters_hash = epoch.parameters.hash()
        self.active = _activate(self.registry, epoch.parameters, f"epoch {epoch.epoch} has begun")
        self.tree.uncertified_max = epoch.parameters.execute_ahead_max
        prefix = self.active.membership.contract.encode() + b"/"
        self._of_membership = methodcaller("startswith", prefix)

    # ── reading ──────────────────────────────────────────────────────────────

    def _header_hash(self, height: int) -> bytes | None:
        """Of the chain below the block that is executed; for contracts."""
        executed = self._uncertified.block(height)
        if executed is not None:
            return executed.header.hash()
        if not 0 <= height <= self.certified_head.height:
            return None
        try:
            return self.reader.header(height).hash()
        except Exception as error:
            raise StoreFailed from error

    def _read_certified(self, key: bytes) -> bytes | None:
        stored = self.reader.get(key)
        return None if stored is None else stored[SALT_BYTES:]


def _duplicate(tx: ParsedTransaction) -> list[Receipt]:
    """Rule S15: executed before, so it is skipped; its first receipts stand."""
    return [Receipt(tx.id, index, DUPLICATE, {}, ()) for index in range(len(tx.body.operations))]


def _activate(registry: Registry, parameters: Parameters, when: str) -> Active:
    try:
        return registry.activate(parameters.contracts)
    except BadMessage as error:
        raise UpgradeNeeded(f"{when}, and {error.message}; newer software does") from None


def read_epoch(reader: CertifiedState) -> EpochRecord:
    """The record that the state holds: of the block after the certified head."""
    stored = reader.get(EPOCH_STATE_KEY)
    assert stored is not None, "every state since genesis holds the epoch's record"
    return decode(stored[SALT_BYTES:], EpochRecord)
