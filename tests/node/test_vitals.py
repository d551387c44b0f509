"""What a node says of itself: ready or not, and of whom it has heard."""

import asyncio
import errno
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.commands.status import text
from node.node import Node
from node.vitals import Vitals
from salus.client import Client
from salus.client_errors import NotReadyError
from salus.codec import encode
from salus.epoch import EpochRecord
from salus.errors import SalusError
from salus.parameters import Parameters
from tests import factories
from tests.contracts import planted
from tests.contracts.lab import parameters
from tests.node.network import Hospitals, eventually, hospitals
from tests.node.test_node import anchor, commit

GENESIS = factories.genesis(4)


class Bench:
    """Vitals over a replica that has heard what the test says."""

    def __init__(self, **limits: int) -> None:
        self.now = 1_000.0
        self.heard: tuple[int | None, ...] = (0, None, None, None)
        self.connected: list[str] = []
        self.limits = Parameters(**limits)
        replica: Any = SimpleNamespace(snapshot=self.snapshot)
        self.vitals = Vitals(
            Path("nowhere"),
            lambda: replica,
            lambda: True,
            lambda: self.connected,
            lambda: self.now,
        )
        self.begin(0)

    def snapshot(self) -> SimpleNamespace:
        return SimpleNamespace(heard_ticks_ago=self.heard)

    def begin(self, epoch: int) -> None:
        record = EpochRecord(epoch, 0, GENESIS.validators(), self.limits)
        self.vitals.begin_epoch(record, 0)
        self.heard = (0, None, None, None)


def test_whoever_was_heard_lately_is_online_and_this_node_is() -> None:
    bench = Bench()
    bench.now += 100
    bench.heard = (0, 50, 99, 101)  # 20 ms each: 1, 1.98 and 2.02 s
    assert bench.vitals.online() == 3


def test_a_longer_progress_timeout_means_that_validators_are_heard_less_often() -> None:
    bench = Bench(progress_timeout_ms=10_000)
    bench.now += 100
    bench.heard = (0, 500, 900, 1_100)
    assert bench.vitals.online() == 3


def test_a_new_replica_has_heard_nobody_yet_and_what_the_old_one_heard_holds() -> None:
    bench = Bench()
    bench.now += 100
    bench.heard = (0, 10, 20, None)
    bench.begin(1)
    assert bench.vitals.online() == 3
    bench.now += 1.7
    assert bench.vitals.online() == 2
    bench.now += 0.2
    assert bench.vitals.online() == 1


def test_right_after_the_start_a_connection_counts() -> None:
    bench = Bench()
    bench.connected = ["hosp-b", "hosp-c", "obs-000"]
    assert bench.vitals.online() == 3
    bench.now += 2.1
    assert bench.vitals.online() == 1


async def test_a_new_epoch_is_no_loss_of_quorum(tmp_path: Path) -> None:
    limits = parameters(contracts=planted.ACTIVE)
    async with hospitals(tmp_path, 4, limits, planted.registry) as group:
        nodes = group.nodes.values()
        await eventually(lambda: all(node.vitals.online() == 4 for node in nodes))
        begun: list[int] = []
        for node in nodes:
            node.vitals._born -= 100  # connections count no more
            node.vitals._heard.clear()
            watch(node, begun)
        async with Client(group.api(0), signer=group.operators[0], timeout_s=60) as client:
            await client.call("planted", "end_epoch", 1, encode(()))
        await eventually(lambda: len(begun) == 4)
        assert min(begun) >= group.genesis.validators().quorum


def watch(node: Node, begun: list[int]) -> None:
    """How many are online in the moment in which the node has begun an epoch."""
    begin = node.epochs.begin

    def watched(epoch: EpochRecord) -> None:
        begin(epoch)
        begun.append(node.vitals.online())

    node.epochs.begin = watched  # type: ignore[method-assign]


async def test_a_node_in_quarantine_is_not_ready_and_says_why(tmp_path: Path) -> None:
    """Rule S4: it signs nothing. It takes transactions all the same."""
    async with hospitals(tmp_path) as group:
        await commit(group, 1, anchor(group, 1))
        await group.stop(3)
        shutil.rmtree(group.home(3) / "data")
        node = group.start(3)
        node.upkeep.may_vote = lambda: True  # so that it does not ask to rejoin yet
        await group.connected()
        await group.height(1, 3)
        async with Client(group.api(3)) as client:
            status = await client.status()
            assert (status.ready, status.signing) == (False, "quarantine")
            assert status.reason is not None
            assert "rejoin" in status.reason
            with pytest.raises(NotReadyError) as refused:
                await client.api("GET", "/readyz")
            assert refused.value.code == "QUARANTINE"
            await commit(group, 3, anchor(group, 2, org=3))
            node.upkeep.may_vote = node.epochs.may_vote
            await eventually(lambda: node.facade.readiness().ready)
            status = await client.status()
            assert (status.ready, status.signing, status.reason) == (True, "signing", None)


