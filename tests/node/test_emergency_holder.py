"""Holders of summaries: what they keep, when they give, and what they do without a quorum
(E-2, E-3, E-8 of decision 0014)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from contracts.emergency_summary import DepositArgs
from node.api.view import Submitted
from node.care import Care
from node.emergency_holder import LATE_PER_CLINICIAN_MAX, WATCHED_MAX, Holder
from node.emergency_state import EmergencyState
from node.me import Me
from node.metrics import Metrics
from node.waiters import Waiters
from salus.codec import encode
from salus.emergency import Verdict
from salus.emergency_forms import EmergencyRequest, summary_commitment
from salus.emergency_share import (
    SummaryOwner,
    open_summary,
    seal_share,
    seal_summary,
    take_share,
)
from salus.emergency_wire import Deposit, ShareAsk, ShareGiven
from salus.errors import SalusError, VerificationError
from salus.forms import TransactionState
from salus.key_shares import join, split
from salus.keys import box_public_key
from salus.parameters import Parameters
from salus.staff import StaffRole
from salus.transaction import ParsedTransaction, parse
from storage.vault import Vault
from tests import factories
from tests.contracts.emergencies import ALL, Ward
from tests.contracts.lab import h
from tests.contracts.patients import Patient, enter
from tests.storage.memory_disk import MemoryDisk

IPS = b'{"resourceType":"Bundle","type":"document"}'
SALT, SECRET = h("salt"), h("ephemeral")
SILENCE_S = Parameters().emergency_silence_ms / 1000


@dataclass
class World:
    """A ward whose chain can stall, and the holders' nodes over it."""

    ward: Ward = field(default_factory=Ward)
    stalled: bool = False
    now_s: float = 1_000.0
    behind: bool = False
    answer: Submitted = field(default_factory=lambda: Submitted(TransactionState.PENDING))
    metrics: Metrics = field(default_factory=Metrics)
    pool: list[ParsedTransaction] = field(default_factory=list)
    disks: dict[str, MemoryDisk] = field(default_factory=dict)
    holders: dict[str, Holder] = field(default_factory=dict)
    deposits: dict[str, Deposit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for org in ALL:
            self.disks[org] = MemoryDisk()
            self.start(org)
        self.deposits = self.deposit(1)

    def start(self, org: str) -> Holder:
        """As a restart makes it: from the disk alone."""
        chain = self.ward.chain
        self.holders[org] = Holder(
            Me(
                org,
                factories.key(f"node {org}"),
                factories.seed(f"box {org}"),
                factories.CHAIN_ID,
                chain.genesis.hash(),
            ),
            Vault.open("vault", h(f"lock {org}"), disk=self.disks[org]),
            EmergencyState(chain.executor.read),
            Waiters(chain.executor.head.height),
            self.submit,
            Parameters,
            lambda: self.behind,
            lambda: factories.TIME_MS + 100 * chain.executor.head.height + chain.later_ms,
            lambda: self.now_s,
            lambda size: h(f"random {self.now_s} {len(self.pool)}")[:size],
            self.metrics,
        )
        return self.holders[org]

    def deposit(
        self, generation: int, holders: tuple[str, ...] = ALL, by: str = "ada"
    ) -> dict[str, Deposit]:
        """On the chain, and as the patient's device sends it to each."""
        ada = self.ward.ada
        owner = SummaryOwner(factories.CHAIN_ID, ada.org, ada.handle, generation + 1)
        key, sealed = seal_summary(owner, IPS)
        commitment = summary_commitment(SALT, sha256(sealed).digest())
        number = generation + 1
        args = DepositArgs(ada.org, ada.handle, commitment, holders, 2, number, None, None)
        assert self.ward.run(self.ward.chain.op("emergency", "deposit", args), by=by) == "OK"
        shares = split(key, 2, len(holders))
        return {
            org: Deposit(
                ada.org,
                ada.handle,
                generation + 1,
                SALT,
                sealed,
                seal_share(owner, org, share, box_public_key(factories.seed(f"box {org}"))),
            )
            for org, share in zip(holders, shares, strict=True)
        }

    async def keep_all(self) -> None:
        for org, deposit in self.deposits.items():
            await self.holders[org].keep(deposit)

    async def submit(self, transactions: Sequence[bytes]) -> Sequence[Submitted]:
        genesis = self.ward.chain.genesis
        for raw in transactions:
            tx = parse(raw, genesis.chain_id, genesis.hash(), genesis.parameters)
            if all(tx.id != known.id for known in self.pool):
                self.pool.append(tx)
        if not self.stalled:
            self.resume()
        return [self.answer]

    def resume(self) -> None:
        """What waits is certified."""
        self.stalled = False
        waiting, self.pool = self.pool, []
        if not waiting:
            self.ward.pass_block()
        else:
            executed = self.ward.chain.block(*waiting)
            for holder in self.holders.values():
                holder.see(executed.receipts)
                ids = [tx.id for tx in waiting]
                holder.waiters.block(executed.header, ids, executed.receipts)
        for holder in self.holders.values():
            holder.waiters.height = self.ward.chain.executor.head.height

    def ask(
        self, name: str, doctor: str = "doc hosp-b", signer: str | None = None, **changes: Any
    ) -> ShareAsk:
        request = msgspec.structs.replace(
            self.ward.request(name, doctor), release_key=box_public_key(SECRET), **changes
        )
        key = factories.key(signer or doctor)
        opening = self.ward.chain.tx(self.ward.opening(name), by=doctor)
        signature = key.sign(request.payload())
        return ShareAsk(request, key.public_key, signature, opening.raw, True)

    async def given(self, org: str, ask: ShareAsk, member: str = "hosp-b") -> ShareGiven:
        return await self.holders[org].give(member, ask)

    async def refused(self, org: str, ask: ShareAsk, member: str = "hosp-b") -> str:
        with pytest.raises(SalusError) as caught:
            await self.given(org, ask, member)
        return caught.value.code

    def opened(self, request: EmergencyRequest, given: dict[str, ShareGiven]) -> bytes:
        (generation,) = {one.generation for one in given.values()}
        owner = SummaryOwner(factories.CHAIN_ID, request.org, request.handle, generation)
        key = join(
            take_share(owner, request.case, org, one.share, SECRET) for org, one in given.items()
        )
        return open_summary(owner, next(iter(given.values())).sealed, key)


@pytest.fixture
async def world() -> World:
    made = World()
    await made.keep_all()
    return made


# -- keys and shares -------------------------------------------------------------------------------


def test_any_k_shares_open_and_fewer_or_foreign_ones_do_not() -> None:
    owner = SummaryOwner("c", "hosp-a", h("handle"), 1)
    key, sealed = seal_summary(owner, IPS)
    shares = split(key, 3, 5)
    for chosen in (shares[:3], shares[2:], (shares[0], shares[2], shares[4])):
        assert join(chosen) == key
    others = split(key, 3, 5)
    for wrong in (shares[:2], (*shares[:2], others[2]), (shares[0],) * 3, (b"no words",)):
        with pytest.raises(VerificationError):
            join(wrong)
    assert open_summary(owner, sealed, key) == IPS
    for changed in (
        msgspec.structs.replace(owner, generation=2),
        msgspec.structs.replace(owner, handle=h("other")),
        msgspec.structs.replace(owner, org="hosp-b"),
    ):
        with pytest.raises(VerificationError):
            open_summary(changed, sealed, key)
    with pytest.raises(VerificationError):
        open_summary(owner, sealed[:-1], key)


@pytest.mark.parametrize(("size", "code"), [(0, "BAD_DOCUMENT"), (1_000_001, "TOO_LARGE")])
def test_a_summary_has_its_size(size: int, code: str) -> None:
    with pytest.raises(SalusError) as caught:
        seal_summary(SummaryOwner("c", "hosp-a", h("handle"), 1), bytes(size))
    assert caught.value.code == code


# -- keeping ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sealed": b"another"}, "REQUEST_UNFIT"),
        ({"salt": h("another")}, "REQUEST_UNFIT"),
        ({"generation": 1}, "REQUEST_UNFIT"),
        ({"share": b"no share"}, "BAD_SHARE_SET"),
        ({"handle": h("nobody")}, "NO_SUMMARY"),
    ],
)
async def test_a_holder_keeps_what_the_chain_commits_to_and_nothing_else(
    change: dict[str, Any], code: str
) -> None:
    world = World()
    with pytest.raises(SalusError) as caught:
        await world.holders["hosp-c"].keep(
            msgspec.structs.replace(world.deposits["hosp-c"], **change)
        )
    assert caught.value.code == code
    assert not world.holders["hosp-c"].holds(world.ward.ada.org, world.ward.ada.handle)


