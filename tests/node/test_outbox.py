"""The outbox: patients hear what happened, once, from a queue that outlives the node; and nothing of it
is medical (health.md §4.10)."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from contracts.catalogue import registry
from node.carriers import (
    PRINT_LIST_BYTES_MAX,
    Carrier,
    CarrierFailed,
    Mail,
    PrintList,
    WebHook,
)
from node.contacts import MESSAGES_MAX, CarrierName, Contact, Delivery, Message
from node.feed import Feed, FeedEvent
from node.notices import SILENT, Language, Notice, NoticeKind, kind_of, text
from node.outbox import (
    ATTEMPTS_MAX,
    FAREWELLS_MAX,
    PENDING_MAX,
    RETRY_MAX_MS,
    SENDS_PER_DESTINATION_MAX,
    Outbox,
)
from salus.errors import SalusError
from salus.parameters import Parameters
from storage.vault import Vault
from tests import factories
from tests.contracts.lab import Lab, h
from tests.contracts.patients import Patient
from tests.ledger import Ledger
from tests.node.test_records import make_service

ORG = "hosp-a"
HOUR_MS = 3_600_000
MAIL = Contact(CarrierName.EMAIL, "ada@example.org", Language.EN)


class Fake:
    """Takes messages, or refuses as long as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Notice]] = []
        self.fails = False
        self.dead: set[str] = set()  # destinations
        self.meanwhile: Any = None  # awaited while a message is on its way

    def accepts(self, address: str) -> bool:
        return "@" in address

    def destination(self, address: str) -> str:
        return address.rpartition("@")[2]

    async def send(self, contact: Contact, notice: Notice) -> None:
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.fails or self.destination(contact.address) in self.dead:
            raise CarrierFailed("mail: down")
        self.taken.append((contact.address, notice))


