"""The keeper opens keys for a certified ticket and for nothing else (rule G-2)."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.keepers import answers
from node.keeper import (
    CLOCK_AHEAD_MAX_MS,
    TICKET_AGE_MAX_MS,
    Keeper,
    Unwrapping,
    UnwrapRequest,
    VersionKey,
)
from node.keeper_log import KeeperLog
from node.keeper_process import SOCKET, _group_id, _guard, make, public_key
from node.keeper_socket import REQUEST_BYTES_MAX, KeeperDesk, KeeperServer
from node.keeper_weighing import InnerDecision
from salus.codec import decode
from salus.codes import Exit
from salus.consent.decision import Decision, Verdict
from salus.consent.decision import Reason as Inner
from salus.consent.terms import encode_terms, terms_commitment
from salus.consent.weigh import Opened
from salus.consent.weighing import (
    MOMENT_APART_MAX_MS,
    WEIGHED_BLOCKS_MAX,
    OpenedPermit,
    Weighing,
    put,
    weighing_commitment,
)
from salus.errors import BadMessage, SalusError, VerificationError
from salus.granting import Grantee, question_of, say
from salus.keys import box_public_key
from salus.keystore import KeystoreError
from salus.parameters import Parameters
from salus.permit import EMPTY, Docket, Effect, Purpose, Reach, RecordClass, docket_key
from salus.proof import read_proof, write_proof
from salus.relation import DAY_MS
from salus.sealed_key import KeyOwner, open_key, seal_key
from salus.statemap import SALT_BYTES
from salus.ticket import records_commitment
from salus.transaction import ParsedTransaction
from storage.errors import StorageError
from tests import factories
from tests.contracts.lab import Lab, h
from tests.contracts.patients import Patient
from tests.e2e.shell import command, document, environment, error
from tests.ledger import Ledger
from tests.storage.memory_disk import MemoryDisk

SECRET = factories.seed("keeper")
SALT = b"\x07" * 32
RESULTS = (RecordClass.RESULTS,)
DOCTOR = Grantee("hosp-b", None)
PATIENCE_S = 60


@dataclass
class World:
    """hosp-a with ada, who permits hosp-b to read results; and one keeper."""

    later_ms: int = 0  # block time behind the factories' time
    keeper_public: bytes = box_public_key(SECRET)
    ledger: Ledger = field(
        default_factory=lambda: Ledger(
            factories.genesis(parameters=Parameters(state_bucket_bits=4))
        )
    )
    lines: list[Unwrapping] = field(default_factory=list)
    now_ms: int = 0

    def __post_init__(self) -> None:
        self.ada = Patient(Lab(self.ledger.genesis))
        day = (factories.TIME_MS + self.later_ms) // DAY_MS
        self.block("operator hosp-a", self.ada.register())
        begin_ms = day * DAY_MS
        self.said = say(DOCTOR, ("results",), Purpose.TREATMENT, begin_ms, begin_ms + 90 * DAY_MS)
        self.terms = terms_commitment(SALT, self.said.terms)
        self.block("ada", self.granted("p"))
        self.keeper = Keeper(
            self.ledger.genesis, "hosp-a", SECRET, self.lines.append, lambda: self.now_ms
        )

    def granted(self, permit: str, **changes: Any) -> Any:
        days = {"from_day": self.said.from_day, "until_day": self.said.until_day}
        return self.ada.grant(permit, terms=self.terms, **days | changes)

    def docket(self) -> Docket:
        """Of hosp-b, as the chain has it."""
        stored = self.ledger.state.get(self.docket_key())
        return EMPTY if stored is None else decode(stored[SALT_BYTES:], Docket)

    def docket_key(self, requester: str = "hosp-b") -> bytes:
        return docket_key("hosp-a", self.ada.handle, requester, Purpose.TREATMENT)

    async def proved(self, *keys: bytes) -> bytes:
        return await self.ledger.proofs.state_file(lambda _: keys or (self.docket_key(),))

    def block(self, by: str, *operations: Any) -> ParsedTransaction:
        height = self.ledger.height + 1
        tx = factories.transaction(self.ledger.genesis, *operations, signer=factories.key(by))
        receipts = self.ledger.propose(factories.proposal(height, tx, later_ms=self.later_ms))
        assert [one.code for one in receipts] == ["OK"] * len(operations)
        self.now_ms = self.ledger.state.head.time_ms
        return tx

    def owner(self, name: str, **changes: Any) -> KeyOwner:
        owner = KeyOwner(
            factories.CHAIN_ID, "hosp-a", self.ada.handle, RESULTS, h(name), h(f"{name} file")
        )
        return msgspec.structs.replace(owner, **changes)

    def key(self, name: str, **changes: Any) -> VersionKey:
        owner = self.owner(name, **changes)
        sealed = seal_key(owner, h(f"{name} key"), self.keeper_public)
        return VersionKey(h(name), owner.classes, h(f"{name} file"), sealed)

    def keys(self, *names: str) -> tuple[VersionKey, ...]:
        return tuple(self.key(name) for name in sorted(names, key=h))

    async def request(
        self,
        *names: str,
        permit: str = "p",
        keys: tuple[VersionKey, ...] | None = None,
        inner: InnerDecision | None = None,
        **ticket: Any,
    ) -> UnwrapRequest:
        """With a ticket for these versions, decided in a block of its own."""
        versions = tuple(sorted(h(name) for name in names))
        inner = inner or self.inner(permit)
        ticket = {
            "records": records_commitment(SALT, versions),
            "decision": weighing_commitment(inner.salt, inner.weighing),
        } | ticket
        height = self.ledger.height
        operation = self.ada.ticket(f"ask {height}", permit, expiry_height=height + 5, **ticket)
        tx = self.block("node hosp-a", operation)
        proof = await self.ledger.proofs.file(tx.id)
        assert proof is not None
        docket = await self.proved()
        keys = self.keys(*names) if keys is None else keys
        return UnwrapRequest(proof, SALT, keys, inner, docket)

    def inner(self, cited: str = "p", at_ms: int | None = None, **changes: Any) -> InnerDecision:
        """What a gate weighs of a request for results by hosp-b, by a docket with this permit; by
        default at the time of the next block."""
        if at_ms is None:
            at_ms = factories.TIME_MS + 100 * (self.ledger.height + 1) + self.later_ms
        docket, height = self.docket(), self.ledger.height
        question = question_of(DOCTOR, RESULTS, Purpose.TREATMENT, ("clinician",))
        weighing = Weighing(height, at_ms, False, h(cited), RESULTS, docket, question, None)
        weighing = msgspec.structs.replace(weighing, **changes)
        if "decision" not in changes:
            known = {one.id: Opened(SALT, self.said.terms) for one in weighing.docket.permits}
            found = put(weighing, known)
            assert found is not None
            weighing = msgspec.structs.replace(weighing, decision=found.decision)
        terms = encode_terms(self.said.terms)
        opened = [OpenedPermit(one.id, SALT, terms) for one in weighing.docket.permits]
        return InnerDecision(SALT, weighing, tuple(opened))


@pytest.fixture
def world() -> World:
    return World()


def refused(world: World, request: UnwrapRequest, code: str = "KEEPER_REFUSED") -> str:
    """Nothing is opened."""
    with pytest.raises(SalusError) as caught:
        world.keeper.unwrap(request)
    assert caught.value.code == code
    return caught.value.message


async def test_the_keys_of_the_versions_of_a_ticket_are_opened_and_that_is_on_record(
    world: World,
) -> None:
    request = await world.request("x ray", "blood")
    names = sorted(("x ray", "blood"), key=h)
    assert world.keeper.unwrap(request) == tuple(h(f"{name} key") for name in names)
    (line,) = world.lines
    assert (line.height, line.requester, line.versions) == (world.ledger.height, "hosp-b", 2)
    assert world.ada.handle.hex() not in repr(line)


async def test_a_denied_ticket_opens_nothing(world: World) -> None:
    assert "denied" in refused(world, await world.request("blood", permit="q"))
    assert "denied" in refused(world, await world.request("blood", narrowed=True))
    world.block("ada", world.ada.revoke("p"))
    assert "denied" in refused(world, await world.request("blood"))
    assert world.lines == []


async def test_other_versions_than_those_of_the_ticket_stay_shut(world: World) -> None:
    request = await world.request("blood", "x ray")
    both = world.keys("blood", "x ray")
    for keys in (
        both[:1],
        (*both, world.key("letter")),
        both[::-1],
        (both[0], both[0], both[1]),
        world.keys("blood", "letter"),
    ):
        refused(world, msgspec.structs.replace(request, keys=keys))
    refused(world, msgspec.structs.replace(request, salt=bytes(32)))
    # Not even where the node committed to a set that is in no order, or has one twice.
    for keys in (both[::-1], (both[0], both[0])):
        told = records_commitment(SALT, tuple(one.commitment for one in keys))
        assert "order" in refused(world, await world.request(keys=keys, records=told))
    assert world.lines == []
    assert len(world.keeper.unwrap(request)) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"handle": h("another patient")},
        {"commitment": h("another version")},
        {"document": h("another file")},
        {"custodian": "hosp-b"},
        {"chain_id": "another-chain"},
    ],
)
async def test_a_key_opens_for_its_own_patient_version_and_file_only(
    world: World, changes: dict[str, Any]
) -> None:
    """A node that asks for a ticket of one patient gets no key of another."""
    sealed = seal_key(world.owner("blood", **changes), h("secret"), world.keeper_public)
    swapped = msgspec.structs.replace(world.key("blood"), sealed=sealed)
    assert "sealed" in refused(world, await world.request("blood", keys=(swapped,)))


async def test_a_version_of_other_classes_than_were_decided_about_stays_shut(world: World) -> None:
    wide = (RecordClass.CONDITIONS, RecordClass.MEDICATIONS)
    key = world.key("blood", classes=wide)
    assert "classes" in refused(world, await world.request("blood", keys=(key,)))
    narrower = msgspec.structs.replace(key, classes=RESULTS)  # the node says less than was sealed
    assert "sealed" in refused(world, await world.request("blood", keys=(narrower,)))


async def test_what_the_patients_terms_do_not_permit_stays_shut_whatever_the_gate_claims(
    world: World,
) -> None:
    """K-4: the chain knows the outer permit alone, and has said PERMIT to all of these."""
    request = await world.request("blood")
    told = request.inner.weighing.decision
    assert told is not None
    other = msgspec.structs.replace(request.inner, salt=bytes(32))
    assert "commits" in refused(world, msgspec.structs.replace(request, inner=other))
    denied = Decision(Verdict.DENY, Inner.DENIED)
    for decision in (None, denied):
        inner = world.inner(decision=decision)
        assert "nothing" in refused(world, await world.request("blood", inner=inner))
    # The gate says PERMIT where the terms say otherwise: a docket that is empty, a clerk's question.
    clerk = question_of(DOCTOR, RESULTS, Purpose.TREATMENT, ("administration",))
    for changes in ({"docket": EMPTY}, {"question": clerk}):
        inner = world.inner(decision=told, **changes)
        assert "follow" in refused(world, await world.request("blood", inner=inner))
    for changes in (
        {"classes": (RecordClass.MEDICATIONS,)},
        {"permit": None},
        {"own_staff": True},
        {"question": None},
    ):
        inner = world.inner(decision=told, **changes)
        assert "another request" in refused(world, await world.request("blood", inner=inner))
    assert world.lines == []
    assert world.keeper.unwrap(request) == (h("blood key"),)


async def test_a_permit_that_the_gate_leaves_out_or_changes_opens_nothing(world: World) -> None:
    """K-4: a denial of one doctor is of the inner terms, so the chain has said PERMIT all the same."""
    before = world.docket()
    world.block("ada", world.granted("no", effect=Effect.DENY, reach=Reach.PART))
    assert len(world.docket().permits) == 2
    (permit,) = before.permits
    longer = msgspec.structs.replace(permit, until_day=permit.until_day + 9)
    for shown in (before, Docket((longer,))):
        inner = world.inner(docket=shown)
        told = inner.weighing.decision
        assert told is not None
        assert told.verdict is Verdict.PERMIT
        assert "left out" in refused(world, await world.request("blood", inner=inner))
    # Nor by weighing what the chain was before the denial: a moment ago, or long ago.
    inner = world.inner(docket=before, height=2)
    assert "said something" in refused(
        world, await world.request("blood", inner=inner), "TICKET_OLD"
    )
    for _ in range(WEIGHED_BLOCKS_MAX):
        world.ledger.null_block()
    inner = world.inner(docket=before, height=2)
    assert "left out" in refused(world, await world.request("blood", inner=inner))
    assert world.lines == []


async def test_a_permit_that_the_gate_adds_or_moves_behind_a_denial_opens_nothing(
    world: World,
) -> None:
    """K-4: the newest one speaks, and one that nobody granted says what the gate likes."""
    world.block("ada", world.granted("no", effect=Effect.DENY, reach=Reach.PART))
    permit, denial = world.docket().permits
    added = msgspec.structs.replace(permit, id=h("added"), reach=Reach.PART)
    for shown in ((permit, denial, added), (denial, permit)):
        inner = world.inner(docket=Docket(shown))
        told = inner.weighing.decision
        assert told is not None
        assert told.verdict is Verdict.PERMIT
        assert "otherwise than it stood" in refused(
            world, await world.request("blood", inner=inner)
        )
    assert world.lines == []


async def test_the_docket_is_proved_of_the_tickets_block_or_a_later_one(world: World) -> None:
    earlier = await world.proved()
    request = await world.request("blood")
    for docket, why in (
        (b"", "not proved"),
        (request.docket[:-1] + bytes((request.docket[-1] ^ 1,)), "not proved"),
        (await world.proved(world.docket_key("hosp-c")), "not proved"),
        (earlier, "earlier block"),
    ):
        assert why in refused(world, msgspec.structs.replace(request, docket=docket))
    world.ledger.block()
    later = msgspec.structs.replace(request, docket=await world.proved())
    assert world.keeper.unwrap(later) == (h("blood key"),)
    world.block("ada", world.ada.revoke("p"))
    ended = msgspec.structs.replace(request, docket=await world.proved())
    assert "said something" in refused(world, ended, "TICKET_OLD")
    assert len(world.lines) == 1


@pytest.mark.parametrize("sign", [-1, 1])
async def test_a_gate_weighs_at_the_time_of_its_tickets_block(world: World, sign: int) -> None:
    """K-4: else it would choose the moment at which a permit is, or is not yet, in force."""
    block_ms = world.now_ms + 100
    for apart_ms, code in ((MOMENT_APART_MAX_MS, None), (MOMENT_APART_MAX_MS + 1, "TICKET_OLD")):
        inner = world.inner(at_ms=block_ms + sign * apart_ms)
        request = await world.request("blood", inner=inner)
        assert read_proof(request.proof).header.time_ms == block_ms
        if code is None:
            assert world.keeper.unwrap(request) == (h("blood key"),)
        else:
            refused(world, request, code)
        block_ms = world.now_ms + 100
    assert len(world.lines) == 1


async def test_another_operation_chain_or_custodian_is_no_ticket(world: World) -> None:
    request = await world.request("blood")
    granted = world.block("ada", world.ada.revoke("p"))
    proof = await world.ledger.proofs.file(granted.id)
    assert proof is not None
    assert "another operation" in refused(world, msgspec.structs.replace(request, proof=proof))
    for damaged in (b"", request.proof[:-1], request.proof + b"x"):
        refused(world, msgspec.structs.replace(request, proof=damaged))
    other = Keeper(factories.genesis(7), "hosp-a", SECRET, world.lines.append, lambda: world.now_ms)
    with pytest.raises(SalusError, match="another consortium"):
        other.unwrap(request)
    theirs = Keeper(
        world.ledger.genesis, "hosp-b", SECRET, world.lines.append, lambda: world.now_ms
    )
    with pytest.raises(SalusError, match="another custodian"):
        theirs.unwrap(request)
    assert world.lines == []


async def test_a_certificate_without_a_quorum_opens_nothing(world: World) -> None:
    request = await world.request("blood")
    bundle = read_proof(request.proof)
    few = msgspec.structs.replace(bundle.certificate, signatures=bundle.certificate.signatures[:-1])
    forged = write_proof(msgspec.structs.replace(bundle, certificate=few))
    assert "proved" in refused(world, msgspec.structs.replace(request, proof=forged))


async def test_a_ticket_is_good_for_five_minutes_by_the_keepers_own_clock(world: World) -> None:
    request = await world.request("blood")
    certified = world.now_ms
    for age_ms, code in (
        (TICKET_AGE_MAX_MS, None),
        (TICKET_AGE_MAX_MS + 1, "TICKET_OLD"),
        (-CLOCK_AHEAD_MAX_MS, None),
        (-CLOCK_AHEAD_MAX_MS - 1, "CLOCK_BEHIND"),
    ):
        world.now_ms = certified + age_ms
        if code is None:
            assert world.keeper.unwrap(request) == (h("blood key"),)
        else:
            refused(world, request, code)
    assert len(world.lines) == 2


async def test_what_cannot_be_put_on_record_is_not_opened(world: World, tmp_path: Path) -> None:
    log = KeeperLog(str(tmp_path / "log"))
    log.close()  # as a disk that takes nothing any more
    world.keeper._record = log.record
    with pytest.raises((StorageError, OSError)):
        world.keeper.unwrap(await world.request("blood"))


def test_a_line_outlives_a_power_cut_at_once() -> None:
    disk = MemoryDisk()
    disk.make_directory("keeper")
    log = KeeperLog("keeper/log", disk)
    for height in (2, 3):
        log.record(Unwrapping(1, bytes(32), height, "hosp-b", "treatment", 1))
        disk.lose(names_kept=False)
        found = disk.read("keeper/log")
        assert found is not None
        assert json.loads(found.splitlines()[-1])["height"] == height


def test_a_line_that_a_crash_cut_short_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"whole":1}\n{"cut')
    log = KeeperLog(str(path))
    log.record(Unwrapping(1, bytes(32), 2, "hosp-b", "treatment", 3))
    log.close()
    lines = path.read_bytes().split(b"\n")
    assert lines[:2] == [b'{"whole":1}', b'{"cut']
    assert json.loads(lines[2])["height"] == 2
    assert lines[3:] == [b""]


def test_a_sealed_key_opens_with_one_secret_for_one_owner() -> None:
    owner = World().owner("blood")
    sealed = seal_key(owner, h("key"), box_public_key(SECRET))
    assert open_key(owner, sealed, SECRET) == h("key")
    for secret, changes in ((h("other"), {}), (SECRET, {"classes": (RecordClass.SUMMARY,)})):
        with pytest.raises(VerificationError):
            open_key(msgspec.structs.replace(owner, **changes), sealed, secret)
    with pytest.raises(BadMessage):
        seal_key(owner, h("key"), bytes(32))


# -- the socket and the process --------------------------------------------------------------


async def test_a_question_over_the_socket(world: World, tmp_path: Path) -> None:
    server = KeeperServer(world.keeper, tmp_path / SOCKET)
    await server.start()
    try:
        assert (tmp_path / SOCKET).stat().st_mode & 0o777 == 0o600
        desk = KeeperDesk(tmp_path / SOCKET)
        request = await world.request("blood")
        assert await desk.unwrap(request) == (h("blood key"),)
        with pytest.raises(SalusError, match="versions of the ticket") as caught:
            await desk.unwrap(msgspec.structs.replace(request, salt=bytes(32)))
        assert caught.value.code == "KEEPER_REFUSED"
        for raw in (b"\0\0\0\1\xc0", (REQUEST_BYTES_MAX + 1).to_bytes(4), b"\0\0\0\5\xc0", b""):
            reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET)
            writer.write(raw)
            writer.write_eof()
            assert b"blood" not in await asyncio.wait_for(reader.read(), PATIENCE_S)
            writer.close()
        assert await desk.unwrap(request) == (h("blood key"),)
        assert len(world.lines) == 2
    finally:
        await server.close()
    with pytest.raises(SalusError) as down:
        await desk.unwrap(request)
    assert down.value.code == "KEEPER_DOWN"


async def test_a_socket_in_a_deep_folder_is_served_and_found(world: World, tmp_path: Path) -> None:
    """An address holds some hundred bytes; a path may be longer."""
    folder = tmp_path / ("deep" * 20) / ("deeper" * 20)
    folder.mkdir(parents=True)
    server = KeeperServer(world.keeper, folder / SOCKET)
    await server.start()
    try:
        assert await asyncio.to_thread(answers, folder / SOCKET)
        request = await world.request("blood")
        assert await KeeperDesk(folder / SOCKET).unwrap(request) == (h("blood key"),)
    finally:
        await server.close()
    assert not (folder / SOCKET).exists()
    assert answers(folder / SOCKET) is False


async def test_a_group_of_the_keepers_user_may_ask_and_no_other(
    world: World, tmp_path: Path
) -> None:
    server = KeeperServer(world.keeper, tmp_path / SOCKET, group=os.getegid())
    await server.start()
    try:
        status = (tmp_path / SOCKET).stat()
        assert (status.st_mode & 0o777, status.st_gid) == (0o660, os.getegid())
        assert answers(tmp_path / SOCKET)
    finally:
        await server.close()


async def test_what_is_no_socket_is_not_removed(world: World, tmp_path: Path) -> None:
    (tmp_path / SOCKET).write_text("somebody's notes")
    with pytest.raises(SalusError) as refused:
        await KeeperServer(world.keeper, tmp_path / SOCKET).start()
    assert refused.value.code == "CONFIG_INVALID"
    (tmp_path / SOCKET).unlink()
    (tmp_path / SOCKET).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SalusError):
        await KeeperServer(world.keeper, tmp_path / SOCKET).start()


def test_a_second_making_changes_nothing_of_what_a_keeper_believes(tmp_path: Path) -> None:
    """Whoever could give it another genesis would certify tickets by himself."""
    folder = tmp_path / "keeper"
    public = make(folder, factories.genesis(), "hosp-a", "a password")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(KeystoreError) as refused:
        make(folder, factories.genesis(7), "hosp-b", "another password")
    assert refused.value.code == "REFUSES_OVERWRITE"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert public_key(folder) == public
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "name", ["", "keys", "genesis.json", "member", "keys/keeper.json", "epochs"]
)
def test_what_others_may_write_is_not_believed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "keeper"
    make(folder, factories.genesis(), "hosp-a", "a password")
    (folder / "epochs").touch(0o600)
    path = folder / name
    mode = path.stat().st_mode & 0o777
    for bit in (0o020, 0o002):
        path.chmod(mode | bit)
        with pytest.raises(SalusError) as refused:
            _guard(folder, None)
        assert refused.value.code == "CONFIG_UNSAFE"
    path.chmod(mode)
    _guard(folder, None)


def test_a_folder_of_another_user_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who owns the home of the node can put a folder of his own in the keeper's place."""
    folder = tmp_path / "keeper"
    make(folder, factories.genesis(), "hosp-a", "a password")
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(SalusError) as refused:
        _guard(folder, None)
    assert refused.value.code == "CONFIG_UNSAFE"