async def test_another_holders_share_is_not_kept() -> None:
    world = World()
    with pytest.raises(SalusError) as caught:
        await world.holders["hosp-c"].keep(world.deposits["hosp-d"])
    assert caught.value.code == "BAD_SHARE_SET"


async def test_nobody_puts_another_share_in_the_place_of_one_that_is_kept(world: World) -> None:
    """Who has seen the sealed summary and its salt can seal anything to a holder's public key."""
    kept = world.deposits["hosp-c"]
    await world.holders["hosp-c"].keep(kept)  # the same again is no harm
    owner = SummaryOwner(factories.CHAIN_ID, kept.org, kept.handle, kept.generation)
    false = seal_share(owner, "hosp-c", b"false", box_public_key(factories.seed("box hosp-c")))
    with pytest.raises(SalusError) as caught:
        await world.holders["hosp-c"].keep(msgspec.structs.replace(kept, share=false))
    assert caught.value.code == "BAD_SHARE_SET"
    assert world.ward.open("one") == "OK"
    ask = world.ask("one")
    given = {org: await world.given(org, ask) for org in ("hosp-a", "hosp-c")}
    assert world.opened(ask.request, given) == IPS


# -- giving ----------------------------------------------------------------------------------------


async def test_a_certified_case_gives_shares_that_the_clinician_alone_puts_together(
    world: World,
) -> None:
    assert world.ward.open("one") == "OK"
    ask = world.ask("one")
    given = {org: await world.given(org, ask) for org in ("hosp-a", "hosp-d")}
    assert not any(one.late for one in given.values())
    assert world.opened(ask.request, given) == IPS
    owner = SummaryOwner(factories.CHAIN_ID, "hosp-a", world.ward.ada.handle, 2)
    with pytest.raises(VerificationError):  # the same shares, by another key
        take_share(owner, ask.request.case, "hosp-a", given["hosp-a"].share, h("another"))


