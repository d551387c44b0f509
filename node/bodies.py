"""Proposal bodies by (sequence, digest): in memory until certified, on disk once voted for.

The core speaks of digests; this is where they turn into bytes. Law of the file: a body is taken
only if the core wants it, and none that the core counts on is ever lost (rule S3). Memory makes
room with what stands on disk, then with what the core can spare, and it is told so; if that is
not enough, the newcomer stays out and is fetched later (rule B25).
"""

from collections.abc import Callable, Iterable

from salus.block import ParsedProposal
from salus.parameters import Parameters
from storage.blocks import BlockStore

Key = tuple[int, bytes]  # sequence, digest
Body = tuple[int, bytes, bytes]  # sequence, digest, the proposal

# Beside what is in flight and what is executed ahead: one that is being fetched, one in hand.
BODIES_BESIDE = 2


class BodyMissing(Exception):
    """A body that the core counts on is nowhere: going on would break rule S3."""

    def __init__(self, sequence: int, digest: bytes) -> None:
        super().__init__(f"the body of sequence {sequence}, {digest.hex()}, is nowhere")


class Bodies:
    def __init__(
        self,
        store: BlockStore,
        height: int,
        pinned: Callable[[int, bytes], bool],
        dropped: Callable[[int, bytes], object],
    ) -> None:
        """`height`: the certified one; `pinned`: does anybody still count on this body?
        `dropped`: it made room and is not here any more."""
        self.store, self.pinned, self.dropped = store, pinned, dropped
        self._raw: dict[Key, bytes] = {}
        self._parsed: dict[bytes, ParsedProposal] = {}
        self._bytes = 0
        self._floor = height
        # On disk, above the floor; those of an earlier life too.
        self._stored = {
            (sequence, digest) for sequence, digest, _ in store.bodies(first=height + 1)
        }
        self.begin_epoch(Parameters())

    def begin_epoch(self, parameters: Parameters) -> None:
        blocks = parameters.in_flight_proposals_max + parameters.execute_ahead_max + BODIES_BESIDE
        self.body_bytes_max = parameters.block_bytes_max
        self.bytes_max = blocks * parameters.block_bytes_max
        # Small ones are bounded by number: the core wants one for each slot of its two windows.
        self.bodies_max = 2 * parameters.watermark_window + BODIES_BESIDE

    def admit(self, sequence: int, digest: bytes, raw: bytes) -> bool:
        """Keep a body that the core wants; False if there is no room for it now."""
        if sequence <= self._floor:
            return False
        if (sequence, digest) not in self._raw:
            if not self._make_room(len(raw)):
                return False
            self._keep(sequence, digest, raw)
        return True

    def put(self, sequence: int, digest: bytes, raw: bytes) -> None:
        """Keep a body of my own or of a certified block, whatever else is here: of the first kind
        one is open at a time, of the second as many as are executed ahead."""
        if sequence > self._floor and (sequence, digest) not in self._raw:
            self._make_room(len(raw))
            self._keep(sequence, digest, raw)

    def get(self, sequence: int, digest: bytes) -> bytes | None:
        raw = self._held((sequence, digest))
        return self.store.body(sequence, digest) if raw is None else raw

    def remember_parsed(self, proposal: ParsedProposal) -> None:
        """What was checked once is not parsed again at execution."""
        self._parsed[proposal.digest] = proposal
        while len(self._parsed) > self.bodies_max:
            self._parsed.pop(next(iter(self._parsed)))

    def parsed(self, digest: bytes) -> ParsedProposal | None:
        return self._parsed.get(digest)

    # -- the disk -------------------------------------------------------------------------------

    def persist(self, wanted: Iterable[Key]) -> list[Body]:
        """Those of them that the block store lacks.

        Raises `BodyMissing`: a COMMIT must not leave without its body, nor a block be certified.
        """
        found = []
        for key in wanted:
            if key in self._stored or key[0] <= self._floor:
                continue  # Or certified meanwhile: then its block brought the body that counts.
            raw = self._held(key)
            if raw is not None:
                found.append((*key, raw))
            elif self.store.body(*key) is None:  # A null proposal is a constant, never stored.
                raise BodyMissing(*key)
        return found

    def unstored(self, keys: Iterable[Key]) -> list[Body]:
        """Those of them that memory holds and the block store lacks; each once."""
        found = {}
        for key in keys:
            raw = self._held(key)
            if raw is not None and key not in self._stored and key[0] > self._floor:
                found[key] = (*key, raw)
        return list(found.values())

    def persisted(self, bodies: Iterable[Body]) -> list[Key]:
        """They are on disk: memory may forget them. Gives those that came there behind a block of
        their height, which nobody asks about any more whether they are orphans."""
        keys = [(sequence, digest) for sequence, digest, _ in bodies]
        self._stored.update(key for key in keys if key[0] > self._floor)
        return [key for key in keys if key[0] <= self._floor]

    def orphaned(self, height: int, digest: bytes) -> bool:
        """Does the block store hold another body for this height than the certified one?"""
        return any(s == height and d != digest for s, d in self._stored)

    def certified(self, height: int) -> None:
        """Everything at or below is in the stores; drop it here."""
        self._floor = max(self._floor, height)
        for key in [key for key in self._raw if key[0] <= height]:
            self._forget(key)
        self._stored = {key for key in self._stored if key[0] > height}
        for digest, proposal in list(self._parsed.items()):
            if proposal.body.sequence <= height:
                del self._parsed[digest]

    # -- memory ---------------------------------------------------------------------------------

    def _held(self, key: Key) -> bytes | None:
        raw = self._raw.get(key)
        if raw is None:
            proposal = self._parsed.get(key[1])
            if proposal is not None and proposal.body.sequence == key[0]:
                return proposal.raw
        return raw

    def _keep(self, sequence: int, digest: bytes, raw: bytes) -> None:
        self._raw[sequence, digest] = raw
        self._bytes += len(raw)

    def _forget(self, key: Key) -> None:
        self._bytes -= len(self._raw.pop(key))

    def _release(self, key: Key) -> None:
        self._forget(key)
        self._parsed.pop(key[1], None)

    def _fits(self, size: int) -> bool:
        return self._bytes + size <= self.bytes_max and len(self._raw) < self.bodies_max

    def _make_room(self, size: int) -> bool:
        """First what the disk has, then what nobody counts on, the farthest future first."""
        if self._fits(size):
            return True
        for key in [key for key in self._raw if key in self._stored]:
            self._release(key)
            if self._fits(size):
                return True
        for key in sorted((k for k in self._raw if not self.pinned(*k)), reverse=True):
            self._release(key)
            self.dropped(*key)
            if self._fits(size):
                return True
        return False
