"""What doctor and status make of what a node says of itself."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cli.commands.status import text
from cli.commands.testnet import row
from cli.diagnosis import Diagnosis
from cli.home import TestnetNode
from cli.membership import judged
from cli.preflight import Finding
from salus.codes import CODES
from salus.forms_node import PeerCount, QuorumCount, Status

LONG = "height 70: my header " + 64 * "a" + ", certified " + 64 * "b" + "; then a paragraph" * 20

WELL = Status(
    chain_id="health-dev",
    genesis_hash="00" * 32,
    member="hosp-a",
    version="0.1.0",
    height=70,
    epoch=0,
    epoch_end=0,
    view=0,
    primary="hosp-a",
    is_primary=True,
    syncing=False,
    sync_lag_blocks=0,
    ready=True,
    signing="signing",
    reason=None,
    peers=PeerCount(3, 3),
    quorum=QuorumCount(3, 4),
    last_block_time="2023-11-14T22:13:20.000Z",
    last_block_age_s=0.5,
    block_hash="00" * 32,
    state_root="00" * 32,
    mempool_transactions=0,
    mempool_bytes=0,
    storage_bytes={"state": 1},
)
HALTED = msgspec.structs.replace(WELL, ready=False, signing="halted", reason=LONG)
LOST = msgspec.structs.replace(WELL, ready=False, signing="quarantine", reason="rejoining")


def diagnosis(peers: list[dict[str, Any]] | None = None) -> Diagnosis:
    home: Any = SimpleNamespace(is_testnet=False)
    target: Any = SimpleNamespace(urls=("http://127.0.0.1:1",), home=None, name="hosp-a")
    return Diagnosis(home, target, peers=peers or [])


def found(status: Status) -> dict[str, Finding]:
    made = diagnosis()
    made._consensus(status)
    assert {finding.code for finding in made.findings} <= set(CODES) | {"OK"}
    return {finding.name: finding for finding in made.findings}


def test_a_node_that_is_well_has_nothing_to_say() -> None:
    assert all(finding.ok for finding in found(WELL).values())
    assert set(found(WELL)) == {"consensus", "signing"}


@pytest.mark.parametrize("status", [HALTED, LOST])
def test_who_does_not_sign_is_a_fault_with_its_reason(status: Status) -> None:
    signing = found(status)["signing"]
    assert signing.ok is False
    assert status.reason is not None
    assert status.reason in signing.detail


def test_alarms_since_the_start_are_a_warning() -> None:
    told = found(msgspec.structs.replace(WELL, contract_faults=2, equivocations=1))["alarms"]
    assert (told.ok, told.detail) == (None, "2 contract faults, 1 equivocations since its start")
    assert found(msgspec.structs.replace(WELL, equivocations=1))["alarms"].ok is None


@pytest.mark.parametrize(
    ("ahead_ms", "ok", "words"),
    [
        ([20, -30, 5_000_000], True, "0.0 s ahead of the median of its peers"),
        ([-3_000, -3_100, None], None, "3.1 s behind the median of its peers"),
        ([6_000], False, "6.0 s ahead of the median of its peers"),
    ],
)
async def test_the_clock_is_compared_with_the_peers(
    ahead_ms: list[int | None], ok: bool | None, words: str
) -> None:
    """Also where they cannot be asked: the node knows it from their pings."""
    made = diagnosis([{"clock_ahead_ms": ahead} for ahead in ahead_ms])
    await made._others()
    (clock,) = made.findings
    assert clock.ok is ok
    assert words in clock.detail


def test_status_says_why_a_node_is_not_ready_once_and_first() -> None:
    lines = text(HALTED).splitlines()
    assert lines[0].endswith("NOT READY")
    assert lines[1].split(maxsplit=1) == ["why", LONG]
    assert text(HALTED).count(LONG) == 1
    assert "why" not in text(WELL)
    assert "2 contract faults" in text(msgspec.structs.replace(WELL, contract_faults=2))


def test_the_table_of_a_testnet_has_a_word_for_a_long_halt() -> None:
    node = TestnetNode("hosp-a", 1, "http://127.0.0.1:1", str(Path("home")), "sal1", "127.0.0.1:2")
    behind = msgspec.structs.replace(WELL, ready=False, syncing=True, reason="catching up to 90")
    full = msgspec.structs.replace(WELL, ready=False, reason="the disk has less free space")
    states = [row(node, status, "up")[1] for status in (WELL, HALTED, LOST, behind, full)]
    assert states == ["up", "halted", "quarantine", "catching up", "not ready"]


# -- how the consortium sees the node (decision 0006) ----------------------------------------

KEY = bytes(range(32))
MEMBER = {"id": "hosp-e", "status": "active", "since_height": 7, "validator": True,
          "node_key": KEY.hex()}  # fmt: skip
WITHOUT = MEMBER | {"validator": False}


@pytest.mark.parametrize(
    ("entry", "candidacy", "ok", "words"),
    [
        (MEMBER, None, True, "with a vote"),
        (WITHOUT, None, True, "without a vote"),
        (WITHOUT, {"stage": "waiting", "until_height": 100}, None, "candidate"),
        (WITHOUT, {"stage": "waiting", "until_height": 100}, None, "90 blocks more"),
        (WITHOUT, {"stage": "ready", "until_height": 100}, None, "from the next epoch on"),
        (WITHOUT, {"stage": "lapsed", "until_height": 5}, True, "without a vote"),
        (MEMBER | {"status": "suspended"}, None, False, "suspended since height 7"),
        (MEMBER | {"status": "removed"}, None, False, "no member any more, since height 7"),
        (MEMBER | {"node_key": "11" * 32}, None, False, "another node key"),
    ],
)
def test_a_member_is_told_how_it_stands(
    entry: dict[str, Any], candidacy: dict[str, Any] | None, ok: bool | None, words: str
) -> None:
    told = judged(entry, candidacy, KEY, 10)
    assert told.ok is ok
    assert words in told.detail
    assert told.code in {"OK", *CODES}
    assert bool(told.next_step) is (told.code != "OK")


def test_who_was_removed_is_told_that_and_not_that_its_key_is_old() -> None:
    told = judged(MEMBER | {"status": "removed", "node_key": "11" * 32}, None, KEY, 10)
    assert told.code == "MEMBER_REMOVED"


def test_status_says_when_the_epoch_ends_and_how_the_node_stands() -> None:
    shown = text(msgspec.structs.replace(WELL, epoch_end=134, signing="observer"), "a candidate")
    assert "ends at height 134" in shown
    assert "observer   a candidate" in shown
    assert "ends at" not in text(WELL)
