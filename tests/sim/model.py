"""The execution model: what the real executor does for agreement, without contracts or roots.

A block's header hash is a chain over everything that must be equal everywhere: digest, time,
epoch, its end, and which transactions were duplicates. Bodies are real proposals (salus/block.py)
whose transactions are short words.
"""

from dataclasses import dataclass

from consensus.events import Verdict
from salus.block import BLOCK_VERSION, Proposal, null_proposal, proposal_digest
from salus.certificate import Certificate
from salus.codec import decode, encode
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.parameters import Parameters
from salus.validators import Validator, ValidatorSet
from tests.sim.signatures import GENESIS_HASH, public_key

GENESIS_TIME_MS = 1_000_000
REJOIN = b"rejoin "  # + member + number: ends the epoch (rule S4)
BAD = b"bad"  # a transaction that rule S15 refuses

_hash = hasher("simulated-header")
_sets: dict[tuple[int, int], ValidatorSet] = {}
_nulls: dict[int, tuple[bytes, bytes]] = {}


def validators(epoch: int, n: int) -> ValidatorSet:
    """The same members in every epoch; the set covers the epoch number."""
    key = (epoch, n)
    if key not in _sets:
        members = tuple(Validator(f"n{i}", public_key(i)) for i in range(n))
        _sets[key] = ValidatorSet(epoch, members)
    return _sets[key]


def null(sequence: int) -> tuple[bytes, bytes]:
    """(digest, body) of Null(sequence)."""
    if sequence not in _nulls:
        body = null_proposal(sequence)
        _nulls[sequence] = (proposal_digest(body), body)
    return _nulls[sequence]


def rejoin(member: int, number: int) -> bytes:
    return REJOIN + b"%d %d" % (member, number)


@dataclass(frozen=True, slots=True)
class Block:
    """An executed block; certified when it stands on a disk."""

    height: int
    epoch: int
    base: int
    end: int  # the epoch's last height once fixed
    header_hash: bytes
    time_ms: int
    digest: bytes
    body: bytes
    transactions: tuple[bytes, ...]  # executed here for the first time
    certificate: Certificate | None = None

    @property
    def ends_epoch(self) -> bool:
        return self.height == self.end != 0


GENESIS = Block(0, 0, 0, 0, GENESIS_HASH, GENESIS_TIME_MS, bytes(32), b"", ())


def place(parent: Block) -> tuple[int, int, int]:
    """(epoch, base, end) of the block after `parent`."""
    if parent.ends_epoch:
        return parent.epoch + 1, parent.height, 0
    return parent.epoch, parent.base, parent.end


def execute(
    parent: Block, body: bytes, digest: bytes, known: "set[bytes]", parameters: Parameters
) -> Block:
    """Deterministic; `known` are the transactions executed before."""
    proposal = decode(body, Proposal)
    height = parent.height + 1
    assert proposal.sequence == height, "a body of another sequence was committed (S15)"
    epoch, base, end = place(parent)
    fresh = []
    for tx in proposal.transactions:
        if tx not in known and tx not in fresh:
            fresh.append(tx)
    asked = any(tx.startswith(REJOIN) for tx in fresh)
    if end == 0 and (asked or height - base >= parameters.epoch_blocks_max):
        end = height + parameters.watermark_window
    time_ms = max(parent.time_ms, proposal.time_ms)
    header_hash = _hash(
        encode((parent.header_hash, digest, epoch, height, time_ms, end, tuple(fresh)))
    )
    return Block(height, epoch, base, end, header_hash, time_ms, digest, body, tuple(fresh))


def make_body(
    sequence: int, proposer: int, view: int, time_ms: int, transactions: tuple[bytes, ...]
) -> bytes:
    return encode(Proposal(BLOCK_VERSION, sequence, proposer, view, time_ms, transactions))


def judge(
    body: bytes,
    sequence: int,
    view: int,
    proposer: int,
    *,
    first: bool,
    clock_ms: int,
    parameters: Parameters,
) -> Verdict:
    """Rule S15 on words in place of transactions; rule L21 for first proposals."""
    try:
        proposal = decode(body, Proposal)
    except BadMessage:
        return Verdict.INVALID
    if proposal.proposer is None:
        valid = body == null(sequence)[1]
    else:
        valid = (
            proposal.version == BLOCK_VERSION
            and proposal.sequence == sequence
            and len(proposal.transactions) <= parameters.block_transactions_max
            and not any(tx.startswith(BAD) for tx in proposal.transactions)
        )
    if not valid:
        return Verdict.INVALID
    if first:
        if proposal.proposer != proposer or proposal.origin_view != view:
            return Verdict.INVALID
        if abs(proposal.time_ms - clock_ms) > parameters.clock_drift_max_ms:
            return Verdict.OFF_CLOCK
    return Verdict.VALID
