"""Makers of keys, genesis, transactions and certified chains, for the tests of every package.

Deterministic: the same call gives the same bytes, so golden files may hold what comes out.
Validator i of a genesis is the i-th member, and `keys(n)[i]` is its node key.
"""

import string
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count

from salus import merkle, pepper
from salus.block import (
    BLOCK_VERSION,
    OK,
    Event,
    Header,
    Proposal,
    Receipt,
    null_proposal,
    proposal_digest,
    receipt_leaf,
    transactions_root,
)
from salus.certificate import Certificate, CertifiedBlock, EpochStep, IndexedSignature
from salus.codec import decode, encode
from salus.genesis import GENESIS_VERSION, Genesis, Member, Role
from salus.hashing import ZERO_HASH
from salus.keys import Signer, SigningKey, box_public_key
from salus.parameters import Parameters
from salus.transaction import Operation, ParsedTransaction, build, parse
from salus.validators import Validator, ValidatorSet
from salus.vote import VoteType

CHAIN_ID = "test-chain"
TIME_MS = 1_700_000_000_000
NONCES = count(1)


def seed(label: str) -> bytes:
    """32 bytes that look random and are always the same for a label."""
    return sha256(b"salus test seed " + label.encode()).digest()


def key(label: str) -> SigningKey:
    return SigningKey.from_seed(seed(label))


def member_ids(n: int) -> list[str]:
    """`hosp-a`, `hosp-b` …, ascending; three digits beyond 26."""
    if n <= 26:
        return [f"hosp-{letter}" for letter in string.ascii_lowercase[:n]]
    return [f"hosp-{index:03}" for index in range(n)]


def keys(n: int, kind: str = "node") -> list[SigningKey]:
    """The keys of n members; `kind`: node or operator."""
    return [key(f"{kind} {name}") for name in member_ids(n)]


def member(name: str, *, validator: bool = True) -> Member:
    return Member(
        name,
        f"Hospital {name}",
        (Role.HOSPITAL,),
        validator,
        key(f"node {name}").public_key,
        key(f"operator {name}").public_key,
        box_public_key(seed(f"box {name}")),
    )


def genesis(n: int = 4, *, observers: int = 0, parameters: Parameters | None = None) -> Genesis:
    """n validating hospitals, and members `obs-…` without a vote (they sort behind)."""
    members = [member(name) for name in member_ids(n)]
    members += [member(f"obs-{index:03}", validator=False) for index in range(observers)]
    return Genesis(
        GENESIS_VERSION,
        CHAIN_ID,
        TIME_MS,
        tuple(members),
        parameters or Parameters(),
        pepper.commitment(seed("pepper")),
    )


def nonce(number: int | None = None) -> bytes:
    """16 bytes; without a number, unlike any before in this process."""
    return (next(NONCES) if number is None else number).to_bytes(16)


def operation(contract: str = "records", method: str = "anchor", args: bytes = b"") -> Operation:
    return Operation(contract, method, 1, args)


def transaction(
    of: Genesis,
    *operations: Operation,
    signer: Signer | None = None,
    number: int | None = None,
    first_height: int = 0,
    expiry_height: int = 100,
    independent: bool = False,
) -> ParsedTransaction:
    """A signed transaction of the first member's operator (one operation if none is given)."""
    return build(
        operations or (operation(),),
        signer=signer or key(f"operator {of.members[0].id}"),
        chain_id=of.chain_id,
        genesis_hash=of.hash(),
        nonce=nonce(number),
        first_height=first_height,
        expiry_height=expiry_height,
        independent=independent,
    )


def proposal(
    sequence: int, *transactions: ParsedTransaction, proposer: int = 0, later_ms: int = 0
) -> bytes:
    return encode(
        Proposal(
            BLOCK_VERSION,
            sequence,
            proposer,
            0,
            TIME_MS + 100 * sequence + later_ms,
            tuple(tx.raw for tx in transactions),
        )
    )


def anchored(root: bytes = ZERO_HASH, org: str = "hosp-a") -> Event:
    """What the records contract says of an anchored batch of one."""
    return Event("records.anchored", {"leaves": 1, "org": org, "root": root.hex()})


def receipts_of(transactions: list[ParsedTransaction], code: str = OK) -> list[Receipt]:
    """One receipt per operation, with an event when it is OK."""
    return [
        Receipt(
            tx.id,
            index,
            code,
            {},
            (anchored(),) if code == OK else (),
        )
        for tx in transactions
        for index in range(len(tx.body.operations))
    ]


def genesis_header(of: Genesis, state_root: bytes = ZERO_HASH) -> Header:
    """The derived block 0: uncertified, its parent is the genesis hash."""
    validators_hash = of.validators().hash()
    return Header(
        BLOCK_VERSION,
        0,
        0,
        of.hash(),
        of.time_ms,
        ZERO_HASH,
        None,
        0,
        0,
        merkle.EMPTY_ROOT,
        0,
        merkle.EMPTY_ROOT,
        state_root,
        validators_hash,
        validators_hash,
        of.parameters.hash(),
        0,
    )


