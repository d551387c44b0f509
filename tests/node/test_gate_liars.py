"""What nobody gets by lying to a gate: each lie is refused or denied, and no key is opened."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.access import TicketArgs
from salus import ticket as forms
from salus.codec import decode
from salus.errors import SalusError
from salus.permit import Purpose, Reason, RecordClass
from salus.reading import Ask, Asked, Range
from salus.relation import DAY_MS
from salus.ticket import records_commitment
from salus.transaction import Operation
from tests import factories
from tests.contracts.lab import h
from tests.node.gate_world import Asker, World

TEXT = "text/plain"
FHIR = "application/fhir+json"
LETTER = b"discharged in good health"
OBSERVATION = b'{"resourceType":"Observation","status":"final","code":{"text":"x"}}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


async def refused(world: World, member: str, ask: Ask) -> str:
    """No ticket, no key, no file: only an error, and its code."""
    sent, files = len(world.sent), sorted(world.vault.records())
    with pytest.raises(SalusError) as caught:
        await world.gate.ask(member, ask)
    assert len(world.sent) == sent
    assert sorted(world.vault.records()) == files
    assert world.asked_keeper == []
    assert len(world.gate.book) == 0
    return caught.value.code


async def with_permit(world: World) -> str:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    return record


def resigned(asker: Asker, ask: Ask, **changes: Any) -> Ask:
    """The same openings under a changed request, signed by this one."""
    request = msgspec.structs.replace(ask.request, **changes)
    return msgspec.structs.replace(
        ask, request=request, signature=asker.key.sign(request.payload())
    )


# -- who asks ---------------------------------------------------------------------------------


async def test_a_forged_signature(world: World) -> None:
    """G-1."""
    ask = await world.doctor.build(await with_permit(world))
    forged = msgspec.structs.replace(ask, signature=bytes(64))
    assert await refused(world, "hosp-b", forged) == "UNKNOWN_READER"


async def test_a_request_that_was_changed_on_the_way(world: World) -> None:
    ask = await world.doctor.build(await with_permit(world))
    for changes in (
        {"release_key": os.urandom(32)},  # by a node that would read in its doctor's name
        {"request_id": bytes(16)},
        {"purpose": Purpose.OPERATIONS},
    ):
        request = msgspec.structs.replace(ask.request, **changes)
        changed = msgspec.structs.replace(ask, request=request)
        assert await refused(world, "hosp-b", changed) == "UNKNOWN_READER"


async def test_staff_of_another_member_brought_by_this_one(world: World) -> None:
    record = await with_permit(world)
    theirs = Asker(world, "surgeon", "hosp-b")
    assert await refused(world, "hosp-b", await theirs.build(record)) == "UNKNOWN_READER"
    ask = await world.doctor.build(record)
    assert await refused(world, "hosp-c", ask) == "UNKNOWN_READER"


@pytest.mark.parametrize("key", ["operator hosp-b", "node hosp-b", "mal", "ada"])
async def test_a_key_of_no_staff(world: World, key: str) -> None:
    ask = await world.reader(key, "hosp-b").build(await with_permit(world))
    assert await refused(world, "hosp-b", ask) == "UNKNOWN_READER"


async def test_staff_that_was_dismissed(world: World) -> None:
    ask = await world.doctor.build(await with_permit(world))
    world.do(world.dismiss(world.doctor), by="operator hosp-b")
    assert await refused(world, "hosp-b", ask) == "UNKNOWN_READER"


async def test_a_stranger_in_the_patients_name(world: World) -> None:
    """C-6: the patient's own view is for his own keys."""
    record = await with_permit(world)
    mal = world.reader("mal", "hosp-b")
    assert await refused(world, "hosp-b", await mal.build(record, own=True)) == "UNKNOWN_READER"
    ask = await world.doctor.build(record, own=True)
    assert await refused(world, "hosp-b", ask) == "UNKNOWN_READER"


