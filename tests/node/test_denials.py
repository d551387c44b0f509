"""Who is denied again and again: some tickets, then one number (rule G-4)."""

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.denials import COUNT_MAX, PAIRS_MAX, TICKETS_MAX, WINDOW_S, DenialBook, Denials
from salus.codec import decode
from salus.errors import SalusError
from salus.permit import Reason
from salus.statemap import SALT_BYTES
from salus.ticket import TrailHead, trail_key
from salus.transaction import ParsedTransaction
from tests.node.gate_world import World

HANDLE = bytes(32)


def tickets(book: DenialBook, requester: str, now_s: float, count: int = TICKETS_MAX) -> None:
    for _ in range(count):
        assert not book.too_many(requester, HANDLE, now_s)
        book.with_ticket(requester, HANDLE, now_s)


def test_the_sixth_denial_of_a_pair_gets_no_ticket() -> None:
    book = DenialBook()
    tickets(book, "hosp-b", 0)
    assert book.too_many("hosp-b", HANDLE, 1)
    assert not book.too_many("hosp-c", HANDLE, 1)
    assert not book.too_many("hosp-b", b"\1" * 32, 1)


def test_after_ten_minutes_there_are_tickets_again() -> None:
    book = DenialBook()
    tickets(book, "hosp-b", 0)
    assert book.too_many("hosp-b", HANDLE, WINDOW_S - 1)
    tickets(book, "hosp-b", WINDOW_S, count=1)


def test_a_count_is_told_once_and_when_its_window_ends() -> None:
    book = DenialBook()
    for at_s in (10, 20, 30):
        book.without_ticket("hosp-b", HANDLE, at_s)
    assert book.due(10 + WINDOW_S - 1) == []
    assert book.due(10 + WINDOW_S) == [Denials("hosp-b", HANDLE, 3)]
    assert book.due(math.inf) == []


def test_what_could_not_be_sent_is_told_with_the_next() -> None:
    book = DenialBook()
    book.without_ticket("hosp-b", HANDLE, 0)
    (told,) = book.due(math.inf)
    book.take_back(told, 5)
    book.without_ticket("hosp-b", HANDLE, 6)
    assert book.due(5 + WINDOW_S) == [Denials("hosp-b", HANDLE, 2)]


def test_a_count_is_one_that_the_contract_takes() -> None:
    book = DenialBook()
    book.take_back(Denials("hosp-b", HANDLE, COUNT_MAX), 0)
    book.without_ticket("hosp-b", HANDLE, 0)
    assert book.due(math.inf) == [Denials("hosp-b", HANDLE, COUNT_MAX)]


def test_memory_is_bounded_and_a_forgotten_count_is_told() -> None:
    book = DenialBook()
    for number in range(PAIRS_MAX + 10):
        book.without_ticket("hosp-b", number.to_bytes(32), 0)
    assert len(book) == PAIRS_MAX
    forgotten = book.due(0)
    assert [told.handle for told in forgotten] == [n.to_bytes(32) for n in range(10)]
    assert len(book.due(math.inf)) == PAIRS_MAX


# -- at the gate ------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def head(world: World) -> TrailHead:
    stored = world.ledger.state.get(trail_key("hosp-a", world.ada.handle))
    assert stored is not None
    return decode(stored[SALT_BYTES:], TrailHead)


async def test_the_chain_gets_five_tickets_and_one_number(world: World) -> None:
    """G-4."""
    record = await world.keep(b"x", "text/plain")
    answers = [(await world.surgeon.ask(record))[1] for _ in range(9)]
    assert [one.tx_id is None for one in answers] == [False] * 5 + [True] * 4
    assert {one.reason for one in answers} == {Reason.NO_PERMIT}
    assert len(world.sent) == 5
    await world.gate.teller.tell(world.clock_s)
    assert len(world.sent) == 5
    world.clock_s += WINDOW_S
    await world.gate.teller.tell(world.clock_s)
    assert (head(world).tickets, head(world).denials) == (5, 4)
    _, again = await world.surgeon.ask(record)
    assert again.tx_id is not None