def certificate(
    header: Header, of: Genesis, signers: list[SigningKey], indexes: list[int] | None = None
) -> Certificate:
    """Signatures of `signers[i]` for each index (default: a quorum, the lowest indexes)."""
    if indexes is None:
        n = len(signers)
        indexes = list(range((n + (n - 1) // 3) // 2 + 1))
    digest = header.hash()
    payload = of.vote_domain().payload(VoteType.CHECKPOINT, header.epoch, 0, header.height, digest)
    return Certificate(
        header.epoch,
        header.height,
        digest,
        tuple(IndexedSignature(i, signers[i].sign(payload)) for i in indexes),
    )


@dataclass
class Chain:
    """A certified chain without executor: roots and signatures are right, the state is told.

    `add(...)` appends one block; `end_epoch(names)` makes the next block the epoch's last and
    hands over to the named validators (default: the same), by other parameters if wished.
    `rotate(name)` gives a member a new node key from the next `end_epoch` on.
    """

    genesis: Genesis = field(default_factory=genesis)
    headers: list[Header] = field(init=False)
    blocks: list[CertifiedBlock | None] = field(init=False)  # index = height; 0 has none
    transactions: list[list[ParsedTransaction]] = field(init=False)
    receipts: list[list[Receipt]] = field(init=False)
    steps: list[EpochStep] = field(init=False)
    validators: ValidatorSet = field(init=False)
    parameters: Parameters = field(init=False)
    labels: dict[str, str] = field(default_factory=dict)  # of keys that were rotated, by member

    def __post_init__(self) -> None:
        self.parameters = self._next_parameters = self.genesis.parameters
        self.headers = [genesis_header(self.genesis)]
        self.blocks, self.transactions, self.receipts, self.steps = [None], [[]], [[]], []
        self.validators = self.genesis.validators()
        founders = [key(f"node {v.member}") for v in self.validators.validators]
        self._keys = {signer.public_key: signer for signer in founders}
        self._next: ValidatorSet | None = None

    @property
    def height(self) -> int:
        return len(self.headers) - 1

    def signers(self) -> list[SigningKey]:
        """The node keys of the current set."""
        return [self._keys[validator.public_key] for validator in self.validators.validators]

    def rotate(self, name: str) -> None:
        self.labels[name] = f"{self.labels.get(name, f'node {name}')}, rotated"

    def end_epoch(
        self, names: list[str] | None = None, *, parameters: Parameters | None = None
    ) -> None:
        chosen = names or [validator.member for validator in self.validators.validators]
        held = {name: key(self.labels.get(name, f"node {name}")) for name in sorted(chosen)}
        self._keys |= {held[name].public_key: held[name] for name in held}
        self._next = ValidatorSet(
            self.validators.epoch + 1,
            tuple(Validator(name, signer.public_key) for name, signer in held.items()),
        )
        self._next_parameters = parameters or self.parameters

    def add(
        self,
        *transactions: ParsedTransaction,
        receipts: list[Receipt] | None = None,
        state_root: bytes | None = None,
        raw: bytes | None = None,
    ) -> CertifiedBlock:
        """Appends a block of these transactions (or of the proposal `raw`), certified."""
        parent, height = self.headers[-1], self.height + 1
        raw = proposal(height, *transactions) if raw is None else raw
        body = decode(raw, Proposal)
        parsed = [
            parse(tx, self.genesis.chain_id, self.genesis.hash(), self.parameters)
            for tx in body.transactions
        ]
        results = receipts_of(parsed) if receipts is None else receipts
        following = self._next or self.validators
        header = Header(
            BLOCK_VERSION,
            self.validators.epoch,
            height,
            parent.hash(),
            max(parent.time_ms, body.time_ms),
            proposal_digest(raw),
            body.proposer,
            body.origin_view,
            len(parsed),
            transactions_root(parsed),
            len(results),
            merkle.root([receipt_leaf(receipt) for receipt in results]),
            parent.state_root if state_root is None else state_root,
            self.validators.hash(),
            following.hash(),
            self.parameters.hash(),
            height if self._next else 0,
        )
        block = CertifiedBlock(header, certificate(header, self.genesis, self.signers()), raw)
        self.headers.append(header)
        self.blocks.append(block)
        self.transactions.append(parsed)
        self.receipts.append(results)
        if self._next:
            self.steps.append(EpochStep(header, block.certificate, self._next))
            self.validators, self._next = self._next, None
            self.parameters = self._next_parameters
        return block

    def add_null(self) -> CertifiedBlock:
        return self.add(raw=null_proposal(self.height + 1))
