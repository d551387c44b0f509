"""Openings of tickets: to whom, whether they lead to the ticket, and what an erasure leaves of them
(decision 0013, G-5; decision 0015, X-7)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from node.audit_desk import AuditDesk
from node.erasures import Erasures
from node.seen_asks import SeenAsks
from node.trail_files import TrailFiles
from salus.audit_story import story
from salus.codec import decode
from salus.consent.decision import Decision, Verdict
from salus.consent.decision import Reason as Inner
from salus.consent.terms import Code, decode_terms
from salus.consent.weigh import Opened
from salus.consent.weighing import put, same_docket, weighing_commitment
from salus.erasure import records_commitment
from salus.errors import SalusError
from salus.keys import SigningKey
from salus.looks import ASK_AHEAD_MS_MAX, LookOpening, OpeningsAsk, SignedAsk, faults
from salus.permit import DOCKET_PERMITS_MAX, EMPTY, Docket, Purpose, Reason, docket_key
from salus.reading import Ask, Range
from salus.staff import StaffRole
from salus.state_file import verify_state_file
from salus.statemap import SALT_BYTES
from salus.trail import Look, Trail, trail_of
from tests import factories
from tests.contracts.lab import h
from tests.contracts.patients import Patient
from tests.contracts.test_erasure import request
from tests.node.gate_world import World

TEXT, LETTER = "text/plain", b"discharged in good health"
ORG = "hosp-a"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def desk(world: World) -> AuditDesk:
    trails = TrailFiles(world.ledger.proofs)
    return AuditDesk(world.files, factories.CHAIN_ID, lambda: world.now_ms, trails, SeenAsks())


async def trail(world: World, desk: AuditDesk, patient: Patient | None = None) -> Trail:
    handle = (patient or world.ada).handle
    data = await desk.trail(ORG, handle, None)
    return trail_of(ORG, handle, verify_state_file(data, world.ledger.genesis_hash))


def signed(
    world: World, key: SigningKey, *requests: bytes, patient: Patient | None = None, **changes: Any
) -> SignedAsk:
    ask = OpeningsAsk(
        factories.CHAIN_ID,
        ORG,
        (patient or world.ada).handle,
        requests,
        key.public_key,
        world.now_ms + 60_000,
        os.urandom(16),
    )
    ask = replace(ask, **changes)
    return SignedAsk(ask, key.sign(ask.payload()))


async def opened(world: World, desk: AuditDesk, ask: Ask) -> tuple[Look, LookOpening]:
    """As the owner gets it, beside the ticket from the certified state."""
    look = next(
        one for one in (await trail(world, desk)).looks if one.request_id == ask.request.request_id
    )
    found = await desk.openings(signed(world, world.ada.owner, look.request_id))
    (opening,) = found.openings
    assert opening is not None
    return look, opening


def docket(world: World, requester: str = "hosp-b") -> Docket:
    stored = world.ledger.state.get(docket_key(ORG, world.ada.handle, requester, Purpose.TREATMENT))
    return EMPTY if stored is None else decode(stored[SALT_BYTES:], Docket)


async def test_every_kind_of_ticket_is_opened_and_checks(world: World, desk: AuditDesk) -> None:
    """G-5: permit, denial by the chain and by the terms, own care, the patient's own view."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    await world.grant("n", "documents", to=f"hosp-c/{h('staff somebody').hex()}")
    asks = [
        await world.doctor.ask(record),
        await world.surgeon.ask(record, permit="n"),
        await world.surgeon.ask(record, permit=None),
        await world.nurse.ask(record, permit=None),
        await world.reader("ada", ORG).ask(record, own=True),
    ]
    found = [(await opened(world, desk, ask), decided) for ask, decided in asks]
    reasons = [decided.reason for _, decided in found]
    assert reasons == [
        Reason.PERMIT,
        Reason.TERMS,
        Reason.NO_PERMIT,
        Reason.OWN_CARE,
        Reason.OWN_REQUEST,
    ]
    for (look, opening), decided in found:
        assert look.ticket.permitted == decided.permitted
        assert faults(factories.CHAIN_ID, ORG, look, opening) == ()
        assert opening.versions[0].record_id.hex() == record
        assert opening.inner is not None
        assert opening.inner.care == b"visit"
    (look, opening), _ = found[0]
    assert opening.staff == h("staff doctor")
    assert faults(factories.CHAIN_ID, ORG, look, opening, docket(world)) == ()


