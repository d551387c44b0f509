"""Carrying deposits, questions and notes between members: nobody without a part learns anything."""

import pytest

from node.emergency_desk import EmergencyDesk
from node.net.calls import Topic
from salus.codec import encode
from salus.emergency import Verdict
from salus.emergency_forms import Details, EmergencyReason, Note, note_commitment
from salus.emergency_wire import CaseNote, NoteKind, NotesAsk, pack
from salus.errors import BadMessage, SalusError
from tests.contracts.emergencies import ALL
from tests.contracts.lab import h
from tests.node.test_emergency_holder import World

SALT = h("salt")


class Lines:
    """Calls between the desks of one process; members in `down` do not answer."""

    def __init__(self) -> None:
        self.desks: dict[str, EmergencyDesk] = {}
        self.down: set[str] = set()
        self.behind: list[str] = []  # so often they know of no deposit yet

    def of(self, asker: str) -> "Line":
        return Line(self, asker)


class Line:
    def __init__(self, lines: Lines, asker: str) -> None:
        self.lines, self.asker = lines, asker

    async def ask(self, member: str, topic: Topic, payload: bytes, *, timeout_s: float) -> bytes:
        assert topic is Topic.SUMMARY
        assert timeout_s > 0
        if member in self.lines.down:
            raise SalusError("no connection", code="PEER_UNREACHABLE")
        if member in self.lines.behind:
            self.lines.behind.remove(member)
            raise SalusError("not here yet", code="NO_SUMMARY")
        return await self.lines.desks[member].serve(self.asker, payload)


class Members(World):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.lines = Lines()
        for org in ALL:
            holder = self.holders[org]
            self.lines.desks[org] = EmergencyDesk(
                org,
                holder.vault,
                holder.state,
                holder,
                self.lines.of(org),  # type: ignore[arg-type]
            )

    def desk(self, org: str) -> EmergencyDesk:
        return self.lines.desks[org]

    def note(self, kind: NoteKind, text: str) -> CaseNote:
        content = (
            Details(EmergencyReason.UNCONSCIOUS, text, "badge")
            if kind is NoteKind.DETAILS
            else Note(text)
        )
        return CaseNote(self.ward.id("one"), kind, SALT, encode(content))


async def test_a_deposit_reaches_who_can_be_reached_and_names_the_others() -> None:
    world = Members()
    world.lines.down = {"hosp-d"}
    said = await world.desk("hosp-a").deposit(world.deposits)
    assert said == {"hosp-a": "OK", "hosp-b": "OK", "hosp-c": "OK", "hosp-d": "PEER_UNREACHABLE"}
    ada = world.ward.ada
    assert [world.holders[org].holds(ada.org, ada.handle) for org in ALL] == [True] * 3 + [False]


async def test_a_holder_that_is_some_blocks_behind_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("node.emergency_desk.BEHIND_PAUSE_S", 0)
    world = Members()
    world.lines.behind = ["hosp-c", "hosp-c", "hosp-d"]
    assert set((await world.desk("hosp-a").deposit(world.deposits)).values()) == {"OK"}
    world.lines.behind = ["hosp-c"] * 1_000
    said = await world.desk("hosp-a").deposit(world.deposits)
    assert said["hosp-c"] == "NO_SUMMARY"  # but not for ever


async def test_each_holder_answers_for_itself_and_who_has_given_is_not_asked_again() -> None:
    world = Members()
    await world.desk("hosp-a").deposit(world.deposits)
    assert world.ward.open("one") == "OK"
    world.lines.down = {"hosp-a"}
    answers = {one.holder: one for one in await world.desk("hosp-b").shares(world.ask("one"), ())}
    assert {holder: one.code for holder, one in answers.items()} == {
        "hosp-a": "PEER_UNREACHABLE",
        "hosp-b": "OK",
        "hosp-c": "OK",
        "hosp-d": "OK",
    }
    given = {holder: one.given for holder, one in answers.items() if one.given is not None}
    assert world.opened(
        world.ask("one").request, {"hosp-c": given["hosp-c"], "hosp-d": given["hosp-d"]}
    )
    world.lines.down = set()
    (rest,) = await world.desk("hosp-b").shares(world.ask("one"), ("hosp-b", "hosp-c", "hosp-d"))
    assert (rest.holder, rest.code) == ("hosp-a", "OK")
    # A member cannot ask in another one's name.
    stranger = await world.desk("hosp-c").shares(world.ask("one"), ())
    assert {one.code for one in stranger} == {"REQUEST_UNFIT"}


