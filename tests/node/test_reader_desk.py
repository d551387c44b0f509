"""The reader's node finds the custodian and passes on, to others and to itself."""

import msgspec
import pytest

from node.net.calls import Calls, Topic
from node.reader_desk import ReaderDesk, serve
from salus.codec import encode
from salus.consent.terms import Code
from salus.errors import SalusError
from salus.permit import Reason, RecordClass
from salus.reading import Ask, Decided, Found, Locate, Located, Range
from tests.contracts.lab import h
from tests.fuzz.shapes import simplest

LOCATE = Locate(bytes(16), None, None)
LOCATED = Located(h("handle"), 1, h("version"), (RecordClass.RESULTS,))


class Gates:
    """What each member would answer, and who was asked in which order."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.asked = answers, list[str]()
        self.permits: tuple[str, ...] = ()
        self.expected: list[tuple[str, bytes]] = []
        self.permitted = True

    async def ask(self, member: str, topic: Topic, payload: bytes, *, timeout_s: float) -> bytes:
        self.asked.append(member)
        code = self.answers[member]
        if code != "OK":
            raise SalusError("no", code=code)
        match topic:
            case Topic.LOCATE:
                return encode(LOCATED)
            case Topic.READ:
                return encode(Decided(self.permitted, Reason.PERMIT, h("tx"), 7, ()))
            case _:
                return b"sealed"

    def custodians(self) -> tuple[str, ...]:
        return self.permits

    async def expect(self, custodian: str, request_id: bytes) -> bool:
        place = custodian, request_id
        self.expected += [place] if (new := place not in self.expected) else []
        return new

    async def expect_no_more(self, custodian: str, request_id: bytes) -> None:
        self.expected.remove((custodian, request_id))


def desk(gates: Gates, me: str | None = "me") -> ReaderDesk:
    made = gates, gates, gates  # calls, permits, receipts
    places = (simplest(Code),)  # where the simplest request is asked from
    return ReaderDesk(*made, lambda: me, lambda: sorted(gates.answers), places)  # type: ignore[arg-type]


async def test_this_node_is_asked_first_then_who_permits_then_everybody() -> None:
    gates = Gates(**dict.fromkeys(("a", "b", "c", "me"), "UNKNOWN_RECORD"))
    gates.permits = ("c",)
    with pytest.raises(SalusError) as caught:
        await desk(gates).locate(LOCATE)
    assert caught.value.code == "UNKNOWN_RECORD"
    assert gates.asked == ["me", "c", "a", "b"]


async def test_who_has_it_ends_the_search() -> None:
    gates = Gates(a="OK", c="OK", me="UNKNOWN_RECORD")
    gates.permits = ("c",)
    assert await desk(gates).locate(LOCATE) == Found("c", LOCATED)
    assert gates.asked == ["me", "c"]


async def test_a_member_that_cannot_be_reached_may_have_it() -> None:
    gates = Gates(a="PEER_UNREACHABLE", b="UNKNOWN_RECORD", me="NOT_SERVED")
    with pytest.raises(SalusError) as caught:
        await desk(gates).locate(LOCATE)
    assert caught.value.code == "PEER_UNREACHABLE"


async def test_that_it_was_erased_is_an_answer_whoever_is_silent() -> None:
    gates = Gates(a="PEER_UNREACHABLE", b="ERASED", c="UNKNOWN_RECORD", me="UNKNOWN_RECORD")
    with pytest.raises(SalusError) as caught:
        await desk(gates).locate(LOCATE)
    assert caught.value.code == "ERASED"


async def test_a_member_that_calls_anothers_record_erased_hides_it_from_nobody() -> None:
    gates = Gates(a="OK", b="ERASED", c="ERASED", me="UNKNOWN_RECORD")
    gates.permits = ("c",)
    assert await desk(gates).locate(LOCATE) == Found("a", LOCATED)


async def test_what_this_node_erased_is_asked_of_nobody() -> None:
    gates = Gates(a="OK", me="ERASED")
    with pytest.raises(SalusError) as caught:
        await desk(gates).locate(LOCATE)
    assert (caught.value.code, gates.asked) == ("ERASED", ["me"])


async def test_a_named_custodian_alone_is_asked() -> None:
    gates = Gates(a="OK", b="OK", me="OK")
    assert await desk(gates).locate(LOCATE, "b") == Found("b", LOCATED)
    assert gates.asked == ["b"]


@pytest.mark.parametrize("permitted", [True, False])
async def test_a_permitted_read_awaits_its_receipt(permitted: bool) -> None:
    gates, ask = Gates(a="OK"), simplest(Ask)
    gates.permitted = permitted
    gates.answers[ask.request.custodian] = "OK"
    decided = await desk(gates).ask(ask)
    assert decided.permitted is permitted
    place = ask.request.custodian, ask.request.request_id
    assert gates.expected == ([place] if permitted else [])


async def test_a_second_question_that_is_refused_takes_no_note_of_the_first_away() -> None:
    gates, ask = Gates(), simplest(Ask)
    custodian = ask.request.custodian
    gates.answers[custodian] = "OK"
    await desk(gates).ask(ask)
    gates.answers[custodian] = "REQUEST_SEEN"
    with pytest.raises(SalusError):
        await desk(gates).ask(ask)
    assert gates.expected == [(custodian, ask.request.request_id)]


class OwnGate:
    async def locate(self, member: str, locate: Locate) -> Located:
        assert member == "me"
        return LOCATED

    async def ask(self, member: str, ask: Ask) -> Decided:
        raise SalusError("no", code="REQUEST_LATE")

    async def chunk(self, member: str, wanted: Range) -> bytes:
        return encode(wanted)


async def test_a_node_that_keeps_the_record_itself_asks_its_own_gate() -> None:
    calls = Calls(lambda member, kind, payload: False, lambda: "me", 1)
    serve(calls, OwnGate())
    gates = Gates()
    made = ReaderDesk(calls, gates, gates, lambda: "me", lambda: ["me"])  # type: ignore[arg-type]
    assert await made.locate(LOCATE) == Found("me", LOCATED)
    wanted = Range(bytes(16), h("version"), 3)
    assert await made.chunk("me", wanted) == encode(wanted)
    ask = simplest(Ask)
    request = msgspec.structs.replace(ask.request, custodian="me", site=None)
    with pytest.raises(SalusError) as caught:
        await made.ask(msgspec.structs.replace(ask, request=request))
    assert caught.value.code == "REQUEST_LATE"


async def test_a_reader_says_only_such_places_as_his_node_vouches_for() -> None:
    """G-19: his organisation is taken at its word, so the word is its node's and not his alone."""
    gates = Gates(other="OK", me="OK")
    north, south = Code("urn:example:wards", "north"), Code("urn:example:wards", "south")
    parts = gates, gates, gates
    who = lambda: "me", lambda: ["me", "other"]
    made = ReaderDesk(*parts, *who, (north,))  # type: ignore[arg-type]
    ask = simplest(Ask)
    for site, code in ((None, None), (north, None), (south, "UNKNOWN_SITE")):
        gates.asked.clear()
        request = msgspec.structs.replace(ask.request, custodian="other", site=site)
        said = msgspec.structs.replace(ask, request=request)
        if code is None:
            assert (await made.ask(said)).permitted
            continue
        with pytest.raises(SalusError) as caught:
            await made.ask(said)
        assert (caught.value.code, gates.asked) == (code, [])
    assert made.sites == ("urn:example:wards|north",)
