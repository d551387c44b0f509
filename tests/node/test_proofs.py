"""Proof files made from real stores, judged by the offline verifier (health.md §4.13)."""

import msgspec
import pytest

from contracts.catalogue import registry
from contracts.records import AnchorArgs, RetractArgs, SupersedeArgs
from salus.codec import encode
from salus.document import batch, commitment, open_all, redact, split
from salus.errors import SalusError
from salus.parameters import Parameters
from salus.proof import AnchorArguments, ProofBundle, RecordProof, read_proof, write_proof
from salus.record import record_leaf, tag_hash
from salus.report import ProofRefused
from salus.transaction import Operation, ParsedTransaction
from salus.verifier import verify_bundle, verify_file
from tests import factories
from tests.ledger import Ledger

TEXT = b"blood pressure 120/80\n" * 3
SALT = factories.seed("salt")


class Version:
    """A document version in a batch of one, and the operations that speak of it."""

    def __init__(self, label: str, content: bytes = TEXT) -> None:
        self.tag = factories.seed(f"tag {label}")
        self.opening = open_all(split(content, "text/plain"), factories.seed(f"salt {label}"))
        self.commitment = commitment(self.opening)
        self.root, (self.place,) = batch([record_leaf(self.commitment, tag_hash(self.tag))], [])

    @property
    def anchor(self) -> Operation:
        return _operation("anchor", AnchorArgs(self.root, 1, SALT, SALT))

    def supersede(self, successor: "Version") -> Operation:
        return _operation(
            "supersede",
            SupersedeArgs(self.root, 1, 0, self.commitment, self.tag, (), successor.root),
        )

    @property
    def retract(self) -> Operation:
        return _operation(
            "retract", RetractArgs(self.root, 1, 0, self.commitment, self.tag, (), SALT)
        )

    @property
    def proof(self) -> RecordProof:
        return RecordProof(0, (), tag_hash(self.tag), self.opening)


def _operation(method: str, args: object) -> Operation:
    return Operation("records", method, 1, encode(args))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


def commit(ledger: Ledger, *operations: Operation) -> ParsedTransaction:
    tx = factories.transaction(ledger.genesis, *operations)
    receipts = ledger.block(tx)
    assert all(receipt.ok for receipt in receipts)
    return tx


def bundle_of(ledger: Ledger, tx: ParsedTransaction, at: int = 0, **more: object) -> ProofBundle:
    bundle = ledger.proofs.bundle(tx.id, at, **more)  # type: ignore[arg-type]
    assert bundle is not None
    return bundle


def test_an_operation_is_proved_without_its_neighbours(ledger: Ledger) -> None:
    """health.md §3: the signature covers the root, so the others appear as hashes."""
    versions = [Version(str(index)) for index in range(5)]
    others = [factories.transaction(ledger.genesis, Version(f"x{i}").anchor) for i in range(3)]
    tx = factories.transaction(ledger.genesis, *(version.anchor for version in versions))
    ledger.block(*others[:2], tx, others[2])
    for at, version in enumerate(versions):
        bundle = bundle_of(ledger, tx, at)
        report = verify_bundle(read_proof(write_proof(bundle)), ledger.genesis_hash)
        assert report.tx_id == tx.id
        assert report.operation == "records.anchor"
        assert report.status == "executed"
        assert report.height == 1
        raw = write_proof(bundle)
        for other in versions:
            assert (other.root in raw) == (other is version)


def test_a_document_is_proved_whole_and_redacted(ledger: Ledger) -> None:
    version = Version("1")
    tx = commit(ledger, version.anchor)
    whole = bundle_of(ledger, tx, record=version.proof)
    report = verify_bundle(whole, ledger.genesis_hash)
    assert report.status == "anchored"
    assert report.version_commitment == version.commitment
    assert (report.parts_shown, report.parts_count) == (2, 2)
    shown = msgspec.structs.replace(version.proof, opening=redact(version.opening, [1]))
    raw = write_proof(bundle_of(ledger, tx, record=shown))
    assert TEXT not in raw
    report = verify_file(raw, ledger.genesis_hash)
    assert (report.parts_shown, report.parts_count) == (1, 2)
    assert report.version_commitment == version.commitment


def test_current_superseded_retracted_are_told_apart(ledger: Ledger) -> None:
    """health.md §4.5: current as of H = inclusion and absence of the spent tag at H."""
    first, second = Version("1"), Version("2", TEXT + b"amended")
    tx = commit(ledger, first.anchor)
    early = bundle_of(ledger, tx, record=first.proof, as_of=True)
    report = verify_bundle(early, ledger.genesis_hash)
    assert (report.status, report.as_of_height) == ("current", 1)
    assert "current as of height 1" in report.claim
    assert "later than height 1" in report.limit

    amended = commit(ledger, second.anchor, first.supersede(second))
    ledger.null_block()
    report = verify_bundle(
        bundle_of(ledger, tx, record=first.proof, as_of=True), ledger.genesis_hash
    )
    assert (report.status, report.as_of_height) == ("superseded", 3)
    assert "superseded at height 2" in report.claim
    # What was proved before still holds, with its limit.
    assert verify_bundle(early, ledger.genesis_hash).status == "current"
    report = verify_bundle(
        bundle_of(ledger, amended, record=second.proof, as_of=True), ledger.genesis_hash
    )
    assert report.status == "current"

    commit(ledger, second.retract)
    report = verify_bundle(
        bundle_of(ledger, amended, record=second.proof, as_of=True), ledger.genesis_hash
    )
    assert report.status == "retracted"