async def test_without_a_certified_case_nothing_is_given(world: World) -> None:
    world.stalled = True
    assert await world.refused("hosp-c", world.ask("one")) == "EMERGENCY_WAIT"
    world.resume()
    assert (await world.given("hosp-c", world.ask("one"))).late is False


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signer": "doc hosp-c"}, "REQUEST_UNFIT"),
        ({"chain_id": "other-chain"}, "REQUEST_UNFIT"),
        ({"staff": h("another")}, "REQUEST_UNFIT"),
        ({"opener": "hosp-c"}, "REQUEST_UNFIT"),
        ({"handle": h("nobody")}, "NO_SUMMARY"),
    ],
)
async def test_a_request_of_somebody_else_is_refused(
    world: World, changes: dict[str, Any], code: str
) -> None:
    assert world.ward.open("one") == "OK"
    assert await world.refused("hosp-c", world.ask("one", **changes)) == code


async def test_only_the_clinicians_own_member_may_ask_and_only_with_his_role(world: World) -> None:
    assert world.ward.open("one") == "OK"
    assert await world.refused("hosp-c", world.ask("one"), member="hosp-d") == "REQUEST_UNFIT"
    forged = msgspec.structs.replace(world.ask("one"), signature=bytes(64))
    assert await world.refused("hosp-c", forged) == "REQUEST_UNFIT"
    world.ward.employ("nurse hosp-b", "hosp-b", StaffRole.CLINICIAN)
    assert await world.refused("hosp-c", world.ask("one", "nurse hosp-b")) == "REQUEST_UNFIT"
    revoke = world.ward.chain.op("members", "staff_revoke", handle=h("doc hosp-b"))
    assert world.ward.run(revoke, by="operator hosp-b") == "OK"
    assert await world.refused("hosp-c", world.ask("one")) == "REQUEST_UNFIT"


