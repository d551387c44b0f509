"""The offline verifier believes nothing that does not follow from the genesis hash (health.md §4.13)."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus import merkle
from salus.block import Event, Receipt, receipt_leaf
from salus.certificate import Certificate
from salus.codec import encode
from salus.document import (
    Structure,
    batch,
    check_structure,
    commitment,
    open_all,
    redact,
    split,
)
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.parameters import Parameters
from salus.proof import (
    MAGIC,
    PROOF_BYTES_MAX,
    AnchorArguments,
    AsOf,
    OperationProof,
    ProofBundle,
    RecordProof,
    read_proof,
    write_proof,
)
from salus.record import Anchor, Spent, anchor_key, record_leaf, spent_key, tag_hash
from salus.report import ProofRefused, Report, ShownDocument, utc
from salus.statemap import StateTree, bucket_of, change_bucket, key_hash, leaf_of
from salus.transaction import Operation, ParsedTransaction, operation_leaves
from salus.verifier import verify_bundle, verify_file
from tests import factories

REPLACE = msgspec.structs.replace
BITS = 4
GENESIS = factories.genesis(parameters=Parameters(state_bucket_bits=BITS))
HASH = GENESIS.hash()
TAG = factories.seed("tag")
OPENING = open_all(split(b"a finding", "text/plain"), factories.seed("salts"))
ROOT, (PLACE,) = batch([record_leaf(commitment(OPENING), tag_hash(TAG))], [])
ARGUMENTS = AnchorArguments(ROOT, 1, factories.seed("author"), factories.seed("context"))
ANCHOR = Operation("records", "anchor", 1, encode(ARGUMENTS))


class State:
    """A state map of a few told values."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.tree = StateTree(BITS)
        self.stored = {key: bytes(16) + value for key, value in values.items()}
        self.buckets: dict[int, bytes] = {}
        for key, stored in self.stored.items():
            hashed = key_hash(key)
            index = bucket_of(hashed, BITS)
            self.buckets[index] = change_bucket(
                self.buckets.get(index, b""), {hashed: leaf_of(hashed, stored)}
            )
        self.root = self.tree.load(self.buckets.items())

    def prove(self, key: bytes) -> Any:
        bucket = self.buckets.get(bucket_of(key_hash(key), BITS), b"")
        return self.tree.prove(key, self.stored.get(key), bucket)


SPENT_KEY = spent_key("hosp-a", tag_hash(TAG))
FILLER = {b"filler/%d" % i: b"x" for i in range(40)}
CURRENT = State({anchor_key("hosp-a", ROOT): encode(Anchor("hosp-a", 3, 1)), **FILLER})
SPENT = State(
    {
        anchor_key("hosp-a", ROOT): encode(Anchor("hosp-a", 3, 1)),
        SPENT_KEY: encode(Spent(5, bytes(32), bytes(32))),
        **FILLER,
    }
)
# Another organisation anchored the same root before, and ended its copy of the version.
COPIED = State(
    {
        anchor_key("hosp-a", ROOT): encode(Anchor("hosp-a", 3, 1)),
        anchor_key("hosp-b", ROOT): encode(Anchor("hosp-b", 2, 1)),
        spent_key("hosp-b", tag_hash(TAG)): encode(Spent(3, None, bytes(32))),
        **FILLER,
    }
)


def path_of(leaves: list[bytes], index: int) -> tuple[bytes, ...]:
    return tuple(merkle.inclusion_proof(leaves, index))


def operation_proof(chain: factories.Chain, height: int, at: int, index: int) -> OperationProof:
    transactions, receipts = chain.transactions[height], chain.receipts[height]
    tx = transactions[at]
    number = next(i for i, r in enumerate(receipts) if (r.tx_id, r.operation) == (tx.id, index))
    return OperationProof(
        1,
        tx.body.sender,
        tx.body.nonce,
        tx.body.first_height,
        tx.body.expiry_height,
        tx.body.independent,
        tx.body.signature,
        tx.body.operations[index],
        index,
        len(tx.body.operations),
        path_of(operation_leaves(tx.body.operations), index),
        at,
        path_of([merkle.leaf_hash(other.id) for other in transactions], at),
        receipts[number],
        number,
        path_of([receipt_leaf(receipt) for receipt in receipts], number),
    )


