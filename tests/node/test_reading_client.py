"""The reader's side against a real gate: what arrives is proved here, goes on, or is no file at all."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.access import TicketArgs
from salus.asking import Wish
from salus.client import Trust
from salus.client_access import AccessClient, Read
from salus.codec import decode
from salus.errors import SalusError, VerificationError
from salus.permit import EMPTY, Docket, Purpose, docket_key
from salus.read_state import ReadState, Unfinished
from salus.reading import Ask, Decided, Found, Locate, Range
from salus.report import Report
from salus.sealed_stream import CHUNK_BYTES
from salus.statemap import SALT_BYTES
from salus.ticket_proof import TicketArguments
from salus.verifier import verify_file
from salus.wire_json import to_json
from tests import factories
from tests.contracts.lab import h
from tests.node.gate_world import World
from tests.node.test_gate import CONDITION, FHIR, TEXT, bundle, observation

LONG = os.urandom(3 * CHUNK_BYTES + 5)
BYTES = "application/octet-stream"


class Node:
    """What the client asks of the reader's node besides reads."""

    timeout_s = 10.0

    def __init__(self, world: World) -> None:
        self.world, self.trust = world, Trust(world.ledger.genesis_hash.hex())

    async def height(self) -> int:
        return self.world.ledger.height

    async def wait(self, tx_id: str) -> None:
        assert self.world.ledger.state.find_transaction(bytes.fromhex(tx_id)) is not None

    async def verified_proof(self, tx_id: str, *, operation: int = 0) -> tuple[bytes, Report]:
        raw = await self.world.ledger.proofs.file(bytes.fromhex(tx_id), operation)
        assert raw is not None
        return raw, verify_file(raw, self.world.ledger.genesis_hash)

    async def query(self, contract: str, name: str, **arguments: Any) -> Any:
        assert (contract, name) == ("consent", "docket")
        handle, purpose = bytes.fromhex(arguments["handle"]), Purpose(arguments["purpose"])
        key = docket_key(arguments["org"], handle, arguments["grantee"], purpose)
        stored = self.world.ledger.state.get(key)
        return to_json(EMPTY if stored is None else decode(stored[SALT_BYTES:], Docket))


class Reader(AccessClient):
    """Reads at hosp-a's gate for an organisation; the line can be cut, and the custodian lie."""

    def __init__(self, world: World, org: str = "hosp-b") -> None:
        super().__init__(Node(world))  # type: ignore[arg-type]
        self.world, self.org = world, org
        self.asked: list[Ask] = []
        self.fetched: list[int] = []
        self.confirmed: list[bytes] = []
        self.chunks_left = 1_000
        self.before_chunk: dict[int, Any] = {}
        self.lie: Any = lambda decided: decided

    async def locate(
        self, record_id: bytes, *, version: int | None = None, custodian: str | None = None
    ) -> Found:
        wanted = Locate(record_id, version, None)
        return Found("hosp-a", await self.world.gate.locate(self.org, wanted))

    async def ask(self, ask: Ask) -> Decided:
        self.asked.append(ask)
        return self.lie(await self.world.gate.ask(self.org, ask))  # type: ignore[no-any-return]

    async def chunk(self, ask: Ask, commitment: bytes, number: int) -> bytes:
        if (happens := self.before_chunk.pop(number, None)) is not None:
            happens()
        if self.chunks_left == 0:
            raise SalusError("cut", code="UNREACHABLE")
        self.chunks_left -= 1
        self.fetched.append(number)
        wanted = Range(ask.request.request_id, commitment, number)
        return await self.world.gate.chunk(self.org, wanted)

    async def confirm(self, ask: Ask, digest: bytes) -> None:
        self.confirmed.append(digest)

    async def get(self, record: str, output: Path, key: str = "doctor", **more: Any) -> Read:
        wish = Wish(factories.CHAIN_ID, self.org, more.pop("purpose", Purpose.TREATMENT), b"visit")
        signer = factories.key(key)
        return await self.read(bytes.fromhex(record), wish, signer, output, **more)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "node")
    yield made
    made.close()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "finding"


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def beside(output: Path) -> list[str]:
    """All that a read left, hidden files too."""
    return sorted(path.name for path in output.parent.iterdir() if path.name != "node")


