"""Four real hospital processes, and what happens to hospitals: crashes, power, lost disks."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from salus.errors import SalusError
from salus.forms import TransactionState
from tests.e2e.network import network
from tests.e2e.nursery import Nurseries
from tests.stopwatch import Stopwatch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NAMES = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")
OUTAGE_S = 120  # two of four away so long: timers double meanwhile, and must not cost hours (L18)
PAUSE_S = 10
# What is promised, on a machine that has its processors (tests/stopwatch.py).
RESUME_S = 5
REJOIN_S = 30
STOP_S = 10


async def test_the_chain_goes_on_when_the_primary_is_killed_and_it_comes_back(
    tmp_path: Path,
) -> None:
    with network(tmp_path) as net:
        await net.up()
        await net.anchor("hosp-b")
        primary = (await net.status("hosp-b")).primary
        others = [name for name in NAMES if name != primary]
        net.kill(primary)
        for name in others:
            await net.anchor(name)
        await net.up(primary)
        await net.agree()
        await net.anchor(primary)


async def test_one_of_four_stopped_changes_nothing_for_the_others(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        await net.up()
        net.stop("hosp-d")
        for name in NAMES[:3] * 3:
            await net.anchor(name)
        await net.up("hosp-d")
        await net.agree()


async def test_two_of_four_away_halts_and_resumes_by_itself(tmp_path: Path) -> None:
    """L18: after two minutes without a quorum a transaction commits within 5 s of the return."""
    with network(tmp_path) as net:
        await net.up()
        await net.anchor("hosp-a")
        net.stop("hosp-c", "hosp-d")
        before = (await net.status("hosp-a")).height
        async with net.client("hosp-a") as client:
            waiting = await net.transaction(client)
            await client.submit(waiting)
            await asyncio.sleep(OUTAGE_S)  # the outage itself is what is tested
            assert (await client.status()).height == before, "no quorum, no block"
            net.start("hosp-c")
            await net.until("hosp-c", "up again", ready=True)
            with Stopwatch() as watch:
                done = await client.wait(waiting.id)
            assert done.height > before
            watch.check("going on after the outage", RESUME_S)
        await net.up("hosp-d")
        await net.agree()


async def test_a_wiped_node_votes_again_within_30_s_on_an_idle_network(
    tmp_path: Path, nurseries: Nurseries
) -> None:
    """S4: not before the epoch in which its old votes are void, and without anybody's help."""
    with network(tmp_path) as net:
        await net.up()
        await net.anchor("hosp-a")
        net.kill("hosp-d")
        net.wipe("hosp-d")
        with nurseries.unused(), Stopwatch() as watch:
            net.start("hosp-d")
            await net.until("hosp-d", "in quarantine", signing=lambda s: s != "observer")
            status = await net.until("hosp-d", "voting", signing="signing")
        watch.check("the way back to voting", REJOIN_S)
        assert status.epoch == 1, "an old epoch's votes may exist: no vote in it"
        assert "journal_lost" in net.log("hosp-d")
        # It takes part again: with another one away, its vote is needed for the quorum.
        net.stop("hosp-a")
        await net.anchor("hosp-d")


async def test_all_nodes_restart_together(tmp_path: Path) -> None:
    """A power cut of everybody: what was certified stands, and agreement goes on (S3)."""
    with network(tmp_path) as net:
        await net.up()
        committed = [await net.anchor(name) for name in NAMES]
        for name in NAMES:
            net.kill(name)
        await net.up()
        # The power went a moment after hosp-d had the last block; hosp-a may have to fetch it.
        highest = max(done.height for done in committed)
        await net.until("hosp-a", f"at block {highest}", height=lambda height: height >= highest)
        for done in committed:
            async with net.client("hosp-a") as client:
                found = await client.transaction(done.tx_id)
                assert (found.state, found.height) == (TransactionState.COMMITTED, done.height)
        await net.anchor("hosp-c")
        await net.agree()


async def test_a_node_paused_for_ten_seconds_catches_up(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        await net.up()
        net.signal("hosp-a", signal.SIGSTOP)  # the primary: neither dead nor alive
        paused = time.monotonic()
        while time.monotonic() < paused + PAUSE_S:
            await net.anchor("hosp-b")
            await asyncio.sleep(0.5)
        net.signal("hosp-a", signal.SIGCONT)
        await net.agree()
        await net.anchor("hosp-a")


async def test_one_transaction_sent_to_all_nodes_commits_once(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        await net.up()
        async with net.client("hosp-a") as client:
            tx = await net.transaction(client)

        async def send(name: str) -> tuple[str, int]:
            async with net.client(name) as client:
                done = await client.commit(tx)
                return done.tx_id, done.height

        outcomes = await asyncio.gather(*(send(name) for name in NAMES))
        assert set(outcomes) == {(tx.id.hex(), outcomes[0][1])}
        again = [await send(name) for name in NAMES]  # and later: the same answer, no error
        assert set(again) == set(outcomes)


async def test_a_stopped_node_says_goodbye_and_exits_at_once(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        await net.up()
        with Stopwatch() as watch:
            net.stop("hosp-b")
        watch.check("the goodbye", STOP_S)
        assert '"stopped"' in net.log("hosp-b")
        with pytest.raises(SalusError):
            await net.status("hosp-b", 0.1)