def test_the_group_may_pass_through_the_folder_and_read_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "keeper"
    make(folder, factories.genesis(), "hosp-a", "a password")
    _guard(folder, os.getegid())
    status = folder.stat()
    assert (status.st_mode & 0o777, status.st_gid) == (0o710, os.getegid())
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))
    _guard(folder, None)
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(SalusError) as unknown:
        _group_id("no-such-group")
    assert unknown.value.code == "CONFIG_INVALID"


@contextmanager
def started(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        command("keeper", "start", "--dir", folder), env=environment(), stdin=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not answers(folder / SOCKET):
            assert process.poll() is None, "the keeper ended"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_real_keeper_outlives_a_kill_and_says_what_it_opened(tmp_path: Path) -> None:
    folder = tmp_path / "keeper"
    world = World(later_ms=time.time_ns() // 1_000_000 - factories.TIME_MS)
    (folder / "keys").mkdir(mode=0o700, parents=True)
    descriptor = os.open(folder / "keys" / "password", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, b"a password\n")
    os.close(descriptor)
    world.keeper_public = make(folder, world.ledger.genesis, "hosp-a", "a password")
    assert world.keeper_public == public_key(folder)
    desk, request = KeeperDesk(folder / SOCKET), await world.request("blood")
    with started(folder) as process:
        assert await desk.unwrap(request) == (h("blood key"),)
        with pytest.raises(SalusError) as caught:
            await desk.unwrap(await world.request("blood", permit="q"))
        assert caught.value.code == "KEEPER_REFUSED"
        said = await asyncio.to_thread(document, "keeper", "status", "--dir", folder)
        assert (said["running"], said["unwrappings"], said["org"]) == (True, 1, "hosp-a")
        second = await asyncio.to_thread(error, 69, "keeper", "start", "--dir", folder)
        assert second["code"] == "STORE_LOCKED"
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
    with pytest.raises(SalusError) as down:
        await desk.unwrap(request)
    assert down.value.code == "KEEPER_DOWN"
    assert (folder / SOCKET).exists()  # what the kill left is in nobody's way
    with started(folder) as process:
        assert await desk.unwrap(request) == (h("blood key"),)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, PATIENCE_S) == Exit.OK
    assert not (folder / SOCKET).exists()
    assert len((folder / "log").read_bytes().splitlines()) == 2


async def test_large_questions_are_read_one_after_another(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four at once, each of 64 MiB, would take two gigabytes."""
    monkeypatch.setattr("node.keeper_socket.LARGE_BYTES", 100)
    server = KeeperServer(world.keeper, tmp_path / SOCKET)
    await server.start()
    try:
        _, first = await asyncio.open_unix_connection(tmp_path / SOCKET)
        first.write((200).to_bytes(4))  # and nothing of its content
        for _ in range(100_000):
            if server._large.locked():
                break
            await asyncio.sleep(0)
        assert server._large.locked()
        desk, request = KeeperDesk(tmp_path / SOCKET), await world.request("blood")
        waiting = asyncio.create_task(desk.unwrap(request))
        small = KeeperDesk(tmp_path / SOCKET)
        reader, writer = await asyncio.open_unix_connection(small.path)
        writer.write(b"\0\0\0\1\xc0")
        assert await asyncio.wait_for(
            reader.read(), PATIENCE_S
        )  # a small one is answered meanwhile
        writer.close()
        assert not waiting.done()
        first.close()
        assert await waiting == (h("blood key"),)
    finally:
        await server.close()
