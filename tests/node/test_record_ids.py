"""Record ids that the caller has drawn: whoever lost an answer sends the same again."""

import asyncio
from pathlib import Path

import pytest

from node.record_drafts import Submission
from node.records import RecordService
from salus.errors import SalusError
from salus.forms_records import Staged
from salus.parameters import Parameters
from tests import factories
from tests.ledger import Ledger
from tests.node.test_record_subject import entered
from tests.node.test_records import TEXT, TYPE, commit, make_service

DRAWN = "5a" * 16  # a record id of the caller's own


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


@pytest.fixture
def service(ledger: Ledger, tmp_path: Path) -> RecordService:
    return make_service(ledger, tmp_path)


async def test_a_document_that_is_sent_again_under_its_own_id_is_one_record(
    ledger: Ledger, service: RecordService, tmp_path: Path
) -> None:
    """Also while the first call is still under way, and by the next life of the node."""
    calls = [service.stage(TEXT, TYPE, record_id=DRAWN) for _ in range(3)]
    first, *rest = await asyncio.gather(*calls)
    assert first.record_id == DRAWN
    assert rest == [first, first]
    assert len(list(service.vault.documents())) == 1
    service = make_service(ledger, tmp_path)
    assert await service.stage(TEXT, TYPE, record_id=DRAWN) == first
    items, _ = service.list(None, 10)
    assert [one.record_id for one in items] == [DRAWN]
    commit(ledger, first)
    with pytest.raises(SalusError) as caught:
        await service.stage(TEXT, TYPE, record_id=DRAWN)
    assert caught.value.code == "NOT_FOUND", "nothing waits to be anchored"


async def test_another_document_under_a_drawn_id_is_refused_and_not_lost(
    ledger: Ledger, service: RecordService
) -> None:
    ada = entered(ledger, "ada")
    first = await service.stage(TEXT, TYPE, record_id=DRAWN)
    changed = TEXT[:-1] + b"?"
    for content, media_type, more in (
        (changed, TYPE, {}),
        (TEXT, "text/csv", {}),
        (TEXT, TYPE, {"handle": ada.handle}),
        (TEXT, TYPE, {"previous": DRAWN}),
    ):
        with pytest.raises(SalusError) as caught:
            await service.stage(content, media_type, record_id=DRAWN, **more)
        assert caught.value.code == "BAD_ARGUMENT"
    assert service.operations(DRAWN) == first
    assert len(list(service.vault.documents())) == 1


async def test_a_drawn_id_waits_for_a_batch_and_is_one_record(
    ledger: Ledger, service: RecordService, tmp_path: Path
) -> None:
    """B-6: twice in one batch is once and NODE_BUSY; what stands in a batch already waits for none."""
    kept = [
        await service.keep(Submission(content, TYPE, record_id=record_id))
        for content, record_id in ((TEXT, DRAWN), (TEXT, DRAWN), (b"another", "6b" * 16))
    ]
    first, twice, other = await service.place(kept)
    assert isinstance(first, Staged)
    assert isinstance(other, Staged)
    assert isinstance(twice, SalusError)
    assert twice.code == "NODE_BUSY"
    assert (first.record_id, first.root) == (DRAWN, other.root)
    (late,) = await service.place([await service.keep(Submission(TEXT, TYPE, record_id=DRAWN))])
    assert isinstance(late, SalusError)
    again = await (await service.deposit(b"another", TYPE, None, record_id="6b" * 16))
    assert (again.root, again.operations) == (first.root, first.operations)
    commit(ledger, again)
    with pytest.raises(SalusError) as caught:
        await service.deposit(TEXT, TYPE, None, record_id=DRAWN)
    assert caught.value.code == "NOT_FOUND", "anchored with the other"
