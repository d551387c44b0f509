"""A patient's document is sealed to the keeper: the node that stored it cannot open it."""

import os
from pathlib import Path

import msgspec
import pytest

from node.record_files import RecordFile
from node.record_files_older import RecordFile1, RecordFile2
from node.record_reader import SealedVersion
from node.record_version import PrivateVersion2
from node.records import RecordService, Submission
from salus.codec import decode, encode
from salus.document import commitment, open_all, split
from salus.errors import SalusError
from salus.keys import box_public_key
from salus.parameters import Parameters
from salus.permit import RecordClass
from salus.sealed_key import KeyOwner, open_key
from storage.errors import DocumentMissing, DocumentSealed, StorageError, VaultDamaged
from storage.vault import Vault
from tests import factories
from tests.ledger import Ledger
from tests.node.test_record_subject import FHIR, entered, stored
from tests.node.test_records import KEEPER, TEXT, TYPE, commit, make_service
from tests.storage.memory_disk import MemoryDisk, PowerCut

OBSERVATION = b'{"resourceType":"Observation","status":"final","code":{"text":"x"}}'
CONDITION = b'{"resourceType":"Condition","subject":{"reference":"Patient/1"}}'
RESULTS, CONDITIONS = (RecordClass.RESULTS,), (RecordClass.CONDITIONS,)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


def found(service: RecordService, record_id: str, version: int | None = None) -> SealedVersion:
    sealed = service.sealed(record_id, version)
    assert sealed is not None
    return sealed


def opened(
    service: RecordService,
    sealed: SealedVersion,
    secret: bytes = KEEPER,
    vault: Vault | None = None,
) -> bytes:
    """As the gate does with a key that the keeper gave for a ticket; `vault`: an older one."""
    owner = KeyOwner(
        factories.CHAIN_ID,
        "hosp-a",
        sealed.handle,
        sealed.classes,
        sealed.private.commitment,
        sealed.private.document,
    )
    key = open_key(owner, sealed.key, secret)
    vault = vault or service.vault
    return b"".join(vault.get(sealed.private.document, key=key))


def content(service: RecordService, record_id: str, version: int | None = None) -> bytes:
    """A patient's document, with the keeper's help."""
    return opened(service, found(service, record_id, version))