async def test_a_delegate_without_the_right_to_view(world: World) -> None:
    record = await with_permit(world)
    world.do(world.ada.delegate("phone", "view"), world.ada.delegate("clock", "revoke"), by="ada")
    clock = world.reader("clock", "hosp-b")
    assert await refused(world, "hosp-b", await clock.build(record, own=True)) == "UNKNOWN_READER"
    _, decided = await world.reader("phone", "hosp-b").ask(record, own=True)
    assert decided.reason is Reason.OWN_REQUEST


async def test_the_owners_signature_over_another_request(world: World) -> None:
    record = await with_permit(world)
    ada = world.reader("ada", "hosp-b")
    first, second = await ada.build(record, own=True), await ada.build(record, own=True)
    mixed = msgspec.structs.replace(second, owner_signature=first.owner_signature)
    assert await refused(world, "hosp-b", mixed) == "UNKNOWN_READER"
    without = msgspec.structs.replace(second, owner_signature=None)
    assert await refused(world, "hosp-b", without) == "UNKNOWN_READER"


# -- for what ---------------------------------------------------------------------------------


async def test_another_patients_record_in_the_set(world: World) -> None:
    """His handle is permitted, hers is not."""
    mine, hers = await with_permit(world), await world.keep(b"hers", TEXT, world.bea)
    for asked in ((hers,), (mine, hers)):
        ask = await world.doctor.build(*asked)
        assert await refused(world, "hosp-b", ask) == "UNKNOWN_RECORD"


async def test_a_version_under_another_records_commitment(world: World) -> None:
    mine, hers = await with_permit(world), await world.keep(b"hers", TEXT, world.bea)
    ask, other = await world.doctor.build(mine), await world.doctor.build(hers, patient=world.bea)
    versions = (Asked(ask.versions[0].record_id, 1, other.versions[0].commitment),)
    records = records_commitment(ask.records_salt, (versions[0].commitment,))
    swapped = resigned(
        world.doctor, msgspec.structs.replace(ask, versions=versions), records=records
    )
    assert await refused(world, "hosp-b", swapped) == "UNKNOWN_RECORD"


async def test_other_versions_than_were_signed_for(world: World) -> None:
    first, second = await with_permit(world), await world.keep(b"another", TEXT)
    ask, other = await world.doctor.build(first), await world.doctor.build(first, second)
    more = msgspec.structs.replace(ask, versions=other.versions)
    assert await refused(world, "hosp-b", more) == "BAD_ASK"
    backwards = msgspec.structs.replace(other, versions=other.versions[::-1])
    assert await refused(world, "hosp-b", backwards) == "BAD_ASK"


async def test_a_record_with_more_classes_than_the_request_names(world: World) -> None:
    record = await world.keep(OBSERVATION, FHIR)
    await world.grant("p", "documents")
    ask = await world.doctor.build(record, classes=(RecordClass.DOCUMENTS,))
    assert await refused(world, "hosp-b", ask) == "CLASSES_MISSING"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"custodian": "hosp-c"}, "BAD_ASK"),
        ({"chain_id": "another-net"}, "BAD_ASK"),
        ({"purpose": Purpose.EMERGENCY}, "BAD_PURPOSE"),
        ({"classes": ()}, "BAD_CLASSES"),
        ({"classes": (RecordClass.RESULTS, RecordClass.DOCUMENTS)}, "BAD_CLASSES"),
        ({"handle": bytes(32)}, "UNKNOWN_RELATION"),
        ({"release_key": bytes(32)}, "BAD_BOX_KEY"),
    ],
)
async def test_a_request_that_fits_nothing(world: World, changes: Any, code: str) -> None:
    ask = await world.doctor.build(await with_permit(world), **changes)
    assert await refused(world, "hosp-b", ask) == code


@pytest.mark.parametrize("ahead", [0, 22])
async def test_a_request_that_is_late_or_lives_too_long(world: World, ahead: int) -> None:
    record = await with_permit(world)
    expiry = world.ledger.height + ahead
    ask = await world.doctor.build(record, expiry_height=expiry)
    assert await refused(world, "hosp-b", ask) == "REQUEST_LATE"
    for in_time in (1, 21):
        expiry = world.ledger.height + in_time
        _, decided = await world.doctor.ask(record, expiry_height=expiry)
        assert decided.permitted


