"""The records service: staging, amending, retracting, looking up, proving (health.md §4.5)."""

import os
from itertools import count
from pathlib import Path

import pytest

from contracts.records import RetractArgs, SupersedeArgs
from node.records import RecordService, Submission
from salus.codec import decode
from salus.document import reason_commitment
from salus.errors import SalusError
from salus.forms_records import Staged
from salus.keys import box_public_key
from salus.parameters import Parameters
from salus.record import tag_hash
from salus.transaction import Operation, ParsedTransaction
from salus.verifier import verify_file
from storage.errors import VaultDamaged
from storage.vault import Vault
from tests import factories
from tests.ledger import Ledger

TEXT = b"a finding\n"
TYPE = "text/plain"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


@pytest.fixture
def service(ledger: Ledger, tmp_path: Path) -> RecordService:
    return make_service(ledger, tmp_path)


KEEPER = factories.seed("keeper")


def make_service(
    ledger: Ledger, directory: Path, keeper: bytes | None = box_public_key(KEEPER)
) -> RecordService:
    vault = Vault.open(str(directory / "vault"), factories.seed("vault lock"))
    clock = count(factories.TIME_MS)
    return RecordService(
        vault,
        ledger.state,
        ledger.proofs,
        "hosp-a",
        random=os.urandom,
        now_ms=lambda: next(clock),
        keeper=keeper,
    )


def commit(ledger: Ledger, *staged: Staged) -> ParsedTransaction:
    operations = [
        Operation(one.contract, one.method, one.version, bytes.fromhex(one.args))
        for stage in staged
        for one in stage.operations
    ]
    tx = factories.transaction(ledger.genesis, *operations)
    receipts = ledger.block(tx)
    assert [receipt.code for receipt in receipts] == ["OK"] * len(operations)
    return tx


async def test_a_document_is_staged_anchored_and_comes_back(
    ledger: Ledger, service: RecordService
) -> None:
    staged = await service.stage(TEXT, TYPE)
    assert staged.version == 1
    assert [operation.method for operation in staged.operations] == ["anchor"]
    before = service.show(staged.record_id)
    assert before is not None
    assert before.versions[0].state == "staged"
    assert before.versions[0].height is None
    tx = commit(ledger, staged)
    after = service.show(staged.record_id)
    assert after is not None
    assert (after.media_type, len(after.versions)) == (TYPE, 1)
    version = after.versions[0]
    assert (version.state, version.height, version.tx_id) == ("anchored", 1, tx.id.hex())
    assert version.commitment == staged.commitment
    document = await service.document(staged.record_id)
    assert document is not None
    assert (document.media_type, document.content) == (TYPE, TEXT)


async def test_nothing_of_the_document_is_in_its_operations(service: RecordService) -> None:
    """health.md §4.0: the same bytes staged twice share no public value."""
    first, second = await service.stage(TEXT, TYPE), await service.stage(TEXT, TYPE)
    assert first.record_id != second.record_id
    assert first.commitment != second.commitment
    pieces = [bytes.fromhex(one.operations[0].args) for one in (first, second)]
    assert len(pieces[0]) == len(pieces[1])
    fields = [{piece[i : i + 32] for i in range(len(piece) - 31)} for piece in pieces]
    assert not fields[0] & fields[1]


async def test_an_amendment_anchors_and_supersedes_in_one_transaction(
    ledger: Ledger, service: RecordService
) -> None:
    first = await service.stage(TEXT, TYPE)
    commit(ledger, first)
    second = await service.stage(TEXT + b"amended", TYPE, first.record_id)
    assert (second.record_id, second.version) == (first.record_id, 2)
    assert [operation.method for operation in second.operations] == ["anchor", "supersede"]
    commit(ledger, second)
    form = service.show(first.record_id)
    assert form is not None
    assert [version.state for version in form.versions] == ["superseded", "anchored"]
    newest = await service.document(first.record_id)
    assert newest is not None
    assert newest.content == TEXT + b"amended"
    older = await service.document(first.record_id, 1)
    assert older is not None
    assert older.content == TEXT


async def test_a_version_whose_transaction_never_came_can_be_followed_by_another(
    ledger: Ledger, service: RecordService
) -> None:
    first = await service.stage(TEXT, TYPE)
    commit(ledger, first)
    lost = await service.stage(b"lost", TYPE, first.record_id)
    third = await service.stage(b"third", TYPE, first.record_id)
    assert (lost.version, third.version) == (2, 3)
    commit(ledger, third)
    form = service.show(first.record_id)
    assert form is not None
    assert [version.state for version in form.versions] == ["superseded", "staged", "anchored"]


