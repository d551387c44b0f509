"""A receipt goes out once its reader has spoken, and a restart forgets none (rule T-5)."""

from collections.abc import Sequence
from typing import Any

import pytest

from node.api.view import Submitted
from node.receipts import EXPIRY_BLOCKS, NO_TICKET_MS, NOTED_MAX, Receipts, ReceiptState
from salus.codec import decode
from salus.errors import SalusError
from salus.forms import TransactionState
from salus.parameters import Parameters
from salus.statemap import SALT_BYTES
from salus.ticket import Ticket, ticket_key
from salus.transaction import ParsedTransaction, parse
from storage.vault import Vault
from tests import factories
from tests.contracts.lab import Lab, h
from tests.contracts.patients import TODAY, Patient, request_id
from tests.ledger import Ledger
from tests.storage.memory_disk import MemoryDisk

DIGEST = h("what arrived")


class World:
    """hosp-b has read at hosp-a under the request «ask»."""

    def __init__(self) -> None:
        genesis = factories.genesis(parameters=Parameters(state_bucket_bits=4))
        self.ledger, self.disk, self.now_ms = Ledger(genesis), MemoryDisk(), 1_000
        self.offered: list[ParsedTransaction] = []
        self.taken = True
        self.ada = Patient(Lab(genesis))
        self.block("operator hosp-a", self.ada.register())
        self.block("ada", self.ada.grant("p", from_day=TODAY, until_day=TODAY + 9))
        self.receipts = self.opened()

    def opened(self) -> Receipts:
        genesis = self.ledger.genesis
        return Receipts(
            Vault.open("vault", h("lock"), disk=self.disk),
            self.ledger.state,
            factories.key("node hosp-b"),
            genesis.chain_id,
            genesis.hash(),
            self.submit,
            h("seed"),
            self.clock,
        )

    def clock(self) -> int:
        self.now_ms += 1
        return self.now_ms

    async def submit(self, raws: Sequence[bytes]) -> Sequence[Submitted]:
        genesis = self.ledger.genesis
        for raw in raws:
            tx = parse(raw, genesis.chain_id, genesis.hash(), genesis.parameters)
            self.offered.append(tx)
        state = TransactionState.PENDING if self.taken else TransactionState.REJECTED
        code = None if self.taken else "MEMPOOL_FULL"
        return [Submitted(state, h("tx"), None, code) for _ in raws]

    def block(self, by: str, *operations: Any) -> None:
        tx = factories.transaction(self.ledger.genesis, *operations, signer=factories.key(by))
        receipts = self.ledger.block(tx)
        assert [one.code for one in receipts] == ["OK"] * len(operations)

    def ticket(self, name: str = "ask", permit: str = "p") -> None:
        expiry_height = self.ledger.height + 5
        operation = self.ada.ticket(name, permit, expiry_height=expiry_height)
        self.block("node hosp-a", operation)

    def certify(self) -> list[str]:
        """Everything that was offered, in a block."""
        receipts = self.ledger.block(*self.offered)
        self.offered.clear()
        return [one.code for one in receipts]

    def on_chain(self, name: str = "ask") -> Ticket:
        stored = self.ledger.state.get(ticket_key("hosp-a", request_id(name)))
        assert stored is not None
        return decode(stored[SALT_BYTES:], Ticket)

    def states(self) -> list[ReceiptState]:
        return [one.state for one in self.receipts.noted()]


@pytest.fixture
def world() -> World:
    return World()


async def test_what_the_reader_confirms_is_sent_and_forgotten_when_the_chain_shows_it(
    world: World,
) -> None:
    world.ticket()
    await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.step()
    assert (world.states(), world.offered) == ([ReceiptState.AWAITED], [])
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    await world.receipts.step()
    assert world.states() == [ReceiptState.UNSENT]
    assert world.certify() == ["OK"]
    await world.receipts.step()
    assert (world.states(), world.offered) == ([], [])
    commitment = world.on_chain().receipt
    assert commitment is not None
    assert commitment != DIGEST
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    assert world.states() == []


async def test_an_unsent_receipt_survives_a_restart(world: World) -> None:
    world.ticket()
    await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    await world.receipts.step()
    world.offered.clear()  # the node was killed, and its transaction with it
    world.receipts = world.opened()
    assert world.states() == [ReceiptState.UNSENT]
    await world.receipts.step()
    assert world.certify() == ["OK"]
    assert world.on_chain().receipt is not None


