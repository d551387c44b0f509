"""Rule G-18: tickets stay on every node for ever, so a member and a person get so many and no more."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import repeat
from pathlib import Path

import pytest

from node.ticket_rates import (
    MEMBER_TICKETS_AT_ONCE_MAX,
    MEMBER_TICKETS_PER_S,
    PERSON_TICKETS_AT_ONCE_MAX,
    PERSON_TICKETS_PER_S,
    TicketRates,
)
from salus.errors import SalusError
from salus.permit import Reason
from tests.node.gate_world import Asker, World
from tests.node.test_live_tickets import Clock

A, B = b"a" * 32, b"b" * 32  # people


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def taken(rates: TicketRates, member: str, people: Iterable[bytes]) -> int:
    """How many get a ticket, one after the other, until the first refusal."""
    for count, person in enumerate(people):
        try:
            rates.take(member, person)
        except SalusError as refused:
            if refused.code != "TICKET_RATE":
                raise
            return count
    raise AssertionError("nobody was refused")


def crowd(rates: TicketRates, member: str) -> int:
    """As `taken`, by people who each ask once."""
    return taken(rates, member, (number.to_bytes(32) for number in range(10_000)))


def test_a_member_gets_so_many_at_once_and_then_so_many_a_second(clock: Clock) -> None:
    rates = TicketRates(clock)
    assert crowd(rates, "hosp-b") == MEMBER_TICKETS_AT_ONCE_MAX
    clock.now_s += 2
    assert crowd(rates, "hosp-b") == 2 * MEMBER_TICKETS_PER_S
    assert crowd(rates, "hosp-c") == MEMBER_TICKETS_AT_ONCE_MAX, "each has its own"


def test_one_persons_script_leaves_tickets_to_the_colleagues(clock: Clock) -> None:
    rates = TicketRates(clock)
    assert taken(rates, "hosp-b", repeat(A)) == PERSON_TICKETS_AT_ONCE_MAX
    clock.now_s += 3
    assert taken(rates, "hosp-b", repeat(A)) == 3 * PERSON_TICKETS_PER_S
    for _ in range(100):
        rates.take("hosp-b", B)


def test_who_was_refused_is_heard_after_the_second_that_the_answer_names(clock: Clock) -> None:
    """Retry-After says one second (node/api/problems.py): it must be true for both allowances."""
    rates = TicketRates(clock)
    taken(rates, "hosp-b", repeat(A))
    crowd(rates, "hosp-b")
    clock.now_s += 1
    rates.take("hosp-b", A)


def test_a_refusal_costs_nothing(clock: Clock) -> None:
    """Neither the person, where the member has none left, nor the member."""
    rates = TicketRates(clock)
    crowd(rates, "hosp-b")
    for _ in range(1_000):
        with pytest.raises(SalusError):
            rates.take("hosp-b", B)
    clock.now_s += 1
    assert taken(rates, "hosp-b", repeat(B)) == MEMBER_TICKETS_PER_S


def test_whoever_is_quiet_is_forgotten(clock: Clock) -> None:
    rates = TicketRates(clock)
    crowd(rates, "hosp-b")
    rates.forget_whole()
    assert len(rates) == MEMBER_TICKETS_AT_ONCE_MAX + 1
    clock.now_s += MEMBER_TICKETS_AT_ONCE_MAX / MEMBER_TICKETS_PER_S
    rates.forget_whole()
    assert len(rates) == 0


async def test_beyond_the_rate_nothing_is_written_or_sent_and_the_request_may_come_again(
    world: World,
) -> None:
    record = await world.keep(b"x", "text/plain")
    await world.grant("p", "documents")
    ask = await world.doctor.build(record)
    crowd(world.gate.rates, "hosp-b")
    for _ in range(2):
        with pytest.raises(SalusError) as refused:
            await world.gate.ask("hosp-b", ask)
        assert refused.value.code == "TICKET_RATE"
    assert world.sent == []
    assert world.files.find(ask.request.request_id) is None
    world.clock_s += 1
    decided = await world.gate.ask("hosp-b", ask)
    assert decided.permitted
    assert await world.doctor.chunk(ask, decided.parts[0], 0)
    assert (await world.surgeon.ask(record))[1].reason is Reason.NO_PERMIT, "others go on"


async def test_patients_who_look_at_their_own_records_leave_the_staff_their_tickets(
    world: World,
) -> None:
    """Two of them with scripts would else use up what the hospital's doctors have at once."""
    record = await world.keep(b"x", "text/plain")
    ada = Asker(world, "ada", "hosp-a")
    ask = await ada.build(record, own=True)
    for number in range(MEMBER_TICKETS_AT_ONCE_MAX + 1):
        with suppress(SalusError):
            world.gate.rates.take("hosp-a", b"", patient=number.to_bytes(32))
    with pytest.raises(SalusError) as refused:
        await world.gate.ask("hosp-a", ask)
    assert refused.value.code == "TICKET_RATE"
    assert (await world.nurse.ask(record, permit=None))[1].permitted


def test_a_patient_is_one_person_whichever_key_asks(clock: Clock) -> None:
    rates = TicketRates(clock)
    for number in range(PERSON_TICKETS_AT_ONCE_MAX):
        rates.take("hosp-a", (A, B)[number % 2], patient=b"h" * 32)
    for key in (A, B):
        with pytest.raises(SalusError):
            rates.take("hosp-a", key, patient=b"h" * 32)
    rates.take("hosp-a", A, patient=b"i" * 32)


async def test_chunks_lists_of_places_and_counted_denials_cost_no_ticket(world: World) -> None:
    record = await world.keep(b"x", "text/plain")
    for _ in range(5):
        await world.surgeon.ask(record)
    crowd(world.gate.rates, "hosp-c")
    ask, decided = await world.surgeon.ask(record)
    assert (decided.tx_id, decided.reason) == (None, Reason.NO_PERMIT)
    await world.grant("p", "documents")
    ask, decided = await world.doctor.ask(record)
    crowd(world.gate.rates, "hosp-b")
    assert await world.doctor.chunk(ask, decided.parts[0], 0)
