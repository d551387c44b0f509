"""The grantee's node reads its permits out of certified blocks, once each, also after a restart."""

from typing import Any

import pytest

from node.permit_inbox import PermitInbox
from node.sync import BlockSource
from salus.grant_notice import NOTICE_VERSION, GrantNotice, seal_notice
from salus.keys import box_public_key
from salus.parameters import Parameters
from salus.permit import Effect, Purpose, RecordClass
from salus.relation import DAY_MS
from storage.vault import Vault
from tests import factories
from tests.contracts.lab import Lab, h
from tests.contracts.patients import TODAY, Patient
from tests.ledger import Ledger
from tests.storage.memory_disk import MemoryDisk

SECRET = h("box of hosp-b")
HERE = h("handle ada-b hosp-b")  # her relation at hosp-b, with a key of its own


class World:
    """ada at hosp-a grants; hosp-b reads."""

    def __init__(self) -> None:
        genesis = factories.genesis(parameters=Parameters(state_bucket_bits=4))
        self.ledger, self.disk, self.now_ms = Ledger(genesis), MemoryDisk(), factories.TIME_MS
        self.ada = Patient(Lab(genesis))
        self.stored: list[int] = []
        self.block("operator hosp-a", self.ada.register())
        self.block("operator hosp-b", Patient(self.ada.chain, "ada-b", "hosp-b").register())
        self.inbox = self.opened()

    def opened(self, org: str = "hosp-b", secret: bytes = SECRET) -> PermitInbox:
        vault = Vault.open("vault", h("lock"), disk=self.disk)
        source = BlockSource(self.ledger.state, self.ledger.blocks)
        return PermitInbox(
            vault,
            source,
            lambda height: None,
            factories.CHAIN_ID,
            org,
            secret,
            lambda: self.now_ms,
        )

    def block(self, by: str, *operations: Any) -> None:
        tx = factories.transaction(self.ledger.genesis, *operations, signer=factories.key(by))
        receipts = self.ledger.block(tx)
        assert [one.code for one in receipts] == ["OK"] * len(operations)

    def grant(
        self,
        permit: str,
        *,
        notice_of: str | None = None,
        here: bytes = HERE,
        owner: str = "ada-b",
        **changes: Any,
    ) -> Any:
        """`notice_of`: the permit that the sealed field names, if another one; `owner`: whose key
        says that the handle here is the same patient's."""
        notice = GrantNotice(
            NOTICE_VERSION, "hosp-a", self.ada.handle, h(notice_of or permit), None
        ).said_here(factories.CHAIN_ID, "hosp-b", here, factories.key(owner))
        sealed = seal_notice(factories.CHAIN_ID, "hosp-b", notice, box_public_key(SECRET))
        return self.ada.grant(permit, **({"opening": sealed} | changes))

    def permits(self) -> list[bytes]:
        return [one.permit for one in self.inbox.of_patient(HERE)]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_permit_says_whom_to_ask_and_for_whom(world: World) -> None:
    world.block("ada", world.grant("p", classes=("medications", "results")))
    await world.inbox.catch_up()
    assert world.inbox.custodians() == ("hosp-a",)
    (known,) = world.inbox.of_patient(HERE)
    assert (known.custodian, known.handle, known.permit) == ("hosp-a", world.ada.handle, h("p"))
    assert (known.purpose, known.until_day) == (Purpose.TREATMENT, TODAY + 90)
    assert known.classes == (RecordClass.MEDICATIONS, RecordClass.RESULTS)
    assert world.inbox.of_patient(h("somebody else")) == ()


async def test_a_revoked_permit_goes_and_a_past_one_is_not_shown(world: World) -> None:
    world.block("ada", world.grant("p"), world.grant("q"))
    await world.inbox.catch_up()
    assert world.permits() == [h("q"), h("p")]
    world.block("ada", world.ada.revoke("q"))
    await world.inbox.catch_up()
    assert world.permits() == [h("p")]
    world.now_ms += 91 * DAY_MS
    assert world.permits() == []
    assert world.inbox.custodians() == ()


