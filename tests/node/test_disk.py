"""When bodies reach the disk: behind the first vote for them, and before COMMIT (S3)."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.effects import PersistBody
from contracts.catalogue import registry
from node import disk as module
from node.bodies import Bodies
from node.disk import Disk
from node.disk_thread import CLOSE_TIMEOUT_MS
from node.metrics import Metrics
from node.standing import mark_birth
from salus.block import proposal_digest
from salus.vote import JournalEntry, VoteType
from storage.errors import StoreUnavailable
from tests import factories

BODY = factories.proposal(1)
DIGEST = proposal_digest(BODY)
PREPARE = JournalEntry(VoteType.PREPARE, 0, 0, 1, DIGEST)
COMMIT = JournalEntry(VoteType.COMMIT, 0, 0, 1, DIGEST)
CACHE_BYTES = 2**20


class Bench:
    """A disk that writes down what it does, in order."""

    def __init__(self, home: Path) -> None:
        mark_birth(home)
        genesis, key = factories.genesis(4), factories.keys(4)[0]
        self.disk = Disk(home, genesis, registry(), key.public_key, CACHE_BYTES, Metrics())
        self.bodies = Bodies(self.disk.blocks, 0, lambda *_: True, lambda *_: None)
        self.done: list[str] = []
        self.failing: Exception | None = None
        self.told_later: list[BaseException | None] = []  # behind the word that votes are synced
        self._write, self._append = self.disk.blocks.put_bodies, self.disk.voter.append
        blocks, voter = cast(Any, self.disk.blocks), cast(Any, self.disk.voter)
        blocks.put_bodies, voter.append = self._put, self._vote

    def _put(self, bodies: Iterable[tuple[int, bytes, bytes]], *, sync: bool) -> None:
        if self.failing is not None:
            raise self.failing
        self.done += [f"body {sequence}" for sequence, _, _ in bodies]
        self._write(bodies, sync=sync)

    def _vote(self, entries: list[JournalEntry]) -> None:
        self.done += [VoteType(entry.kind).name for entry in entries]
        self._append(entries)

    async def persist(self, wanted: list[PersistBody], *entries: JournalEntry) -> None:
        """Raises what the runner is told."""
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answer(failed: BaseException | None) -> None:
            if synced.done():
                self.told_later.append(failed)
            elif failed is None:
                synced.set_result(None)
            else:
                synced.set_exception(failed)

        self.disk.persist(self.bodies, wanted, list(entries), answer)
        await synced

    async def idle(self) -> None:
        """All that was begun has come back."""
        await self.disk.journalist.run(int)


async def test_a_body_goes_to_disk_behind_the_vote_and_commit_finds_it_there(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.bodies.put(1, DIGEST, BODY)
    await bench.persist([], PREPARE)
    await bench.idle()
    assert bench.done == ["PREPARE", "body 1"]
    await bench.persist([PersistBody(1, DIGEST)], COMMIT)
    assert bench.done == ["PREPARE", "body 1", "COMMIT"]
    assert bench.disk.blocks.body(1, DIGEST) == BODY
    bench.disk.close()


async def test_a_commit_that_comes_sooner_stands_behind_its_body(tmp_path: Path) -> None:
    """S3: after a power cut a prepared entry without its body would be owed by everybody."""
    bench = Bench(tmp_path)
    bench.bodies.put(1, DIGEST, BODY)
    first = asyncio.create_task(bench.persist([], PREPARE))
    await asyncio.sleep(0)
    await bench.persist([PersistBody(1, DIGEST)], COMMIT)
    await first
    assert bench.done == ["PREPARE", "body 1", "COMMIT"]
    bench.disk.close()


async def test_a_body_that_memory_had_not_at_the_first_vote_is_written_before_commit(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    await bench.persist([], PREPARE)
    bench.bodies.put(1, DIGEST, BODY)
    await bench.persist([PersistBody(1, DIGEST)], COMMIT)
    assert bench.done == ["PREPARE", "body 1", "COMMIT"]
    bench.disk.close()


async def test_a_body_that_could_not_be_written_is_told_and_keeps_every_later_vote_back(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.bodies.put(1, DIGEST, BODY)
    bench.failing = StoreUnavailable("the disk is gone")
    await bench.persist([], PREPARE)
    await bench.idle()
    assert bench.told_later == [bench.failing], "before anything else is to be written"
    bench.failing = None
    with pytest.raises(StoreUnavailable, match="gone"):
        await bench.persist([PersistBody(1, DIGEST)], COMMIT)
    assert bench.done == ["PREPARE"]
    bench.disk.close()


async def test_an_early_body_of_another_digest_is_an_orphan_when_its_block_comes(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.bodies.put(1, DIGEST, BODY)
    await bench.persist([], PREPARE)
    await bench.idle()
    assert bench.bodies.orphaned(1, bytes(32))
    assert not bench.bodies.orphaned(1, DIGEST)
    bench.disk.close()


@pytest.mark.parametrize("wanted", [[], [PersistBody(1, DIGEST)]], ids=["ahead", "for COMMIT"])
async def test_a_body_that_comes_to_disk_behind_another_block_of_its_height_goes_again(
    tmp_path: Path, wanted: list[PersistBody]
) -> None:
    """A slow disk: nobody would ever look for this orphan, not even a start."""
    bench, other = Bench(tmp_path), factories.proposal(1, later_ms=1)
    certified = proposal_digest(other)
    bench.bodies.put(1, DIGEST, BODY)
    persisted = asyncio.create_task(bench.persist(wanted, PREPARE))
    await asyncio.sleep(0)
    bench.disk.blocks.put_bodies([(1, certified, other)], sync=True)
    cast(Any, bench.disk.state).header = lambda _: SimpleNamespace(proposal_digest=certified)
    bench.bodies.certified(1)
    await persisted
    await bench.idle()
    await bench.idle()
    assert [digest for _, digest, _ in bench.disk.blocks.bodies()] == [certified]
    bench.disk.close()


async def test_stores_under_a_disk_that_hangs_stay_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing a store while its thread writes would end the process in the middle of a line."""
    bench = Bench(tmp_path)
    hanging = cast(Any, bench.disk.journalist)
    close = hanging.close
    monkeypatch.setattr(hanging, "close", lambda timeout_ms: False)
    bench.disk.close()
    assert bench.disk.writer.closed, "no more than one wait for each"
    assert bench.disk.blocks.body(1, DIGEST) is None, "it can still be read"
    monkeypatch.setattr(hanging, "close", close)
    bench.disk.close()


