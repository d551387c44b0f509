"""The keeper follows who may certify from its own genesis, by proof alone."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.keeper import (
    SIGNATURES_SEEN_MAX,
    TICKET_LIFE_MS,
    Keeper,
    SeenSignatures,
    UnwrapRequest,
)
from node.keeper_epochs import ENDS_MAX, EpochEnd, EpochsFile, KeeperEpochs, opened
from salus import keys
from salus.codec import encode
from salus.errors import SalusError
from salus.proof import ProofBundle, read_proof, write_proof
from tests import factories
from tests.contracts.lab import h
from tests.ledger import Ledger
from tests.node.test_governed_proofs import Voting
from tests.node.test_keeper import PATIENCE_S, World, refused


@dataclass
class VotingWorld(World):
    """Five founders, and the keeper has their genesis document and nothing else."""

    ledger: Ledger = field(default_factory=Voting)


@pytest.fixture
def world() -> VotingWorld:
    return VotingWorld()


def change(world: World, number: int, gone: str) -> None:
    assert isinstance(world.ledger, Voting)
    world.ledger.change(number, "remove_validator", member=gone)


def with_bundle(request: UnwrapRequest, bundle: ProofBundle) -> UnwrapRequest:
    return msgspec.structs.replace(request, proof=write_proof(bundle))


async def test_a_ticket_that_a_later_set_certified_opens_keys(world: VotingWorld) -> None:
    for number, gone in ((1, "hosp-e"), (2, "hosp-d")):
        change(world, number, gone)
        request = await world.request("blood")
        assert len(read_proof(request.proof).epochs) == number
        assert world.keeper.unwrap(request) == (h("blood key"),)
    assert len(world.lines) == 2


async def test_a_set_that_no_certified_block_names_opens_nothing(world: VotingWorld) -> None:
    change(world, 1, "hosp-e")
    request = await world.request("blood")
    bundle = read_proof(request.proof)
    (step,) = bundle.epochs
    cut = msgspec.structs.replace(bundle, epochs=())
    stale = msgspec.structs.replace(step, next_validators=world.ledger.genesis.validators())
    invented = msgspec.structs.replace(
        step.next_validators,
        validators=tuple(
            msgspec.structs.replace(one, public_key=factories.key(f"own {one.member}").public_key)
            for one in step.next_validators.validators
        ),
    )
    ours = msgspec.structs.replace(step, next_validators=invented)
    few = msgspec.structs.replace(step.certificate, signatures=step.certificate.signatures[:2])
    for epochs in (
        (stale,),
        (ours,),
        (msgspec.structs.replace(step, certificate=few),),
        (step, step),
    ):
        forged = msgspec.structs.replace(bundle, epochs=epochs)
        assert "proved" in refused(world, with_bundle(request, forged))
    assert "proved" in refused(world, with_bundle(request, cut))
    assert world.lines == []
    assert world.keeper.unwrap(request) == (h("blood key"),)


async def test_those_who_were_voted_out_certify_nothing_more(world: VotingWorld) -> None:
    """The founders' quorum, with the keys of before, over a block of after."""
    change(world, 1, "hosp-e")
    change(world, 2, "hosp-d")
    request = await world.request("blood")
    bundle = read_proof(request.proof)
    founders = [factories.key(f"node {one.id}") for one in world.ledger.genesis.members[:5]]
    genesis = world.ledger.genesis
    for signers in (founders[::-1], founders[3:]):
        indexes = list(range(len(signers)))
        certificate = factories.certificate(bundle.header, genesis, signers, indexes)
        forged = msgspec.structs.replace(bundle, certificate=certificate)
        assert "proved" in refused(world, with_bundle(request, forged))
    assert world.lines == []


async def test_a_proof_that_says_more_than_a_ticket_is_not_weighed(world: VotingWorld) -> None:
    request = await world.request("blood")
    world.ledger.block()
    tx_id = read_proof(request.proof).operation.receipt.tx_id
    longer = await world.ledger.proofs.file(tx_id, links_to=world.ledger.height)
    assert longer is not None
    assert "more" in refused(world, msgspec.structs.replace(request, proof=longer))


# -- signatures that were seen ---------------------------------------------------------------


def test_a_signature_is_verified_once_and_a_false_one_never_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        asked.append(message)
        return keys.verify(public_key, message, signature)

    monkeypatch.setattr("node.keeper.verify", verify)
    seen, key, other = SeenSignatures(), factories.key("a"), factories.key("b")
    good = key.sign(b"message")
    for _ in range(3):
        assert seen.verify(key.public_key, b"message", good)
        for public_key, message, signature in (
            (other.public_key, b"message", good),
            (key.public_key, b"other", good),
            (key.public_key, b"message", good[:-1] + bytes([good[-1] ^ 1])),
            # The same bytes in another cut.
            (key.public_key, good[-1:] + b"message", good[:-1]),
            (key.public_key + good[:1], b"message", good[1:]),
            (key.public_key, b"essage", good + b"m"),
        ):
            assert not seen.verify(public_key, message, signature)
    assert asked.count(b"message") == 1 + 3 * 3  # a false one is verified every time


def test_what_is_remembered_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.keeper.SIGNATURES_SEEN_MAX", 3)
    seen, key = SeenSignatures(), factories.key("a")
    for number in range(5):
        message = os.urandom(8) + bytes([number])
        assert seen.verify(key.public_key, message, key.sign(message))
    assert len(seen._seen) == 3
    assert SIGNATURES_SEEN_MAX >= 26_000


# -- the newest epoch that a keeper has seen (rule K-3) --------------------------------------


