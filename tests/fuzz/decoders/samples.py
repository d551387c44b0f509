"""Real things to begin with: signed, certified, proved. Made once a process, the same each time."""

from functools import cache

import msgspec

from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    Fetch,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    SignedMessage,
    Status,
    ViewChange,
    payload,
)
from consensus.proofs import choose
from salus import merkle
from salus.block import proposal_digest
from salus.certificate import IndexedSignature
from salus.codec import encode
from salus.genesis import Genesis
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction, operation_leaves, parse, signed_payload
from tests import factories
from tests.ledger import Ledger

GENESIS: Genesis = factories.genesis(4, parameters=Parameters(state_bucket_bits=4))
LIMITS = GENESIS.parameters
ANCHOR = encode((factories.seed("root"), 1, factories.seed("author"), factories.seed("context")))


@cache
def transactions() -> tuple[ParsedTransaction, ...]:
    """One operation, several, and one that says nothing any contract knows."""
    one = factories.operation(args=ANCHOR)
    strange = factories.operation("nobody", "knows", b"\xc1")
    return (
        factories.transaction(GENESIS, one, number=1),
        factories.transaction(GENESIS, one, strange, one, number=2, independent=True),
        factories.transaction(GENESIS, strange, number=3, first_height=1, expiry_height=9),
    )


@cache
def ledger() -> Ledger:
    """Three certified blocks: with transactions, empty, and a null."""
    made = Ledger(GENESIS)
    made.block(*transactions()[:2])
    made.block()
    made.null_block()
    return made


def signed(message: SignedMessage) -> SignedMessage:
    """As its sender would."""
    key = factories.keys(4)[message.sender]
    signature = key.sign(payload(GENESIS.vote_domain(), message))
    return msgspec.structs.replace(message, signature=signature)


@cache
def proposal() -> bytes:
    return factories.proposal(4, *transactions())


@cache
def messages() -> tuple[Message, ...]:
    """Each kind, with true signatures; the NEW-VIEW carries what it must choose."""
    digest = proposal_digest(proposal())
    pre_prepare = signed(PrePrepare(0, 0, 4, digest, 0, NO_SIGNATURE))
    prepares = [signed(Prepare(0, 0, 4, digest, sender, NO_SIGNATURE)) for sender in (1, 2)]
    assert isinstance(pre_prepare, PrePrepare)
    certificate = PreparedCertificate(
        pre_prepare, tuple(IndexedSignature(p.sender, p.signature) for p in prepares)
    )
    low = ledger().certified(3).certificate
    changes: list[ViewChange] = []
    for sender in (1, 2, 3):
        change = signed(ViewChange(0, 1, low, (certificate,), sender, NO_SIGNATURE))
        assert isinstance(change, ViewChange)
        changes.append(change)
    chosen: list[PrePrepare] = []
    for sequence, chosen_digest in choose(tuple(changes), 0).digests:
        vote = signed(PrePrepare(0, 1, sequence, chosen_digest, 1, NO_SIGNATURE))
        assert isinstance(vote, PrePrepare)
        chosen.append(vote)
    return (
        pre_prepare,
        *prepares,
        signed(Commit(0, 0, 4, digest, 3, NO_SIGNATURE)),
        signed(Checkpoint(0, 0, 4, factories.seed("header"), 2, NO_SIGNATURE)),
        *changes,
        signed(NewView(0, 1, tuple(changes), tuple(chosen), 1, NO_SIGNATURE)),
        signed(Status(0, 0, 1, 3, 2, NO_SIGNATURE)),
        Fetch(0, 4, digest, 2),
    )


def around(operation: bytes) -> ParsedTransaction:
    """A signed transaction with this operation, whatever it is."""
    body = transactions()[0].body
    unsigned = msgspec.structs.replace(body, operations=(operation,), signature=bytes(64))
    root = merkle.root(operation_leaves((operation,)))
    payload_ = signed_payload(GENESIS.hash(), unsigned, 1, root)
    signature = factories.key(f"operator {GENESIS.members[0].id}").sign(payload_)
    tx = msgspec.structs.replace(unsigned, signature=signature)
    return parse(encode(tx), GENESIS.chain_id, GENESIS.hash(), LIMITS)
