"""The gate: what is permitted arrives whole and proved, after its ticket is certified (T-*, G-*)."""

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from node.audit_desk import AuditDesk
from node.gate_opener import Opened
from node.keeper import Keeper
from node.openings import NAME_BYTES as OPENING_NAME_BYTES
from node.seen_asks import SeenAsks
from node.trail_files import TrailFiles
from salus.asking import EXPIRY_BLOCKS
from salus.consent.terms import Code, encode_terms
from salus.consent.weighing import decided_again, weighing_commitment
from salus.errors import SalusError
from salus.permit import Reason, RecordClass
from salus.reading import Decided, Locate, Range
from salus.relation import DAY_MS
from salus.ticket import care_commitment
from tests import factories
from tests.contracts.lab import h
from tests.node.gate_world import KEEPER, Asker, World

TEXT = "text/plain"
FHIR = "application/fhir+json"
LETTER = b"discharged in good health"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def bundle(*resources: dict[str, object], kind: str = "collection") -> bytes:
    entries = [{"resource": resource} for resource in resources]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()


def observation(number: int, **more: object) -> dict[str, object]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"text": f"measured {number}"},
        **more,
    }


CONDITION: dict[str, object] = {
    "resourceType": "Condition",
    "id": "c1",
    "subject": {"reference": "Patient/p"},
    "code": {"text": "angina"},
}


def restricted(number: int) -> dict[str, object]:
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    return observation(number, meta={"security": [{"system": system, "code": "R"}]})


