"""Bodies of proposals, synced before a COMMIT leaves (rule S3), under height-ordered keys.

A body without a certified header of its digest is an orphan of some view change; it is dropped
when its height is certified. A null proposal is a constant and need not be stored.
"""

from collections.abc import Iterable, Iterator

from salus.block import null_proposal, proposal_digest
from storage import keys
from storage.kv import KeyValue
from storage.schema import open_schema


class BlockStore:
    def __init__(self, kv: KeyValue, genesis_hash: bytes) -> None:
        """Raises `StoreVersion`, or `StoreDamaged` if the store is of another chain."""
        open_schema(kv, "blocks", genesis_hash)
        self.kv = kv  # for storage/check.py; everybody else uses the methods

    def put_bodies(self, bodies: Iterable[tuple[int, bytes, bytes]], *, sync: bool = True) -> None:
        """Store (sequence, digest, body)s in one batch; synced unless the caller syncs later."""
        self.kv.write(
            [(keys.body_key(sequence, digest), body) for sequence, digest, body in bodies],
            sync=sync,
        )

    def body(self, sequence: int, digest: bytes) -> bytes | None:
        stored = self.kv.get(keys.body_key(sequence, digest))
        if stored is None and sequence > 0:
            constant = null_proposal(sequence)
            if proposal_digest(constant) == digest:
                return constant
        return stored

    def bodies(self, *, first: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """All stored (sequence, digest, body)s from height `first` upwards."""
        for key, body in self.kv.scan(keys.BODY, start=keys.BODY + keys.number(first)):
            yield int.from_bytes(key[1:9]), key[9:], body

    def drop_orphans(self, certified: Iterable[tuple[int, bytes]]) -> int:
        """For each certified (height, digest), forget the other bodies of that height; gives
        how many. Not synced: after a crash an orphan may still be there, which harms nobody."""
        orphans = [
            key
            for height, digest in certified
            for key, _ in self.kv.scan(keys.BODY + keys.number(height))
            if key[9:] != digest
        ]
        if orphans:
            self.kv.write([(key, None) for key in orphans], sync=False)
        return len(orphans)

    def close(self) -> None:
        self.kv.close()