async def test_a_clock_that_is_off_is_said_and_the_gate_goes_by_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G-20: else each read would leave a ticket and end in TICKET_OLD."""
    async with hospitals(tmp_path) as group:
        node = group.nodes[1]
        await commit(group, 1, anchor(group, 1))
        await eventually(lambda: node.facade.readiness().ready)
        assert node.care is not None
        gate, peers = node.care.gate, node.network.peers

        def ahead(seconds: int) -> None:
            told = [replace(one, clock_ahead_ms=seconds * 1_000) for one in peers()]
            monkeypatch.setattr(node.network, "peers", lambda: told)

        for seconds, code in (
            (0, "OK"),
            (200, "OK"),
            (300, "CLOCK_AHEAD"),
            (-40, "OK"),
            (-90, "CLOCK_BEHIND"),
        ):
            ahead(seconds)
            await eventually(lambda at=seconds: node.facade.clock_ahead_ms() == at * 1_000)
            now = node.facade.readiness()
            assert (now.ready, now.code) == (code == "OK", code)
            # In a thread, where the gate looks; never before the newest block.
            apart_s = time.time() - await asyncio.to_thread(gate.now_ms) / 1_000
            assert seconds - 1 < apart_s < seconds + 60
            if code == "OK":
                continue
            side = "ahead of" if seconds > 0 else "behind"
            assert f"the clock of {node.facade.member} is {abs(seconds)} s {side}" in now.reason
            with pytest.raises(SalusError) as unsure:
                gate.ready()
            assert unsure.value.code == code
            async with Client(group.api(1)) as client:
                with pytest.raises(NotReadyError) as refused:
                    await client.api("GET", "/readyz")
                assert refused.value.code == code
                assert "timedatectl" in refused.value.hint
                shown = await client.status()
                assert (shown.ready, shown.code, shown.reason) == (False, code, now.reason)
            page = text(shown)
            assert f"why      {code}: the clock of" in page
            assert "timedatectl" in page


async def test_a_node_that_sees_no_quorum_is_not_ready_until_it_does(tmp_path: Path) -> None:
    """A load balancer would else send clients to the smaller side of a cut."""
    async with hospitals(tmp_path) as group:
        node = group.nodes[1]
        await commit(group, 1, anchor(group, 1))
        assert node.facade.readiness().ready
        await group.stop(2)
        await group.stop(3)
        await eventually(lambda: node.facade.readiness().code == "NO_QUORUM")
        async with Client(group.api(1)) as client:
            assert not (await client.status()).ready
            with pytest.raises(NotReadyError) as refused:
                await client.api("GET", "/readyz")
            assert refused.value.code == "NO_QUORUM"
        node.vitals.quarantined = "its journal was lost"
        assert node.facade.readiness().code == "QUARANTINE"
        with pytest.raises(SalusError) as unsure:  # it releases nothing to readers either (G-6)
            node.facade.require_news()
        assert unsure.value.code == "NO_QUORUM"
        group.start(2)
        await eventually(lambda: sum(peer.connected for peer in node.network.peers()) == 2)
        node.facade.require_news()
        node.vitals.quarantined = None
        await eventually(lambda: node.facade.readiness().ready)
        node.facade.require_news()
        node.vitals.halted = "rules were broken"
        with pytest.raises(SalusError) as unsure:
            node.facade.require_news()
        assert unsure.value.code == "HALTED"


async def test_a_node_knows_its_disk_before_it_serves_anybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gauge that is 0 until its first look says that the disk is full, and a full disk welcomes clients."""
    full = SimpleNamespace(free=4_096)
    monkeypatch.setattr("node.vitals.shutil.disk_usage", lambda _: full)
    group = Hospitals(tmp_path, 1)
    node = group.start(0)
    await eventually(lambda: node.api.port > 0)
    assert (node.facade.readiness().code, node.admission.ready) == ("DISK_FULL", False)
    assert b"salus_storage_free_bytes 4096.0" in node.metrics.text()
    await group.stop(0)


async def test_a_disk_that_does_not_say_what_is_free_is_told_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum(record.getMessage() == "disk_unknown" for record in caplog.records)

    def gone(place: object) -> object:
        raise OSError(errno.EIO, "Input/output error")

    async with hospitals(tmp_path, 1) as group:
        node = group.nodes[0]
        with monkeypatch.context() as broken:
            broken.setattr("node.vitals.shutil.disk_usage", gone)
            for _ in range(3):
                node.upkeep._disk()
            assert told() == 1
            await commit(group, 0, anchor(group, 1))
        node.upkeep._disk()
        assert told() == 1
        monkeypatch.setattr("node.vitals.shutil.disk_usage", gone)
        node.upkeep._disk()
        assert told() == 2
        monkeypatch.undo()