async def test_what_is_permitted_arrives_whole(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    assert (decided.permitted, decided.reason) == (True, Reason.PERMIT)
    assert not decided.redacted
    ticket = world.ticket(ask)
    assert ticket is not None
    assert (ticket.permitted, ticket.height) == (True, decided.height)
    (part,) = decided.parts
    pieces = await world.doctor.fetch(ask, part)
    assert b"".join(piece.content for piece in pieces if piece.index) == LETTER


@pytest.mark.parametrize("behind", [1, 6])
async def test_what_the_readers_node_has_certified_is_waited_for(world: World, behind: int) -> None:
    """A permit of the newest block denies nobody, and nobody asks in vain, for milliseconds."""
    record = await world.keep(LETTER, TEXT)
    operation, terms, salt = world.granted("p", "documents")
    await world.openings.keep(world.ada.handle, salt, encode_terms(terms))
    told = world.ledger.height + behind  # at the reader's node
    ask = await world.doctor.build(record, expiry_height=told + EXPIRY_BLOCKS)
    world.ahead = [()] * (behind - 1) + [(world.tx(operation, by="ada"),)]
    decided = await world.gate.ask("hosp-b", ask)
    assert (decided.permitted, world.waited_for) == (True, [told])
    await world.doctor.ask(record, expiry_height=world.ledger.height + EXPIRY_BLOCKS)
    assert world.waited_for == [told], "a node that is not behind waits for nothing"


async def test_what_no_node_has_certified_is_not_waited_for_for_long(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    here = world.ledger.height
    ask = await world.doctor.build(record, expiry_height=here + 20)
    assert (await world.gate.ask("hosp-b", ask)).permitted, "the wait has an end"
    assert world.waited_for == [here + 5]
    ask = await world.doctor.build(record, expiry_height=2**40)
    with pytest.raises(SalusError) as refused:
        await world.gate.ask("hosp-b", ask)
    assert (refused.value.code, world.waited_for) == ("REQUEST_LATE", [here + 5])


async def test_what_is_refused_at_any_height_waits_for_none(world: World) -> None:
    """A request of another organisation, or for another custodian, must hold no place meanwhile."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    told = world.ledger.height + 3
    expiry = told + EXPIRY_BLOCKS
    for member, code, wrong in (
        ("hosp-c", "UNKNOWN_READER", {}),
        ("hosp-b", "BAD_ASK", {"custodian": "hosp-c"}),
        ("hosp-b", "BAD_BOX_KEY", {"release_key": bytes(32)}),
    ):
        ask = await world.doctor.build(record, expiry_height=expiry, **wrong)
        with pytest.raises(SalusError) as refused:
            await world.gate.ask(member, ask)
        assert (refused.value.code, world.waited_for) == (code, [])


async def test_only_so_many_of_one_member_wait_for_a_height(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patient at his own hospital has no place of a call, and nothing counts what he asks before it
    is judged: without a limit he held every place of the API. Others wait as before."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    waits, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def reach(height: int, timeout_s: float) -> bool:
        waits.release()
        await go_on.wait()
        return False

    async def ask(asker: Asker) -> Decided:
        """With the height of a node that is three blocks further."""
        expiry = world.ledger.height + 3 + EXPIRY_BLOCKS
        built = await asker.build(record, expiry_height=expiry)
        return await world.gate.ask(asker.org, built)

    monkeypatch.setattr(world.gate, "reach", reach)
    asked = [asyncio.create_task(ask(world.doctor)) for _ in range(8)]
    async with asyncio.timeout(60):
        for _ in asked:
            await waits.acquire()
        assert (await ask(world.doctor)).permitted, "decided now, by what is certified here"
        asked.append(asyncio.create_task(ask(world.surgeon)))
        await waits.acquire()
        go_on.set()
        await asyncio.gather(*asked)
        assert (await ask(world.doctor)).permitted
        await waits.acquire()  # a place that was left is given again


async def test_no_byte_leaves_and_no_key_is_opened_before_the_ticket_is_certified(
    world: World,
) -> None:
    """G-2."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask = await world.doctor.build(record)
    world.quorum = False
    with pytest.raises(SalusError) as refused:
        await world.gate.ask("hosp-b", ask)
    assert refused.value.code == "NO_QUORUM"
    assert world.asked_keeper == []
    with pytest.raises(SalusError) as refused:
        await world.gate.chunk(
            "hosp-b", Range(ask.request.request_id, ask.versions[0].commitment, 0)
        )
    assert refused.value.code == "UNKNOWN_TICKET"


async def test_what_opens_a_ticket_is_on_disk_before_the_ticket_is_sent(world: World) -> None:
    """A crash between the two leaves a file that opens nothing, and no harm."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask = await world.doctor.build(record)
    world.quorum = False
    with pytest.raises(SalusError):
        await world.gate.ask("hosp-b", ask)
    world.pool = []  # it never reached anybody
    assert world.files.find(ask.request.request_id) is not None
    assert world.ticket(ask) is None
    world.start()
    world.quorum = True
    with pytest.raises(SalusError) as refused:
        await world.gate.ask("hosp-b", ask)  # its ticket may still be on its way
    assert refused.value.code == "REQUEST_SEEN"
    assert await world.doctor.read(record) == [LETTER]
    (only,) = world.files.of_handle(world.ada.handle)
    assert only.request_id != ask.request.request_id


async def test_the_custodian_can_open_every_commitment_of_a_ticket(world: World) -> None:
    """C-5, G-5: who asked, for what, why he cares, and that the decision follows."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    ticket, file = world.ticket(ask), world.files.find(ask.request.request_id)
    assert ticket is not None
    assert file is not None
    assert file.ask == ask
    assert ticket.request == file.ask.commitment()
    assert ticket.records == file.ask.records()
    assert ticket.care == care_commitment(file.ask.care_salt, b"visit")
    assert ticket.decision == weighing_commitment(file.decision_salt, file.weighing)
    assert decided_again(file.weighing, file.opened)
    assert file.staff == h("staff doctor")


async def test_a_denial_is_a_certified_ticket_too(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "results")
    ask, decided = await world.doctor.ask(record)
    assert (decided.permitted, decided.reason, decided.parts) == (False, Reason.CLASS, ())
    ticket = world.ticket(ask)
    assert ticket is not None
    assert not ticket.permitted
    assert world.asked_keeper == []
    assert [one.ticket.reason for one in world.files.of_handle(world.ada.handle)] == [Reason.CLASS]


async def test_own_staff_read_with_a_ticket_and_without_a_permit(world: World) -> None:
    """C-6."""
    record = await world.keep(LETTER, TEXT)
    ask, decided = await world.nurse.ask(record, permit=None)
    assert decided.reason is Reason.OWN_CARE
    assert world.ticket(ask) is not None
    await world.grant("d", "documents", to="hosp-a", deny=True)
    _, decided = await world.nurse.ask(record, permit=None)
    assert decided.reason is Reason.LATER_DENY


async def test_a_denial_for_one_nurse_is_the_gates_to_hear(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("d", "documents", to=f"hosp-a/{h('staff nurse').hex()}", deny=True)
    _, decided = await world.nurse.ask(record, permit=None)
    assert decided.reason is Reason.TERMS


async def test_the_patient_reads_what_is_about_him_whatever_was_denied(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("d", "documents", to="hosp-a", deny=True)
    ada = world.reader("ada", "hosp-a")
    ask, decided = await ada.ask(record, own=True)
    assert decided.reason is Reason.OWN_REQUEST
    (part,) = decided.parts
    assert (await ada.fetch(ask, part))[-1].content == LETTER


async def test_a_permit_for_a_place_opens_from_there_alone(world: World) -> None:
    """G-19: from elsewhere, or where nobody says from where, it is as if there were none."""
    north, south = Code("urn:example:wards", "north"), Code("urn:example:wards", "south")
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents", sites=(north,))
    for site in (south, None):
        _, decided = await world.doctor.ask(record, site=site)
        assert decided.reason is Reason.TERMS
    ask, decided = await world.doctor.ask(record, site=north)
    assert decided.reason is Reason.PERMIT
    file = world.files.find(ask.request.request_id)
    assert file is not None
    assert file.weighing.question is not None
    assert file.weighing.question.sites == (north,)


async def test_who_does_not_treat_does_not_read_for_treatment(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    _, decided = await world.clerk.ask(record)
    assert (decided.permitted, decided.reason) == (False, Reason.TERMS)


async def test_several_versions_under_one_ticket(world: World) -> None:
    first, second = await world.keep(LETTER, TEXT), await world.keep(b"another", TEXT)
    await world.grant("p", "documents")
    _, decided = await world.doctor.ask(first, second)
    assert len(decided.parts) == 2
    assert sorted(await world.doctor.read(first, second)) == sorted([LETTER, b"another"])


async def test_a_record_is_found_by_its_id_and_its_patient_alone(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    found = await world.gate.locate("hosp-b", Locate(bytes.fromhex(record), None, None))
    assert (found.handle, found.version) == (world.ada.handle, 1)
    assert found.classes == (RecordClass.DOCUMENTS,)
    for wanted in (
        Locate(bytes(16), None, None),
        Locate(bytes.fromhex(record), 2, None),
        Locate(bytes.fromhex(record), None, world.bea.handle),
    ):
        with pytest.raises(SalusError) as refused:
            await world.gate.locate("hosp-b", wanted)
        assert refused.value.code == "UNKNOWN_RECORD"


# -- redaction --------------------------------------------------------------------------------


async def test_parts_that_the_terms_do_not_permit_are_withheld_and_the_others_are_proved(
    world: World,
) -> None:
    """G-3."""
    content = bundle(observation(1), restricted(2), observation(3))
    record = await world.keep(content, FHIR)
    await world.grant("p", "results", terms=world.without_restricted())
    ask, decided = await world.doctor.ask(record)
    (part,) = decided.parts
    assert decided.redacted
    assert (part.withheld, part.derived) == (1, None)
    shown = b"".join(piece.content for piece in await world.doctor.fetch(ask, part))
    assert b"measured 1" in shown
    assert b"measured 3" in shown
    assert b"measured 2" not in shown
    file = world.files.find(ask.request.request_id)
    assert file is not None
    assert [(one.commitment, one.withheld) for one in file.narrowed] == [(part.commitment, 1)]


async def test_of_a_mixed_document_only_what_was_asked_for_and_decided_about_is_shown(
    world: World,
) -> None:
    """G-3: a permit for results opens the results of a visit, and nothing else of it."""
    content = bundle(
        observation(1), CONDITION, observation(2, contained=[dict(CONDITION, id="in")])
    )
    record = await world.keep(content, FHIR)
    await world.grant("p", "results")
    ask, decided = await world.doctor.ask(record, classes=(RecordClass.RESULTS,))
    assert decided.permitted
    assert decided.redacted
    (part,) = decided.parts
    assert part.derived is None
    shown = b"".join(piece.content for piece in await world.doctor.fetch(ask, part))
    assert b"measured 1" in shown
    assert b"angina" not in shown
    assert b"measured 2" not in shown  # what it contains is a condition
    _, whole = await world.doctor.ask(record)
    assert (whole.permitted, whole.reason) == (False, Reason.CLASS)


async def test_of_a_mixed_document_the_classes_with_a_list_are_withheld_beside_others(
    world: World,
) -> None:
    """`other` has no list of its types: what is withheld is named instead, and the other way round."""
    other = {"resourceType": "Basic", "id": "b", "code": {"text": "something else"}}
    record = await world.keep(bundle(observation(1), other), FHIR)
    every = ["summary", "conditions", "medications", "results", "documents", "other"]
    await world.grant("p", *every)
    for asked, seen, unseen in (
        (RecordClass.OTHER, b"something else", b"measured 1"),
        (RecordClass.RESULTS, b"measured 1", b"something else"),
    ):
        ask, decided = await world.doctor.ask(record, classes=(asked,))
        assert decided.redacted
        shown = b"".join(piece.content for piece in await world.doctor.fetch(ask, decided.parts[0]))
        assert seen in shown
        assert unseen not in shown


async def test_where_nothing_whole_may_stay_the_custodian_signs_a_finer_cut(world: World) -> None:
    """One resource with another inside: the outer one may be shown without it."""
    record = await world.keep(
        json.dumps(observation(1, contained=[dict(CONDITION, id="in")])).encode(), FHIR
    )
    await world.grant("p", "results", "conditions", terms=world.without("Condition"))
    ask, decided = await world.doctor.ask(record)
    (part,) = decided.parts
    assert part.derived is not None
    assert decided.redacted
    shown = b"".join(piece.content for piece in await world.doctor.fetch(ask, part))
    assert b"measured 1" in shown
    assert b"angina" not in shown
    assert b"REDACTED" in shown


async def test_what_nobody_can_judge_is_withheld_whole(world: World) -> None:
    record = await world.keep(os.urandom(3 * 2**20 + 5), "application/dicom")
    await world.grant("p", "documents", terms=world.without_restricted())
    ask, decided = await world.doctor.ask(record)
    (part,) = decided.parts
    assert part.withheld == 5
    assert await world.doctor.fetch(ask, part) == []


# -- large ones -------------------------------------------------------------------------------


async def test_a_large_document_leaves_by_the_megabyte_in_any_order(world: World) -> None:
    content = os.urandom(5 * 2**20 + 12_345)
    record = await world.keep(content, "application/dicom")
    await world.grant("p", "documents")
    assert await world.doctor.read(record) == [content]
    ask, decided = await world.doctor.ask(record)
    (part,) = decided.parts
    live = world.gate.live.find(ask.request.request_id)
    assert live is not None
    assert live.held_bytes < 10_000  # keys and lists; none of the content
    last = await world.doctor.chunk(ask, part, 5)
    assert await world.doctor.chunk(ask, part, 5) == last  # a transfer goes on where it broke off


async def test_a_large_bundle_leaves_as_it_came(world: World) -> None:
    padding = {"valueString": "x" * 1_000}
    content = bundle(*(observation(n, **padding) for n in range(2_500)))
    record = await world.keep(content, FHIR)
    await world.grant("p", "results")
    assert await world.doctor.read(record) == [content]
    await world.grant("q", "results", terms=world.without_restricted())
    assert await world.doctor.read(record, permit="q") == [content]


async def test_an_empty_document_and_an_exact_megabyte(world: World) -> None:
    await world.grant("p", "documents")
    for content in (b"", bytes(2**20), bytes(2**21 - 1)):
        record = await world.keep(content, TEXT)
        assert await world.doctor.read(record) == [content]


# -- an end in between ------------------------------------------------------------------------


async def test_a_revoked_permit_ends_a_transfer_one_block_later(world: World) -> None:
    """T-4."""
    record = await world.keep(os.urandom(3 * 2**20), TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    (part,) = decided.parts
    await world.doctor.chunk(ask, part, 0)
    world.do(world.ada.revoke("p"), by="ada")
    for code in ("ACCESS_ENDED", "UNKNOWN_TICKET"):
        with pytest.raises(SalusError) as refused:
            await world.doctor.chunk(ask, part, 1)
        assert refused.value.code == code


@pytest.mark.parametrize("who", ["permit", "staff", "organisation's denial", "doctor's denial"])
async def test_whatever_ends_the_right_ends_the_transfer(world: World, who: str) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    if who == "permit":
        world.do(world.ada.revoke("p"), by="ada")
    elif who == "staff":
        world.do(world.dismiss(world.doctor), by="operator hosp-b")
    elif who == "organisation's denial":
        await world.grant("d", "documents", deny=True)
    else:
        await world.grant("d", "documents", to=f"hosp-b/{h('staff doctor').hex()}", deny=True)
    with pytest.raises(SalusError) as refused:
        await world.doctor.chunk(ask, decided.parts[0], 0)
    assert refused.value.code == "ACCESS_ENDED"


async def test_a_denial_whose_terms_nobody_has_shown_ends_the_transfer(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    doctor = f"hosp-b/{h('staff doctor').hex()}"
    await world.grant("d", "documents", to=doctor, deny=True, opened=False)
    with pytest.raises(SalusError) as refused:
        await world.doctor.chunk(ask, decided.parts[0], 0)
    assert refused.value.code == "ACCESS_ENDED"


async def test_a_ticket_lives_five_minutes_by_the_clock(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    world.clock_s += 299
    await world.doctor.chunk(ask, decided.parts[0], 0)
    world.clock_s += 2
    with pytest.raises(SalusError) as refused:
        await world.doctor.chunk(ask, decided.parts[0], 0)
    assert refused.value.code == "UNKNOWN_TICKET"


async def test_a_ticket_lives_so_many_blocks(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    for _ in range(64):
        world.block()
    await world.doctor.chunk(ask, decided.parts[0], 0)
    world.block()
    with pytest.raises(SalusError) as refused:
        await world.doctor.chunk(ask, decided.parts[0], 0)
    assert refused.value.code == "TICKET_OLD"


async def test_without_a_quorum_nothing_leaves(world: World) -> None:
    """Who cannot know what is certified cannot know what was revoked."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    world.trouble = "NO_QUORUM"
    with pytest.raises(SalusError) as refused:
        await world.doctor.chunk(ask, decided.parts[0], 0)
    assert refused.value.code == "NO_QUORUM"
    with pytest.raises(SalusError) as refused:
        await world.doctor.ask(record)
    assert refused.value.code == "NO_QUORUM"
    world.trouble = ""
    await world.doctor.chunk(ask, decided.parts[0], 0)


async def test_with_the_keeper_down_the_ticket_stands_and_nothing_leaves(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    world.keeper_up = False
    ask = await world.doctor.build(record)
    with pytest.raises(SalusError) as refused:
        await world.gate.ask("hosp-b", ask)
    assert refused.value.code == "KEEPER_DOWN"
    ticket = world.ticket(ask)
    assert ticket is not None
    assert ticket.permitted
    assert len(world.gate.live) == 0
    again = await world.doctor.build(record)
    with pytest.raises(SalusError) as refused:
        await world.gate.ask("hosp-b", again)
    assert refused.value.code == "KEEPER_DOWN"
    assert world.ticket(again) is None  # no trail of reads that never were
    world.keeper_up, world.clock_s = True, world.clock_s + 5
    assert await world.doctor.read(record) == [LETTER]


async def test_a_keeper_whose_clock_is_behind_leaves_no_trail_of_reads_that_never_were(
    world: World,
) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    right = world.keeper
    world.keeper = Keeper(
        world.ledger.genesis, "hosp-a", KEEPER, world.lines.append, lambda: world.now_ms - 90_000
    )
    asks = []
    for _ in range(2):
        asks.append(await world.doctor.build(record))
        with pytest.raises(SalusError) as refused:
            await world.gate.ask("hosp-b", asks[-1])
        assert refused.value.code == "CLOCK_BEHIND"
        assert "the clock of hosp-a's keeper" in refused.value.message
    assert [world.ticket(ask) is None for ask in asks] == [False, True]
    world.keeper, world.clock_s = right, world.clock_s + 5
    assert await world.doctor.read(record) == [LETTER]


async def test_a_keeper_of_another_custodian_opens_nothing(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    world.keeper = Keeper(
        world.ledger.genesis, "hosp-b", bytes(32), world.lines.append, lambda: world.now_ms
    )
    with pytest.raises(SalusError) as refused:
        await world.doctor.ask(record)
    assert refused.value.code == "KEEPER_REFUSED"
    assert world.lines == []


async def test_a_document_that_is_erased_meanwhile_says_so(world: World) -> None:
    record = await world.keep(os.urandom(2 * 2**20), TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    late = await world.doctor.build(record)
    await world.records.erase([bytes.fromhex(record)], h("case"), lambda: ())
    with pytest.raises(SalusError) as refused:
        await world.doctor.chunk(ask, decided.parts[0], 0)
    assert refused.value.code == "ERASED"
    for request in (world.gate.ask("hosp-b", late), world.doctor.build(record)):
        with pytest.raises(SalusError) as refused:
            await request
        assert refused.value.code == "ERASED"


async def test_an_erasure_while_a_document_is_cut_leaves_no_inner_decision(world: World) -> None:
    """X-7: the ticket's file has gone by then, and does not come back with what was withheld."""
    record = await world.keep(bundle(observation(1), restricted(2)), FHIR)
    await world.grant("p", "results", terms=world.without_restricted())
    desk = AuditDesk(
        world.files, factories.CHAIN_ID, lambda: 0, TrailFiles(world.ledger.proofs), SeenAsks()
    )
    leftovers = partial(desk.leftovers, world.ada.handle, world.records.files.is_erased)
    opened = world.gate.opener.opened

    async def erased_behind(*asked: Any) -> list[Opened]:
        found = await opened(*asked)
        await world.records.erase([bytes.fromhex(record)], h("case"), leftovers)
        return found

    ask = await world.doctor.build(record)
    world.gate.opener.opened = erased_behind  # type: ignore[method-assign]
    with pytest.raises(SalusError) as told:
        await world.gate.ask("hosp-b", ask)
    assert told.value.code == "ERASED"
    assert world.files.find(ask.request.request_id) is None
    left = desk.opening(world.ada.handle, ask.request.request_id)
    assert left is not None
    assert left.inner is None


async def test_a_clock_that_is_behind_makes_no_permit_last(world: World) -> None:
    """What is certified has happened, whatever our clock says."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents", days=2)
    world.later_ms += 2 * DAY_MS + 1_000
    world.block()
    world.slow_ms = 2 * DAY_MS
    _, decided = await world.doctor.ask(record)
    assert decided.reason is Reason.TERMS


async def test_a_damaged_opening_is_our_fault_and_no_denial(world: World, tmp_path: Path) -> None:
    """It may permit or deny: nobody knows, so nothing is decided."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    (name,) = (one for one in world.vault.records() if len(one) == OPENING_NAME_BYTES)
    path = tmp_path / "vault" / "records" / f"{name.hex()}.rec"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes((whole[-1] ^ 1,)))
    world.start()
    with pytest.raises(SalusError) as refused:
        await world.doctor.ask(record)
    assert refused.value.code == "INTERNAL"
    assert name.hex() not in refused.value.message
    assert world.sent == []
    assert b'salus_storage_damaged_total{code="' in world.metrics.text()


async def test_every_metric_of_the_gate_moves_and_names_nobody(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    await world.doctor.chunk(ask, decided.parts[0], 0)
    for _ in range(6):
        await world.surgeon.ask(record)
    with pytest.raises(SalusError):
        await world.doctor.ask(record, classes=(RecordClass.RESULTS,))
    with pytest.raises(SalusError):
        await world.reader("mal", "hosp-b").ask(record)
    world.keeper_up = False
    with pytest.raises(SalusError):
        await world.doctor.ask(record)
    text = world.metrics.text().decode()
    for result, count in (
        ("permitted", 1), ("denied", 5), ("counted", 1), ("refused", 1), ("keeper", 1),
        ("unknown", 1),
    ):  # fmt: skip
        assert f'salus_gate_requests_total{{result="{result}"}} {count}.0' in text
    assert "salus_gate_live_tickets 1.0" in text
    assert "salus_gate_seconds_count 7.0" in text
    assert "salus_gate_released_bytes_total" in text
    assert world.ada.handle.hex() not in text
    assert record not in text


async def test_the_log_names_organisations_and_no_patient(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    await world.surgeon.ask(record)
    with pytest.raises(SalusError):
        await world.reader("mal", "hosp-b").ask(record)
    told = [(line.getMessage(), getattr(line, "fields", {})) for line in caplog.records]
    lines = [fields for event, fields in told if event in ("decided", "not_decided")]
    assert [fields["requester"] for fields in lines] == ["hosp-b", "hosp-c", "hosp-b"]
    assert lines[2]["code"] == "UNKNOWN_READER"
    text = repr(told)
    for secret in (
        world.ada.handle,
        bytes.fromhex(record),
        h("staff doctor"),
        ask.request.request_id,
        ask.versions[0].commitment,
        world.doctor.key.public_key,
    ):
        assert secret.hex() not in text
        assert repr(secret) not in text