def test_the_reader_knows_the_ticket_as_the_contract_does() -> None:
    shapes = [
        [(field.name, field.type) for field in msgspec.inspect.type_info(kind).fields]  # type: ignore[attr-defined]
        for kind in (TicketArguments, TicketArgs)
    ]
    assert [name for name, _ in shapes[0]] == [name for name, _ in shapes[1]]
    assert msgspec.json.schema(TicketArguments)["$defs"] is not None
    for (name, mine), (_, theirs) in zip(*shapes, strict=True):
        assert _bare(mine) == _bare(theirs), name


def _bare(shape: Any) -> Any:
    """A type without the publication that a contract declares."""
    return shape.type if isinstance(shape, msgspec.inspect.Metadata) else shape


async def test_a_document_arrives_as_the_very_file_and_is_confirmed(
    world: World, output: Path
) -> None:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    reader = Reader(world)
    done = await reader.get(record, output)
    assert (done.permitted, done.redacted, done.confirmed) == (True, False, True)
    assert (done.path, done.media_type) == (output, BYTES)
    assert content(output) == LONG
    assert (mode(output), beside(output)) == (0o600, ["finding"])
    assert len(reader.confirmed) == 1
    assert reader.asked[0].request.permit == h("p")  # the one that the chain would accept


async def test_a_denial_is_an_outcome_and_leaves_nothing(world: World, output: Path) -> None:
    record = await world.keep(LONG, BYTES)
    done = await Reader(world).get(record, output)
    assert (done.permitted, done.reason, done.path) == (False, "NO_PERMIT", None)
    assert done.ticket_tx is not None
    assert beside(output) == []


async def test_what_broke_off_goes_on_under_the_same_ticket(world: World, output: Path) -> None:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    first = Reader(world)
    first.chunks_left = 2
    with pytest.raises(SalusError) as caught:
        await first.get(record, output)
    assert caught.value.code == "UNREACHABLE"
    assert beside(output) == ["finding.part", "finding.reading"]
    assert {mode(output.parent / name) for name in beside(output)} == {0o600}
    second = Reader(world)
    done = await second.get(record, output)
    assert (second.asked, second.fetched) == ([], [2, 3])
    assert done.ticket_height == world.ledger.height
    assert (content(output), beside(output)) == (LONG, ["finding"])


async def test_under_a_new_ticket_it_goes_on_where_it_stopped(world: World, output: Path) -> None:
    """The same bytes are shown, so what has come is as good as before."""
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    first = Reader(world)
    first.chunks_left = 2
    with pytest.raises(SalusError):
        await first.get(record, output)
    world.start()  # the custodian's node, and with it all open tickets
    second = Reader(world)
    await second.get(record, output)
    assert len(second.asked) == 1
    assert second.fetched[-2:] == [2, 3]
    assert 0 not in second.fetched
    assert content(output) == LONG


async def test_a_half_chunk_is_fetched_again(world: World, output: Path) -> None:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    first = Reader(world)
    first.chunks_left = 2
    with pytest.raises(SalusError):
        await first.get(record, output)
    with (output.parent / "finding.part").open("ab") as stream:
        stream.write(b"half of it")
    await Reader(world).get(record, output)
    assert content(output) == LONG


async def test_a_permit_that_ends_on_the_way_stops_it_and_nothing_stays(
    world: World, output: Path
) -> None:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    reader = Reader(world)
    reader.before_chunk[3] = lambda: world.do(world.ada.revoke("p"), by="ada")
    with pytest.raises(SalusError) as caught:
        await reader.get(record, output)
    assert caught.value.code == "ACCESS_ENDED"
    assert beside(output) == []
    assert reader.confirmed == []