async def test_requests_that_come_together_get_no_more_tickets_either(world: World) -> None:
    """A block takes a second, and a member asks eight at once."""
    record = await world.keep(b"x", "text/plain")
    asks = [await world.surgeon.build(record) for _ in range(8)]
    answers = await asyncio.gather(*(world.gate.ask("hosp-c", ask) for ask in asks))
    assert sum(one.tx_id is None for one in answers) == 3
    assert len(world.sent) == 5
    await world.gate.close()
    assert (head(world).tickets, head(world).denials) == (5, 3)


async def test_a_denial_that_nobody_certified_takes_no_ticket_from_the_next(world: World) -> None:
    record = await world.keep(b"x", "text/plain")
    world.quorum = False
    for _ in range(6):
        with pytest.raises(SalusError):
            await world.surgeon.ask(record)
    world.quorum = True
    _, decided = await world.surgeon.ask(record)
    assert decided.tx_id is not None


async def test_who_is_permitted_is_not_held_up_by_earlier_denials(world: World) -> None:
    record = await world.keep(b"x", "text/plain")
    for _ in range(6):
        await world.doctor.ask(record)
    await world.grant("p", "documents")
    assert await world.doctor.read(record) == [b"x"]


async def test_a_node_that_stops_tells_what_it_has_counted(world: World) -> None:
    record = await world.keep(b"x", "text/plain")
    for _ in range(7):
        await world.surgeon.ask(record)
    await world.gate.close()
    assert head(world).denials == 2


async def test_a_count_that_waits_for_a_quorum_is_not_told_twice(world: World) -> None:
    """What was sent may be certified later: only the same bytes are sent again."""
    record = await world.keep(b"x", "text/plain")
    for _ in range(7):
        await world.surgeon.ask(record)
    world.quorum = False
    await world.gate.teller.tell(math.inf)
    await world.gate.teller.tell(math.inf)
    first, second = world.sent[-2:]
    assert first.raw == second.raw
    world.quorum, world.pool = True, [first]
    await world.gate.teller.tell(math.inf)
    assert head(world).denials == 2


async def test_who_stops_while_counts_are_told_tells_each_of_them_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's tick waits for a block meanwhile: two that tell at once would each forget one."""
    teller = world.gate.teller
    for requester in ("hosp-b", "hosp-c", "hosp-d"):
        world.gate.book.without_ticket(requester, world.ada.handle, 0)
    told: list[bytes] = []

    async def certified(tx: ParsedTransaction) -> None:
        await asyncio.sleep(0)
        told.append(tx.id)

    monkeypatch.setattr(world.gate.sender, "certified", certified)
    await asyncio.gather(teller.tell(math.inf), teller.close())
    assert len(told) == len(set(told)) == 3


async def test_what_was_counted_while_others_waited_is_told_before_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    teller = world.gate.teller
    told: list[bytes] = []
    quorum = False

    async def certified(tx: ParsedTransaction) -> None:
        if not quorum:
            raise SalusError("nobody agrees", code="NO_QUORUM")
        told.append(tx.id)

    monkeypatch.setattr(world.gate.sender, "certified", certified)
    world.gate.book.without_ticket("hosp-b", world.ada.handle, 0)
    await teller.tell(math.inf)
    world.gate.book.without_ticket("hosp-c", world.ada.handle, 0)
    quorum = True
    await teller.close()
    assert len(told) == 2


async def test_a_count_that_can_never_be_certified_any_more_is_told_anew(world: World) -> None:
    record = await world.keep(b"x", "text/plain")
    for _ in range(7):
        await world.surgeon.ask(record)
    world.quorum = False
    await world.gate.teller.tell(math.inf)
    world.pool = []
    for _ in range(65):
        world.block()
    await world.gate.teller.tell(math.inf)  # expired
    world.quorum = True
    await world.gate.teller.tell(math.inf)
    assert head(world).denials == 2


async def test_whoever_is_unknown_is_in_no_book(world: World) -> None:
    record = await world.keep(b"x", "text/plain")
    ask = await world.reader("mal", "hosp-b").build(record)
    for _ in range(20):
        with pytest.raises(SalusError) as refused:
            await world.gate.ask("hosp-b", ask)
        assert refused.value.code == "UNKNOWN_READER"
    assert len(world.gate.book) == 0
    assert world.sent == []
