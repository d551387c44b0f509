"""Open tickets are bounded in number, by member, in memory and in time."""

import os
from dataclasses import replace

import msgspec
import pytest

from node import live_tickets
from node.live_tickets import (
    HELD_BYTES_MAX,
    HELD_OF_MEMBER_BYTES_MAX,
    HELD_OF_READER_BYTES_MAX,
    LIVE_OF_MEMBER_MAX,
    LIVE_OF_READER_MAX,
    Live,
    LiveTickets,
    Release,
)
from node.shown import Shown
from salus.codec import decode, encode
from salus.consent.decision import Decision, Reason, Verdict
from salus.disclosure import Disclosure
from salus.errors import SalusError
from salus.reading import Ask, Asked
from salus.sealed_stream import CHUNK_BYTES, SealedStream
from tests.fuzz.shapes import simplest
from tests.memory import held_bytes


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> LiveTickets:
    return LiveTickets(clock)


def live(
    number: int,
    member: str = "hosp-b",
    until_s: float = 300,
    held: int = 0,
    reader: bytes | None = None,
) -> Live:
    """`reader`: another one for each, if none is named."""
    ask = simplest(Ask)
    request = msgspec.structs.replace(
        ask.request,
        request_id=number.to_bytes(16),
        requester=member,
        key=number.to_bytes(32) if reader is None else reader,
    )
    made = Live(
        msgspec.structs.replace(ask, request=request),
        Decision(Verdict.PERMIT, Reason.PERMITTED),
        7,
        until_s,
    )
    shown = Shown(Disclosure(1, (), (bytes(32),)), bytes(32), ())
    shown._held += bytes(held)
    stream = SealedStream(bytes(32), b"", 10)
    made.releases[bytes(32)] = Release(shown, bytes(32), bytes(32), stream, {0})
    return made


def open_one(tickets: LiveTickets, one: Live) -> None:
    with tickets.asking(one.request_id, one.member, one.reader):
        tickets.add(one)


def leave(one: Live) -> None:
    for release in one.releases.values():
        release.left.clear()


def test_a_ticket_is_found_until_its_end(tickets: LiveTickets, clock: Clock) -> None:
    open_one(tickets, live(1))
    clock.now_s = 299.9
    assert tickets.find((1).to_bytes(16)) is not None
    clock.now_s = 300
    assert tickets.find((1).to_bytes(16)) is None
    tickets.forget_ended()
    assert len(tickets) == 0


def test_one_request_is_decided_once_at_a_time(tickets: LiveTickets) -> None:
    request_id = (1).to_bytes(16)
    with tickets.asking(request_id, "hosp-b", bytes(32)):
        with (
            pytest.raises(SalusError) as refused,
            tickets.asking(request_id, "hosp-c", bytes(32)),
        ):
            pass
        assert refused.value.code == "REQUEST_SEEN"
    with tickets.asking(request_id, "hosp-b", bytes(32)):
        pass


def test_a_member_that_opens_too_many_holds_up_nobody_else(tickets: LiveTickets) -> None:
    for number in range(LIVE_OF_MEMBER_MAX):
        open_one(tickets, live(number))
    with pytest.raises(SalusError) as refused:
        open_one(tickets, live(9_999))
    assert refused.value.code == "NODE_BUSY"
    open_one(tickets, live(9_999, "hosp-c"))


def test_one_reader_keeps_nobody_else_of_his_hospital_out(tickets: LiveTickets) -> None:
    """A patient with a session reads at the hospital's own node, as its doctors do."""
    patient = b"p" * 32
    for number in range(LIVE_OF_READER_MAX):
        open_one(tickets, live(number, reader=patient))
    with pytest.raises(SalusError) as refused:
        open_one(tickets, live(9_998, reader=patient))
    assert refused.value.code == "NODE_BUSY"
    open_one(tickets, live(9_999))


def test_lists_of_one_reader_neither(tickets: LiveTickets) -> None:
    patient, half = b"p" * 32, HELD_OF_READER_BYTES_MAX // 2
    open_one(tickets, live(1, held=half, reader=patient))
    with pytest.raises(SalusError) as refused:
        open_one(tickets, live(2, held=half, reader=patient))
    assert refused.value.code == "NODE_BUSY"
    open_one(tickets, live(3, held=half))