async def test_what_is_known_is_on_disk_and_changes_between_two_questions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is written in a thread, while readers look things up in the loop's own."""
    seen: list[tuple[bytes, ...]] = []
    put = world.inbox.vault.put_record

    def watched(name: bytes, content: bytes) -> None:
        put(name, content)
        seen.append(tuple(world.permits()))

    monkeypatch.setattr(world.inbox.vault, "put_record", watched)
    world.block("ada", world.grant("p"), world.grant("q"))
    await world.inbox.catch_up()
    assert seen[:2] == [(), ()]
    assert world.permits() == [h("q"), h("p")]


async def test_what_went_by_while_the_node_was_down_is_read_at_the_next_start(
    world: World,
) -> None:
    world.block("ada", world.grant("p"))
    await world.inbox.catch_up()
    world.block("ada", world.grant("q"), world.ada.revoke("p"))
    world.inbox = world.opened()
    assert world.permits() == [h("p")]  # as it lay in the vault
    await world.inbox.catch_up()
    assert world.permits() == [h("q")]
    world.inbox = world.opened()
    assert world.permits() == [h("q")]
    assert world.inbox.height == world.ledger.height


async def test_blocks_that_are_read_twice_change_nothing(world: World) -> None:
    world.block("ada", world.grant("p"), world.grant("q"))
    world.block("ada", world.ada.revoke("p"))
    await world.inbox.catch_up()
    world.inbox.height = 0
    await world.inbox.catch_up()
    assert world.permits() == [h("q")]


async def test_nobody_elses_permits_and_no_denials_are_kept(world: World) -> None:
    world.block("ada", world.grant("p", grantee="hosp-c"), world.grant("d", effect=Effect.DENY))
    await world.inbox.catch_up()
    assert world.permits() == []
    assert world.inbox.custodians() == ()


@pytest.mark.parametrize("changes", [{"opening": b""}, {"opening": bytes(512)}])
async def test_without_a_readable_notice_the_chain_still_says_whom_to_ask(
    world: World, changes: dict[str, bytes]
) -> None:
    world.block("ada", world.grant("p", **changes))
    await world.inbox.catch_up()
    assert world.permits() == []
    assert world.inbox.custodians() == ("hosp-a",)


async def test_a_handle_here_that_its_owner_has_not_signed_names_nobody(world: World) -> None:
    """G-16: a stranger's papers would else stand in somebody's joined view."""
    world.block("ada", world.grant("p", owner="ada"))
    world.block("ada", world.grant("q", here=h("nobody's"), owner="ada-b"))
    await world.inbox.catch_up()
    assert world.permits() == []
    assert world.inbox.of_patient(h("nobody's")) == ()
    assert world.inbox.custodians() == ("hosp-a",)  # whom to ask is known all the same
    world.block("ada", world.grant("r"))
    await world.inbox.catch_up()
    assert world.permits() == [h("r")]


async def test_a_notice_copied_from_another_permit_names_nobody(world: World) -> None:
    world.block("ada", world.grant("p", notice_of="q"))
    await world.inbox.catch_up()
    assert world.permits() == []
    assert world.inbox.custodians() == ("hosp-a",)


async def test_what_is_damaged_in_the_vault_is_read_from_the_chain_again(world: World) -> None:
    world.block("ada", world.grant("p"))
    await world.inbox.catch_up()
    (name,) = [one for one in world.inbox.vault.records() if one[1:] != bytes(32)]
    world.inbox.vault.put_record(name, b"\xc1")
    world.inbox = world.opened()
    assert (world.permits(), world.inbox.height) == ([], 0)
    await world.inbox.catch_up()
    assert world.permits() == [h("p")]


async def test_in_the_vault_neither_handle_stands_in_the_open(world: World) -> None:
    world.block("ada", world.grant("p"))
    await world.inbox.catch_up()
    files = [
        (name, bytes(inode.content))
        for directory in world.disk.directories.values()
        for name, inode in directory.names.items()
    ]
    assert len(files) >= 3
    for name, content in files:
        for secret in (HERE, world.ada.handle, h("p")):
            assert secret not in content
            assert secret.hex() not in name
