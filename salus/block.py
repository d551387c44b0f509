"""Proposal (what is agreed on), header (what is certified), receipt (what came of it).

A proposal depends on no state, so several are in flight at once and a view change re-proposes
a digest unchanged; the header is derived by executing proposals in order (architecture.md).
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated

import msgspec

from salus import merkle
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.keys import Verifier
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction, check_heights, check_size, parse

BLOCK_VERSION = 1
OK = "OK"
DUPLICATE = "DUPLICATE"  # the transaction was executed before; its first receipts stand

_hash_proposal = hasher("proposal")
_hash_header = hasher("header")


class Proposal(Wire, frozen=True):
    """Ordered transactions for one sequence. Bytes, proposer, time and origin view never change
    when a later view carries it again (rule 11)."""

    version: Uint
    sequence: Uint
    proposer: Uint | None  # index in the epoch's validator set; None only in Null(sequence)
    origin_view: Uint
    time_ms: Uint  # Unix milliseconds, the proposer's clock
    transactions: tuple[bytes, ...]


def proposal_digest(raw: bytes) -> bytes:
    return _hash_proposal(raw)


def null_proposal(sequence: int) -> bytes:
    """◆ Rule 11: the constant that a new view puts into a gap; its block takes time(h−1)."""
    return encode(Proposal(BLOCK_VERSION, sequence, None, 0, 0, ()))


class ParsedProposal:
    """A proposal that passed `check_proposal`."""

    __slots__ = ("body", "digest", "raw", "transactions")

    def __init__(self, raw: bytes, body: Proposal, transactions: list[ParsedTransaction]) -> None:
        self.raw, self.body, self.transactions = raw, body, transactions
        self.digest = proposal_digest(raw)


def check_proposal(
    raw: bytes,
    sequence: int,
    chain_id: str,
    genesis_hash: bytes,
    parameters: Parameters,
    verified: "VerifiedTransactions",
) -> ParsedProposal:
    """◆ Rule 15: valid as a function of its bytes, its sequence and the epoch's parameters only.

    Raises `BadMessage` or `BadSignature`. Whether a transaction was executed before, and what
    the contracts say, decides a receipt and never a vote.
    """
    if len(raw) > parameters.block_bytes_max:
        raise BadMessage(
            f"a proposal has at most {parameters.block_bytes_max} bytes", code="TOO_LARGE"
        )
    body = decode(raw, Proposal)
    if body.version != BLOCK_VERSION:
        raise BadMessage(f"block version {body.version}", code="UNSUPPORTED_VERSION")
    if body.sequence != sequence:
        raise BadMessage("the proposal names another sequence", code="BAD_PROPOSAL")
    if body.proposer is None and raw != null_proposal(sequence):
        raise BadMessage("no proposer, and not Null(sequence)", code="BAD_PROPOSAL")
    if len(body.transactions) > parameters.block_transactions_max:
        raise BadMessage(
            f"at most {parameters.block_transactions_max} transactions", code="TOO_LARGE"
        )
    transactions = []
    get = verified.get
    for raw_tx in body.transactions:
        # A cached transaction may have been parsed under an older epoch's limits: the verdict
        # must not depend on who has seen it before.
        tx = get(raw_tx)
        if tx is None:
            tx = parse(raw_tx, chain_id, genesis_hash, parameters)
        else:
            check_size(tx, parameters)
        check_heights(tx.body, sequence, parameters)
        transactions.append(tx)
    if len({tx.id for tx in transactions}) < len(transactions):
        raise BadMessage("a transaction stands twice in the proposal", code="BAD_PROPOSAL")
    verified.check(transactions)
    return ParsedProposal(raw, body, transactions)


Get = Callable[[bytes], ParsedTransaction | None]


def _nothing(raw: bytes) -> ParsedTransaction | None:
    return None


class VerifiedTransactions:
    """Which transactions this node has parsed and verified already, by their exact bytes.

    The mempool is the usual one; this base knows none and verifies all.
    """

    def __init__(self, verifier: Verifier, get: Get | None = None) -> None:
        """`get`: the parsed transaction iff exactly these bytes, signature included, were verified. It is
        asked three times for each, so it is called itself, without a method around it."""
        self.verifier = verifier
        self.get: Get = get or _nothing

    def check(self, transactions: list[ParsedTransaction]) -> None:
        """Raises `BadSignature` unless each has a valid signature."""
        for tx in transactions:
            if self.get(tx.raw) is None and not tx.signature_valid(self.verifier):
                raise BadMessage("a transaction's signature is not valid", code="BAD_SIGNATURE")


class Header(Wire, frozen=True):
    """◆ A block header; derived by every replica, certified by a quorum (rule 12)."""

    version: Uint
    epoch: Uint
    height: Uint
    parent_hash: Bytes32
    time_ms: Uint  # max(parent's, proposal's): never runs backwards (rule 11)
    proposal_digest: Bytes32
    proposer: Uint | None
    origin_view: Uint
    transactions_count: Uint
    transactions_root: Bytes32
    receipts_count: Uint
    receipts_root: Bytes32
    state_root: Bytes32  # after this block
    validators_hash: Bytes32  # of the set that signs this block
    next_validators_hash: Bytes32  # differs from the above only in the last block of an epoch
    parameters_hash: Bytes32
    epoch_end: Uint  # the epoch's last height once it is fixed (rule 13), 0 before

    def hash(self) -> bytes:
        return _hash_header(encode(self))

    @property
    def ends_epoch(self) -> bool:
        return self.height == self.epoch_end != 0


# A fact is public: a flag, a number, or a word. Hashes and ids stand here as lowercase hex (a
# union of text and bytes has no one decoder).
FactName = Annotated[str, msgspec.Meta(max_length=32)]
Fact = bool | Uint | Annotated[str, msgspec.Meta(max_length=256)]
Facts = Annotated[dict[FactName, Fact], msgspec.Meta(max_length=16)]
ReceiptCode = Annotated[str, msgspec.Meta(max_length=48)]
EVENTS_PER_OPERATION_MAX = 16


class Event(Wire, frozen=True):
    """Something that happened, for subscribers: `kind` = contract.what, public facts only."""

    kind: Annotated[str, msgspec.Meta(max_length=65)]
    data: Facts


class Receipt(Wire, frozen=True):
    """What came of one operation: code OK, or the word of the refusal and its facts."""

    tx_id: Bytes32
    operation: Uint
    code: ReceiptCode
    facts: Facts
    events: Annotated[tuple[Event, ...], msgspec.Meta(max_length=EVENTS_PER_OPERATION_MAX)]

    @property
    def ok(self) -> bool:
        return self.code == OK


def transactions_root(transactions: list[ParsedTransaction]) -> bytes:
    """Leaves are the transaction ids, which cover content and signature."""
    # `merkle.leaf_hash` and `encode` written out, here and below: for each transaction of a block.
    return merkle.root([sha256(b"\0" + tx.id).digest() for tx in transactions])


def receipts_root(encoded: Sequence[bytes]) -> bytes:
    """Of the receipts' encodings, in the order of the operations."""
    return merkle.root([sha256(b"\0" + receipt).digest() for receipt in encoded])


def receipt_leaf(receipt: Receipt) -> bytes:
    return merkle.leaf_hash(encode(receipt))