async def test_what_is_not_anchored_or_ended_cannot_be_amended(
    ledger: Ledger, service: RecordService
) -> None:
    async def refused(previous: str) -> str:
        with pytest.raises(SalusError) as caught:
            await service.stage(TEXT, TYPE, previous)
        return caught.value.code

    staged = await service.stage(TEXT, TYPE)
    assert await refused(staged.record_id) == "NOT_ANCHORED"
    assert await refused("00" * 16) == "UNKNOWN_RECORD"
    assert await refused("no hex") == "UNKNOWN_RECORD"
    assert await refused(staged.record_id.upper()) == "UNKNOWN_RECORD"
    commit(ledger, staged)
    commit(ledger, await service.retract(staged.record_id, "wrong patient"))
    assert await refused(staged.record_id) == "VERSION_ENDED"
    form = service.show(staged.record_id)
    assert form is not None
    assert form.versions[0].state == "retracted"


async def test_proofs_of_every_standing(ledger: Ledger, service: RecordService) -> None:
    first = await service.stage(TEXT, TYPE)
    with pytest.raises(SalusError) as caught:
        await service.proof(first.record_id)
    assert caught.value.code == "NOT_ANCHORED"
    commit(ledger, first)
    commit(ledger, await service.stage(b"second", TYPE, first.record_id))

    async def status(version: int | None, as_of: bool) -> str:
        data = await service.proof(first.record_id, version, as_of)
        assert data is not None
        return verify_file(data, ledger.genesis_hash).status

    assert await status(1, False) == "anchored"
    assert await status(1, True) == "superseded"
    assert await status(None, True) == "current"
    assert await service.proof(first.record_id, 3) is None
    assert await service.proof("00" * 16) is None


async def test_a_copy_of_our_anchor_that_came_first_is_not_taken_for_ours(
    ledger: Ledger, service: RecordService
) -> None:
    """Another member saw our transaction waiting and had his own anchor in the same block first."""
    staged = await service.stage(TEXT, TYPE)
    (one,) = staged.operations
    anchor = Operation(one.contract, one.method, one.version, bytes.fromhex(one.args))
    copier = factories.keys(4, "operator")[1]
    copy = factories.transaction(ledger.genesis, anchor, signer=copier)
    own = factories.transaction(ledger.genesis, anchor)
    assert [receipt.code for receipt in ledger.block(copy, own)] == ["OK", "OK"]
    form = service.show(staged.record_id)
    assert form is not None
    assert (form.versions[0].state, form.versions[0].tx_id) == ("anchored", own.id.hex())
    data = await service.proof(staged.record_id, as_of=True)
    assert data is not None
    report = verify_file(data, ledger.genesis_hash)
    assert (report.status, report.tx_id) == ("current", own.id)
    assert "anchored by hosp-a" in report.claim
    commit(ledger, await service.stage(b"amended", TYPE, staged.record_id))


async def test_a_batch_is_padded_and_its_versions_are_amended_one_by_one(
    ledger: Ledger, service: RecordService
) -> None:
    """health.md §4.5: one root, a power of two of leaves, one transaction."""
    batch = await service.stage_batch([Submission(b"%d" % i, TYPE) for i in range(5)])
    assert len({staged.root for staged in batch}) == 1
    assert [len(staged.operations) for staged in batch] == [1, 0, 0, 0, 0]
    commit(ledger, *batch)
    assert {record for record, _ in service.by_root(bytes.fromhex(batch[0].root))} == {
        staged.record_id for staged in batch
    }
    amended = await service.stage(b"new", TYPE, batch[3].record_id)
    args = decode(bytes.fromhex(amended.operations[1].args), SupersedeArgs)
    assert (args.leaves, len(args.path)) == (8, 3)
    commit(ledger, amended)
    for staged, state in zip(batch[2:], ("anchored", "superseded", "anchored"), strict=True):
        form = service.show(staged.record_id)
        assert form is not None
        assert form.versions[0].state == state
    data = await service.proof(batch[4].record_id, as_of=True)
    assert data is not None
    report = verify_file(data, ledger.genesis_hash)
    assert report.status == "current"
    assert tag_hash(args.tag) not in data


async def test_a_record_stands_once_in_a_batch(ledger: Ledger, service: RecordService) -> None:
    staged = await service.stage(TEXT, TYPE)
    commit(ledger, staged)
    twice = [Submission(text, TYPE, staged.record_id) for text in (b"a", b"b")]
    with pytest.raises(SalusError) as caught:
        await service.stage_batch(twice)
    assert caught.value.code == "BAD_ARGUMENT"


async def test_records_survive_a_restart_and_are_listed_newest_first(
    ledger: Ledger, service: RecordService, tmp_path: Path
) -> None:
    ids = [(await service.stage(b"%d" % i, TYPE)).record_id for i in range(5)]
    again = make_service(ledger, tmp_path)
    for one in (service, again):
        page, after = one.list(None, 2)
        assert [form.record_id for form in page] == [ids[4], ids[3]]
        page, after = one.list(after, 2)
        assert [form.record_id for form in page] == [ids[2], ids[1]]
        page, after = one.list(after, 2)
        assert [form.record_id for form in page] == [ids[0]]
        assert after is None


async def test_bad_fhir_leaves_nothing_behind(service: RecordService) -> None:
    for content, code in (
        (b'{"resourceType": "Patient", "birthDate": "long ago"}', "BAD_FHIR"),
        (b"{", "BAD_JSON"),
    ):
        with pytest.raises(SalusError) as caught:
            await service.stage(content, "application/fhir+json")
        assert caught.value.code == code
    assert service.list(None, 10) == ((), None)
    assert not list(service.vault.documents())