async def test_what_opens_a_commitment_is_not_overwritten_by_a_second_try() -> None:
    """The chain refuses the second justification; its note had taken the place of the first."""
    world = Members()
    ward, desk = world.ward, world.desk("hosp-b")
    assert ward.open("one") == "OK"
    first = world.note(NoteKind.JUSTIFICATION, "no pulse")
    await desk.keep_note(world.note(NoteKind.JUSTIFICATION, "a draft"))
    await desk.keep_note(first)
    committed = note_commitment(first.salt, Note("no pulse"))
    justify = ward.chain.op("emergency", "justify", case=first.case, justification=committed)
    assert ward.run(justify, "doc hosp-b") == "OK"
    await desk.keep_note(first)
    with pytest.raises(SalusError) as refused:
        await desk.keep_note(world.note(NoteKind.JUSTIFICATION, "another story"))
    assert refused.value.code == "ALREADY_JUSTIFIED"
    notes, _ = await desk.notes(first.case)
    assert notes == [first]


async def test_notes_go_to_who_has_a_part_and_to_nobody_else() -> None:
    world = Members()
    ward = world.ward
    assert ward.open("one") == "OK"
    case = ward.id("one")
    await world.desk("hosp-b").keep_note(world.note(NoteKind.DETAILS, "ambulance"))
    await world.desk("hosp-b").keep_note(world.note(NoteKind.JUSTIFICATION, "no pulse"))

    async def kinds(org: str) -> list[str]:
        notes, silent = await world.desk(org).notes(case)
        assert all(note.case == case for note in notes)
        return [note.kind.value for note in notes] + [f"silent {one}" for one in silent]

    both = ["details", "justification"]
    assert await kinds("hosp-b") == both
    assert await kinds("hosp-a") == both
    assert [one for one in await kinds("hosp-c") if one in both] == []
    assert [one for one in await kinds("hosp-d") if one in both] == []
    assert ward.act("cosign", "one", "doc hosp-c") == "OK"
    assert both == [one for one in await kinds("hosp-c") if one in both]
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    assert ward.case("one").reviewers(ward.case("one").opened_ms + 60_000) == ("hosp-d",)
    ward.later(60_000)
    assert both == [one for one in await kinds("hosp-d") if one in both]
    await world.desk("hosp-d").keep_note(world.note(NoteKind.GROUNDS, "so it was"))
    assert ward.act("review", "one", "operator hosp-d", verdict=Verdict.JUSTIFIED) == "OK"
    assert "grounds" in await kinds("hosp-a")
    world.lines.down = {"hosp-b"}
    assert await kinds("hosp-a") == ["grounds", "silent hosp-b"]


async def test_no_case_no_notes_and_no_text_that_is_none() -> None:
    world = Members()
    with pytest.raises(SalusError) as caught:
        await world.desk("hosp-a").notes(h("none"))
    assert caught.value.code == "UNKNOWN_CASE"
    with pytest.raises(SalusError) as caught:
        await world.desk("hosp-a").serve("hosp-b", pack(NotesAsk(h("none"))))
    assert caught.value.code == "UNKNOWN_CASE"
    for bad in (b"", b"\x09", b"\x00junk"):
        with pytest.raises(BadMessage):
            await world.desk("hosp-a").serve("hosp-b", bad)
    wrong = CaseNote(h("case"), NoteKind.DETAILS, SALT, encode(Note("no details")))
    with pytest.raises(BadMessage):
        await world.desk("hosp-a").keep_note(wrong)