class Custodian:
    """hosp-a with an outbox over a vault on disk."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))
        self.vault: Vault = make_service(self.ledger, directory).vault
        self.feed = Feed(lambda _: None, height=0)
        self.mail, self.now_ms = Fake(), factories.TIME_MS
        self.counted: list[str] = []
        self.outbox = self.opened()

    def opened(self) -> Outbox:
        """As a restart makes it."""
        carriers: dict[CarrierName, Carrier] = {CarrierName.EMAIL: self.mail}
        return Outbox(
            self.vault,
            self.ledger.state,
            ORG,
            self.feed,
            carriers,
            now_ms=lambda: self.now_ms,
            gather_ms=HOUR_MS,
            count=self.counted.append,
        )

    def block(self, *operations: Any, by: str = "operator hosp-a") -> None:
        """Certified and published, each operation a transaction of its own."""
        made = [
            factories.transaction(
                self.ledger.genesis,
                one,
                signer=factories.key(by),
                number=self.ledger.height * 64 + n,
                expiry_height=self.ledger.height + 50,
            )
            for n, one in enumerate(operations)
        ]
        receipts = self.ledger.block(*made)
        assert [one.code for one in receipts] == ["OK"] * len(made), receipts
        header = self.ledger.state.header(self.ledger.height)
        self.feed.publish(header, tuple(receipts))

    async def settle(self) -> None:
        """Until nothing is left to do now, and nothing is on its way."""
        while await self.outbox.step() or self.outbox.sending:
            if self.outbox.sending:
                await asyncio.wait(self.outbox.sending)

    def messages(self, patient: Patient) -> tuple[Message, ...]:
        box = self.outbox.of_handle(patient.handle)
        assert box is not None
        return box.messages

    def told(self, patient: Patient) -> list[tuple[NoticeKind, Delivery]]:
        return [(one.notice.kind, one.delivery) for one in self.messages(patient)]


@pytest.fixture
def custodian(tmp_path: Path) -> Custodian:
    return Custodian(tmp_path)


async def entered(custodian: Custodian, name: str = "ada") -> Patient:
    """Registered, with a contact; what was before is not told."""
    ada = Patient(Lab(custodian.ledger.genesis), name)
    custodian.block(ada.register())
    await custodian.settle()
    await custodian.outbox.set_contact(ada.handle, MAIL)
    return ada


# -- what is told ----------------------------------------------------------------------------


async def test_a_patient_hears_of_permits_and_keys_and_nobody_elses(custodian: Custodian) -> None:
    ada = await entered(custodian)
    bea = await entered(custodian, "bea")
    custodian.block(ada.grant("p"), by="ada")
    custodian.block(ada.revoke("p"), ada.rotate("ada 2"), by="ada")
    await custodian.settle()
    assert custodian.told(ada) == [
        (NoticeKind.PERMIT_GRANTED, Delivery.SENT),
        (NoticeKind.PERMIT_ENDED, Delivery.SENT),
        (NoticeKind.KEY_WAITS, Delivery.SENT),
    ]
    assert custodian.told(bea) == []
    assert [address for address, _ in custodian.mail.taken] == [MAIL.address] * 3


async def test_who_gave_no_contact_is_not_written_down(custodian: Custodian) -> None:
    ada = Patient(Lab(custodian.ledger.genesis))
    custodian.block(ada.register())
    await custodian.settle()
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    assert custodian.outbox.of_handle(ada.handle) is None
    await custodian.outbox.set_contact(ada.handle, MAIL)
    await custodian.settle()
    assert custodian.told(ada) == []


async def test_many_reads_are_one_message(custodian: Custodian) -> None:
    ada = await entered(custodian)
    for number in range(3):
        ticket = ada.ticket(f"{number}", requester=ORG, expiry_height=custodian.ledger.height + 5)
        custodian.block(ticket, by=f"node {ORG}")
    await custodian.settle()
    (waiting,) = custodian.messages(ada)
    assert (waiting.notice.kind, waiting.notice.count) == (NoticeKind.READ, 3)
    assert waiting.delivery is Delivery.QUEUED
    custodian.now_ms += HOUR_MS
    await custodian.settle()
    assert [notice.count for _, notice in custodian.mail.taken] == [3]
    assert "3 times" in text(custodian.mail.taken[0][1], Language.EN)


async def test_what_comes_while_a_message_is_on_its_way_is_told_as_well(
    custodian: Custodian,
) -> None:
    ada = await entered(custodian)

    def read(label: str) -> None:
        ticket = ada.ticket(label, requester=ORG, expiry_height=custodian.ledger.height + 5)
        custodian.block(ticket, by=f"node {ORG}")

    read("first")
    await custodian.settle()
    custodian.now_ms += HOUR_MS

    async def one_more() -> None:
        custodian.mail.meanwhile = None
        read("second")
        await custodian.outbox._take()

    custodian.mail.meanwhile = one_more
    await custodian.settle()
    assert [one.notice.count for one in custodian.messages(ada)] == [1, 1]
    custodian.now_ms += HOUR_MS
    await custodian.settle()
    assert [notice.count for _, notice in custodian.mail.taken] == [1, 1]


def test_every_event_of_a_relation_is_told_or_left_out_on_purpose() -> None:
    """A new contract that speaks of handles decides what its patients hear."""
    for contract in registry().contracts.values():
        for name, event in contract.events.items():
            if "handle" not in event.fields or contract.name == "members":
                continue  # there a handle is of staff
            assert "org" in event.fields, event.name
            told = kind_of(event.name, {"permitted": True}) is not None
            assert told != (event.name in SILENT), (name, event.name)
    assert kind_of("access.decided", {"purpose": "patient_request", "permitted": True}) is None


@pytest.mark.parametrize("language", Language)
def test_a_message_says_where_and_when_and_nothing_more(language: Language) -> None:
    for kind in NoticeKind:
        words = text(Notice(kind, ORG, factories.TIME_MS, 2), language)
        assert ORG in words
        assert "2023-11-14" in words
        assert len(words) < 400


# -- what outlives the node ------------------------------------------------------------------


async def test_nothing_is_lost_or_told_twice_by_a_restart(custodian: Custodian) -> None:
    ada = await entered(custodian)
    custodian.mail.fails = True
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    custodian.block(ada.revoke("p"), by="ada")  # certified, and the node stops
    custodian.outbox = custodian.opened()
    custodian.mail.fails = False
    custodian.now_ms += RETRY_MAX_MS
    await custodian.settle()
    assert custodian.told(ada) == [
        (NoticeKind.PERMIT_GRANTED, Delivery.SENT),
        (NoticeKind.PERMIT_ENDED, Delivery.SENT),
    ]
    custodian.outbox = custodian.opened()
    await custodian.settle()
    assert len(custodian.mail.taken) == 2


async def test_a_block_that_is_read_again_after_a_crash_tells_nothing_twice(
    custodian: Custodian,
) -> None:
    ada = await entered(custodian)
    before = custodian.outbox.boxes.progress()
    assert before is not None
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    custodian.outbox.boxes.keep(before)  # the box was written, and this not yet
    custodian.outbox = custodian.opened()
    await custodian.settle()
    assert custodian.told(ada) == [(NoticeKind.PERMIT_GRANTED, Delivery.SENT)]


async def test_what_is_not_taken_is_tried_again_and_given_up_at_last(
    custodian: Custodian,
) -> None:
    ada = await entered(custodian)
    custodian.mail.fails = True
    custodian.block(ada.grant("p"), by="ada")
    tried = []
    for _ in range(ATTEMPTS_MAX + 3):
        await custodian.settle()
        (message,) = custodian.messages(ada)
        tried.append(message.attempts)
        custodian.now_ms += RETRY_MAX_MS
    assert tried == [*range(1, ATTEMPTS_MAX + 1), *[ATTEMPTS_MAX] * 3]
    assert custodian.told(ada) == [(NoticeKind.PERMIT_GRANTED, Delivery.FAILED)]
    assert custodian.counted == ["queued", *["retried"] * (ATTEMPTS_MAX - 1), "failed"]


async def test_what_a_carrier_chokes_on_keeps_nobody_else_from_hearing(
    custodian: Custodian,
) -> None:
    ada, bea = await entered(custodian), await entered(custodian, "bea")
    custodian.block(ada.grant("p"), by="ada")

    async def choke() -> None:
        custodian.mail.meanwhile = None
        raise ValueError(MAIL.address)

    custodian.mail.meanwhile = choke
    await custodian.settle()
    custodian.block(bea.grant("q"), by="bea")
    await custodian.settle()
    assert custodian.told(ada) == [(NoticeKind.PERMIT_GRANTED, Delivery.QUEUED)]
    assert custodian.told(bea) == [(NoticeKind.PERMIT_GRANTED, Delivery.SENT)]


async def test_a_flood_of_news_pushes_no_change_of_the_key_out_before_it_is_told(
    custodian: Custodian,
) -> None:
    """A stolen key names its own, and grants until the patient's box is full."""
    ada = await entered(custodian)
    custodian.block(ada.rotate("ada 2"), by="ada")
    for number in range(MESSAGES_MAX // 8 + 1):
        custodian.block(*(ada.grant(f"{number} {n}", h_grantee(n)) for n in range(8)), by="ada")
    await custodian.settle()
    assert len(custodian.messages(ada)) == MESSAGES_MAX
    assert NoticeKind.KEY_WAITS in {notice.kind for _, notice in custodian.mail.taken}


async def test_a_box_is_bounded_and_keeps_the_newest(custodian: Custodian) -> None:
    ada = await entered(custodian)
    custodian.mail.fails = True
    for number in range(MESSAGES_MAX // 8 + 1):
        custodian.block(*(ada.grant(f"{number} {n}", h_grantee(n)) for n in range(8)), by="ada")
        await custodian.settle()
    messages = custodian.messages(ada)
    assert len(messages) == MESSAGES_MAX
    assert messages[-1].height == custodian.ledger.height


def h_grantee(number: int) -> str:
    return ("hosp-b", "hosp-c", "hosp-d")[number % 3]


async def test_a_box_that_cannot_be_read_keeps_no_news_from_others(
    custodian: Custodian, caplog: pytest.LogCaptureFixture
) -> None:
    ada, bea = await entered(custodian), await entered(custodian, "bea")
    custodian.mail.fails = True
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    custodian.vault.put_record(custodian.outbox.boxes.name(ada.handle), b"not what was written")
    custodian.mail.fails = False
    for first in (True, False):  # as it runs, and after a restart
        custodian.block(ada.grant("r" if first else "t"), by="ada")
        custodian.block(bea.grant("q" if first else "s"), by="bea")
        await custodian.settle()
        custodian.outbox = custodian.opened()
    told = [(NoticeKind.PERMIT_GRANTED, Delivery.SENT)] * 2
    assert custodian.told(bea) == told
    assert "outbox_damaged" in caplog.text


async def test_who_takes_back_the_contact_gets_nothing_more_of_what_was_on_its_way(
    custodian: Custodian,
) -> None:
    ada = await entered(custodian)
    custodian.mail.fails = True
    for name in "pq":
        custodian.block(ada.grant(name), by="ada")
    await custodian.settle()
    custodian.mail.fails = False
    custodian.now_ms += RETRY_MAX_MS

    async def moves() -> None:
        custodian.mail.meanwhile = None
        await custodian.outbox.set_contact(ada.handle, None)

    custodian.mail.meanwhile = moves
    await custodian.settle()
    kinds = [notice.kind for _, notice in custodian.mail.taken]
    assert kinds == [NoticeKind.PERMIT_GRANTED, NoticeKind.CONTACT]  # not the second permit


async def test_a_dead_destination_with_thousands_waiting_keeps_no_news_from_others(
    custodian: Custodian, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all that wait are found after a restart, though the file of those that do names some only."""
    ada, bea = await entered(custodian), await entered(custodian, "bea")
    dan = await entered(custodian, "dan")
    await custodian.outbox.set_contact(dan.handle, replace(MAIL, address="dan@elsewhere.example"))
    await custodian.settle()
    monkeypatch.setattr("node.outbox.PENDING_MAX", 1)
    custodian.mail.dead = {"example.org"}
    custodian.block(ada.grant("p"), by="ada")
    custodian.block(bea.grant("q"), by="bea")
    custodian.block(dan.grant("r"), by="dan")
    await custodian.settle()
    assert custodian.told(dan)[-1] == (NoticeKind.PERMIT_GRANTED, Delivery.SENT)
    assert custodian.told(bea)[-1] == (NoticeKind.PERMIT_GRANTED, Delivery.QUEUED)
    await custodian.outbox.set_contact(bea.handle, replace(MAIL, address="bea@elsewhere.example"))
    custodian.outbox = custodian.opened()
    custodian.mail.dead = set()
    custodian.now_ms += RETRY_MAX_MS
    await custodian.settle()
    for one in (ada, bea):
        assert (NoticeKind.PERMIT_GRANTED, Delivery.SENT) in custodian.told(one)
    assert PENDING_MAX > 1


# -- who changes the contact is not the only one who hears of it -----------------------------

ELSEWHERE = Contact(CarrierName.EMAIL, "thief@example.net", Language.EN)


async def test_the_contact_before_is_told_that_it_was_changed(custodian: Custodian) -> None:
    """Whoever has the node's token can change it, and would do so before anything else."""
    ada = await entered(custodian)
    await custodian.outbox.set_contact(ada.handle, ELSEWHERE)
    await custodian.settle()
    assert [(address, notice.kind) for address, notice in custodian.mail.taken] == [
        (MAIL.address, NoticeKind.CONTACT)
    ]
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    assert custodian.mail.taken[1][0] == ELSEWHERE.address
    assert custodian.told(ada) == [
        (NoticeKind.CONTACT, Delivery.SENT),
        (NoticeKind.PERMIT_GRANTED, Delivery.SENT),
    ]


async def test_another_language_at_the_same_address_is_no_news(custodian: Custodian) -> None:
    ada = await entered(custodian)
    await custodian.outbox.set_contact(ada.handle, replace(MAIL, language=Language.ZH))
    await custodian.settle()
    assert custodian.mail.taken == []


async def test_a_contact_that_is_taken_back_is_told_so_and_then_forgotten(
    custodian: Custodian,
) -> None:
    ada = await entered(custodian)
    custodian.mail.fails = True
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    await custodian.outbox.set_contact(ada.handle, None)
    await custodian.settle()
    assert custodian.told(ada) == [(NoticeKind.CONTACT, Delivery.QUEUED)], "and no older news"
    custodian.block(ada.revoke("p"), by="ada")
    custodian.outbox = custodian.opened()  # it outlives the node
    custodian.mail.fails = False
    custodian.now_ms += RETRY_MAX_MS
    await custodian.settle()
    assert [notice.kind for _, notice in custodian.mail.taken] == [NoticeKind.CONTACT]
    assert custodian.outbox.of_handle(ada.handle) is None


async def test_a_farewell_waits_also_where_the_outbox_had_not_begun(custodian: Custodian) -> None:
    ada = await entered(custodian)
    custodian.outbox = custodian.opened()
    await custodian.outbox.set_contact(ada.handle, ELSEWHERE)
    custodian.outbox = custodian.opened()  # stopped before it was sent
    await custodian.settle()
    assert [address for address, _ in custodian.mail.taken] == [MAIL.address]


async def test_no_flood_of_changes_or_news_pushes_out_what_the_first_contact_is_told(
    custodian: Custodian,
) -> None:
    ada = await entered(custodian)
    custodian.mail.fails = True
    for number in range(MESSAGES_MAX):
        thief = replace(ELSEWHERE, address=f"{number}@example.net")
        await custodian.outbox.set_contact(ada.handle, thief)
    for number in range(MESSAGES_MAX // 8 + 1):
        custodian.block(*(ada.grant(f"{number} {n}", h_grantee(n)) for n in range(8)), by="ada")
    await custodian.settle()
    custodian.mail.fails = False
    custodian.now_ms += RETRY_MAX_MS
    await custodian.settle()
    farewells = [one for one in custodian.mail.taken if one[1].kind is NoticeKind.CONTACT]
    assert len(farewells) == FAREWELLS_MAX
    assert MAIL.address in {address for address, _ in farewells}


# -- slow destinations -----------------------------------------------------------------------


class Slow(Fake):
    """Takes nothing at one host until it is released; counts who waits there."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host, self.released = host, asyncio.Event()
        self.waiting, self.most = 0, 0

    async def send(self, contact: Contact, notice: Notice) -> None:
        if self.destination(contact.address) == self.host:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            await self.released.wait()
            self.waiting -= 1
        await super().send(contact, notice)


async def test_a_destination_that_takes_its_time_delays_no_other_and_not_the_chain(
    custodian: Custodian,
) -> None:
    slow = Slow("slow.example")
    custodian.mail = slow
    custodian.outbox = custodian.opened()
    patients = []
    for number in range(SENDS_PER_DESTINATION_MAX + 2):
        patient = await entered(custodian, f"slow {number}")
        await custodian.outbox.set_contact(
            patient.handle, Contact(CarrierName.EMAIL, f"{number}@slow.example", Language.EN)
        )
        patients.append(patient)
    bea = await entered(custodian, "bea")
    slow.taken.clear()
    custodian.now_ms += 1
    for number, patient in enumerate(patients):
        custodian.block(patient.grant("p"), by=f"slow {number}")
    custodian.block(bea.grant("p"), by="bea")
    while NoticeKind.PERMIT_GRANTED not in {notice.kind for _, notice in slow.taken}:
        await custodian.outbox.step()
        await asyncio.sleep(0)  # others' turn: nothing here waits for time
    assert [to for to, notice in slow.taken if notice.kind is not NoticeKind.CONTACT] == [
        MAIL.address
    ]
    custodian.block(bea.revoke("p"), by="bea")  # the chain is read on meanwhile
    while len(custodian.told(bea)) < 2 or custodian.told(bea)[1][1] is not Delivery.SENT:
        await custodian.outbox.step()
        await asyncio.sleep(0)
    assert slow.waiting == slow.most == SENDS_PER_DESTINATION_MAX
    slow.released.set()
    await custodian.settle()
    assert {custodian.told(one)[-1] for one in patients} == {
        (NoticeKind.PERMIT_GRANTED, Delivery.SENT)
    }
    assert slow.most == SENDS_PER_DESTINATION_MAX


async def test_what_is_on_its_way_ends_with_the_outbox(custodian: Custodian) -> None:
    slow = Slow("example.org")
    custodian.mail = slow
    custodian.outbox = custodian.opened()
    ada = await entered(custodian)
    running = asyncio.create_task(custodian.outbox.run())
    custodian.block(ada.grant("p"), by="ada")
    custodian.outbox.grew()
    while not slow.waiting:  # noqa: ASYNC110 - the outbox comes to it in its turn
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert custodian.outbox.sending == ()
    assert custodian.told(ada) == [(NoticeKind.PERMIT_GRANTED, Delivery.QUEUED)], "sent anew later"


def test_messages_to_one_host_wait_for_each_other_whatever_the_path() -> None:
    hook = WebHook(frozenset({"hooks.example"}))
    places = ("https://hooks.example/a", "https://HOOKS.example/b", "https://hooks.example:1/c")
    assert [hook.destination(place) for place in places] == [
        "hooks.example", "hooks.example", "hooks.example:1",
    ]  # fmt: skip


async def test_a_contact_is_of_a_relation_and_a_carrier_that_there_is(
    custodian: Custodian,
) -> None:
    ada = await entered(custodian)
    for handle, contact, code in (
        (h("nobody"), MAIL, "UNKNOWN_RELATION"),
        (ada.handle, Contact(CarrierName.PRINT, "Main St 1", Language.EN), "NOT_ENABLED"),
        (ada.handle, Contact(CarrierName.EMAIL, "nowhere", Language.EN), "BAD_CONTACT"),
    ):
        with pytest.raises(SalusError) as caught:
            await custodian.outbox.set_contact(handle, contact)
        assert caught.value.code == code


async def test_no_address_and_no_handle_stands_in_a_log_or_in_plain_on_disk(
    custodian: Custodian, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ada = await entered(custodian)
    custodian.mail.fails = True
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    found = contents(tmp_path)
    assert found
    for secret in (MAIL.address.encode(), ada.handle, ada.handle.hex().encode()):
        assert [content for content in found if secret in content] == []
        assert secret.decode("latin-1") not in caplog.text
    assert "notice_not_sent" in caplog.text


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


# -- carriers: real servers on loopback ------------------------------------------------------

NOTICE = Notice(NoticeKind.EMERGENCY, ORG, factories.TIME_MS, 1)


class MailServer:
    """As much of RFC 5321 as a client says to one that takes everything, or nothing."""

    def __init__(self) -> None:
        self.refuses = False
        self.mails: list[tuple[str, str]] = []  # recipient, message

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")

        say("220 test")
        recipient = ""
        while line := (await reader.readline()).decode():
            word = line.strip().upper()
            if word.startswith("RCPT TO:"):
                recipient = line.strip()[9:-1]
                say("550 no" if self.refuses else "250 ok")
            elif word == "DATA":
                say("354 go on")
                message = []
                while (text_line := (await reader.readline()).decode()) != ".\r\n":
                    message.append(text_line)
                self.mails.append((recipient, "".join(message)))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                break
            else:
                say("250 ok")
        writer.close()


async def test_a_mail_arrives_at_a_mail_server_or_is_known_not_to() -> None:
    server = MailServer()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        mail = Mail("127.0.0.1", port, "none", "salus@hosp-a.example")
        await mail.send(MAIL, NOTICE)
        ((recipient, message),) = server.mails
        assert recipient == MAIL.address
        assert "From: salus@hosp-a.example" in message
        assert "Auto-Submitted: auto-generated" in message
        assert "emergency" in message
        await mail.send(Contact(CarrierName.EMAIL, MAIL.address, Language.ZH), NOTICE)
        assert len(server.mails) == 2
        server.refuses = True
        with pytest.raises(CarrierFailed) as caught:
            await mail.send(MAIL, NOTICE)
        assert MAIL.address not in str(caught.value)
    with pytest.raises(CarrierFailed):
        await mail.send(MAIL, NOTICE)  # nobody listens any more


@pytest.mark.parametrize(
    "address",
    [
        "ada",
        "@example.org",
        "ada@",
        "a@b\r\nBcc: all@example.org",
        "Ada <a@b.c>",
        "a@b,c@d",
        *(f"a{split}Bcc@b.c" for split in "\x0b\x0c\x1c\x85\u2028\x00"),
        "=?utf-8?q?a=0D=0ABcc=3A?=@b.c",
        "=?utf-8?q?a=40b=2Cc?=@d.e",
    ],
)
def test_what_is_no_one_mail_address_is_not_accepted(address: str) -> None:
    assert not Mail("localhost", 25, "none", "x@y").accepts(address)


async def test_a_webhook_gets_the_notice_and_follows_nobody() -> None:
    got: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(status=204)

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/take")

    app = web.Application()
    app.router.add_post("/take", take)
    app.router.add_post("/elsewhere", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    hook = WebHook(frozenset({"127.0.0.1"}))

    def at(path: str) -> Contact:
        return Contact(CarrierName.WEBHOOK, f"http://127.0.0.1:{port}{path}", Language.EN)

    await hook.send(at("/take"), NOTICE)
    assert (got[0]["kind"], got[0]["organisation"]) == ("emergency", ORG)
    assert set(got[0]) == {"kind", "organisation", "count", "text"}
    for path in ("/elsewhere", "/missing"):
        with pytest.raises(CarrierFailed):
            await hook.send(at(path), NOTICE)
    assert len(got) == 1
    await runner.cleanup()
    with pytest.raises(CarrierFailed):
        await hook.send(at("/take"), NOTICE)
    with pytest.raises(CarrierFailed):
        await WebHook(frozenset()).send(at("/take"), NOTICE)


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("https://hooks.example/x", True),
        ("https://HOOKS.example:8443/x", True),
        ("http://hooks.example/x", False),
        ("https://other.example/x", False),
        ("https://hooks.example.evil/x", False),
        ("https://me@hooks.example/x", False),
        ("https://169.254.169.254/latest", False),
        ("file:///etc/passwd", False),
        ("https://hooks.example:port/", False),
        ("https://[", False),
    ],
)
def test_a_webhook_goes_where_the_operator_allows(address: str, fits: bool) -> None:
    """Else a patient could have the node call what stands in the hospital's own network."""
    assert WebHook(frozenset({"hooks.example"})).accepts(address) is fits


async def test_a_letter_is_a_line_of_the_list_until_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "outbox" / "letters.ndjson"
    letters = PrintList(path)
    ada = Contact(CarrierName.PRINT, "Ada Example\nMain Street 1", Language.ZH)
    assert letters.accepts(ada.address)
    assert not letters.accepts("Ada\x1b[2J")
    await letters.send(ada, NOTICE)
    await letters.send(ada, NOTICE)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["to"] for line in lines] == [ada.address] * 2
    assert path.stat().st_mode & 0o077 == 0
    with path.open("r+b") as stream:
        stream.truncate(PRINT_LIST_BYTES_MAX)
    with pytest.raises(CarrierFailed, match="full"):
        await letters.send(ada, NOTICE)


async def test_what_stands_in_the_last_block_before_a_contact_is_not_told(
    custodian: Custodian,
) -> None:
    """Also where nobody has read that block yet: with nobody to tell it is read later."""
    ada = Patient(Lab(custodian.ledger.genesis), "ada")
    custodian.block(ada.register())
    custodian.outbox._height = custodian.ledger.height - 1
    await custodian.outbox.set_contact(ada.handle, MAIL)
    await custodian.settle()
    assert custodian.told(ada) == []


async def test_without_a_contact_blocks_are_read_by_nobody_and_none_is_told_later(
    custodian: Custodian,
) -> None:
    """An idle outbox costs a block nothing; who leaves a contact hears of what comes from then on."""
    ada = Patient(Lab(custodian.ledger.genesis), "ada")
    custodian.block(ada.register())
    read: list[int] = []
    events_of = custodian.feed.events_of

    def seen(height: int) -> list[FeedEvent]:
        read.append(height)
        return events_of(height)

    custodian.feed.events_of = seen  # type: ignore[method-assign]
    await custodian.settle()
    assert read == []
    await custodian.outbox.set_contact(ada.handle, MAIL)
    custodian.block(ada.grant("p"), by="ada")
    await custodian.settle()
    assert custodian.told(ada) == [(NoticeKind.PERMIT_GRANTED, Delivery.SENT)]
    assert read == [custodian.ledger.height]
