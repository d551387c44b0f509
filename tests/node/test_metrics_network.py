"""Every declared metric moves on real nodes: four of them, their API scraped, troubles included.

What is declared and never set is worse than nothing: somebody builds an alert on it.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consensus.effects import Evidence, Halt
from consensus.messages import NO_SIGNATURE, Prepare
from node.alarms import Alarms
from node.meters import PHASES
from node.metrics import Metrics
from node.net.network import unix_ms
from salus.client import Client
from salus.client_errors import RejectedError
from salus.codec import encode
from salus.errors import SalusError
from tests import factories
from tests.contracts import planted
from tests.contracts.lab import parameters
from tests.node.network import Hospitals, eventually, hospitals
from tests.node.test_node import WAIT_S, anchor, commit
from tests.node.test_records import TEXT, TYPE, spoil

PATIENCE_S = 60
AHEAD_MS = 3_000  # more than ClockSkew asks for, less than L21 forbids

# In a healthy node these are 0, and 0 they are here until their turn comes.
SILENT = {
    "salus_consensus_view",
    "salus_consensus_view_changes_total",
    "salus_consensus_equivocations_total",
    "salus_consensus_halted",
    "salus_contract_faults_total",
    "salus_storage_damaged_total",
    "salus_signer_errors_total",
    "salus_p2p_dropped_total",
}
# Nobody reads, breaks glass or is told anything here: test_gate.py, test_emergency_holder.py, test_outbox.py.
APART = ("salus_gate_", "salus_emergency_", "salus_outbox_")
READS = {name for name in Metrics().names() if name.startswith(APART)}


class Scrapes:
    """All that ever moved in what the nodes of a network export."""

    def __init__(self, group: Hospitals) -> None:
        self.group = group
        self.moved: set[str] = set()
        self.samples: dict[tuple[int, str, tuple[str, ...]], float] = {}  # the newest

    async def all(self) -> None:
        for index in self.group.nodes:
            async with Client(self.group.api(index)) as client:
                text = (await client.api("GET", "/metrics")).body.decode()
            for family in text_string_to_metric_families(text):
                name = family.name + ("_total" if family.type == "counter" else "")
                for sample in family.samples:
                    self.samples[index, sample.name, tuple(sample.labels.values())] = sample.value
                    # A gauge with labels is there only if somebody has set it.
                    if sample.value or (family.type == "gauge" and sample.labels):
                        self.moved.add(name)

    def value(self, index: int, name: str, *labels: str) -> float:
        return self.samples[index, f"salus_{name}", labels]

    async def until_moved(self, but: Iterable[str]) -> None:
        """Some move by the clock: the lag of the loop, first a second after the start."""
        for _ in range(PATIENCE_S):
            await self.all()
            still = set(Metrics().names()) - self.moved - set(but)
            if not still:
                return
            await asyncio.sleep(1)
        raise AssertionError(f"they never moved: {sorted(still)}")


async def test_every_declared_metric_moves(tmp_path: Path) -> None:
    limits = parameters(contracts=planted.ACTIVE)
    async with hospitals(tmp_path, 4, limits, planted.registry) as group:
        seen = Scrapes(group)
        await ordinary_life(group, seen)
        await a_wrong_clock(group, seen)
        await an_expired_transaction(group, seen)
        await seen.until_moved(SILENT | READS)
        await a_new_view(group, seen)
        await alarms(group, seen)
        await seen.until_moved({"salus_signer_errors_total"} | READS)


async def ordinary_life(group: Hospitals, seen: Scrapes) -> None:
    height = 0
    for number in range(8):
        height = await commit(group, number % 4, anchor(group, number, org=number % 4))
    await group.height(height)
    await seen.all()
    for index in group.nodes:
        blocks = seen.value(index, "block_txs_count")
        assert blocks == height
        assert seen.value(index, "txs_total", "records.anchor", "OK") == 8
        assert seen.value(index, "tx_commit_seconds_count") == 2
        assert 0 < seen.value(index, "consensus_block_interval_seconds_count") < blocks
        for phase in PHASES:
            assert 0 < seen.value(index, "consensus_phase_seconds_count", phase) <= blocks
        assert seen.value(index, "signer_seconds_count") >= blocks
        # A proposal may come before its transaction by itself is verified: then it is verified twice.
        verified = seen.value(index, "crypto_verified_total")
        assert verified >= 8
        assert 1 <= seen.value(index, "crypto_verify_seconds_count") <= verified
        for part in ("blocks", "journal", "state"):
            assert seen.value(index, "storage_write_seconds_count", part) > 0
        # What alerts watch by its increase is there before its first event.
        assert seen.value(index, "consensus_equivocations_total", "hosp-b") == 0
        assert seen.value(index, "contract_faults_total", "planted") == 0
    with group.nodes[0].feed.subscribe(None):  # A subscriber that does not read.
        await group.height(await commit(group, 1, anchor(group, 100)), 0)
        with pytest.raises(RejectedError):
            async with Client(group.api(0)) as client:
                await client.submit(anchor(group, 101, expiry=10**6))
        await a_crowd(group)
        _, writer = await asyncio.open_connection("127.0.0.1", group.nodes[0].network.port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")  # no TLS
        await writer.drain()
        await eventually(lambda: b"salus_p2p_rejected_total{" in group.nodes[0].metrics.text())
        writer.close()
        await seen.all()
    await behind(group, seen)


async def a_crowd(group: Hospitals) -> None:
    api = group.nodes[0].api._api
    api.in_flight += 10**6
    try:
        async with Client(group.api(0), timeout_s=1) as client:
            with pytest.raises(SalusError):
                await client.status()
    finally:
        api.in_flight -= 10**6


async def behind(group: Hospitals, seen: Scrapes) -> None:
    """By the word of f+1 validators, until they are asked and say otherwise."""
    node = group.nodes[0]
    height = node.state.height()
    for _ in range(100):  # They may be asked before the scrape has come: say it again.
        for member in ("hosp-b", "hosp-c"):
            node.sync.claim(member, height + 20)
        await seen.all()
        if seen.value(0, "sync_active"):
            break
    assert seen.value(0, "sync_active") == 1
    assert seen.value(0, "sync_lag_blocks") == 20
    for member in ("hosp-b", "hosp-c"):
        node.sync.claim(member, height)


async def a_wrong_clock(group: Hospitals, seen: Scrapes) -> None:
    """Only its owner's alert fires."""
    await group.stop(3)
    for number in (200, 201):
        await commit(group, 1, anchor(group, number))
    node = group.start(3)
    node.network._unix_ms = lambda: unix_ms() + AHEAD_MS
    await group.connected()
    heard = [info.public_key for info in node.network.peers()]

    def told() -> bool:
        return len(heard) == sum(info.clock_ahead_ms is not None for info in node.network.peers())

    await eventually(told)
    await group.height(group.nodes[1].state.height())
    await seen.all()
    assert seen.value(3, "clock_skew_seconds") > 2
    for index in (0, 1, 2):
        assert abs(seen.value(index, "clock_skew_seconds")) < 2
        assert seen.value(index, "consensus_validator_missed_blocks_total", "hosp-d") >= 2