async def test_a_request_that_comes_again(world: World) -> None:
    """T-3: also after the ticket's life, and after a restart."""
    record = await with_permit(world)
    ask, _ = await world.doctor.ask(record)
    world.asked_keeper.clear()
    assert await refused(world, "hosp-b", ask) == "REQUEST_SEEN"
    world.clock_s += 301
    assert await refused(world, "hosp-b", ask) == "REQUEST_SEEN"
    world.start()
    assert await refused(world, "hosp-b", ask) == "REQUEST_SEEN"


async def test_a_request_id_of_another_custodian_is_none_of_ours(world: World) -> None:
    """T-3 counts per custodian: nobody uses up another's ids."""
    record = await with_permit(world)
    ask = await world.doctor.build(record)
    carl = type(world.ada)(world.lab, "carl", "hosp-c")
    world.do(carl.register(), by="operator hosp-c")
    theirs = carl.ticket(
        "x", request_id=ask.request.request_id, expiry_height=world.ledger.height + 5
    )
    world.do(theirs, by="node hosp-c")
    assert (await world.gate.ask("hosp-b", ask)).permitted


# -- what the chain says in between -----------------------------------------------------------


async def test_a_revoke_in_the_tickets_own_block_wins(world: World) -> None:
    """T-2: the gate had weighed it as permitted."""
    record = await with_permit(world)
    ask = await world.doctor.build(record)
    world.meanwhile = [world.tx(world.ada.revoke("p"), by="ada")]
    decided = await world.gate.ask("hosp-b", ask)
    assert (decided.permitted, decided.reason) == (False, Reason.ENDED)
    assert world.asked_keeper == []


async def test_a_grant_in_the_tickets_own_block_is_not_weighed_and_permits_nothing(
    world: World,
) -> None:
    """The gate claims what it has weighed: nobody has heard the new terms."""
    record = await world.keep(LETTER, TEXT)
    operation, _, _ = world.granted("p", "documents")
    ask = await world.doctor.build(record)
    world.meanwhile = [world.tx(operation, by="ada")]
    decided = await world.gate.ask("hosp-b", ask)
    assert (decided.permitted, decided.reason) == (False, Reason.TERMS)


async def test_a_doctors_denial_in_the_tickets_own_block_keeps_the_bytes_in(world: World) -> None:
    """The chain does not weigh inner terms; the gate looks again before it opens anything to him."""
    record = await with_permit(world)
    made = world.granted("d", "documents", to=f"hosp-b/{h('staff doctor').hex()}", deny=True)
    ask = await world.doctor.build(record)
    world.meanwhile = [world.tx(made[0], by="ada")]
    with pytest.raises(SalusError) as caught:
        await world.gate.ask("hosp-b", ask)
    assert caught.value.code == "ACCESS_ENDED"
    assert len(world.gate.live) == 0