class Case:
    """Block 3 anchors a document as operation 1 of 3 of its middle transaction; one epoch ends
    at height 2 and one at 4; block 6 is the newest."""

    def __init__(
        self,
        codes: tuple[str, str, str] = ("OK", "OK", "OK"),
        *,
        events: tuple[Event, ...] = (factories.anchored(ROOT),),
        current: State = CURRENT,
    ) -> None:
        self.current = current
        self.chain = chain = factories.Chain(GENESIS)
        chain.add()
        chain.end_epoch(["hosp-a", "hosp-b", "hosp-c", "hosp-e"])
        chain.add()
        noise = [Operation("records", "retract", 1, bytes([i])) for i in range(2)]
        self.tx: ParsedTransaction = factories.transaction(
            GENESIS, noise[0], ANCHOR, noise[1], number=7
        )
        others = [factories.transaction(GENESIS, ANCHOR, number=8 + i) for i in range(2)]
        receipts = [
            Receipt(
                tx.id,
                index,
                codes[index] if tx is self.tx else "OK",
                {},
                events if raw == encode(ANCHOR) else (),
            )
            for tx in (others[0], self.tx, others[1])
            for index, raw in enumerate(tx.body.operations)
        ]
        chain.add(others[0], self.tx, others[1], receipts=receipts, state_root=current.root)
        chain.end_epoch(["hosp-a", "hosp-b", "hosp-e", "hosp-f"])
        chain.add()
        chain.add(state_root=SPENT.root)
        chain.add()

    def certificate(self, height: int) -> Certificate:
        block = self.chain.blocks[height]
        assert block is not None
        return block.certificate

    def bundle(self, *, record: bool = False, as_of: int | None = None) -> ProofBundle:
        standing = None
        if as_of is not None:
            state = self.current if as_of < 5 else SPENT
            standing = AsOf(
                self.chain.headers[as_of],
                self.certificate(as_of),
                state.prove(anchor_key("hosp-a", ROOT)),
                state.prove(SPENT_KEY) if record else None,
            )
        epochs = 1 if as_of is None or as_of <= 4 else 2
        return ProofBundle(
            1,
            GENESIS,
            tuple(self.chain.steps[:epochs]),
            self.chain.headers[3],
            self.certificate(3),
            operation_proof(self.chain, 3, 1, 1),
            RecordProof(0, (), tag_hash(TAG), OPENING) if record else None,
            standing,
            (),
        )


CASE = Case()
PLAIN, RECORD = CASE.bundle(), CASE.bundle(record=True)
FULL = CASE.bundle(record=True, as_of=6)


def refused(bundle: ProofBundle, **more: Any) -> ProofRefused:
    with pytest.raises(ProofRefused) as caught:
        verify_bundle(bundle, HASH, **more)
    assert not caught.value.checks[-1].passed
    assert all(check.passed for check in caught.value.checks[:-1])
    return caught.value


# -- what is accepted ------------------------------------------------------------------------


def test_the_report_states_the_claim_and_its_limit() -> None:
    report = verify_file(write_proof(RECORD), HASH)
    assert [check.name for check in report.checks] == [
        "file",
        "genesis",
        "validators",
        "certificate",
        "transaction",
        "receipt",
        "document",
    ]
    assert report.claim == (
        "this document version was anchored by hosp-a (its operator key in genesis) "
        "at height 3 (2023-11-14T22:13:20Z)"
    )
    assert report.limit.startswith("says nothing about later than height 3")
    assert report.signers == ("hosp-a", "hosp-b", "hosp-c")
    assert report.tx_id == CASE.tx.id
    assert report.version_commitment == commitment(OPENING)