def spoil(directory: Path, record_id: str) -> None:
    file = directory / "vault" / "records" / f"{record_id}.rec"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)


async def test_one_damaged_record_hides_no_other(
    ledger: Ledger, service: RecordService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad sector must neither stop a validator nor the work with all other records."""
    good, bad = await service.stage(TEXT, TYPE), await service.stage(TEXT, TYPE)
    spoil(tmp_path, bad.record_id)
    (tmp_path / "vault" / "records" / "x.rec").write_bytes(b"")
    for one in (service, make_service(ledger, tmp_path)):
        forms, _ = one.list(None, 10)
        assert [form.record_id for form in forms] == [good.record_id]
        assert one.by_root(bytes.fromhex(good.root)) == [(good.record_id, 1)]
        with pytest.raises(VaultDamaged):
            one.show(bad.record_id)
        assert one.show(good.record_id) is not None
    assert "record_damaged" in caplog.text


async def test_every_reason_that_was_handed_out_can_be_opened(
    ledger: Ledger, service: RecordService
) -> None:
    """Whichever of the retractions is certified, the vault still has its salt."""
    staged = await service.stage(TEXT, TYPE)
    commit(ledger, staged)
    first = await service.retract(staged.record_id, "typo")
    assert (await service.retract(staged.record_id, "typo")).operations == first.operations
    other = await service.retract(staged.record_id, "wrong patient")
    assert other.operations != first.operations
    commit(ledger, first)
    file = service.files.find(staged.record_id)
    assert file is not None
    told = decode(bytes.fromhex(first.operations[0].args), RetractArgs).reason
    reasons = file.versions[0].reasons
    assert [one.text for one in reasons] == ["typo", "wrong patient"]
    assert told in [reason_commitment(one.salt, one.text) for one in reasons]


async def test_reasons_are_bounded(ledger: Ledger, service: RecordService) -> None:
    staged = await service.stage(TEXT, TYPE)
    commit(ledger, staged)
    for number in range(16):
        await service.retract(staged.record_id, f"reason {number}")
    with pytest.raises(SalusError) as caught:
        await service.retract(staged.record_id, "one more")
    assert caught.value.code == "TOO_LARGE"
    await service.retract(staged.record_id, "reason 3")


async def test_documents_of_a_staging_that_was_cut_off_are_erased_at_the_next_start(
    ledger: Ledger, service: RecordService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await service.stage(TEXT, TYPE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(service.files, "store", full)
        with pytest.raises(OSError, match="No space"):
            await service.stage_batch([Submission(b"1", TYPE), Submission(b"2", TYPE)])
    assert len(list(service.vault.documents())) == 3
    spoil(tmp_path, kept.record_id)
    # An unreadable record may be the one that names them.
    assert len(list(make_service(ledger, tmp_path).vault.documents())) == 3
    spoil(tmp_path, kept.record_id)
    again = make_service(ledger, tmp_path)
    assert len(list(again.vault.documents())) == 1
    assert again.vault.staged() == ()
    document = await again.document(kept.record_id)
    assert document is not None
    assert document.content == TEXT


async def test_a_document_whose_record_file_is_gone_is_never_erased(
    ledger: Ledger, service: RecordService, tmp_path: Path
) -> None:
    """Records restored from an old backup must not cost the newer documents."""
    staged = await service.stage(TEXT, TYPE)
    (tmp_path / "vault" / "records" / f"{staged.record_id}.rec").unlink()
    assert len(list(make_service(ledger, tmp_path).vault.documents())) == 1


async def test_a_staging_whose_answer_was_lost_can_be_resumed(
    ledger: Ledger, service: RecordService, tmp_path: Path
) -> None:
    first = await service.stage(TEXT, TYPE)
    assert service.operations(first.record_id) == first
    commit(ledger, first)
    with pytest.raises(SalusError) as caught:
        service.operations(first.record_id)
    assert caught.value.code == "NOT_FOUND"
    second = await service.stage(b"second", TYPE, first.record_id)
    again = make_service(ledger, tmp_path).operations(first.record_id)
    assert again == second
    assert again is not None
    commit(ledger, again)
    assert service.operations("00" * 16) is None


async def test_a_batch_whose_answer_was_lost_is_resumed_as_a_whole(
    ledger: Ledger, service: RecordService
) -> None:
    first = await service.stage(TEXT, TYPE)
    commit(ledger, first)
    batch = await service.stage_batch(
        [Submission(b"new", TYPE), Submission(b"second", TYPE, first.record_id)]
    )
    resumed = service.operations(batch[1].record_id)
    assert resumed is not None
    assert resumed.operations == batch[0].operations
    commit(ledger, resumed)
    assert {state_of(service, one) for one in batch} == {"anchored"}


def state_of(service: RecordService, staged: Staged) -> str:
    form = service.show(staged.record_id)
    assert form is not None
    return form.versions[-1].state
