"""The trail by the certified state: whole, or said to be cut (rule T-6; salus/state_file.py)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from contracts.context import StaffRole
from contracts.emergency import OpenArgs
from contracts.members import StaffRegisterArgs
from node.trail_files import TrailFiles
from salus import trail as trails
from salus.audit_story import story
from salus.emergency import case_id
from salus.emergency import trail_key as emergency_key
from salus.erasure import Basis
from salus.errors import SalusError, VerificationError
from salus.parameters import Parameters
from salus.permit import Reason
from salus.state_file import (
    MAGIC,
    StateBundle,
    read_state_file,
    verify_state_file,
    write_state_file,
)
from salus.ticket import ticket_key, trail_key
from salus.trail import PLAIN, Start, Trail, complete, trail_of
from salus.transaction import Operation
from tests import factories
from tests.contracts.lab import Lab, h, possession_of
from tests.contracts.patients import Patient, request_id
from tests.contracts.test_erasure import request
from tests.ledger import Ledger

ORG = "hosp-a"


class Chain:
    """A certified chain with patients at hosp-a; hosp-b has a permit of each."""

    def __init__(self, *names: str) -> None:
        self.ledger = Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))
        self.files = TrailFiles(self.ledger.proofs)
        self.patients: dict[str, Patient] = {}
        for name in names:
            patient = Patient(Lab(self.ledger.genesis), name)
            self.patients[name] = patient
            self.run(patient.register(), by="operator hosp-a")
            self.run(patient.grant("p"), by=name)

    def run(self, *operations: Operation, by: str) -> None:
        receipts = self.ledger.block(
            factories.transaction(self.ledger.genesis, *operations, signer=factories.key(by))
        )
        assert {receipt.code for receipt in receipts} == {"OK"}

    def ask(self, name: str, *requests: str, permit: str | None = "p") -> None:
        patient = self.patients[name]
        for word in requests:
            height = self.ledger.height + 5
            ticket = patient.ticket(word, permit, expiry_height=height)
            self.run(ticket, by="node hosp-a")

    async def file(self, name: str, start: Start | None = None) -> bytes:
        return await self.files.file(ORG, self.patients[name].handle, start)

    def read(self, name: str, data: bytes, start: Start | None = None) -> Trail:
        state = verify_state_file(data, self.ledger.genesis_hash)
        return trail_of(ORG, self.patients[name].handle, state, start)


def asked(trail: Trail) -> list[bytes]:
    return [look.request_id for look in trail.looks]


async def test_the_whole_trail_is_proved_at_one_height() -> None:
    chain = Chain("ada", "bea")
    chain.ask("ada", "1", "2")
    chain.ask("bea", "x")
    chain.ask("ada", "3", permit=None)
    trail = chain.read("ada", await chain.file("ada"))
    assert asked(trail) == [request_id(word) for word in ("3", "2", "1")]
    assert [look.ticket.reason for look in trail.looks] == [
        Reason.NO_PERMIT,
        Reason.PERMIT,
        Reason.PERMIT,
    ]
    assert [look.unconfirmed for look in trail.looks] == [False, True, True]
    assert (complete((trail,)), trail.tickets, trail.height) == (True, 3, chain.ledger.height)
    chain.run(request(chain.patients["ada"]), by="ada")
    later = chain.read("ada", await chain.file("ada"))
    assert [case.basis for _, case in later.erasures] == [Basis.OWNER]
    assert complete((later,))


async def test_nobody_has_looked_is_proved_too() -> None:
    chain = Chain("ada")
    trail = chain.read("ada", await chain.file("ada"))
    assert (trail.looks, trail.tickets, complete((trail,))) == ((), 0, True)


async def test_a_long_trail_comes_in_files_that_follow_one_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trails, "TICKETS_PER_FILE", 2)
    chain = Chain("ada")
    chain.ask("ada", "1", "2", "3", "4", "5", "6")
    found: list[bytes] = []
    files: list[Trail] = []
    start = None
    for _ in range(3):
        trail = chain.read("ada", await chain.file("ada", start), start)
        found += asked(trail)
        start = trail.next
        files.append(trail)
    assert found == [request_id(word) for word in "654321"]
    assert start is None
    assert_whole(files)


async def test_seventy_emergencies_and_erasures_of_one_handle_make_a_whole_trail() -> None:
    """E-9, X-5: more cases than one file holds come in the next; none is missing, none twice."""
    chain = Chain("ada")
    chain.ask("ada", "1")
    ada, numbers = chain.patients["ada"], range(70)
    possession = possession_of("doc hosp-b", "hosp-b", h("doc"))
    doctor = (factories.key("doc hosp-b").public_key, (StaffRole.EMERGENCY,), h("licence"))
    args = StaffRegisterArgs("hosp-b", h("doc"), *doctor, 0, 2**53 - 1, possession)
    chain.run(ada.op("members", "staff_register", args), by="operator hosp-b")
    openings = [OpenArgs(ORG, ada.handle, h(f"nonce {number}"), h("why")) for number in numbers]
    chain.run(*(ada.op("emergency", "open", one) for one in openings), by="doc hosp-b")
    chain.run(*(request(ada, f"case {number}") for number in numbers), by="ada")
    files = [chain.read("ada", await chain.file("ada"))]
    while (start := files[-1].next) is not None:
        files.append(chain.read("ada", await chain.file("ada", start), start))
    assert [len(one.looks) for one in files] == [1, 0]
    opened = [case.id for one in files for case in one.emergencies]
    asked = [name for one in files for name, _ in one.erasures]
    assert opened == [
        case_id((ORG, ada.handle), "hosp-b", h("doc"), one.nonce) for one in reversed(openings)
    ]
    assert asked == [h(f"case {number}") for number in reversed(numbers)]
    assert complete(files)
    entries = story(factories.CHAIN_ID, files, {})
    assert len({(one.kind, one.id) for one in entries}) == len(entries) == 141
    # A later case changes neither what the files prove nor where they go on.
    chain.run(request(ada, "later"), by="ada")
    start = files[0].next
    assert complete([files[0], chain.read("ada", await chain.file("ada", start), start)])
    for cut in (files[:1], files[1:], [*files, files[1]]):
        assert not complete(cut)


def assert_whole(files: list[Trail]) -> None:
    """All of three files, and not any fewer of them, nor one in another's place."""
    assert complete(files)
    first, second, third = files
    for cut in ([first, second], [second, third], [first, third], [first, third, third]):
        assert not complete(cut)