@pytest.mark.parametrize(
    ("as_of", "status"), [(3, "current"), (4, "current"), (5, "superseded"), (6, "superseded")]
)
def test_the_state_of_a_later_block_tells_the_standing(as_of: int, status: str) -> None:
    report = verify_bundle(CASE.bundle(record=True, as_of=as_of), HASH)
    assert (report.status, report.as_of_height) == (status, as_of)


def test_a_copy_of_the_root_by_another_organisation_changes_nothing_for_the_author() -> None:
    """The standing goes by the organisation that the certified receipt names."""
    report = verify_bundle(Case(current=COPIED).bundle(record=True, as_of=4), HASH)
    assert report.status == "current"
    assert "anchored by hosp-a" in report.claim


def test_an_operation_that_is_no_anchor_is_proved_as_executed() -> None:
    bundle = REPLACE(PLAIN, operation=operation_proof(CASE.chain, 3, 1, 0))
    report = verify_bundle(bundle, HASH)
    assert report.status == "executed"
    assert report.claim.startswith("records.retract by hosp-a")
    assert verify_bundle(CASE.bundle(as_of=6), HASH).status == "anchored"


def test_a_redacted_document_still_verifies_and_says_so() -> None:
    proof = RECORD.record
    assert proof is not None
    shown = REPLACE(RECORD, record=REPLACE(proof, opening=redact(OPENING, [1])))
    report = verify_bundle(shown, HASH)
    assert (report.parts_shown, report.parts_count) == (1, 2)
    assert "shown parts" in report.claim
    assert b"a finding" not in write_proof(shown)


def test_the_report_says_which_document_was_anchored() -> None:
    """Else «verified» would speak of whatever paper lies beside the file."""
    document = verify_bundle(RECORD, HASH).document
    assert document is not None
    assert (document.media_type, document.content) == ("text/plain", b"a finding")
    assert document.sha256 == hashlib.sha256(b"a finding").digest()
    assert str(document) == f"text/plain, 9 bytes, SHA-256 {document.sha256.hex()}"
    assert str(document) in verify_bundle(RECORD, HASH).checks[-1].detail
    assert "finding" not in repr(document)
    assert verify_bundle(PLAIN, HASH).document is None


def test_a_media_type_that_would_write_on_the_terminal_is_not_repeated() -> None:
    assert str(ShownDocument("\x1b[2Kfake", b"")).startswith("of unusual type, 0 bytes")


def test_where_nothing_is_shown_the_claim_speaks_of_a_commitment_only() -> None:
    report = verify_bundle(record(RECORD, opening=redact(OPENING, [0, 1])), HASH)
    assert (report.parts_shown, report.document) == (0, None)
    assert report.claim.startswith(f"a version with the commitment {commitment(OPENING).hex()}")


def test_a_shown_structure_must_fit_the_number_of_parts() -> None:
    """Also where parts are withheld: it is the structure of no document."""
    parts = (encode(Structure("text/plain", (b"", b"", b"", b""))), b"a finding")
    opening = open_all(parts, factories.seed("salts"))
    with pytest.raises(BadMessage, match="4 gaps do not fit 1 parts"):
        check_structure(redact(opening, [1]))
    check_structure(redact(opening, [0]))
    check_structure(OPENING)


# -- what is refused -------------------------------------------------------------------------


def test_a_refused_operation_is_reported_as_refused() -> None:
    """A certified receipt that is not OK proves the refusal, never the deed."""
    for bundle in (
        Case(("OK", "DUPLICATE_ROOT", "OK")).bundle(record=True),
        Case(("OK", "NOT_EXECUTED", "OK")).bundle(),
    ):
        error = refused(bundle)
        assert error.checks[-1].name == "receipt"
        assert "REFUSED" in error.message
    # The neighbours' receipts do not matter for this operation.
    assert verify_bundle(Case(("X", "OK", "Y")).bundle(), HASH).status == "executed"