async def test_the_opening_must_be_of_this_very_case(world: World) -> None:
    world.stalled = True
    other = world.ask("another").opening
    for opening in (other, b"", b"junk"):
        ask = msgspec.structs.replace(world.ask("one"), opening=opening)
        assert await world.refused("hosp-c", ask) == "REQUEST_UNFIT"
    assert world.pool == []


async def test_a_case_that_waits_for_a_colleague_gives_nothing_before(world: World) -> None:
    ward = world.ward
    assert ward.open("one") == "OK"
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    first = ward.case("one").panel[0]  # type: ignore[index]
    assert ward.act("review", "one", f"operator {first}", verdict=Verdict.ABUSE) == "OK"
    assert await world.refused("hosp-c", world.ask("one")) == "CASE_CLOSED"
    assert ward.open("two") == "OK"
    assert await world.refused("hosp-c", world.ask("two")) == "COSIGN_FIRST"
    assert ward.act("cosign", "two", "doc hosp-d") == "OK"
    assert (await world.given("hosp-c", world.ask("two"))).late is False


async def test_the_time_the_patients_word_and_opting_out_end_it(world: World) -> None:
    ward = world.ward
    assert ward.open("one") == "OK"
    ward.chain.later_ms = Parameters().emergency_cosign_ms + 1_000
    assert await world.refused("hosp-c", world.ask("one")) == "CASE_CLOSED"
    ward.chain.later_ms = 0
    assert (await world.given("hosp-c", world.ask("one"))).late is False
    assert ward.act("dispute", "one", "ada") == "OK"
    assert await world.refused("hosp-c", world.ask("one")) == "CASE_CLOSED"
    assert ward.run(ward.opt("opt_out"), by="ada") == "OK"
    assert await world.refused("hosp-c", world.ask("one")) == "OPTED_OUT"


# -- what goes -------------------------------------------------------------------------------------


async def test_who_opts_out_has_it_destroyed_also_at_a_node_that_was_down(world: World) -> None:
    ada = world.ward.ada
    executed = world.ward.chain.block(world.ward.chain.tx(world.ward.opt("opt_out"), by="ada"))
    world.holders["hosp-c"].see(executed.receipts)
    await world.holders["hosp-c"]._sweep()
    assert not world.holders["hosp-c"].holds(ada.org, ada.handle)
    assert world.holders["hosp-d"].holds(ada.org, ada.handle)  # it saw nothing
    again = world.start("hosp-d")
    await again._sweep()
    assert not again.holds(ada.org, ada.handle)


async def test_who_holds_no_more_has_it_no_more(world: World) -> None:
    ada = world.ward.ada
    world.deposits = world.deposit(2, ("hosp-a", "hosp-b"))
    ask = world.ask("one")
    assert world.ward.open("one") == "OK"
    assert await world.refused("hosp-c", ask) == "NO_HOLDER"
    assert await world.refused("hosp-a", ask) == "NO_SUMMARY"  # the new one has not come
    await world.keep_all()
    assert (await world.given("hosp-a", ask)).generation == 3
    again = world.start("hosp-c")
    await again._sweep()
    assert not again.holds(ada.org, ada.handle)


# -- without a quorum (E-8) ------------------------------------------------------------------------


async def silent(world: World, ask: ShareAsk, *orgs: str) -> dict[str, ShareGiven]:
    """Asked, and asked again after the time that the consortium has set."""
    for org in orgs:
        assert await world.refused(org, ask) == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S
    return {org: await world.given(org, ask) for org in orgs}