class Disk:
    """What the keeper has written of epochs."""

    def __init__(self) -> None:
        self.ends: tuple[EpochEnd, ...] = ()

    def write(self, ends: tuple[EpochEnd, ...]) -> None:
        self.ends = ends

    def started(self, world: World) -> None:
        """A keeper's next life, with this memory."""
        world.keeper = Keeper(
            world.ledger.genesis,
            "hosp-a",
            world.keeper._secret,
            world.lines.append,
            lambda: world.now_ms,
            KeeperEpochs(TICKET_LIFE_MS, self.ends, self.write),
        )


def test_the_file_of_epochs_is_read_as_written_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    ends = tuple(EpochEnd(4 + n, 100 + n, 1_000 + n, h(f"end {n}")) for n in range(3))
    assert opened(path, 1).newest is None
    path.write_bytes(encode(EpochsFile(1, ends)))
    assert opened(path, 1).ends == ends
    for raw in (
        b"",
        encode(EpochsFile(1, ends))[:-1],
        encode(EpochsFile(1, ends[::2])),
        encode(EpochsFile(1, ends[::-1])),
        encode(EpochsFile(2, ends)),
    ):
        path.write_bytes(raw)
        with pytest.raises(SalusError) as damaged:
            opened(path, 1)
        assert damaged.value.code == "CONFIG_INVALID"


def forged(bundle: ProofBundle, world: World, **changes: Any) -> ProofBundle:
    """The ticket's block as the founders' quorum could certify another one today: a later moment
    and all else as it was."""
    header = msgspec.structs.replace(bundle.header, **changes)
    founders = [factories.key(f"node {one.id}") for one in world.ledger.genesis.members[:5]]
    genesis = world.ledger.genesis
    certificate = factories.certificate(header, genesis, founders)
    return msgspec.structs.replace(bundle, header=header, certificate=certificate)


async def test_a_quorum_that_was_voted_out_opens_nothing_with_a_block_of_its_own(
    world: VotingWorld,
) -> None:
    """From genesis alone it cannot be told from the one in force: its keys were good once."""
    disk = Disk()
    disk.started(world)
    moment = world.now_ms + 86_400_000  # the gate helps: it weighs for that day
    old = await world.request("blood", inner=world.inner(at_ms=moment))
    bundle = read_proof(old.proof)
    change(world, 1, "hosp-e")
    now = await world.request("blood")
    assert world.keeper.unwrap(now) == (h("blood key"),)
    assert [end.epoch for end in disk.ends] == [0]

    world.now_ms = moment
    ours = with_bundle(old, forged(bundle, world, time_ms=world.now_ms))
    later = read_proof(now.proof).header.height + 50
    higher = with_bundle(old, forged(bundle, world, time_ms=world.now_ms, height=later))
    for life in (world.keeper, None):
        if life is None:
            disk.started(world)  # it has not forgotten
        assert "was over" in refused(world, ours)
        refused(world, higher)
    assert len(world.lines) == 1

    # Who has seen nothing is fooled: that is what the file is for.
    Disk().started(world)
    assert world.keeper.unwrap(ours) == (h("blood key"),)


async def test_a_good_ticket_of_an_epoch_that_has_just_ended_opens(world: VotingWorld) -> None:
    disk = Disk()
    disk.started(world)
    old = await world.request("blood")
    change(world, 1, "hosp-e")
    assert world.keeper.unwrap(await world.request("blood")) == (h("blood key"),)
    assert world.keeper.unwrap(old) == (h("blood key"),)
    between = await world.request("letter")
    change(world, 2, "hosp-d")
    assert world.keeper.unwrap(await world.request("blood")) == (h("blood key"),)
    assert world.keeper.unwrap(between) == (h("letter key"),)
    assert [end.epoch for end in disk.ends] == [0, 1]


async def test_another_end_of_an_epoch_than_the_one_seen_is_not_believed(
    world: VotingWorld,
) -> None:
    """Former keys could also make a whole chain of sets, newer than all that was seen."""
    disk = Disk()
    disk.started(world)
    change(world, 1, "hosp-e")
    request = await world.request("blood")
    assert world.keeper.unwrap(request) == (h("blood key"),)
    (end,) = disk.ends
    disk.ends = (msgspec.structs.replace(end, hash=h("what was seen instead")),)
    disk.started(world)
    assert "another block" in refused(world, request)


async def test_only_ends_that_a_good_ticket_may_need_are_kept(world: VotingWorld) -> None:
    disk = Disk()
    disk.started(world)
    for number, gone in ((1, "hosp-e"), (2, "hosp-d")):
        change(world, number, gone)
        world.later_ms += 86_400_000
        world.keeper.unwrap(await world.request("blood"))
    assert [end.epoch for end in disk.ends] == [
        0,
        1,
    ]  # the newest, and who could certify until then
    assert len(disk.ends) <= ENDS_MAX


async def test_a_question_that_hangs_does_not_bring_an_older_memory_back(
    world: VotingWorld,
) -> None:
    """One that timed out goes on in its thread while the next one is judged."""
    bundles = []
    for number, gone in ((1, "hosp-e"), (2, "hosp-d")):
        change(world, number, gone)
        bundles.append(read_proof((await world.request("blood")).proof))
    older, newer = bundles
    written: list[int] = []
    others: list[threading.Thread] = []

    def write(ends: tuple[EpochEnd, ...]) -> None:
        if not others:  # the older one is at the disk when the newer one comes
            others.append(threading.Thread(target=epochs.accept, args=(newer,)))
            others[0].start()
            others[0].join(0.05)
        written.append(ends[-1].epoch)

    epochs = KeeperEpochs(TICKET_LIFE_MS, (), write)
    epochs.accept(older)
    others[0].join(PATIENCE_S)
    assert written == [0, 1]
    assert [end.epoch for end in epochs.ends] == [0, 1]