async def an_expired_transaction(group: Hospitals, seen: Scrapes) -> None:
    """Nobody hears of it: its node is cut off until its time is over."""
    node = group.nodes[3]
    others = [info.member for info in node.network.peers()]
    for member in others:
        node.network.block(member)
    late = anchor(group, 300, org=3, expiry=node.state.height() + 2)
    await node.facade.submit([late.raw])
    await seen.all()
    assert seen.value(3, "mempool_txs") == 1
    for number in range(301, 304):
        await commit(group, 1, anchor(group, number))
    for member in others:
        node.network.unblock(member)
    await group.height(group.nodes[1].state.height(), 3)
    await seen.all()
    assert seen.value(3, "mempool_evicted_total", "expired") == 1
    assert seen.value(3, "mempool_txs") == 0


async def a_new_view(group: Hospitals, seen: Scrapes) -> None:
    primary = group.nodes[1].epochs.replica.state.primary
    await group.stop(primary)
    asked = (primary + 1) % 4
    await commit(group, asked, anchor(group, 400, org=asked))
    await seen.all()
    assert seen.value(asked, "consensus_view") > 0


async def alarms(group: Hospitals, seen: Scrapes) -> None:
    index, node = next(iter(group.nodes.items()))
    async with Client(group.api(index), signer=group.operators[index], timeout_s=WAIT_S) as client:
        with pytest.raises(RejectedError):
            await client.call("planted", "key_error", 1, encode(()))
        staged, _ = await client.record_add(TEXT, TYPE, now=True)
        spoil(group.home(index) / "data", staged.record_id)
        assert (await client.records()).items == ()
    votes = [Prepare(0, 0, 1, factories.seed(f"{n}"), 1, NO_SIGNATURE) for n in (1, 2)]
    sounder: Alarms = node.alarms
    sounder.sound(Evidence(1, votes[0], votes[1]))
    sounder.sound(Halt("planted by a test", 1))
    await seen.all()
    assert seen.value(index, "consensus_equivocations_total", "hosp-b") == 1
    assert seen.value(index, "storage_damaged_total", "VAULT_DAMAGED") == 1
    assert seen.value(index, "consensus_halted") == 1


async def test_a_signer_that_fails_is_counted_and_ends_the_node(tmp_path: Path) -> None:
    class Pulled:
        def __init__(self, public_key: bytes) -> None:
            self.public_key = public_key

        def sign(self, payload: bytes) -> bytes:
            raise OSError("the token was pulled")

    group = Hospitals(tmp_path, 1)
    node = group.start(0)
    await eventually(lambda: node.api.port > 0)
    node.epochs.signer.signer = Pulled(node.key.public_key)  # type: ignore[attr-defined]
    await node.facade.submit([anchor(group, 1).raw])
    with pytest.raises(ExceptionGroup) as ended:
        await group.ended(0)
    assert ended.group_contains(OSError, match="pulled")
    assert b"salus_signer_errors_total 1.0" in node.metrics.text()
