"""What makes a proposal valid (rule S15), Null(sequence) (S11), headers and receipts (S12)."""

from typing import Any

import msgspec
import pytest

from salus import merkle
from salus.block import (
    EVENTS_PER_OPERATION_MAX,
    Event,
    Header,
    Proposal,
    Receipt,
    VerifiedTransactions,
    check_proposal,
    null_proposal,
    proposal_digest,
    receipt_leaf,
    transactions_root,
)
from salus.codec import decode, encode
from salus.errors import BadMessage, SalusError
from salus.keys import verify
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction
from tests import factories

GENESIS = factories.genesis()


def check(
    raw: bytes,
    sequence: int = 5,
    parameters: Parameters = GENESIS.parameters,
    verified: VerifiedTransactions | None = None,
) -> Any:
    known = verified or VerifiedTransactions(verify)
    return check_proposal(raw, sequence, GENESIS.chain_id, GENESIS.hash(), parameters, known)


def code_of(raw: bytes, sequence: int = 5, **more: Any) -> str:
    with pytest.raises(SalusError) as caught:
        check(raw, sequence, **more)
    return caught.value.code


def changed(raw: bytes, **fields: Any) -> bytes:
    return encode(msgspec.structs.replace(decode(raw, Proposal), **fields))


def test_a_valid_proposal_gives_its_transactions_and_digest() -> None:
    txs = [factories.transaction(GENESIS) for _ in range(3)]
    raw = factories.proposal(5, *txs)
    parsed = check(raw)
    assert parsed.transactions == txs
    assert parsed.digest == proposal_digest(raw)
    assert parsed.body.sequence == 5


def test_each_rule_of_validity() -> None:
    tx = factories.transaction(GENESIS)
    raw = factories.proposal(5, tx)
    assert code_of(raw, 6) == "BAD_PROPOSAL"
    assert code_of(changed(raw, version=2)) == "UNSUPPORTED_VERSION"
    assert code_of(changed(raw, proposer=None)) == "BAD_PROPOSAL"
    assert code_of(factories.proposal(5, tx, tx)) == "BAD_PROPOSAL"
    assert code_of(raw + b"\0") == "NOT_CANONICAL"
    assert code_of(changed(raw, time_ms=-1)) == "NOT_CANONICAL"
    assert code_of(changed(raw, transactions=(b"junk",))) == "NOT_CANONICAL"
    late = factories.transaction(GENESIS, first_height=6)
    assert code_of(factories.proposal(5, late)) == "NOT_YET_VALID"
    old = factories.transaction(GENESIS, expiry_height=4)
    assert code_of(factories.proposal(5, old)) == "EXPIRED"


def test_one_bad_signature_spoils_the_proposal() -> None:
    good = [factories.transaction(GENESIS) for _ in range(3)]
    forged = encode(msgspec.structs.replace(good[1].body, signature=bytes(64)))
    raw = changed(factories.proposal(5, *good), transactions=(good[0].raw, forged, good[2].raw))
    assert code_of(raw) == "BAD_SIGNATURE"


def test_limits_of_the_epoch() -> None:
    txs = [factories.transaction(GENESIS) for _ in range(3)]
    raw = factories.proposal(5, *txs)
    few = msgspec.structs.replace(GENESIS.parameters, block_transactions_max=2)
    assert code_of(raw, parameters=few) == "TOO_LARGE"
    small = msgspec.structs.replace(GENESIS.parameters, block_bytes_max=len(raw) - 1)
    assert code_of(raw, parameters=small) == "TOO_LARGE"
    assert check(
        raw,
        parameters=msgspec.structs.replace(GENESIS.parameters, block_bytes_max=len(raw)),
    )


class Cache(VerifiedTransactions):
    """Remembers whatever it is given; counts what it had to verify."""

    def __init__(self, *known: ParsedTransaction) -> None:
        super().__init__(self._counting, {tx.raw: tx for tx in known}.get)
        self.verified = 0

    def _counting(self, public_key: bytes, payload: bytes, signature: bytes) -> bool:
        self.verified += 1
        return verify(public_key, payload, signature)