async def test_a_request_that_was_weighed_as_if_it_came_from_elsewhere_is_seen(
    world: World, desk: AuditDesk
) -> None:
    """G-19: the reader said from where; a custodian that weighs another place is found out."""
    north, south = Code("urn:example:wards", "north"), Code("urn:example:wards", "south")
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents", sites=(north,))
    ask, _ = await world.doctor.ask(record, site=south)
    look, opening = await opened(world, desk, ask)
    assert faults(factories.CHAIN_ID, ORG, look, opening) == ()
    assert opening.inner is not None
    truth = opening.inner.weighing
    assert truth.question is not None
    lie = replace(truth, question=replace(truth.question, sites=(north,)))
    openings = {
        one.permit: Opened(one.salt, decode_terms(one.terms)) for one in opening.inner.opened
    }
    found = put(lie, openings)
    assert found is not None
    assert found.outcome.permitted
    lie = replace(lie, decision=found.decision)
    told = replace(opening, inner=replace(opening.inner, weighing=lie))
    held_to = replace(
        look.ticket,
        permitted=True,
        reason=Reason.PERMIT,
        decision=weighing_commitment(opening.inner.decision_salt, lie),
    )
    assert faults(factories.CHAIN_ID, ORG, Look(look.request_id, held_to), told) == ("site",)


async def test_who_may_see_a_trail_in_full(world: World, desk: AuditDesk) -> None:
    record = await world.keep(LETTER, TEXT)
    ask, _ = await world.nurse.ask(record, permit=None)
    name = ask.request.request_id
    world.do(world.ada.delegate("phone", "view"), world.ada.delegate("clock", "revoke"), by="ada")
    auditor = world.employ("auditor", ORG, StaffRole.ADMINISTRATION)

    async def code(key: SigningKey, **changes: Any) -> str:
        try:
            found = await desk.openings(signed(world, key, name, **changes))
        except SalusError as error:
            return error.code
        return "OK" if found.openings[0] is not None else "NONE"

    for who in ("ada", "phone", "operator hosp-a", auditor.name):
        assert await code(factories.key(who)) == "OK", who
    strangers = ("bea", "clock", "mal", "operator hosp-b", "nurse", "clerk", "node hosp-a")
    for who in strangers:
        assert await code(factories.key(who)) == "AUDIT_REFUSED", who
    # Another patient's key opens nothing of this one, whatever request id it names.
    assert await code(factories.key("bea"), patient=world.bea) == "NONE"
    assert await code(factories.key("ada"), custodian="hosp-b") == "AUDIT_REFUSED"
    assert await code(factories.key("ada"), chain_id="other-chain") == "AUDIT_REFUSED"
    assert await code(factories.key("ada"), handle=h("nobody")) == "UNKNOWN_RELATION"
    for expires_ms in (world.now_ms, world.now_ms + ASK_AHEAD_MS_MAX + 1):
        assert await code(factories.key("ada"), expires_ms=expires_ms) == "AUDIT_LATE"
    forged = replace(signed(world, factories.key("ada"), name), signature=bytes(64))
    with pytest.raises(SalusError) as refused:
        await desk.openings(forged)
    assert refused.value.code == "AUDIT_REFUSED"
    world.do(world.dismiss(auditor), by="operator hosp-a")
    assert await code(auditor.key) == "AUDIT_REFUSED"


async def test_an_ask_for_openings_is_answered_once(world: World, desk: AuditDesk) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    again = signed(world, world.ada.owner, ask.request.request_id)
    assert (await desk.openings(again)).openings[0] is not None
    with pytest.raises(SalusError) as replayed:
        await desk.openings(again)
    assert replayed.value.code == "AUDIT_LATE"