def test_a_proof_of_currency_does_not_show_the_tag(ledger: Ledger) -> None:
    version = Version("1")
    tx = commit(ledger, version.anchor)
    assert version.tag not in write_proof(bundle_of(ledger, tx, record=version.proof, as_of=True))


def test_a_refused_operation_is_never_a_success(ledger: Ledger) -> None:
    version = Version("1")
    commit(ledger, version.anchor)
    again = factories.transaction(ledger.genesis, version.anchor)
    (receipt,) = ledger.block(again)
    assert receipt.code == "DUPLICATE_ROOT"
    with pytest.raises(ProofRefused, match="REFUSED by the ledger with code DUPLICATE_ROOT"):
        verify_bundle(bundle_of(ledger, again), ledger.genesis_hash)


def test_unknown_transactions_operations_and_standings(ledger: Ledger) -> None:
    assert ledger.proofs.bundle(bytes(32)) is None
    version = Version("1")
    tx = commit(ledger, version.anchor)
    with pytest.raises(SalusError, match="operations 0 to 0") as caught:
        ledger.proofs.bundle(tx.id, 1)
    assert caught.value.code == "BAD_ARGUMENT"
    retraction = commit(ledger, version.retract)
    with pytest.raises(SalusError, match="standing") as caught:
        ledger.proofs.bundle(retraction.id, as_of=True)
    assert caught.value.code == "BAD_ARGUMENT"


def test_a_later_block_can_be_pinned(ledger: Ledger) -> None:
    """health.md §4.13: the headers up to it link the proved block to the pinned one."""
    tx = commit(ledger, Version("1").anchor)
    for _ in range(3):
        ledger.null_block()
    bundle = bundle_of(ledger, tx, links_to=4)
    pin = (3, ledger.state.header(3).hash())
    report = verify_bundle(bundle, ledger.genesis_hash, checkpoint=pin)
    assert any(check.name == "checkpoint" for check in report.checks)
    assert "stolen" not in report.limit
    assert "stolen" in verify_bundle(bundle, ledger.genesis_hash).limit
    with pytest.raises(ProofRefused, match="not the one that you pinned"):
        verify_bundle(bundle, ledger.genesis_hash, checkpoint=(3, bytes(32)))
    with pytest.raises(ProofRefused, match="pinned height 5"):
        verify_bundle(bundle, ledger.genesis_hash, checkpoint=(5, bytes(32)))
    with pytest.raises(SalusError, match="headers can be added"):
        bundle_of(ledger, tx, links_to=9)


def test_proofs_follow_the_epochs() -> None:
    """Rule S14: from genesis through every set, each handed over by a certified block."""
    parameters = Parameters(
        state_bucket_bits=4,
        epoch_blocks_max=8,
        watermark_window=8,
        in_flight_proposals_max=2,
        execute_ahead_max=4,
    )
    ledger = Ledger(factories.genesis(parameters=parameters))
    tx = commit(ledger, Version("1").anchor)
    while ledger.state.current_epoch().epoch < 2:
        ledger.null_block()
    late = Version("2")
    tx_late = commit(ledger, late.anchor)
    bundle = bundle_of(ledger, tx_late, record=late.proof)
    assert len(bundle.epochs) == 2
    assert verify_bundle(bundle, ledger.genesis_hash).height == ledger.height
    early = bundle_of(ledger, tx, record=Version("1").proof, as_of=True)
    assert len(early.epochs) == 2
    assert verify_bundle(early, ledger.genesis_hash).status == "current"
    with pytest.raises(ProofRefused):
        verify_bundle(
            msgspec.structs.replace(bundle, epochs=bundle.epochs[::-1]), ledger.genesis_hash
        )
    end = bundle.epochs[0].header
    pinned = verify_bundle(bundle, ledger.genesis_hash, checkpoint=(end.height, end.hash()))
    assert "epochs up to" in pinned.checks[-1].detail


async def test_a_state_that_moves_meanwhile_is_tried_again(ledger: Ledger) -> None:
    """Between a commit and the tree's next step no state proof is given out."""
    tx = commit(ledger, Version("1").anchor)
    tree, ledger.proofs.tree = ledger.tree, Ledger(ledger.genesis).tree  # stands at height 0
    with pytest.raises(SalusError) as caught:
        ledger.proofs.bundle(tx.id, as_of=True)
    assert caught.value.code == "BUSY"
    assert await ledger.proofs.file(tx.id) is not None  # no state in it, no waiting
    ledger.proofs.tree = tree
    data = await ledger.proofs.file(tx.id, as_of=True)
    assert data is not None
    assert verify_file(data, ledger.genesis_hash).claim.startswith("this batch was anchored by")


def test_the_verifier_reads_anchor_arguments_as_the_contract_does() -> None:
    """salus may not import contracts: its copy of the layout is held here."""
    args = AnchorArgs(factories.seed("r"), 4, factories.seed("a"), factories.seed("c"))
    assert encode(AnchorArguments(*(getattr(args, name) for name in args.__struct_fields__))) == (
        encode(args)
    )
    assert AnchorArguments.__struct_fields__ == AnchorArgs.__struct_fields__
    method = registry().activate(Parameters().contracts).method("records", "anchor")
    assert method.decode(encode(args)) == args