def without(key: bytes) -> Callable[[StateBundle], StateBundle]:
    return lambda bundle: replace(
        bundle, values=tuple(one for one in bundle.values if one.key != key)
    )


async def test_what_is_left_out_is_seen() -> None:
    """T-6: a node that shortens the trail is caught, whichever value it leaves out."""
    chain = Chain("ada")
    chain.ask("ada", "1", "2")
    ada = chain.patients["ada"]
    data = await chain.file("ada")
    bundle = read_state_file(data)
    for key in (
        trail_key(ORG, ada.handle),
        ticket_key(ORG, request_id("1")),
        ticket_key(ORG, request_id("2")),
        emergency_key(ORG, ada.handle),
    ):
        cut = write_state_file(without(key)(bundle))
        with pytest.raises(VerificationError, match="leaves out"):
            chain.read("ada", cut)
    # An older file is whole, as of its own height, and says which.
    chain.ask("ada", "3")
    assert chain.read("ada", data).height < chain.ledger.height
    old_head = next(one for one in bundle.values if one.key == trail_key(ORG, ada.handle))
    newer = read_state_file(await chain.file("ada"))
    values = tuple(old_head if one.key == old_head.key else one for one in newer.values)
    with pytest.raises(VerificationError, match="another state root"):
        chain.read("ada", write_state_file(replace(newer, values=values)))


async def test_a_start_that_is_not_of_the_trail_is_refused() -> None:
    chain = Chain("ada", "bea")
    chain.ask("ada", "1")
    chain.ask("bea", "x")
    elsewhere = Start(request_id("x"), None, None)
    data = await chain.file("ada", elsewhere)
    with pytest.raises(VerificationError, match="not this relation's"):
        chain.read("ada", data, elsewhere)


async def test_a_file_of_another_chain_or_with_a_changed_byte_is_refused() -> None:
    chain = Chain("ada")
    chain.ask("ada", "1")
    data = await chain.file("ada")
    with pytest.raises(VerificationError, match="another consortium"):
        verify_state_file(data, bytes(32))
    for at in range(0, len(data), 97):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(SalusError):
            verify_state_file(changed, chain.ledger.genesis_hash)
    bundle = read_state_file(data)
    for other in (
        replace(bundle, version=2),
        replace(bundle, header=replace(bundle.header, time_ms=1)),
        replace(bundle, certificate=replace(bundle.certificate, signatures=())),
        replace(bundle, values=(*bundle.values, bundle.values[0])),
        replace(bundle, header=replace(bundle.header, epoch=1)),
    ):
        with pytest.raises(SalusError):
            verify_state_file(write_state_file(other), chain.ledger.genesis_hash)
    with pytest.raises(VerificationError):
        verify_state_file(MAGIC, chain.ledger.genesis_hash)


def test_every_reason_has_plain_words() -> None:
    assert set(PLAIN) == set(Reason)