async def test_a_custodian_that_tells_another_story_is_seen(world: World, desk: AuditDesk) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    look, opening = await opened(world, desk, ask)
    inner = opening.inner
    assert inner is not None
    other_key = factories.key("mal")
    other = replace(opening.request, requester="hosp-c")
    mine = replace(opening.request, key=other_key.public_key)
    weighing = inner.weighing
    denied = Decision(Verdict.DENY, Inner.DENIED)
    stories = {
        "another reader": (replace(opening, request=other), {"request", "signature"}),
        "another signer": (
            replace(opening, request=mine, signature=other_key.sign(mine.payload())),
            {"request"},
        ),
        "no signature": (replace(opening, signature=bytes(64)), {"request", "signature"}),
        "other records": (replace(opening, versions=()), {"records"}),
        "other care": (replace(opening, inner=replace(inner, care=b"referral")), {"care"}),
        "another decision": (
            replace(opening, inner=replace(inner, weighing=replace(weighing, decision=denied))),
            {"decision", "weighing", "outcome"},
        ),
        "another moment": (
            replace(opening, inner=replace(inner, weighing=replace(weighing, at_ms=1))),
            {"decision", "weighing", "moment"},
        ),
        "terms withheld": (replace(opening, inner=replace(inner, opened=())), {"weighing"}),
        "a permit left out": (
            replace(
                opening, inner=replace(inner, weighing=replace(weighing, docket=EMPTY), opened=())
            ),
            {"decision", "weighing", "docket"},
        ),
    }
    for name, (told, wanted) in stories.items():
        found = set(faults(factories.CHAIN_ID, ORG, look, told, docket(world)))
        assert found == wanted, name
    # Nor does one ticket's opening serve for another one.
    again, _ = await world.doctor.ask(record)
    later, _ = await opened(world, desk, again)
    assert set(faults(factories.CHAIN_ID, ORG, later, opening)) >= {"request", "records"}


async def test_a_permit_that_a_custodian_adds_or_moves_is_seen(
    world: World, desk: AuditDesk
) -> None:
    """It could weigh one that nobody granted, and call it dropped since."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    await world.grant("q", "documents")
    ask, _ = await world.doctor.ask(record)
    look, opening = await opened(world, desk, ask)
    assert opening.inner is not None
    weighing = opening.inner.weighing
    p, q = weighing.docket.permits
    added = replace(p, id=bytes(32))
    for later in ("r", "s"):
        present = docket(world)
        assert same_docket(weighing, present)
        assert not same_docket(replace(weighing, docket=Docket((q, p))), present)
        more = replace(weighing, docket=Docket((p, q, added)))
        # A grant that came later may have dropped what said nothing any more (C-3), from a full docket.
        assert same_docket(more, present) == (later == "s")
        assert not same_docket(more, present, whole=True)
        assert same_docket(weighing, present, whole=True)
        await world.grant(later, "documents")
    assert faults(factories.CHAIN_ID, ORG, look, opening, docket(world)) == ()


async def test_a_permit_that_was_invented_is_seen_in_the_trail_whatever_was_granted_since(
    world: World, desk: AuditDesk
) -> None:
    """The certified state counts the permits of a relation: below 65 no docket has dropped any."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    look, opening = await opened(world, desk, ask)
    assert opening.inner is not None
    weighing = opening.inner.weighing
    invented = replace(weighing.docket.permits[0], id=bytes(32))
    weighed = replace(weighing, docket=Docket((*weighing.docket.permits, invented)))
    told = replace(opening, inner=replace(opening.inner, weighing=weighed))
    await world.grant("q", "documents")
    found = await trail(world, desk)
    assert found.permits == 2
    place = (look.ticket.requester, look.ticket.purpose)
    of = found.dockets[place], found.permits
    assert faults(factories.CHAIN_ID, ORG, look, opening, *of) == ()
    assert "docket" in faults(factories.CHAIN_ID, ORG, look, told, *of)
    # What nobody sees afterwards, and the keeper alone at the time (docs/privacy.md): from the 65th on.
    for granted, seen in ((DOCKET_PERMITS_MAX, True), (DOCKET_PERMITS_MAX + 1, False)):
        wrong = faults(factories.CHAIN_ID, ORG, look, told, found.dockets[place], granted)
        assert ("docket" in wrong) is seen
    (entry,) = story(factories.CHAIN_ID, (found,), {look.request_id: told})
    assert "docket" in entry.faults


