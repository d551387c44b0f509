"""What a node has on its disk for the agreement: blocks, state, the vote journal, a thread for each writer;
and which asks of people it has answered.

Law of the file: opened and looked through before anything else begins, closed after everything else.
"""

import logging
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from consensus.effects import PersistBody
from contracts.registry import Registry
from node.bodies import Bodies, Body
from node.disk_thread import CLOSE_TIMEOUT_MS, DiskThread
from node.genesis_block import genesis_block
from node.logs import describe_error, log_event
from node.metrics import Metrics
from node.runner import Synced
from node.seen_asks import SeenAsks
from node.standing import Voter
from salus.genesis import Genesis
from salus.vote import JournalEntry, VoteType
from storage.blocks import BlockStore
from storage.errors import StoreUnavailable
from storage.kv import LevelKV
from storage.recent import check_recent
from storage.state import StateStore

log = logging.getLogger("salus.disk")

# A body is read when a peer asks for it, one after the other: none is read twice soon.
BODIES_CACHE_BYTES = 4 * 2**20
_FIRST_VOTES = frozenset({VoteType.PRE_PREPARE, VoteType.PREPARE})


class Disk:
    """`data`: made if it is not there; a new one begins with genesis."""

    def __init__(
        self,
        data: Path,
        genesis: Genesis,
        contracts: Registry,
        node_key: bytes,
        cache_bytes: int,
        metrics: Metrics,
    ) -> None:
        """Raises `StoreUnavailable`, `StoreDamaged`, `JournalDamaged`: then the node must not start."""
        data.mkdir(parents=True, exist_ok=True)
        chain = genesis.hash()
        bodies = LevelKV(data / "blocks", cache_bytes=min(cache_bytes, BODIES_CACHE_BYTES))
        self.blocks = BlockStore(bodies, chain)
        self.state = StateStore.open(data / "state", chain, cache_bytes=cache_bytes)
        if not self.state.initialised:
            self.state.initialise(genesis_block(genesis, contracts))
        check_recent(self.blocks, self.state)
        self.voter = Voter(data, self.state, chain, node_key)
        self.asks = SeenAsks(data / "asks")
        self.writer, self.journalist = DiskThread("writer"), DiskThread("journal")
        self._metrics = metrics
        self._ahead: set[tuple[int, bytes]] = set()  # bodies on their way, by sequence and digest
        self._failed: BaseException | None = None  # of those: nothing is written any more

    def persist(
        self,
        bodies: Bodies,
        wanted: list[PersistBody],
        entries: list[JournalEntry],
        synced: Synced,
    ) -> None:
        """What must be remembered before it is said. Raises `BodyMissing`.
        `synced` hears once that it is, or what went wrong; and later, if a body fails behind it.

        COMMIT needs its body on the disk (S3). It goes there behind the first vote for it, while
        that is on its way to the others and theirs come: so COMMIT waits for one sync, not two."""
        raws = [
            body
            for body in bodies.persist([(body.sequence, body.digest) for body in wanted])
            if body[:2] not in self._ahead  # this thread has it before it has the votes
        ]

        def answer(took: dict[str, float], failed: BaseException | None) -> None:
            if failed is None:
                self._stands(bodies, raws, synced)
                self._observe(took)
            synced(failed)

        def arrived(took: dict[str, float], failed: BaseException | None) -> None:
            self._ahead.difference_update(body[:2] for body in ahead)
            if failed is None:
                self._stands(bodies, ahead, synced)
                self._observe(took)
            else:
                synced(failed)  # No vote leaves any more: the node must not seem to live till then.

        self.journalist.start(partial(self._write_votes, raws, entries), answer)
        written = {body[:2] for body in raws} | self._ahead
        ahead = [body for body in bodies.unstored(_first_votes(entries)) if body[:2] not in written]
        if ahead:
            self._ahead.update(body[:2] for body in ahead)
            self.journalist.start(partial(self._write_ahead, ahead), arrived)

    def _write_votes(self, bodies: list[Body], entries: list[JournalEntry]) -> dict[str, float]:
        """In the journal's thread; how many seconds each store took."""
        if self._failed is not None:
            raise self._failed  # COMMIT may need that body.
        took, began = {}, time.perf_counter()
        if bodies:
            self.blocks.put_bodies(bodies, sync=True)
            took["blocks"] = time.perf_counter() - began
        if entries:
            began = time.perf_counter()
            self.voter.append(entries)
            took["journal"] = time.perf_counter() - began
        return took

    def _write_ahead(self, bodies: list[Body]) -> dict[str, float]:
        began = time.perf_counter()
        try:
            self.blocks.put_bodies(bodies, sync=True)
        except BaseException as error:
            self._failed = error
            raise
        return {"blocks": time.perf_counter() - began}

    def _stands(self, bodies: Bodies, written: list[Body], synced: Synced) -> None:
        """They are on disk. One that a slow disk took when another block of its height stood there
        already is an orphan that the pipeline has not seen, and no start looks for."""
        if not written:
            return  # Most syncs carry votes alone.
        late = bodies.persisted(written)
        if late and not self.journalist.closed:
            self.journalist.start(
                partial(self._drop_late, late),
                lambda _, failed: None if failed is None else synced(failed),
            )

    def _drop_late(self, late: list[tuple[int, bytes]]) -> None:
        self.blocks.drop_orphans(
            (height, self.state.header(height).proposal_digest) for height, _ in late
        )

    def _observe(self, took: dict[str, float]) -> None:
        for part, seconds in took.items():
            self._metrics.storage_write_seconds.labels(part).observe(seconds)

    def close(self) -> None:
        """The writers first: what they have begun needs the stores. If the disk hangs they stay open:
        the end of the process closes them, and what was under way is torn, as by a power cut."""
        writers = self.journalist, self.writer
        until_ms = _now_ms() + CLOSE_TIMEOUT_MS
        for writer in writers:
            writer.finish()
        closed = [writer.close(max(0, until_ms - _now_ms())) for writer in writers]
        if not all(closed):
            log_event(log, logging.ERROR, "disk_hangs", waited_ms=CLOSE_TIMEOUT_MS)
            return
        self.voter.close()
        self.asks.close()
        try:
            self.state.close()
            self.blocks.close()
        except StoreUnavailable as error:
            log_event(log, logging.ERROR, "disk_hangs", error=describe_error(error))


def _now_ms() -> int:
    return int(time.monotonic() * 1000)


def _first_votes(entries: Iterable[JournalEntry]) -> list[tuple[int, bytes]]:
    """For which proposals: (sequence, digest)."""
    return [(entry.sequence, entry.digest) for entry in entries if entry.kind in _FIRST_VOTES]
