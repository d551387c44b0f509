"""Runner and disk together: no vote leaves before it, and for COMMIT its body, is on disk (S3).

The disk's thread is stepped by hand: what it does, what comes back of it, new steps and turns of
the loop take turns as a drawn order has it, and at some places a body cannot be written.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from consensus.effects import Action, Effects, PersistBody, Sending
from consensus.events import Tick
from consensus.replica import Replica
from contracts.catalogue import registry
from node.bodies import Bodies
from node.disk import Disk
from node.disk_thread import Answer
from node.metrics import Metrics
from node.runner import Runner, Synced
from node.standing import mark_birth
from salus.block import proposal_digest
from salus.vote import JournalEntry, VoteType
from storage.errors import StoreUnavailable
from tests import factories

SEQUENCES = 4
BODIES = [factories.proposal(sequence) for sequence in range(1, SEQUENCES + 1)]
CACHE_BYTES = 2**20


class Thread:
    """`DiskThread`, stepped: a job is done, and what came of it is told, whenever it is asked."""

    closed = False

    def __init__(self) -> None:
        self.jobs: deque[tuple[Callable[[], Any], Answer]] = deque()
        self.answers: deque[Callable[[], object]] = deque()

    def start(self, work: Callable[[], Any], answer: Answer) -> None:
        self.jobs.append((work, answer))

    def work(self) -> None:
        work, answer = self.jobs.popleft()
        try:
            result = work()
        except StoreUnavailable as error:
            failed = error
            self.answers.append(lambda: answer(None, failed))
        else:
            self.answers.append(lambda: answer(result, None))

    def tell(self) -> None:
        self.answers.popleft()()

    def finish(self) -> None:
        pass

    def close(self, timeout_ms: int) -> bool:
        return True


class Voting:
    """A validator whose replica votes as it is told; it sends the journal entries themselves."""

    def __init__(self, home: Path, random: Random, fails: bool) -> None:
        mark_birth(home)
        genesis, key = factories.genesis(4), factories.keys(4)[0]
        self.disk = Disk(home, genesis, registry(), key.public_key, CACHE_BYTES, Metrics())
        self.thread = self.disk.journalist = cast(Any, Thread())
        self.bodies = Bodies(self.disk.blocks, 0, lambda *_: True, lambda *_: None)
        blocks, voter = cast(Any, self.disk.blocks), cast(Any, self.disk.voter)
        blocks.put_bodies, voter.append = self._put, self._append
        self.stored, self.journal = set[tuple[int, bytes]](), list[JournalEntry]()
        self.sent: list[JournalEntry] = []
        self.failure: StoreUnavailable | None = None
        self.fails_at = random.randrange(SEQUENCES) if fails else None
        self.runner = Runner(self._persist, self, 20)
        self.runner.install(cast(Replica, self))
        self.next = Effects()

    def step(self, _: object) -> Effects:
        return self.next

    def vote(self, kind: VoteType, sequence: int) -> None:
        digest = proposal_digest(BODIES[sequence - 1])
        entry = JournalEntry(kind, 0, 0, sequence, digest)
        body = [PersistBody(sequence, digest)] if kind is VoteType.COMMIT else []
        self.next = Effects([*body, entry], [cast(Sending, entry)])
        self.runner.step(Tick())

    def arrives(self, sequence: int) -> None:
        body = BODIES[sequence - 1]
        self.bodies.put(sequence, proposal_digest(body), body)

    def send(self, sending: Sending) -> None:
        entry = cast(JournalEntry, sending)
        assert entry in self.journal
        self.sent.append(entry)

    def act(self, action: Action) -> None:
        raise AssertionError(action)

    def _persist(
        self, bodies: list[PersistBody], entries: list[JournalEntry], synced: Synced
    ) -> None:
        self.disk.persist(self.bodies, bodies, entries, synced)

    def _put(self, bodies: Iterable[tuple[int, bytes, bytes]], *, sync: bool) -> None:
        assert sync
        keys = {(sequence, digest) for sequence, digest, _ in bodies}
        if self.fails_at is not None and len(self.stored | keys) > self.fails_at:
            self.failure = self.failure or StoreUnavailable("the disk is gone")
            raise self.failure
        self.stored |= keys

    def _append(self, entries: list[JournalEntry]) -> None:
        assert self.failure is None, "COMMIT may need the body that is not there"
        for entry in entries:  # The power may go behind this very word.
            assert entry.kind != VoteType.COMMIT or (entry.sequence, entry.digest) in self.stored
        self.journal += entries


@pytest.mark.parametrize("course", ["calm", "a disk fails", "an epoch begins"])
async def test_in_whatever_order_thread_and_loop_take_turns_no_vote_leaves_too_early(
    tmp_path: Path, course: str
) -> None:
    for seed in range(15):
        random = Random(seed)
        voting = Voting(tmp_path / str(seed), random, course == "a disk fails")
        todo: list[tuple[VoteType, int]] = []
        for sequence in range(1, SEQUENCES + 1):
            at = random.randint(0, len(todo))
            todo.insert(at, (VoteType.PREPARE, sequence))
            todo.insert(random.randint(at + 1, len(todo)), (VoteType.COMMIT, sequence))
        votes, void = list(todo), set[tuple[VoteType, int]]()
        begins_at = random.randrange(len(todo)) if course == "an epoch begins" else -1
        while todo or voting.thread.jobs or voting.thread.answers or voting.runner._called:
            match random.randrange(5):
                case 0 if len(todo) == begins_at:
                    left = {(entry.kind, entry.sequence) for entry in voting.sent}
                    void = set(votes[: len(votes) - begins_at]) - left
                    voting.runner.install(cast(Replica, voting))
                    begins_at = -1
                case 0 if todo:
                    kind, sequence = todo.pop(0)
                    # Memory may have a body only when COMMIT needs it.
                    if kind is VoteType.COMMIT or random.random() < 0.7:
                        voting.arrives(sequence)
                    voting.vote(kind, sequence)
                case 1 | 2 if voting.thread.jobs:
                    voting.thread.work()
                case 3 if voting.thread.answers:
                    voting.thread.tell()
                case _:
                    await asyncio.sleep(0)
        if course == "a disk fails":
            assert voting.failure is not None
            assert voting.runner._cause is voting.failure
        else:
            sent = [(entry.kind, entry.sequence) for entry in voting.sent]
            assert sent == [vote for vote in votes if vote not in void]
        voting.disk.close()