async def test_an_awaited_one_too_and_both_lives_name_the_same_commitment(world: World) -> None:
    world.ticket()
    await world.receipts.expect("hosp-a", request_id("ask"))
    world.receipts = world.opened()
    assert world.states() == [ReceiptState.AWAITED]
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    await world.receipts.step()
    first = world.offered.pop().body.operations
    world.receipts = world.opened()
    await world.receipts.step()
    assert world.offered[0].body.operations == first


async def test_it_is_sent_again_only_when_the_first_can_no_longer_come(world: World) -> None:
    world.ticket()
    await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    for _ in range(EXPIRY_BLOCKS - 1):
        await world.receipts.step()
        world.ledger.block()
    await world.receipts.step()
    assert len(world.offered) == 1
    world.ledger.block()
    await world.receipts.step()
    (_, again) = world.offered
    world.offered = [again]
    assert world.certify() == ["OK"]


async def test_one_that_the_pool_refuses_is_offered_again(world: World) -> None:
    world.ticket()
    await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    world.taken = False
    await world.receipts.step()
    world.taken = True
    await world.receipts.step()
    assert len(world.offered) == 2


async def test_a_node_that_is_behind_waits_for_the_ticket(world: World) -> None:
    await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    await world.receipts.step()
    assert world.offered == []
    world.ticket()
    await world.receipts.step()
    assert world.certify() == ["OK"]


async def test_what_the_chain_denied_is_not_offered_for_ever(world: World) -> None:
    """Its custodian said otherwise, and the chain would refuse the receipt each time."""
    await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    world.ticket(permit="none")
    await world.receipts.step()
    assert (world.offered, world.states()) == ([], [])


async def test_what_was_not_permitted_after_all_is_awaited_no_more(world: World) -> None:
    assert await world.receipts.expect("hosp-a", request_id("ask"))
    assert not await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.expect_no_more("hosp-a", request_id("ask"))
    assert world.states() == []
    world.receipts = world.opened()
    assert world.states() == []


async def test_what_arrived_is_not_forgotten_by_a_late_no(world: World) -> None:
    await world.receipts.expect("hosp-a", request_id("ask"))
    await world.receipts.confirm("hosp-a", request_id("ask"), DIGEST)
    await world.receipts.expect_no_more("hosp-a", request_id("ask"))
    assert world.states() == [ReceiptState.UNSENT]


async def test_only_reads_that_the_chain_permitted_lack_a_receipt(world: World) -> None:
    for name in ("ask", "denied", "asked for now"):
        await world.receipts.expect("hosp-a", request_id(name))
    world.ticket("ask")
    world.ticket("denied", permit="none")
    assert [one.request_id for one in world.receipts.missing()] == [request_id("ask")]


async def test_what_a_crash_left_of_a_question_goes(world: World) -> None:
    """It was noted while it was asked for; what may still be permitted stays."""
    for name in ("ask", "denied", "asked for now"):
        await world.receipts.expect("hosp-a", request_id(name))
    world.ticket("denied", permit="none")
    world.receipts = world.opened()
    left = [request_id("ask"), request_id("asked for now")]
    assert [one.request_id for one in world.receipts.noted()] == left
    world.ticket("ask")
    world.now_ms += NO_TICKET_MS
    world.receipts = world.opened()
    assert [one.request_id for one in world.receipts.noted()] == left[:1]


async def test_nobody_confirms_what_was_not_permitted(world: World) -> None:
    world.ticket("denied", permit="none")
    for name in ("denied", "unknown"):
        with pytest.raises(SalusError) as caught:
            await world.receipts.confirm("hosp-a", request_id(name), DIGEST)
        assert caught.value.code == "UNKNOWN_TICKET"
    assert world.states() == []


async def test_the_oldest_awaited_ones_make_room_and_no_unsent_one_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert NOTED_MAX > 1_000
    monkeypatch.setattr("node.receipts.NOTED_MAX", 2)
    await world.receipts.expect("hosp-a", request_id("1"))
    await world.receipts.confirm("hosp-a", request_id("1"), DIGEST)
    for name in ("2", "3"):
        await world.receipts.expect("hosp-a", request_id(name))
    kept = [request_id("1"), request_id("3")]
    assert [one.request_id for one in world.receipts.noted()] == kept
    world.receipts = world.opened()
    assert [one.request_id for one in world.receipts.noted()] == kept