def operation(bundle: ProofBundle, **fields: Any) -> ProofBundle:
    return REPLACE(bundle, operation=REPLACE(bundle.operation, **fields))


def record(bundle: ProofBundle, **fields: Any) -> ProofBundle:
    assert bundle.record is not None
    return REPLACE(bundle, record=REPLACE(bundle.record, **fields))


def as_of(bundle: ProofBundle, **fields: Any) -> ProofBundle:
    assert bundle.as_of is not None
    return REPLACE(bundle, as_of=REPLACE(bundle.as_of, **fields))


def signed_by(bundle: ProofBundle, *indexes: int, names: list[str] | None = None) -> ProofBundle:
    chosen = names or ["hosp-a", "hosp-b", "hosp-c", "hosp-e"]
    keys = [factories.key(f"node {name}") for name in chosen]
    certificate = factories.certificate(bundle.header, GENESIS, keys, list(indexes))
    return REPLACE(bundle, certificate=certificate)


def anchors_that_nobody_names() -> list[ProofBundle]:
    """Certified receipts from which it does not follow whose batch was anchored."""
    told: list[tuple[Event, ...]] = [
        (),
        (Event("records.anchored", {"leaves": 1}),),
        (Event("records.anchored", {"org": 1}),),
        (Event("records.retracted", {"org": "hosp-a"}),),
    ]
    return [Case(events=events).bundle(as_of=4) for events in told]


@pytest.mark.parametrize("bundle", anchors_that_nobody_names())
def test_a_standing_needs_a_receipt_that_names_the_organisation(bundle: ProofBundle) -> None:
    error = refused(bundle)
    assert error.checks[-1].name == "state"
    assert "who anchored" in error.message


def test_an_anchor_of_another_organisation_does_not_stand_in_for_the_named_one() -> None:
    copied = Case(current=COPIED).bundle(record=True, as_of=4)
    for fields in (
        {"anchor": COPIED.prove(anchor_key("hosp-b", ROOT))},
        {"spent": COPIED.prove(spent_key("hosp-b", tag_hash(TAG)))},
    ):
        error = refused(as_of(copied, **fields))
        assert error.checks[-1].name == "state"
        assert "another key" in error.message


@pytest.mark.parametrize("value", [("hosp-b", 3, 1), ("hosp-a", 2, 1), ("hosp-a", 3, 2)])
def test_the_anchor_in_the_state_is_the_one_that_the_receipt_tells(
    value: tuple[str, int, int],
) -> None:
    state = State({anchor_key("hosp-a", ROOT): encode(value), **FILLER})
    error = refused(Case(current=state).bundle(as_of=4))
    assert error.checks[-1].name == "state"
    assert "another anchoring" in error.message


OTHER = factories.genesis(5)
STATE = FULL.as_of
assert STATE is not None
assert STATE.spent is not None