async def test_a_docket_of_long_ago_or_of_later_is_seen(world: World, desk: AuditDesk) -> None:
    """A custodian that weighs an old state leaves out the denials that came since."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    look, opening = await opened(world, desk, ask)
    assert opening.inner is not None
    read_at = opening.inner.weighing.height
    for height, wanted in ((1, ()), (21, ()), (22, ("docket",)), (0, ("docket",))):
        late = Look(look.request_id, replace(look.ticket, height=read_at + height))
        assert faults(factories.CHAIN_ID, ORG, late, opening, docket(world)) == wanted


async def test_a_permit_that_came_or_ended_later_is_no_fault(world: World, desk: AuditDesk) -> None:
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    await world.grant("q", "documents")
    world.do(world.ada.revoke("p"), by="ada")
    look, opening = await opened(world, desk, ask)
    assert faults(factories.CHAIN_ID, ORG, look, opening, docket(world)) == ()


# -- erasing ---------------------------------------------------------------------------------


class Eraser:
    """hosp-a's erasures in that world."""

    def __init__(self, world: World, desk: AuditDesk) -> None:
        self.world = world
        self.erasures = Erasures(
            world.records,
            factories.key("node hosp-a"),
            factories.CHAIN_ID,
            world.ledger.genesis_hash,
            world.submit,
            desk,
        )

    async def erase(self, *records: str, case: str = "case") -> None:
        world, ada = self.world, self.world.ada
        ids = [bytes.fromhex(one) for one in records]
        leaves = await self.erasures.want(h(case), ada.handle, ids, h("salt"), "", h("r"))
        committed = records_commitment(h("salt"), leaves)
        world.do(request(ada, case, records=committed), by="ada")
        await self.erasures.step(0.0)
        assert all(world.records.files.is_erased(one) for one in ids)


async def test_of_a_ticket_stays_who_read_and_nothing_of_what(
    world: World, desk: AuditDesk
) -> None:
    """X-7: the trail goes on telling; labels, care and digests are gone from the vault."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    await Eraser(world, desk).erase(record)
    look, opening = await opened(world, desk, ask)
    assert opening.inner is None
    assert opening.request.key == world.doctor.key.public_key
    assert faults(factories.CHAIN_ID, ORG, look, opening, docket(world)) == ()
    assert world.files.find(look.request_id) is None


async def test_a_ticket_under_way_leaves_nothing_behind_the_erasure(
    world: World, desk: AuditDesk
) -> None:
    """X-7: its gate wrote what was withheld into its file while the records went."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(record)
    file = world.files.find(ask.request.request_id)
    assert file is not None
    eraser = Eraser(world, desk)
    await eraser.erase(record)
    await world.files.put(file)
    world.block(*world.pool)  # the receipt
    await eraser.erasures.step(1.0)
    assert eraser.erasures.openings.cases() == ()
    assert world.files.find(ask.request.request_id) is None
    _, opening = await opened(world, desk, ask)
    assert opening.inner is None


async def test_a_ticket_that_covers_other_records_keeps_its_file_until_those_are_erased(
    world: World, desk: AuditDesk
) -> None:
    one, two = await world.keep(LETTER, TEXT), await world.keep(b"second letter", TEXT)
    await world.grant("p", "documents")
    ask, _ = await world.doctor.ask(one, two)
    eraser = Eraser(world, desk)
    await eraser.erase(one)
    _, opening = await opened(world, desk, ask)
    assert opening.inner is not None
    await eraser.erase(two, case="second")
    _, reduced = await opened(world, desk, ask)
    assert reduced.inner is None


async def test_a_transfer_under_way_ends_with_the_erasure(world: World, desk: AuditDesk) -> None:
    """X-6: also what of it is still in memory."""
    record = await world.keep(LETTER, TEXT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    (part,) = decided.parts
    await world.doctor.chunk(ask, part, 0)
    await Eraser(world, desk).erase(record)
    with pytest.raises(SalusError) as gone:
        await world.gate.chunk("hosp-b", Range(ask.request.request_id, part.commitment, 0))
    assert gone.value.code == "ERASED"
    with pytest.raises(SalusError) as asked:
        await world.doctor.ask(record)
    assert asked.value.code == "ERASED"