async def test_nothing_is_kept_before_what_goes_on_with_it(
    world: World, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could lie there, and nobody could say of which request it is."""
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    monkeypatch.setattr(Unfinished, "store", _full)
    reader = Reader(world)
    with pytest.raises(OSError, match="No space"):
        await reader.get(record, output)
    assert reader.fetched  # on its way meanwhile
    assert beside(output) == []


def _full(unfinished: Unfinished, state: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_what_is_noted_late_does_not_stay_behind_an_end(
    world: World, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    ended, store = threading.Event(), Unfinished.store

    def late(unfinished: Unfinished, state: ReadState) -> None:
        assert ended.wait(60)
        store(unfinished, state)

    def revoked() -> None:
        world.do(world.ada.revoke("p"), by="ada")
        asyncio.get_running_loop().call_later(0, ended.set)

    monkeypatch.setattr(Unfinished, "store", late)
    reader = Reader(world)
    reader.before_chunk[0] = revoked
    with pytest.raises(SalusError) as caught:
        await reader.get(record, output)
    assert caught.value.code == "ACCESS_ENDED"
    assert beside(output) == []


async def test_another_wish_does_not_go_on_with_what_lies_there(world: World, output: Path) -> None:
    one, other = await world.keep(LONG, BYTES), await world.keep(LONG[:9], BYTES)
    await world.grant("p", "documents")
    first = Reader(world)
    first.chunks_left = 1
    with pytest.raises(SalusError):
        await first.get(one, output)
    await Reader(world).get(other, output)
    assert content(output) == LONG[:9]


async def test_a_name_that_is_taken_is_not_asked_for(world: World, output: Path) -> None:
    put(output, b"mine")
    record = await world.keep(LONG, BYTES)
    reader = Reader(world)
    with pytest.raises(FileExistsError):
        await reader.get(record, output)
    assert (reader.asked, content(output)) == ([], b"mine")


async def test_the_patient_reads_his_own_with_his_own_key(world: World, output: Path) -> None:
    record = await world.keep(b"discharged", TEXT)
    done = await Reader(world).get(record, output, key="ada", purpose=Purpose.PATIENT_REQUEST)
    assert (done.reason, content(output)) == ("OWN_REQUEST", b"discharged")


async def test_without_some_entries_it_is_a_bundle_still_and_has_a_proof(
    world: World, output: Path
) -> None:
    resources = [CONDITION, *(observation(number) for number in range(5))]
    record = await world.keep(bundle(*resources), FHIR)
    terms = world.without("Condition")
    await world.grant("p", "conditions", "results", terms=terms)
    reader = Reader(world)
    done = await reader.get(record, output, keep_opening=True)
    assert done.redacted
    assert msgspec.json.decode(content(output)) == msgspec.json.decode(bundle(*resources[1:]))
    report = verify_file(await reader.proof_of(done), world.ledger.genesis_hash)
    assert (report.status, report.parts_shown, report.parts_count) == ("anchored", 6, 7)
    assert b"angina" not in await reader.proof_of(done)


async def test_the_proof_of_a_whole_document_holds_the_file(world: World, output: Path) -> None:
    record = await world.keep(b"discharged", TEXT)
    await world.grant("p", "documents")
    reader = Reader(world)
    done = await reader.get(record, output, keep_opening=True)
    report = verify_file(await reader.proof_of(done), world.ledger.genesis_hash)
    assert report.document is not None
    assert report.document.content == b"discharged"


@pytest.mark.parametrize("name", ["finding.reading", "finding.part"])
async def test_what_another_user_could_have_laid_there_is_not_gone_on_with(
    world: World, output: Path, name: str
) -> None:
    """In a folder that several write: the one holds what is believed, the other gets the document."""
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    reader = Reader(world)
    reader.chunks_left = 2
    with pytest.raises(SalusError, match="cut"):
        await reader.get(record, output)
    output.with_name(name).chmod(0o666)
    reader.chunks_left = 9
    with pytest.raises(SalusError) as caught:
        await reader.get(record, output)
    assert caught.value.code == "REFUSES_OVERWRITE"
    assert beside(output) == ["finding.part", "finding.reading"]
    output.with_name(name).chmod(0o600)
    await reader.get(record, output)
    assert content(output) == LONG


async def test_no_links_are_followed_to_where_the_document_should_not_go(
    world: World, output: Path, tmp_path: Path
) -> None:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    reader = Reader(world)
    elsewhere = tmp_path / "elsewhere"
    part = output.with_name(output.name + ".part")
    reader.before_chunk[0] = lambda: part.symlink_to(elsewhere)
    with pytest.raises(SalusError) as caught:
        await reader.get(record, output)
    assert caught.value.code == "REFUSES_OVERWRITE"
    assert not elsewhere.exists()


# -- a custodian that lies -----------------------------------------------------------------------


async def lied(world: World, output: Path, lie: Any) -> str:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    reader = Reader(world)
    reader.lie = lie
    with pytest.raises(VerificationError) as caught:
        await reader.get(record, output)
    assert beside(output) == []
    assert reader.confirmed == []
    return caught.value.message


async def test_no_read_off_the_record_is_accepted(world: World, output: Path) -> None:
    def off_the_record(decided: Decided) -> Decided:
        return msgspec.structs.replace(decided, tx_id=None, height=None)

    assert "without a ticket" in await lied(world, output, off_the_record)


async def test_another_requests_ticket_is_not_accepted(world: World, output: Path) -> None:
    other = await world.keep(b"another", TEXT)
    await world.grant("q", "documents")
    _, before = await world.doctor.ask(other, permit="q")

    def exchanged(decided: Decided) -> Decided:
        return msgspec.structs.replace(decided, tx_id=before.tx_id, height=before.height)

    assert "another request" in await lied(world, output, exchanged)


async def test_a_decision_that_its_ticket_does_not_have(world: World, output: Path) -> None:
    def higher(decided: Decided) -> Decided:
        return msgspec.structs.replace(decided, height=7_777)

    assert "not what its ticket says" in await lied(world, output, higher)


async def test_another_reason_than_the_reader_gave_is_noticed(world: World, output: Path) -> None:
    """Neither signature holds it: custodian and reader's node could both put another on the trail."""
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    reader = Reader(world)

    async def changed(ask: Ask) -> Decided:
        return await world.gate.ask("hosp-b", msgspec.structs.replace(ask, care=b"curiosity"))

    reader.ask = changed  # type: ignore[method-assign]
    with pytest.raises(VerificationError, match="another request"):
        await reader.get(record, output)


async def test_a_part_that_is_missing_is_not_kept_quiet(world: World, output: Path) -> None:
    """Else a doctor takes half a record for the whole one."""
    record = await world.keep(bundle(CONDITION, observation(1), observation(2)), FHIR)
    await world.grant("p", "conditions", "results", terms=world.without("Condition"))
    reader = Reader(world)

    def whole(decided: Decided) -> Decided:
        (part,) = decided.parts
        assert part.withheld == 1
        return msgspec.structs.replace(decided, parts=(msgspec.structs.replace(part, withheld=0),))

    reader.lie = whole
    with pytest.raises(VerificationError, match="withheld"):
        await reader.get(record, output)
    assert beside(output) == []
    assert reader.confirmed == []


async def test_another_version_than_was_asked_for(world: World, output: Path) -> None:
    def other(decided: Decided) -> Decided:
        (part,) = decided.parts
        part = msgspec.structs.replace(part, commitment=h("another"))
        return msgspec.structs.replace(decided, parts=(part,))

    assert "another version" in await lied(world, output, other)


async def test_bytes_that_are_not_of_the_version_make_no_file(
    world: World, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = await world.keep(LONG, BYTES)
    await world.grant("p", "documents")
    reader = Reader(world)
    append = Unfinished.append

    def changed(self: Unfinished, plain: bytes) -> None:
        append(self, plain[:-1] + bytes([plain[-1] ^ 1]))

    monkeypatch.setattr(Unfinished, "append", changed)
    with pytest.raises(VerificationError):
        await reader.get(record, output)
    assert beside(output) == []