REFUSED: dict[str, tuple[ProofBundle, str]] = {
    "below quorum": (signed_by(PLAIN, 0, 1), "certificate"),
    "duplicate signers": (signed_by(PLAIN, 0, 1, 1), "certificate"),
    "descending signers": (signed_by(PLAIN, 2, 1, 0), "certificate"),
    "keys of the epoch before": (
        signed_by(PLAIN, 1, 2, 3, names=factories.member_ids(4)),
        "certificate",
    ),
    "certificate of another block": (
        REPLACE(PLAIN, certificate=CASE.certificate(4)),
        "certificate",
    ),
    "header of another block": (
        REPLACE(PLAIN, header=CASE.chain.headers[4], certificate=CASE.certificate(4)),
        "transaction",
    ),
    "epoch chain reversed": (REPLACE(FULL, epochs=FULL.epochs[::-1]), "validators"),
    "epoch step twice": (REPLACE(FULL, epochs=FULL.epochs[:1] * 2), "validators"),
    "epoch step missing": (REPLACE(FULL, epochs=FULL.epochs[1:]), "validators"),
    "epoch chain too short": (REPLACE(PLAIN, epochs=()), "validators"),
    "epoch chain too long": (REPLACE(PLAIN, epochs=FULL.epochs), "validators"),
    "epoch step with another set": (
        REPLACE(PLAIN, epochs=(REPLACE(PLAIN.epochs[0], next_validators=GENESIS.validators()),)),
        "validators",
    ),
    "another genesis": (REPLACE(PLAIN, genesis=OTHER), "genesis"),
    "operation index": (operation(PLAIN, operation_index=0), "transaction"),
    "operation index beyond": (operation(PLAIN, operation_index=3), "transaction"),
    "operation count": (operation(PLAIN, operations_count=4), "transaction"),
    "another operation": (operation(PLAIN, operation=encode(ANCHOR) + b"x"), "transaction"),
    "another sender": (
        operation(PLAIN, sender=factories.key("operator hosp-b").public_key),
        "transaction",
    ),
    "another nonce": (operation(PLAIN, nonce=bytes(16)), "transaction"),
    "independent": (operation(PLAIN, independent=True), "transaction"),
    "expired": (operation(PLAIN, expiry_height=2), "transaction"),
    "not yet valid": (operation(PLAIN, first_height=4), "transaction"),
    "version": (operation(PLAIN, version=2), "transaction"),
    "transaction index": (operation(PLAIN, transaction_index=0), "transaction"),
    "transaction path": (operation(PLAIN, transaction_path=()), "transaction"),
    "receipt of a neighbour": (
        operation(
            PLAIN,
            **{
                name: getattr(operation_proof(CASE.chain, 3, 1, 2), name)
                for name in ("receipt", "receipt_index", "receipt_path")
            },
        ),
        "receipt",
    ),
    "receipt of another transaction": (
        operation(
            PLAIN,
            **{
                name: getattr(operation_proof(CASE.chain, 3, 0, 0), name)
                for name in ("receipt", "receipt_index", "receipt_path")
            },
        ),
        "receipt",
    ),
    "receipt made up": (
        operation(PLAIN, receipt=REPLACE(PLAIN.operation.receipt, facts={"a": 1})),
        "receipt",
    ),
    "receipt index": (operation(PLAIN, receipt_index=0), "receipt"),
    "tag": (record(RECORD, tag_hash=bytes(32)), "document"),
    "batch index": (record(RECORD, index=1), "document"),
    "batch path": (record(RECORD, path=(bytes(32),)), "document"),
    "another document": (
        record(RECORD, opening=open_all(split(b"other", "text/plain"), factories.seed("salts"))),
        "document",
    ),
    "another media type": (
        record(RECORD, opening=open_all(split(b"a finding", "x"), factories.seed("salts"))),
        "document",
    ),
    "a document under a retraction": (
        REPLACE(RECORD, operation=operation_proof(CASE.chain, 3, 1, 0)),
        "document",
    ),
    "as-of before": (
        as_of(
            CASE.bundle(record=True, as_of=3),
            header=CASE.chain.headers[1],
            certificate=CASE.certificate(1),
        ),
        "validators",
    ),
    "as-of block uncertified": (
        as_of(FULL, certificate=CASE.certificate(5)),
        "as-of block",
    ),
    "absence from another block's state": (
        as_of(FULL, spent=CURRENT.prove(SPENT_KEY)),
        "state",
    ),
    "absence of another tag": (
        as_of(FULL, spent=SPENT.prove(spent_key("hosp-a", bytes(32)))),
        "state",
    ),
    "absence under another organisation": (
        as_of(FULL, spent=SPENT.prove(spent_key("hosp-b", tag_hash(TAG)))),
        "state",
    ),
    "presence denied": (
        as_of(FULL, spent=REPLACE(STATE.spent, salt=None, value=None)),
        "state",
    ),
    "anchor of another root": (
        as_of(FULL, anchor=SPENT.prove(anchor_key("hosp-a", bytes(32)))),
        "state",
    ),
    "anchor under another organisation": (
        as_of(FULL, anchor=SPENT.prove(anchor_key("hosp-b", ROOT))),
        "state",
    ),
    "spent proof left out": (as_of(FULL, spent=None), "state"),
    "spent proof without a document": (REPLACE(FULL, record=None), "state"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    bundle, check = REFUSED[name]
    assert refused(bundle).checks[-1].name == check
    with pytest.raises(ProofRefused):
        verify_file(write_proof(bundle), HASH)


def test_a_block_of_an_old_epoch_beyond_its_end_is_refused() -> None:
    """Old keys that are stolen later cannot add blocks to their epoch."""
    fork = factories.Chain(GENESIS)
    fork.add()
    fork.add()
    fork.add(CASE.tx, state_root=CURRENT.root)  # height 3, still epoch 0
    bundle = REPLACE(
        PLAIN,
        header=fork.headers[3],
        certificate=fork.blocks[3].certificate,  # type: ignore[union-attr]
        operation=operation_proof(fork, 3, 0, 1),
    )
    assert verify_bundle(REPLACE(bundle, epochs=()), HASH).height == 3  # a fork of the keys' owners
    assert refused(bundle).checks[-1].name == "validators"
    standing = AsOf(
        CASE.chain.headers[4], CASE.certificate(4), CURRENT.prove(anchor_key("hosp-a", ROOT)), None
    )
    error = refused(REPLACE(bundle, as_of=standing))
    assert error.checks[-1].name == "certificate"
    assert "heights of its epoch" in error.message


# -- pinning a block -------------------------------------------------------------------------


def linked(upto: int = 6) -> ProofBundle:
    return REPLACE(RECORD, links=tuple(CASE.chain.headers[4 : upto + 1]))


def pin(height: int) -> tuple[int, bytes]:
    return height, CASE.chain.headers[height].hash()


def test_a_pinned_block_fixes_the_proof() -> None:
    for height in (3, 4, 5, 6):
        report = verify_bundle(linked(), HASH, checkpoint=pin(height))
        assert report.checks[-1].name == "checkpoint"
        assert "stolen" not in report.limit
    assert "former validator keys was stolen" in verify_bundle(linked(), HASH).limit


def test_a_pin_before_the_newest_block_trusts_the_keys_that_came_after_it() -> None:
    """Whoever has those keys can fork after the pin and have the fork say what he likes."""
    early = verify_bundle(linked(), HASH, checkpoint=pin(2))
    assert early.limit.endswith("no quorum of validator keys after height 2 was stolen")
    full = REPLACE(FULL, links=tuple(CASE.chain.headers[4:7]))
    for height in (2, 3, 5):
        limit = verify_bundle(full, HASH, checkpoint=pin(height)).limit
        assert f"after height {height} was stolen" in limit
    assert "stolen" not in verify_bundle(full, HASH, checkpoint=pin(6)).limit


def test_a_fork_after_the_pin_comes_with_the_caveat() -> None:
    """The keys of a former epoch hand over to somebody who lets a superseded version stand."""
    source, chain = CASE.chain, factories.Chain(GENESIS)
    chain.add()
    chain.end_epoch(["hosp-a", "hosp-b", "hosp-c", "hosp-e"])
    chain.add()
    chain.add(*source.transactions[3], receipts=source.receipts[3], state_root=CURRENT.root)
    assert chain.headers[3] == source.headers[3]
    chain.end_epoch(["mallory-a", "mallory-b", "mallory-c", "mallory-d"])
    chain.add()
    chain.add(state_root=CURRENT.root)
    block = chain.blocks[5]
    assert block is not None
    standing = AsOf(
        chain.headers[5],
        block.certificate,
        CURRENT.prove(anchor_key("hosp-a", ROOT)),
        CURRENT.prove(SPENT_KEY),
    )
    forged = REPLACE(RECORD, epochs=tuple(chain.steps[:2]), as_of=standing)
    report = verify_bundle(forged, HASH, checkpoint=pin(3))
    assert report.status == "current"
    assert "after height 3 was stolen" in report.limit


def test_a_pin_that_the_file_does_not_reach_or_contradicts_is_refused() -> None:
    assert "pinned height 1" in refused(linked(), checkpoint=pin(1)).message
    assert "pinned height 7" in refused(linked(), checkpoint=(7, bytes(32))).message
    assert "pinned height 4" in refused(RECORD, checkpoint=pin(4)).message
    for height in (2, 3, 5):
        message = refused(linked(), checkpoint=(height, bytes(32))).message
        assert "not the one that you pinned" in message


def test_an_as_of_block_that_nothing_links_does_not_serve_as_a_pin() -> None:
    assert "nothing in the file leads" in refused(FULL, checkpoint=pin(6)).message


def test_links_follow_one_another() -> None:
    headers = CASE.chain.headers
    for links in (
        (headers[5],),
        (headers[4], headers[6]),
        (headers[5], headers[4]),
        (headers[4], REPLACE(headers[5], parent_hash=bytes(32))),
        (headers[3],),
    ):
        assert refused(REPLACE(RECORD, links=links)).checks[-1].name == "later blocks"


def test_links_and_the_as_of_block_must_agree() -> None:
    headers = CASE.chain.headers
    last = REPLACE(headers[6], time_ms=headers[6].time_ms + 1)
    bundle = REPLACE(FULL, links=(headers[4], headers[5], last))
    assert "two different blocks" in refused(bundle).message
    assert verify_bundle(REPLACE(FULL, links=tuple(headers[4:7])), HASH, checkpoint=pin(6))


def test_what_no_verifier_would_read_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of writing and reading are the same ones."""
    assert len(linked().links) == 3
    with monkeypatch.context() as patch:
        patch.setattr("salus.proof.LINKS_MAX", 2)
        with pytest.raises(BadMessage) as caught:
            write_proof(linked())
        assert caught.value.code == "TOO_LARGE"
    monkeypatch.setattr("salus.proof.EPOCHS_MAX", 1)
    with pytest.raises(BadMessage):
        write_proof(FULL)
    write_proof(RECORD)


def test_ten_thousand_epochs_and_one_still_fit() -> None:
    many = REPLACE(RECORD, epochs=tuple(CASE.chain.steps[:1]) * 10_001)
    assert len(read_proof(write_proof(many)).epochs) == 10_001


# -- the file --------------------------------------------------------------------------------


def repaired(body: bytes) -> bytes:
    """The trailing hash as a forger would make it."""
    return body + hasher("proof-file")(body)


def test_every_single_flipped_byte_is_refused() -> None:
    for bundle in (FULL, linked(4)):
        data = write_proof(bundle)
        assert verify_file(data, HASH)
        for at in range(len(data)):
            bad = bytearray(data)
            bad[at] ^= 1 << at % 8
            with pytest.raises(ProofRefused) as caught:
                verify_file(bytes(bad), HASH)
            assert caught.value.checks[-1].name == "file"


@pytest.mark.parametrize("share", range(4))  # so that the cores share the work
def test_a_flipped_byte_is_refused_even_when_the_file_hash_is_repaired(share: int) -> None:
    """Nothing in the bundle is unbound: each byte stands under a signature or a hash."""
    body = write_proof(FULL)[:-32]
    for at in range(len(MAGIC) + share, len(body), 4):
        bad = bytearray(body)
        bad[at] ^= 1 << at % 8
        with pytest.raises(ProofRefused):
            verify_file(repaired(bytes(bad)), HASH)


def test_cut_and_extended_files_are_refused() -> None:
    data = write_proof(RECORD)
    for bad in (
        b"",
        MAGIC,
        data[:-1],
        data[:-32],
        data + b"\0",
        b"\0" + data,
        repaired(data[:-32] + b"\0"),
        repaired(data[:-33]),
        repaired(MAGIC),
        data.replace(b"PROOF1", b"PROOF2", 1),
    ):
        with pytest.raises(ProofRefused) as caught:
            verify_file(bad, HASH)
        assert [check.name for check in caught.value.checks] == ["file"]


def test_another_version_and_too_large_a_file_are_refused() -> None:
    with pytest.raises(ProofRefused, match="version 2"):
        verify_file(write_proof(REPLACE(PLAIN, version=2)), HASH)
    with pytest.raises(ProofRefused, match="at most"):
        verify_file(bytes(PROOF_BYTES_MAX + 1), HASH)


def test_hashes_that_are_not_32_bytes_are_refused() -> None:
    for path in ((b"",), (bytes(31),), (bytes(33),)):
        for name in ("operation_path", "transaction_path", "receipt_path"):
            with pytest.raises(ProofRefused):
                verify_file(write_proof(operation(PLAIN, **{name: path})), HASH)
        with pytest.raises(ProofRefused):
            verify_file(write_proof(record(RECORD, path=path)), HASH)
        assert STATE is not None
        spoiled = REPLACE(STATE.anchor, siblings=path)
        with pytest.raises(ProofRefused):
            verify_file(write_proof(as_of(FULL, anchor=spoiled)), HASH)


def test_paths_are_bounded() -> None:
    long = (bytes(32),) * 54
    with pytest.raises(ProofRefused) as caught:
        verify_file(write_proof(operation(PLAIN, receipt_path=long)), HASH)
    assert caught.value.checks[-1].name == "file"


def test_the_wrong_genesis_hash_is_refused() -> None:
    for wrong in (bytes(32), OTHER.hash(), b"", HASH + b"\0"):
        with pytest.raises(ProofRefused, match="another consortium"):
            verify_file(write_proof(PLAIN), wrong)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_give_nothing_but_a_refusal(raw: bytes, magic: bool) -> None:
    with pytest.raises(ProofRefused):
        verify_file(repaired(MAGIC + raw) if magic else raw, HASH)


SOURCE = write_proof(FULL)[:-32]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_mutation_of_a_good_file_gives_nothing_but_a_refusal(choose: st.DataObject) -> None:
    """Cut, doubled, moved and overwritten pieces, the file hash repaired."""
    body = SOURCE
    for _ in range(choose.draw(st.integers(1, 3))):
        a, b = sorted(choose.draw(st.tuples(st.integers(0, len(body)), st.integers(0, len(body)))))
        change: Callable[[bytes], bytes] = choose.draw(
            st.sampled_from(
                [
                    lambda piece: b"",
                    lambda piece: piece + piece,
                    lambda piece: piece[::-1],
                    lambda piece: bytes(len(piece)),
                ]
            )
        )
        short = min(b, a + choose.draw(st.sampled_from([1, 2, 8, 40])))
        body = body[:a] + change(body[a:short]) + body[short:]
    if body == SOURCE:
        return
    with pytest.raises(ProofRefused):
        verify_file(repaired(body), HASH)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        (253_402_300_799_000, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_utc(time_ms: int, text: str) -> None:
    assert utc(time_ms) == text


@given(st.integers(0, 253_402_300_799))
@settings(deadline=None, max_examples=200)
def test_times_agree_with_the_standard_library(seconds: int) -> None:
    from datetime import UTC, datetime

    expected = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert utc(seconds * 1000) == expected.rjust(20, "0")


def test_a_report_is_all_passed_checks() -> None:
    report: Report = verify_bundle(FULL, HASH)
    assert all(check.passed and check.detail for check in report.checks)
    assert read_proof(write_proof(FULL)) == FULL
