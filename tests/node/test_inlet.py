"""Frames on their way to the core: what waits while the disk is behind."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from consensus.effects import Effects
from consensus.messages import Commit, encode_message
from node.evidence import EvidenceDesk
from node.inlet import Inlet
from node.net.frames import EvidenceFrame, Kind
from salus.codec import encode
from salus.epoch import EpochRecord
from salus.parameters import Parameters
from tests.consensus.cluster import DOMAIN, fake_verify, validator_set
from tests.consensus.lab import A, B, vote


class _Runner:
    """Counts the steps; there is room when the test says so."""

    full = True

    def __init__(self) -> None:
        self.events: list[object] = []

    async def room(self) -> None:
        assert not self.full, "the test lets it in"

    def step(self, event: object) -> Effects:
        assert not self.full, "a step while too many wait for the disk"
        self.events.append(event)
        return Effects()


@pytest.mark.parametrize("kind", [Kind.CONSENSUS, Kind.EVIDENCE])
async def test_whatever_makes_votes_waits_while_the_disk_is_far_behind(kind: Kind) -> None:
    """B25: each step may wait for the disk with what it wants to say, and they are counted."""
    first, second = (encode_message(vote(Commit, 1, 0, 1, digest)) for digest in (A, B))
    epoch = EpochRecord(0, 0, validator_set(4), Parameters())
    runner, passed = _Runner(), list[bytes]()
    parts: dict[str, Any] = dict.fromkeys(
        ("bodies", "admission", "sync", "seats", "divergence", "calls")
    )
    inlet = Inlet(
        runner=cast(Any, runner),
        evidence=EvidenceDesk(DOMAIN, fake_verify, lambda: epoch),
        roster=cast(Any, SimpleNamespace(is_member=lambda member: True)),
        pass_on=lambda member, payload: passed.append(payload),
        **parts,
    )
    payload = first if kind is Kind.CONSENSUS else encode(EvidenceFrame(first, second))
    waiting = inlet.deliver("hosp-b", kind, payload)
    assert waiting is not None
    assert (runner.events, passed) == ([], [])
    runner.full = False
    await waiting
    assert len(runner.events) == (1 if kind is Kind.CONSENSUS else 2)
    assert len(passed) == (0 if kind is Kind.CONSENSUS else 1)