async def test_a_store_in_which_a_read_hangs_stays_open_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    monkeypatch.setattr("storage.kv.CLOSE_WAIT_S", 0.01)
    view = cast(Any, bench.disk.state._view_now())
    with caplog.at_level(logging.ERROR), view._opened.lock:
        bench.disk.close()
    (said,) = [record for record in caplog.records if record.getMessage() == "disk_hangs"]
    assert "STORE_IO at kv.py" in str(vars(said)["fields"])
    bench.disk.state.close()
    bench.disk.blocks.close()


async def test_two_writers_under_a_disk_that_hangs_are_waited_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the API and the peers, one after the other would be later than whoever kills the node,
    and nobody would hear why it did not end."""
    bench, waited_ms = Bench(tmp_path), list[int]()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: sum(waited_ms) / 1000))

    def hangs(timeout_ms: int = CLOSE_TIMEOUT_MS) -> bool:
        closed = bench.disk.journalist.closed, bench.disk.writer.closed
        assert closed == (True, True), "neither begins anything more"
        waited_ms.append(timeout_ms)
        return False

    with monkeypatch.context() as hanging:
        for writer in (bench.disk.journalist, bench.disk.writer):
            hanging.setattr(writer, "close", hangs)
        bench.disk.close()
    assert len(waited_ms) == 2
    assert sum(waited_ms) == CLOSE_TIMEOUT_MS
    bench.disk.close()