async def entered(world: World, *orgs: str) -> None:
    for org in orgs:
        await world.holders[org].late.enter()


async def test_without_blocks_for_the_set_time_shares_are_given_and_entered_afterwards(
    world: World,
) -> None:
    world.stalled = True
    ask = world.ask("one")
    given = await silent(world, ask, "hosp-c", "hosp-d")
    assert all(one.late for one in given.values())
    assert world.opened(ask.request, given) == IPS
    assert [tx.id for tx in world.pool] == [
        parse(
            ask.opening,
            factories.CHAIN_ID,
            world.ward.chain.genesis.hash(),
            world.ward.chain.genesis.parameters,
        ).id
    ]  # not kept to oneself: it will be certified like any other
    world.resume()
    assert world.ward.case("one").late is False
    await entered(world, "hosp-c", "hosp-d")
    case = world.ward.case("one")
    assert (case.late, sorted(case.holders)) == (True, ["hosp-c", "hosp-d"])
    assert not world.holders["hosp-c"].late.owes
    trail = world.ward.ask("cases_of", org="hosp-a", handle=case.handle.hex(), start="00" * 32)
    assert [one["late"] for one in trail["cases"]] == [True]


async def test_a_moment_less_of_silence_or_one_block_gives_nothing(world: World) -> None:
    world.stalled = True
    ask = world.ask("one")
    assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S - 0.001
    assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.holders["hosp-c"].waiters.height += 1  # a block, though without the case
    world.now_s += 1
    assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S - 0.001
    assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.now_s += 0.002
    assert (await world.given("hosp-c", ask)).late


async def test_who_is_behind_the_others_has_no_silence(world: World) -> None:
    world.stalled, world.behind = True, True
    ask = world.ask("one")
    for _ in range(3):
        assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
        world.now_s += SILENCE_S


async def test_nothing_is_given_before_the_journal_is_on_disk(world: World) -> None:
    world.stalled = True
    ask = world.ask("one")
    assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S
    seen: list[bytes] = []

    def full(name: bytes, content: bytes) -> None:
        seen.append(name)
        raise OSError(28, "no space")

    world.holders["hosp-c"].vault.put_record = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no space"):
        await world.given("hosp-c", ask)
    assert seen == [b"L" + ask.request.case]
    assert not world.holders["hosp-c"].late.owed


async def test_a_crash_between_giving_and_entering_loses_no_entry(world: World) -> None:
    world.stalled = True
    await silent(world, world.ask("one"), "hosp-c")
    again = world.start("hosp-c")
    assert [one.request.case for one in again.late.owed.values()] == [world.ward.id("one")]
    world.resume()
    await entered(world, "hosp-c")
    assert world.ward.case("one").holders == ("hosp-c",)
    assert world.start("hosp-c").late.owed == {}


async def test_after_the_outage_entries_come_before_anything_else(world: World) -> None:
    world.stalled = True
    await silent(world, world.ask("one"), "hosp-c")
    assert (await silent(world, world.ask("two"), "hosp-c"))["hosp-c"].late  # still no blocks
    world.resume()
    assert world.holders["hosp-c"].late.owes
    assert 'salus_emergency_access_total{hospital="hosp-b"}' in world.metrics.text().decode()
    assert await world.refused("hosp-c", world.ask("three", "doc hosp-b")) == "LATE_OWED"
    await entered(world, "hosp-c")
    assert not world.holders["hosp-c"].late.owes
    assert world.ward.open("three") == "OK"
    assert (await world.given("hosp-c", world.ask("three"))).late is False


async def test_one_clinician_gets_so_many_without_a_quorum(world: World) -> None:
    world.stalled = True
    for number in range(LATE_PER_CLINICIAN_MAX):
        await silent(world, world.ask(f"case {number}"), "hosp-c")
    ask = world.ask("one more")
    assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S
    assert await world.refused("hosp-c", ask) == "TOO_MANY_CASES"
    other = world.ask("other", "doc hosp-d")
    assert await world.refused("hosp-c", other, "hosp-d") == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S
    assert (await world.given("hosp-c", other, "hosp-d")).late