async def test_a_patients_document_is_opened_by_the_keeper_and_by_nobody_else(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    staged = await service.stage(OBSERVATION, FHIR, handle=ada.handle)
    commit(ledger, staged)
    sealed = found(make_service(ledger, tmp_path), staged.record_id)
    assert (sealed.number, sealed.handle, sealed.classes) == (1, ada.handle, RESULTS)
    assert opened(service, sealed) == OBSERVATION
    opening = open_all(split(OBSERVATION, FHIR), sealed.private.salt_seed)
    assert commitment(opening).hex() == staged.commitment
    with pytest.raises(SalusError, match="another keeper"):
        opened(service, sealed, factories.seed("the vault's lock"))


async def test_with_all_keys_of_the_node_no_byte_of_the_document_is_had(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Whatever lies in the node's home, opened with whatever the node can derive."""
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    secret_text = b"a finding that nobody but the keeper gives back\n"
    staged = await service.stage(secret_text, TYPE, handle=ada.handle)
    control = await service.stage(secret_text, TYPE)  # nobody's: the search below finds this one
    vault = Vault.open(str(tmp_path / "vault"), factories.seed("vault lock"))
    shut, open_ = 0, 0
    for document in vault.documents():
        try:
            open_ += b"".join(vault.get(document)) == secret_text
        except DocumentSealed:
            shut += 1
            stolen = vault.sealed_key(document)
            assert stolen is not None
            # Not the key, nor under any seed that the node has.
            for at in range(len(stolen) - 31):
                with pytest.raises(VaultDamaged):
                    b"".join(vault.get(document, key=stolen[at : at + 32]))
    assert (shut, open_) == (1, 1)
    records = b"".join(vault.record(one) or b"" for one in vault.records())
    assert secret_text not in records
    for one in (staged, control):
        assert bytes.fromhex(one.commitment) in records  # what is there is what the records hold


async def test_neither_document_nor_proof_leaves_without_a_ticket(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    staged = await service.stage(TEXT, TYPE, handle=ada.handle)
    commit(ledger, staged)
    for asked in (service.document, service.proof):
        for version in (None, 1, 2):
            with pytest.raises(SalusError) as refused:
                await asked(staged.record_id, version)
            assert refused.value.code == "GATE_ONLY"
    nobodys = await service.stage(TEXT, TYPE)
    commit(ledger, nobodys)
    assert await service.document(nobodys.record_id) is not None
    assert service.sealed(nobodys.record_id) is None
    assert service.sealed("00" * 16) is None
    assert service.sealed(staged.record_id, 2) is None


async def test_without_a_keeper_a_patients_document_is_refused_and_nothing_is_stored(
    ledger: Ledger, tmp_path: Path
) -> None:
    with_keeper, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    hers = await with_keeper.stage(TEXT, TYPE, handle=ada.handle)
    commit(ledger, hers)
    service = make_service(ledger, tmp_path, keeper=None)
    documents = list(service.vault.documents())
    for submissions in (
        [Submission(TEXT, TYPE, handle=ada.handle)],
        [Submission(TEXT, TYPE, hers.record_id)],  # its next version is hers, too
        [Submission(TEXT, TYPE), Submission(TEXT, TYPE, handle=ada.handle)],
    ):
        with pytest.raises(SalusError) as refused:
            await service.stage_batch(submissions)
        assert refused.value.code == "KEEPER_MISSING"
    assert list(service.vault.documents()) == documents
    await service.stage(TEXT, TYPE)


async def test_each_version_keeps_the_classes_that_it_was_sealed_with(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A record that gains a class later: who may read the first version reads it still."""
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    first = await service.stage(OBSERVATION, FHIR, handle=ada.handle)
    commit(ledger, first)
    second = await service.stage(CONDITION, FHIR, first.record_id)
    commit(ledger, second)
    again = make_service(ledger, tmp_path)
    for number, classes, content in ((1, RESULTS, OBSERVATION), (2, CONDITIONS, CONDITION)):
        sealed = found(again, first.record_id, number)
        assert (sealed.number, sealed.classes) == (number, classes)
        assert opened(again, sealed) == content
    assert found(again, first.record_id).number == 2
    subject = stored(again, first.record_id).subject
    assert subject is not None
    assert subject.classes == (RecordClass.CONDITIONS, RecordClass.RESULTS)


async def test_an_erased_version_is_missing_and_not_sealed(ledger: Ledger, tmp_path: Path) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    staged = await service.stage(TEXT, TYPE, handle=ada.handle)
    service.vault.erase([found(service, staged.record_id).private.document])
    with pytest.raises(DocumentMissing):
        service.sealed(staged.record_id)


# -- handing over ----------------------------------------------------------------------------


async def test_a_record_that_becomes_a_patients_is_sealed_whole(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    nobodys = await service.stage(OBSERVATION, FHIR)
    commit(ledger, nobodys)
    claimed = await service.stage(CONDITION, FHIR, nobodys.record_id, handle=ada.handle)
    commit(ledger, claimed)
    for number, classes, content in ((1, RESULTS, OBSERVATION), (2, CONDITIONS, CONDITION)):
        sealed = found(service, nobodys.record_id, number)
        assert sealed.classes == classes
        assert opened(service, sealed) == content
        with pytest.raises(DocumentSealed):
            service.vault.get(sealed.private.document)


def unsealed(service: RecordService, record_id: str, file: RecordFile) -> RecordFile2:
    """As a node without a keeper wrote it: the file of version 2, the key unsealed."""
    versions = []
    for version in file.versions:
        content = OBSERVATION
        document = service.vault.put([content]).document
        service.vault.keep(document)
        names = PrivateVersion2.__struct_fields__
        older = PrivateVersion2(**{name: getattr(version, name) for name in names})
        versions.append(msgspec.structs.replace(older, document=document))
    older_file = RecordFile2(2, file.created_ms, tuple(versions), file.subject)
    service.vault.put_record(bytes.fromhex(record_id), encode(older_file))
    return older_file


async def test_what_was_stored_before_the_keeper_is_handed_over_at_the_next_start(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    staged = await service.stage(OBSERVATION, FHIR, handle=ada.handle)
    older = unsealed(service, staged.record_id, stored(service, staged.record_id))
    (version,) = older.versions
    before = (tmp_path / "vault" / "keys" / f"{version.document.hex()}.key").read_bytes()

    alone = make_service(ledger, tmp_path, keeper=None)
    with pytest.raises(SalusError) as refused:
        alone.sealed(staged.record_id)
    assert refused.value.code == "KEEPER_MISSING"
    with pytest.raises(SalusError) as gate:
        await alone.document(staged.record_id)
    assert gate.value.code == "GATE_ONLY"

    again = make_service(ledger, tmp_path)
    sealed = found(again, staged.record_id)
    assert (sealed.classes, sealed.private.document) == (RESULTS, version.document)
    assert opened(again, sealed) == OBSERVATION
    # The key as it was lies in a backup of keys/ or in spare blocks, and opens nothing any more.
    path = tmp_path / "vault" / "keys" / f"{version.document.hex()}.key"
    path.write_bytes(before)
    with pytest.raises(VaultDamaged):
        again.vault.get(version.document)


async def test_a_handing_over_that_is_cut_off_at_any_moment_is_finished(ledger: Ledger) -> None:
    ada = entered(ledger, "ada")

    def service(disk: MemoryDisk, keeper: bytes | None) -> RecordService:
        vault = Vault.open("vault", factories.seed("vault lock"), disk=disk)
        return RecordService(
            vault, ledger.state, ledger.proofs, "hosp-a", random=os.urandom, now_ms=lambda: 5,
            keeper=keeper,
        )  # fmt: skip

    cuts = 0
    while True:
        disk = MemoryDisk()
        first = service(disk, box_public_key(KEEPER))
        staged = await first.stage(OBSERVATION, FHIR, handle=ada.handle)
        unsealed(first, staged.record_id, stored(first, staged.record_id))
        disk.crash_at = len(disk.operations) + cuts
        try:
            service(disk, box_public_key(KEEPER))
        except PowerCut:
            disk.lose(names_kept=cuts % 2 == 0)
        else:
            break
        again = service(disk, box_public_key(KEEPER))
        sealed = found(again, staged.record_id)
        assert sealed.classes == RESULTS
        assert opened(again, sealed) == OBSERVATION
        assert stored(again, staged.record_id).versions[0].sealed
        cuts += 1
    assert cuts > 10


async def test_a_damaged_document_keeps_no_other_from_being_handed_over(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    names = []
    for _ in range(3):
        staged = await service.stage(OBSERVATION, FHIR, handle=ada.handle)
        older = unsealed(service, staged.record_id, stored(service, staged.record_id))
        names.append((staged.record_id, older.versions[0].document))
    (damaged, erased, whole) = names
    (tmp_path / "vault" / "documents" / damaged[1].hex()).write_bytes(b"SALUSDOC")
    service.vault.erase([erased[1]])
    again = make_service(ledger, tmp_path)
    assert opened(again, found(again, whole[0])) == OBSERVATION
    with pytest.raises(StorageError):
        again.sealed(erased[0])
    with pytest.raises(SalusError) as refused:
        again.sealed(damaged[0])
    assert refused.value.code == "KEEPER_MISSING"


# -- record files of earlier versions --------------------------------------------------------


async def test_record_files_of_versions_1_and_2_are_read_and_written_anew(
    ledger: Ledger, tmp_path: Path
) -> None:
    service = make_service(ledger, tmp_path)
    staged = await service.stage(TEXT, TYPE)
    commit(ledger, staged)
    file, name = stored(service, staged.record_id), bytes.fromhex(staged.record_id)
    (version,) = file.versions
    fields = PrivateVersion2.__struct_fields__
    versions = (PrivateVersion2(**{field: getattr(version, field) for field in fields}),)
    for older in (RecordFile1(1, file.created_ms, versions), RecordFile2(2, 5, versions)):
        service.vault.put_record(name, encode(older))
        again = make_service(ledger, tmp_path)
        assert stored(again, staged.record_id).versions == (version,)
    await again.stage(b"new\n", TYPE, staged.record_id)
    kept = again.vault.record(name)
    assert kept is not None
    assert decode(kept, RecordFile).version == 3
    for unknown in (RecordFile1(2, 5, versions), RecordFile2(3, 5, versions)):
        again.vault.put_record(name, encode(unknown))
        with pytest.raises(VaultDamaged):
            again.files.find(staged.record_id)