async def test_an_expired_permit(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents", days=2)
    world.later_ms += 2 * DAY_MS + 1_000  # the day has not ended, the terms have
    world.block()
    assert (await world.doctor.ask(record))[1].reason is Reason.TERMS
    world.later_ms += DAY_MS
    world.block()
    assert (await world.doctor.ask(record))[1].reason is Reason.PAST


async def test_inner_terms_that_deny(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents", to=f"hosp-b/{h('staff another').hex()}")
    _, decided = await world.doctor.ask(record)
    assert decided.reason is Reason.TERMS


@pytest.mark.parametrize("missing", ["p", "d"])
async def test_an_opening_that_nobody_has_shown_denies(world: World, missing: str) -> None:
    """C-5: of the cited permit, or of any other in the docket."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents", opened=missing != "p")
    await world.grant("d", "Specimen", deny=True, opened=missing != "d")
    ask, decided = await world.doctor.ask(record)
    assert (decided.permitted, decided.reason) == (False, Reason.TERMS)
    file = world.files.find(ask.request.request_id)
    assert file is not None
    assert file.weighing.decision is None
    assert len(file.opened) == 1


async def test_terms_shown_under_another_patients_handle_open_nothing(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    operation, terms, salt = world.granted("p", "documents")
    await world.show_and_send((operation, terms, salt), opened=False, patient=world.ada)
    from salus.consent.terms import encode_terms

    await world.openings.keep(world.bea.handle, salt, encode_terms(terms))
    _, decided = await world.doctor.ask(record)
    assert decided.reason is Reason.TERMS


async def test_a_permit_of_another_relation(world: World) -> None:
    record = await world.keep(b"hers", TEXT, world.bea)
    await world.grant("p", "documents", patient=world.ada)
    _, decided = await world.doctor.ask(record, patient=world.bea)
    assert decided.reason is Reason.NO_PERMIT


async def test_own_staff_ask_for_research_without_a_permit(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    _, decided = await world.nurse.ask(record, permit=None, purpose=Purpose.RESEARCH)
    assert decided.reason is Reason.NO_PERMIT


# -- fetching ---------------------------------------------------------------------------------


async def test_chunks_by_another_member_than_the_one_who_asked(world: World) -> None:
    ask, decided = await world.doctor.ask(await with_permit(world))
    wanted = Range(ask.request.request_id, decided.parts[0].commitment, 0)
    for member in ("hosp-a", "hosp-c"):
        with pytest.raises(SalusError) as caught:
            await world.gate.chunk(member, wanted)
        assert caught.value.code == "UNKNOWN_TICKET"
    assert await world.gate.chunk("hosp-b", wanted)


async def test_chunks_that_the_ticket_does_not_name(world: World) -> None:
    record = await with_permit(world)
    other = await world.keep(b"another of hers", TEXT)
    ask, decided = await world.doctor.ask(record)
    located = await world.doctor.build(other)
    mine, theirs = decided.parts[0].commitment, located.versions[0].commitment
    for commitment, number in ((mine, 1), (theirs, 0)):
        with pytest.raises(SalusError) as caught:
            await world.gate.chunk("hosp-b", Range(ask.request.request_id, commitment, number))
        assert caught.value.code == "BAD_ARGUMENT"


async def test_a_denied_request_has_no_chunks(world: World) -> None:
    record = await world.keep(LETTER, TEXT)
    ask, decided = await world.doctor.ask(record)
    assert not decided.permitted
    with pytest.raises(SalusError) as caught:
        await world.gate.chunk(
            "hosp-b", Range(ask.request.request_id, ask.versions[0].commitment, 0)
        )
    assert caught.value.code == "UNKNOWN_TICKET"


async def test_a_release_opens_for_nobody_elses_key(world: World) -> None:
    ask, decided = await world.doctor.ask(await with_permit(world))
    thief = Asker(world, "doctor", "hosp-b")  # the same staff key, another ephemeral one
    with pytest.raises(SalusError) as caught:
        await thief.fetch(ask, decided.parts[0])
    assert caught.value.code == "BAD_RELEASE"


# -- what the ticket says ---------------------------------------------------------------------


async def test_the_chain_learns_nothing_of_a_request_but_what_a_ticket_names(world: World) -> None:
    """No record id, staff handle, reason for care, release key or unsalted commitment."""
    record = await with_permit(world)
    ask, _ = await world.doctor.ask(record)
    (raw,) = [tx.raw for tx in world.sent]
    for secret in (
        bytes.fromhex(record),
        ask.versions[0].commitment,
        h("staff doctor"),
        world.doctor.key.public_key,
        b"visit",
        ask.request.release_key,
        ask.signature,
        ask.records_salt,
    ):
        assert secret not in raw
    (operation,) = [decode(one, Operation) for one in world.sent[0].body.operations]
    args = decode(operation.args, TicketArgs)
    assert args.request == forms.request_commitment(ask.request_salt, ask.request, ask.signature)
    assert world.sent[0].body.expiry_height == ask.request.expiry_height
    assert world.sent[0].body.sender == factories.key("node hosp-a").public_key
