"""Proposal bodies by (sequence, digest): in memory until certified, on disk once voted for.

The core speaks of digests; this is where they turn into bytes. Bodies of open sequences are
bounded by count and bytes, the farthest future goes first (rule B25); what was persisted for a
COMMIT is never lost, because reads fall through to the block store (rule S3).
"""

from collections.abc import Iterable

from salus.block import ParsedProposal, proposal_digest
from storage.blocks import BlockStore

# Two candidate bodies per open sequence of the largest window in use are plenty: an honest
# primary sends one, and an equivocating one is caught at the second.
BODIES_MAX = 160
BODIES_BYTES_MAX = 64 * 2**20


class Bodies:
    def __init__(self, store: BlockStore) -> None:
        self.store = store
        self._raw: dict[tuple[int, bytes], bytes] = {}
        self._parsed: dict[bytes, ParsedProposal] = {}
        self._bytes = 0
        self._floor = 0

    def put(self, sequence: int, raw: bytes) -> bytes:
        """Keep a body that is not on disk yet; returns its digest."""
        digest = proposal_digest(raw)
        key = (sequence, digest)
        if sequence > self._floor and key not in self._raw:
            self._raw[key] = raw
            self._bytes += len(raw)
            while len(self._raw) > BODIES_MAX or self._bytes > BODIES_BYTES_MAX:
                self._forget(max(self._raw))
        return digest

    def get(self, sequence: int, digest: bytes) -> bytes | None:
        return self._raw.get((sequence, digest)) or self.store.body(sequence, digest)

    def holds(self, sequence: int, digest: bytes) -> bool:
        return self.get(sequence, digest) is not None

    def remember_parsed(self, proposal: ParsedProposal) -> None:
        """What was checked once is not parsed again at execution."""
        self._parsed[proposal.digest] = proposal
        while len(self._parsed) > BODIES_MAX:
            self._parsed.pop(next(iter(self._parsed)))

    def parsed(self, digest: bytes) -> ParsedProposal | None:
        return self._parsed.get(digest)

    def persist(self, wanted: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes, bytes]]:
        """(sequence, digest, body) of those that memory still holds, for the block store."""
        return [(*key, self._raw[key]) for key in wanted if key in self._raw]

    def certified(self, height: int) -> None:
        """Everything at or below is in the stores; drop it here."""
        self._floor = max(self._floor, height)
        for key in [key for key in self._raw if key[0] <= height]:
            self._forget(key)
        for digest, proposal in list(self._parsed.items()):
            if proposal.body.sequence <= height:
                del self._parsed[digest]

    def _forget(self, key: tuple[int, bytes]) -> None:
        self._bytes -= len(self._raw.pop(key))