def test_known_transactions_are_not_verified_again_but_limits_hold_for_them_too() -> None:
    """Validity must not depend on who has seen the transaction before."""
    txs = [factories.transaction(GENESIS) for _ in range(3)]
    raw = factories.proposal(5, *txs)
    cache = Cache(*txs[:2])
    assert check(raw, verified=cache).transactions == txs
    assert cache.verified == 1
    small = msgspec.structs.replace(GENESIS.parameters, transaction_bytes_max=len(txs[0].raw) - 1)
    assert code_of(raw, parameters=small, verified=cache) == "TOO_LARGE"
    assert code_of(raw, parameters=small) == "TOO_LARGE"
    known = factories.proposal(5, *txs[:2])
    assert code_of(known, parameters=small, verified=cache) == "TOO_LARGE"


def test_null_is_a_constant_of_its_sequence() -> None:
    """Rule S11: no proposer, no time, origin view 0, and nothing else may lack a proposer."""
    raw = null_proposal(5)
    assert raw == null_proposal(5)
    assert check(raw).transactions == []
    assert code_of(raw, 6) == "BAD_PROPOSAL"
    assert code_of(changed(raw, time_ms=1)) == "BAD_PROPOSAL"
    assert code_of(changed(raw, origin_view=1)) == "BAD_PROPOSAL"
    assert proposal_digest(null_proposal(5)) != proposal_digest(null_proposal(6))


def test_a_header_hash_covers_every_field() -> None:
    header = factories.Chain().add().header
    hashes = {header.hash()}
    for name in Header.__struct_fields__:
        value = getattr(header, name)
        other: Any = bytes(31) + b"\7" if isinstance(value, bytes) else (value or 0) + 1
        hashes.add(msgspec.structs.replace(header, **{name: other}).hash())
    hashes.add(msgspec.structs.replace(header, proposer=None).hash())
    assert len(hashes) == len(Header.__struct_fields__) + 2


def test_genesis_ends_no_epoch_and_a_last_block_does() -> None:
    header = factories.genesis_header(GENESIS)
    assert not header.ends_epoch
    assert msgspec.structs.replace(header, height=7, epoch_end=7).ends_epoch
    assert not msgspec.structs.replace(header, height=6, epoch_end=7).ends_epoch


def test_receipts_come_back_with_their_facts() -> None:
    receipt = Receipt(bytes(32), 3, "TAG_SPENT", {"height": 7, "org": "hosp-a", "late": True}, ())
    assert decode(encode(receipt), Receipt) == receipt
    assert not receipt.ok
    assert receipt_leaf(receipt) == merkle.leaf_hash(encode(receipt))


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt(bytes(32), 0, "X" * 49, {}, ()),
        Receipt(bytes(32), 0, "OK", {"n" * 33: 1}, ()),
        Receipt(bytes(32), 0, "OK", {"n": "v" * 257}, ()),
        Receipt(bytes(32), 0, "OK", {str(i): i for i in range(17)}, ()),
        Receipt(bytes(32), 0, "OK", {}, (Event("a.b", {}),) * (EVENTS_PER_OPERATION_MAX + 1)),
        Receipt(bytes(32), 0, "OK", {"n": b"raw"}, ()),  # type: ignore[dict-item]
    ],
)
def test_receipts_are_bounded(receipt: Receipt) -> None:
    with pytest.raises(BadMessage):
        decode(encode(receipt), Receipt)


def test_the_transactions_root_is_over_ids_in_order() -> None:
    a, b = (factories.transaction(GENESIS) for _ in range(2))
    assert transactions_root([]) == merkle.EMPTY_ROOT
    assert transactions_root([a, b]) != transactions_root([b, a])
    assert transactions_root([a]) == merkle.leaf_hash(a.id)