async def test_who_may_not_open_alone_gets_nothing_without_a_quorum(world: World) -> None:
    ward = world.ward
    assert ward.open("one") == "OK"
    ward.chain.later_ms = Parameters().emergency_cosign_ms + 1_000
    world.stalled = True
    ask = world.ask("two")
    assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S
    assert await world.refused("hosp-c", ask) == "COSIGN_FIRST"


async def test_a_nonce_that_was_used_opens_no_other_patients_summary(world: World) -> None:
    """Each summary that is given late is a case of its own, in the journal and on the chain."""
    world.stalled = True
    await silent(world, world.ask("one"), "hosp-c")
    ada, bob = world.ward.ada, Patient(world.ward.chain, "bob")
    enter(world.ward.chain, bob)
    world.ward.ada = bob
    await world.holders["hosp-c"].keep(world.deposit(0, by="bob")["hosp-c"])
    world.holders["hosp-c"].waiters.height = world.ward.chain.executor.head.height
    world.pool.clear()
    world.holders["hosp-c"].late.owed = {
        case: msgspec.structs.replace(one, height=world.ward.chain.executor.head.height)
        for case, one in world.holders["hosp-c"].late.owed.items()
    }  # as if he had been entered before the outage
    await silent(world, world.ask("one"), "hosp-c")
    owed = world.holders["hosp-c"].late.owed.values()
    assert {one.request.handle for one in owed} == {ada.handle, bob.handle}
    world.resume()
    await entered(world, "hosp-c")
    for patient in (ada, bob):
        world.ward.ada = patient
        assert world.ward.case("one").holders == ("hosp-c",)


async def test_an_opening_that_no_block_may_hold_yet_is_no_silence(world: World) -> None:
    world.stalled = True
    ask = world.ask("one")
    later = factories.transaction(
        world.ward.chain.genesis,
        world.ward.opening("one"),
        signer=factories.key("doc hosp-b"),
        first_height=40,
    )
    ask = msgspec.structs.replace(ask, opening=later.raw)
    for _ in range(3):
        assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
        world.now_s += SILENCE_S


async def test_an_opening_that_a_block_has_refused_is_no_silence(world: World) -> None:
    world.stalled = True
    world.answer = Submitted(TransactionState.REJECTED, bytes(32), 5, "OPTED_OUT")
    for _ in range(3):
        assert await world.refused("hosp-c", world.ask("one")) == "OPTED_OUT"
        world.now_s += SILENCE_S


async def test_one_clinicians_questions_drive_out_nobody_elses(world: World) -> None:
    world.stalled = True
    other = world.ask("other", "doc hosp-d")
    assert await world.refused("hosp-c", other, "hosp-d") == "EMERGENCY_WAIT"
    for number in range(WATCHED_MAX):
        ask = world.ask(f"case {number}")
        assert await world.refused("hosp-c", ask) == "EMERGENCY_WAIT"
    world.now_s += SILENCE_S
    assert (await world.given("hosp-c", other, "hosp-d")).late
    assert (await world.given("hosp-c", ask)).late  # his own newest


async def test_the_same_question_again_is_one_entry(world: World) -> None:
    world.stalled = True
    ask = world.ask("one")
    await silent(world, ask, "hosp-c")
    assert (await world.given("hosp-c", ask)).late
    assert len(world.holders["hosp-c"].late.owed) == 1
    assert encode(ask.request) == encode(
        next(iter(world.holders["hosp-c"].late.owed.values())).request
    )


def test_normal_reads_wait_too_until_what_is_owed_is_entered() -> None:
    """The gate's own question: nothing else is released here before (E-8)."""
    care: Any = SimpleNamespace(
        facade=SimpleNamespace(require_news=lambda: None),
        holder=SimpleNamespace(late=SimpleNamespace(owes=True)),
    )
    with pytest.raises(SalusError) as caught:
        Care._may_release(care)
    assert caught.value.code == "LATE_OWED"
    care.holder.late.owes = False
    Care._may_release(care)
