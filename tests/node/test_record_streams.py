"""Large documents go into the vault as they come; half of one leaves nothing there."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from node.records import RecordService
from salus.document import CHUNK_BYTES
from salus.errors import BadMessage, SalusError
from salus.forms_records import Staged
from salus.parameters import Parameters
from salus.permit import RecordClass
from salus.verifier import verify_file
from tests import factories
from tests.ledger import Ledger
from tests.node.test_record_seals import content, found
from tests.node.test_record_subject import entered
from tests.node.test_records import TEXT, TYPE, commit, make_service

STUDY = "application/dicom"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


async def pieces(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


def document(count: int, rest: int = 7) -> list[bytes]:
    return [bytes([number]) * CHUNK_BYTES for number in range(count)] + [b"x" * rest]


def stored(service: RecordService) -> list[str]:
    return [path.name for path in Path(service.vault.directory).glob("documents/*")]


async def test_a_document_that_streams_is_the_same_record(ledger: Ledger, tmp_path: Path) -> None:
    service, parts = make_service(ledger, tmp_path), document(2)
    staged = await service.stage_stream(pieces(parts), STUDY)
    commit(ledger, staged)
    got = await service.document(staged.record_id)
    assert got is not None
    assert (got.content, got.media_type) == (b"".join(parts), STUDY)
    proof = await service.proof(staged.record_id)
    assert proof is not None
    assert verify_file(proof, ledger.genesis_hash).document is not None
    amended = await service.stage_stream(pieces([b"short"]), STUDY, staged.record_id)
    assert (amended.record_id, amended.version) == (staged.record_id, 2)
    assert [one.method for one in amended.operations] == ["anchor", "supersede"]


async def test_a_study_that_is_sent_again_under_its_own_id_is_one_record(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, parts, drawn = make_service(ledger, tmp_path), document(2), "5a" * 16
    first = await service.stage_stream(pieces(parts), STUDY, record_id=drawn)
    assert await service.stage_stream(pieces(parts), STUDY, record_id=drawn) == first
    other = [*parts[:-1], b"y" * len(parts[-1])]
    with pytest.raises(SalusError) as caught:
        await service.stage_stream(pieces(other), STUDY, record_id=drawn)
    assert caught.value.code == "BAD_ARGUMENT"
    assert len(stored(service)) == 1


async def test_of_two_calls_that_bring_one_study_the_later_is_to_ask_again(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, drawn = make_service(ledger, tmp_path), "5a" * 16
    both = [service.stage_stream(pieces(document(2)), STUDY, record_id=drawn) for _ in range(2)]
    found = await asyncio.gather(*both, return_exceptions=True)
    (refused,) = [one for one in found if isinstance(one, SalusError)]
    (staged,) = [one for one in found if isinstance(one, Staged)]
    assert refused.code == "NODE_BUSY"
    assert await service.stage_stream(pieces(document(2)), STUDY, record_id=drawn) == staged
    items, _ = make_service(ledger, tmp_path).list(None, 10)
    assert [one.record_id for one in items] == [drawn]
    assert len(stored(service)) == 1, "what the later one brought went at the start"


async def test_a_patients_study_is_sealed_as_it_comes(ledger: Ledger, tmp_path: Path) -> None:
    service, ada, parts = make_service(ledger, tmp_path), entered(ledger, "ada"), document(1)
    staged = await service.stage_stream(pieces(parts), STUDY, handle=ada.handle)
    commit(ledger, staged)
    sealed = found(service, staged.record_id)
    assert sealed.classes == (RecordClass.DOCUMENTS,)
    assert content(service, staged.record_id) == b"".join(parts)
    more = await service.stage_stream(pieces([b"more"]), STUDY, staged.record_id)
    assert content(service, more.record_id, 2) == b"more"


async def test_half_a_document_leaves_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(ledger, tmp_path)

    async def cut_off() -> AsyncIterator[bytes]:
        yield bytes(CHUNK_BYTES)
        raise SalusError("the sender is gone", code="BAD_REQUEST")

    with pytest.raises(SalusError, match="gone"):
        await service.stage_stream(cut_off(), STUDY)
    with pytest.raises(SalusError) as empty:
        await service.stage_stream(pieces([]), STUDY)
    assert empty.value.code == "BAD_REQUEST"
    monkeypatch.setattr("salus.document.DOCUMENT_BYTES_MAX", CHUNK_BYTES)
    with pytest.raises(BadMessage) as large:
        await service.stage_stream(pieces(document(1)), STUDY)
    assert large.value.code == "TOO_LARGE"
    waits = asyncio.Event()

    async def never() -> AsyncIterator[bytes]:
        yield bytes(CHUNK_BYTES)
        waits.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(service.stage_stream(never(), STUDY))
    await waits.wait()
    assert len(stored(service)) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(service) == []
    assert service.list(None, 10) == ((), None)


async def test_what_is_refused_is_refused_before_a_byte_is_taken(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada, bea = (
        make_service(ledger, tmp_path),
        entered(ledger, "ada"),
        entered(ledger, "bea"),
    )
    hers = await service.stage(TEXT, TYPE, handle=ada.handle)
    commit(ledger, hers)
    before = stored(service)

    async def untouched() -> AsyncIterator[bytes]:
        pytest.fail("a byte was taken")
        yield b""

    alone = make_service(ledger, tmp_path / "alone", keeper=None)
    for at, previous, handle, code in (
        (service, "00" * 16, None, "UNKNOWN_RECORD"),
        (service, None, factories.seed("nobody"), "UNKNOWN_RELATION"),
        (service, hers.record_id, bea.handle, "OTHER_PATIENT"),
        (alone, None, ada.handle, "KEEPER_MISSING"),
    ):
        with pytest.raises(SalusError) as refused:
            await at.stage_stream(untouched(), STUDY, previous, handle=handle)
        assert refused.value.code == code
    assert stored(service) == before


async def test_a_record_that_became_a_patients_meanwhile_is_sealed_whole(
    ledger: Ledger, tmp_path: Path
) -> None:
    """While a new version of nobody's record streams in, another one says whose it is."""
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    nobodys = await service.stage(TEXT, TYPE)
    commit(ledger, nobodys)

    async def overtaken() -> AsyncIterator[bytes]:
        yield b"x" * CHUNK_BYTES
        claimed = await service.stage(b"hers\n", TYPE, nobodys.record_id, handle=ada.handle)
        commit(ledger, claimed)
        yield b"end"

    last = await service.stage_stream(overtaken(), STUDY, nobodys.record_id)
    assert last.version == 3
    for number, expected in enumerate((TEXT, b"hers\n", b"x" * CHUNK_BYTES + b"end"), 1):
        assert content(service, nobodys.record_id, number) == expected


async def test_only_what_nobody_reads_streams() -> None:
    for kind in ("application/fhir+json", "application/json", "application/fhir+ndjson",
                 "application/fhir+xml", "Application/JSON; charset=utf-8"):  # fmt: skip
        assert not RecordService.streams(kind)
    for kind in ("application/dicom", "text/plain", "application/pdf"):
        assert RecordService.streams(kind)
