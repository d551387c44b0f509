"""Which records there are is a read like any other: by a ticket, and no more than it permits."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from salus.errors import SalusError
from salus.permit import Classes, Purpose, RecordClass
from salus.reading import RECORD_LIST, Asked, Found, Located, record_list
from salus.ticket import records_commitment
from salus.transaction import Operation
from tests.contracts.lab import h
from tests.node.gate_world import World
from tests.node.test_gate import CONDITION, FHIR, TEXT, bundle, observation
from tests.node.test_reading_client import Reader, beside, content

EVERY = tuple(RecordClass)
BOTH = (RecordClass.CONDITIONS, RecordClass.RESULTS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "node")
    yield made
    made.close()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "list"


def found(world: World, classes: Classes) -> Found:
    wanted = record_list("hosp-a", world.ada.handle, classes)
    located = Located(world.ada.handle, wanted.version, wanted.commitment, classes)
    return Found("hosp-a", located)


async def listed(
    world: World, output: Path, classes: Classes, key: str = "doctor", **more: Any
) -> Any:
    """The list as its reader verified it; None if it was denied."""
    done = await Reader(world, more.pop("org", "hosp-b")).get(
        RECORD_LIST.hex(), output, key, found=found(world, classes), **more
    )
    return json.loads(content(output)) if done.permitted else None


def ids(listing: Any) -> list[str]:
    return [one["record_id"] for one in listing["records"]]


async def test_the_patient_lists_all_records_of_his_own(world: World, output: Path) -> None:
    letter = await world.keep(b"discharged", TEXT)
    visit = await world.keep(bundle(CONDITION, observation(1)), FHIR)
    await world.keep(b"another patient's", TEXT, world.bea)
    listing = await listed(world, output, EVERY, key="ada", purpose=Purpose.PATIENT_REQUEST)
    assert ids(listing) == [visit, letter]
    assert (listing["complete"], listing["left_out"]) == (True, [])
    assert (listing["custodian"], listing["handle"]) == ("hosp-a", world.ada.handle.hex())
    first = listing["records"][0]
    assert (first["version"], first["classes"]) == (1, ["conditions", "results"])
    assert world.asked_keeper == []  # it opens no document


async def test_a_doctor_lists_the_classes_that_are_permitted_and_no_others(
    world: World, output: Path
) -> None:
    visit = await world.keep(bundle(CONDITION, observation(1)), FHIR)
    await world.keep(b"a letter", TEXT)
    await world.grant("p", "conditions", "results")
    listing = await listed(world, output, BOTH)
    assert (ids(listing), listing["complete"]) == ([visit], False)
    assert listing["left_out"] == ["OTHER_CLASSES"]


async def test_what_a_list_leaves_out_is_said_in_the_same_words_whether_there_is_any(
    world: World, output: Path, tmp_path: Path
) -> None:
    """How many records of other classes somebody has is what the permit does not say."""
    visit = await world.keep(bundle(CONDITION, observation(1)), FHIR)
    await world.grant("p", "conditions", "results")
    before = await listed(world, output, BOTH)
    await world.keep(b"a letter", TEXT)
    after = await listed(world, tmp_path / "again", BOTH)
    assert {**before, "height": 0} == {**after, "height": 0}
    assert ids(after) == [visit]


async def test_more_classes_than_are_permitted_are_denied(world: World, output: Path) -> None:
    await world.keep(b"a letter", TEXT)
    await world.grant("p", "conditions", "results")
    assert await listed(world, output, EVERY) is None
    assert beside(output) == []


async def test_nobody_lists_without_a_permit_and_the_trail_says_who_tried(
    world: World, output: Path
) -> None:
    await world.keep(b"a letter", TEXT)
    assert await listed(world, output, EVERY) is None
    (trailed,) = world.files.of_handle(world.ada.handle)
    assert (trailed.ticket.permitted, trailed.ticket.requester) == (False, "hosp-b")


async def test_where_a_kind_is_withheld_nothing_is_listed(world: World, output: Path) -> None:
    """Nobody can say of an unopened record whether it is of that kind."""
    await world.keep(bundle(CONDITION, observation(1)), FHIR)
    await world.grant("p", "conditions", "results", terms=world.without("Condition"))
    listing = await listed(world, output, BOTH)
    assert (ids(listing), listing["complete"]) == ([], False)
    assert listing["left_out"] == ["OTHER_CLASSES", "FINER_TERMS"]


async def test_own_staff_lists_with_a_ticket(world: World, output: Path) -> None:
    letter = await world.keep(b"a letter", TEXT)
    listing = await listed(world, output, EVERY, key="nurse", org="hosp-a")
    assert (ids(listing), listing["complete"]) == ([letter], True)
    (trailed,) = world.files.of_handle(world.ada.handle)
    assert trailed.ticket.permitted


async def test_more_records_than_a_list_holds_are_said_to_be_left_out(
    world: World, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.record_list.LISTED_MAX", 1)
    await world.keep(b"an old letter", TEXT)
    newest = await world.keep(b"a letter", TEXT)
    listing = await listed(world, output, EVERY, key="ada", purpose=Purpose.PATIENT_REQUEST)
    assert (ids(listing), listing["complete"]) == ([newest], False)
    assert listing["left_out"] == ["TOO_MANY"]


async def test_a_record_that_was_retracted_is_not_listed(world: World, output: Path) -> None:
    letter = await world.keep(b"a letter", TEXT)
    staged = await world.records.retract(letter, "mixed up")
    (one,) = staged.operations
    operation = Operation(one.contract, one.method, one.version, bytes.fromhex(one.args))
    world.do(operation, by="operator hosp-a")
    listing = await listed(world, output, EVERY, key="ada", purpose=Purpose.PATIENT_REQUEST)
    assert ids(listing) == []


async def test_a_list_is_asked_for_alone_and_by_its_commitment(world: World) -> None:
    letter = await world.keep(b"a letter", TEXT)
    ask = await world.doctor.build(letter, permit=None)
    (version,) = ask.versions
    wanted = record_list("hosp-a", world.ada.handle, ask.request.classes)
    for versions in (
        (wanted, version),
        (Asked(RECORD_LIST, 1, h("another")),),
        (Asked(RECORD_LIST, 2, wanted.commitment),),
        (record_list("hosp-a", world.ada.handle, EVERY),),
    ):
        ordered = tuple(sorted(versions, key=lambda one: one.commitment))
        commitments = tuple(one.commitment for one in ordered)
        request = msgspec.structs.replace(
            ask.request, records=records_commitment(ask.records_salt, commitments)
        )
        signed = msgspec.structs.replace(
            ask,
            request=request,
            versions=ordered,
            signature=world.doctor.key.sign(request.payload()),
        )
        with pytest.raises(SalusError) as caught:
            await world.gate.ask("hosp-b", signed)
        assert caught.value.code == "BAD_ASK"
