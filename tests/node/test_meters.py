"""Meters measure what passes them, and change nothing of it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from consensus.effects import Action, CheckProposal, Execute, Send, Sending, WriteBlock
from consensus.messages import Commit, PrePrepare
from node.api.view import Submitted
from node.meters import PHASES, ROOM_SHARE, SUBMITTED_MAX, BlockMeter, CommitMeter, MeteredSigner
from node.metrics import Metrics
from salus.certificate import Certificate, IndexedSignature
from tests import factories
from tests.node.network import hospitals
from tests.node.test_node import WAIT_S, anchor

SIGNATURE = bytes(64)
CERTIFICATE = Certificate(0, 1, bytes(32), (IndexedSignature(0, SIGNATURE),))


class Hands:
    """An outlet that keeps what reached it."""

    def __init__(self) -> None:
        self.reached: list[object] = []

    def send(self, sending: Sending) -> None:
        self.reached.append(sending)

    def act(self, action: Action) -> None:
        self.reached.append(action)


class Bench:
    def __init__(self) -> None:
        self.now, self.metrics, self.hands = 0.0, Metrics(), Hands()
        self.blocks = BlockMeter(self.hands, self.metrics, lambda: self.now)
        self.commits = CommitMeter(self.metrics, lambda: self.now)

    def took(self, phase: str) -> tuple[int, float]:
        series = self.metrics.consensus_phase_seconds.labels(phase)
        return series.count, series.sum

    def through(self, sequence: int, *, view: int = 0) -> None:
        """A backup's sequence: each phase takes a second longer than the one before."""
        commit = Commit(0, view, sequence, bytes(32), 1, SIGNATURE)
        self.blocks.act(CheckProposal(view, sequence, bytes(32), 0, True))
        self.now += 1
        self.blocks.send(Send(commit))
        self.now += 2
        self.blocks.act(Execute(sequence, bytes(32)))
        self.now += 3
        self.blocks.act(WriteBlock(sequence, CERTIFICATE))
        self.now += 4
        self.blocks.written(sequence, fetched=False)


def test_each_phase_of_a_sequence_is_told_apart() -> None:
    bench = Bench()
    bench.through(1)
    assert [bench.took(phase) for phase in PHASES] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert len(bench.hands.reached) == 4
    assert not bench.blocks._open


def test_the_primary_measures_from_its_own_proposal() -> None:
    bench = Bench()
    bench.blocks.send(Send(PrePrepare(0, 0, 1, bytes(32), 0, SIGNATURE)))
    bench.now += 5
    bench.blocks.send(Send(Commit(0, 0, 1, bytes(32), 0, SIGNATURE)))
    assert bench.took("prepare") == (1, 5)


def test_a_vote_that_is_said_again_ends_no_phase_again() -> None:
    """L20: votes are repeated to who lacks them."""
    bench = Bench()
    commit = Commit(0, 0, 1, bytes(32), 1, SIGNATURE)
    bench.blocks.act(CheckProposal(0, 1, bytes(32), 0, True))
    for to in (None, None, 2):
        bench.now += 1
        bench.blocks.send(Send(commit, to))
    assert bench.took("prepare") == (1, 1)


def test_a_phase_whose_beginning_was_not_seen_is_not_told() -> None:
    bench = Bench()
    bench.blocks.act(Execute(1, bytes(32)))  # after a restart
    bench.now += 3
    bench.blocks.act(WriteBlock(1, CERTIFICATE))
    bench.blocks.written(2, fetched=True)
    assert [bench.took(phase)[0] for phase in PHASES] == [0, 0, 1, 0]
    assert not bench.blocks._open


def test_a_new_view_begins_the_prepare_phase_again_but_not_what_is_committed() -> None:
    bench = Bench()
    bench.blocks.act(CheckProposal(0, 1, bytes(32), 0, True))
    bench.now += 10
    bench.through(1, view=1)
    assert bench.took("prepare") == (1, 1)
    bench.blocks.act(Execute(2, bytes(32)))
    bench.blocks.act(CheckProposal(2, 2, bytes(32), 0, False))
    bench.blocks.act(WriteBlock(2, CERTIFICATE))
    assert bench.took("certify")[0] == 2


def test_the_interval_of_blocks_leaves_out_what_was_fetched() -> None:
    bench = Bench()
    for height, fetched in ((1, True), (2, True), (3, False), (4, False)):
        bench.now += 2
        bench.blocks.written(height, fetched=fetched)
    interval = bench.metrics.consensus_block_interval_seconds.labels()
    assert (interval.count, interval.sum) == (1, 2)


def test_a_signer_is_timed_and_its_failures_are_counted() -> None:
    bench, key = Bench(), factories.key("node hosp-a")
    signer = MeteredSigner(key, bench.metrics)
    assert signer.public_key == key.public_key
    assert signer.sign(b"vote") == key.sign(b"vote")
    assert bench.metrics.signer_seconds.labels().count == 1

    class Lost:
        public_key = bytes(32)

        def sign(self, payload: bytes) -> bytes:
            raise OSError("the token was pulled")

    with pytest.raises(OSError, match="pulled"):
        MeteredSigner(Lost(), bench.metrics).sign(b"vote")
    assert b"salus_signer_errors_total 1.0" in bench.metrics.text()


def test_a_transaction_waits_from_its_first_request_to_its_block() -> None:
    bench = Bench()
    mine = [number.to_bytes(32) for number in range(4)]
    bench.commits.submitted(mine[:2], 0.0)
    bench.commits.submitted(mine, 1.0)
    bench.now = 2.0
    bench.commits.committed([*mine[1:3], bytes(32)[1:] + b"\xff"])
    seconds = bench.metrics.tx_commit_seconds.labels()
    assert (seconds.count, seconds.sum) == (2, 2.0 + 1.0)
    bench.commits.expired(mine)
    bench.commits.committed(mine)
    assert seconds.count == 2


async def test_a_block_that_overtakes_the_answer_leaves_nothing_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others of the same request were still being checked."""
    async with hospitals(tmp_path, 1) as group:
        node, tx = group.nodes[0], anchor(group, 1)
        real = node.admission.submit

        async def submit(raws: Sequence[bytes], room: int) -> list[Submitted]:
            answers = await real(raws, room)
            await node.facade.wait(tx.id, WAIT_S)
            return answers

        monkeypatch.setattr(node.admission, "submit", submit)
        (answer,) = await node.facade.submit([tx.raw])
        assert (answer.code, answer.height) == (None, None)
        assert not node.news.commits._submitted


def test_what_the_pool_dropped_without_a_word_is_forgotten_in_the_end() -> None:
    bench = Bench()
    for number in range(SUBMITTED_MAX + 10):
        bench.commits.submitted([number.to_bytes(32)], 0.0)
    assert SUBMITTED_MAX * (1 - 1 / ROOM_SHARE) <= len(bench.commits._submitted) <= SUBMITTED_MAX