def test_nothing_is_kept_of_who_has_no_tickets(tickets: LiveTickets, clock: Clock) -> None:
    for number in range(99):
        open_one(tickets, live(number, f"hosp-{number}", held=7))
    clock.now_s = 300
    tickets.forget_ended()
    assert tickets._uses == {}


def test_what_has_left_whole_makes_room(tickets: LiveTickets) -> None:
    """A morning of short reads is no morning of refusals."""
    for number in range(LIVE_OF_MEMBER_MAX):
        one = live(number)
        open_one(tickets, one)
        if number == 5:
            leave(one)
    open_one(tickets, live(9_999))
    assert tickets.find((5).to_bytes(16)) is None
    assert tickets.find((0).to_bytes(16)) is not None


def test_all_members_together_are_bounded(
    tickets: LiveTickets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_tickets, "LIVE_MAX", 4)
    for number in range(4):
        open_one(tickets, live(number, f"hosp-{number}"))
    with pytest.raises(SalusError):
        open_one(tickets, live(9, "hosp-9"))
    tickets.end((0).to_bytes(16))
    open_one(tickets, live(9, "hosp-9"))


def test_lists_find_room_or_are_refused(tickets: LiveTickets) -> None:
    large = live(1, held=HELD_BYTES_MAX // 2)
    open_one(tickets, large)
    with pytest.raises(SalusError) as refused:
        open_one(tickets, live(2, "hosp-c", held=HELD_BYTES_MAX // 2))
    assert refused.value.code == "NODE_BUSY"
    leave(large)
    open_one(tickets, live(2, "hosp-c", held=HELD_BYTES_MAX // 2))
    assert len(tickets) == 1


def test_lists_of_one_member_keep_no_other_out(tickets: LiveTickets) -> None:
    half = HELD_OF_MEMBER_BYTES_MAX // 2
    for number in range(HELD_OF_MEMBER_BYTES_MAX // half - 1):
        open_one(tickets, live(number, held=half))
    with pytest.raises(SalusError) as refused:
        open_one(tickets, live(99, held=half))
    assert refused.value.code == "NODE_BUSY"
    open_one(tickets, live(100, "hosp-c", held=half))


def test_what_a_ticket_of_many_versions_holds_is_counted(tickets: LiveTickets) -> None:
    """Else one reader with one permit fills the memory of the node."""

    def many(number: int) -> Live:
        asked = tuple(Asked(os.urandom(16), 1, os.urandom(32)) for _ in range(256))
        one = live(number)
        one.ask = decode(encode(msgspec.structs.replace(one.ask, versions=asked)), Ask)
        one.releases.clear()
        for place, version in enumerate(one.ask.versions):
            stream = SealedStream(os.urandom(32), b"", (1 + place % 128) * CHUNK_BYTES)
            shown = Shown(Disclosure(1, (), (os.urandom(32),)), os.urandom(32), ())
            one.releases[version.commitment] = Release(
                shown, os.urandom(32), os.urandom(32), stream, set(range(stream.chunks))
            )
        return one

    largest = many(0)  # and whatever is made once
    told = 8 * (largest.held_bytes + 8_000)
    assert held_bytes(lambda: [many(number) for number in range(8)], told) <= told
    for number in range(HELD_OF_MEMBER_BYTES_MAX // largest.held_bytes):
        open_one(tickets, replace(largest, ask=live(number).ask))
    with pytest.raises(SalusError) as refused:
        open_one(tickets, replace(largest, ask=live(9_999).ask))
    assert refused.value.code == "NODE_BUSY"


def test_a_large_one_alone_finds_room(tickets: LiveTickets) -> None:
    open_one(tickets, live(1, held=HELD_BYTES_MAX + 1))
    assert len(tickets) == 1


def test_places_are_given_back(tickets: LiveTickets, clock: Clock) -> None:
    for number in range(3 * LIVE_OF_MEMBER_MAX):
        open_one(tickets, live(number, until_s=clock.now_s + 300))
        clock.now_s += 1
    assert len(tickets) == 300
