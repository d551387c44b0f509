"""Format versions of the stores: which this software writes, and which it reads.

Law of the file: a store of any other version is refused before a byte of it is used; a version is
raised whenever an older reader would misread what is written, or a newer one what was.
"""

from storage import keys
from storage.errors import StoreDamaged, StoreVersion
from storage.kv import KeyValue, Put

VERSION_BYTES = 4

VERSIONS = {
    "blocks": 1,
    # After 0.1.0: 2, write sets, and the birth time in the identity of the vote journal; 3, rows d
    # beside large buckets; 4, buckets in files of their own, of which an older reader would see none; 5, rows l,
    # which say where they lie, instead of rows p.
    "state": 5,
    "journal": 1,
    "vault": 2,  # after 0.1.0: keys that are sealed to a keeper, which an older eraser would lose
}
# The oldest that is read as well; its stores are stamped anew when they are changed.
OLDEST = {"vault": 1, "state": 2}
ROWS_SINCE = {keys.CHANGED: 3, keys.PLACE: 4, keys.PLACES: 5}  # of the state store

_OLDER_HINT = (
    "Go on with the version of the software that wrote it; CHANGELOG.md names the way to this one."
)


def check_version(store: str, found: int) -> None:
    """Raises `StoreVersion` unless this software reads version `found` of `store`."""
    known = VERSIONS[store]
    if found > known:
        raise StoreVersion(
            f"the {store} store has format version {found}; this software reads version {known}"
        )
    if found < 1:
        raise StoreVersion(f"the {store} store has no valid format version")
    if found < OLDEST.get(store, known):
        raise StoreVersion(
            f"the {store} store has the older format version {found}; "
            f"this software reads version {known}",
            hint=_OLDER_HINT,
        )


def open_schema(kv: KeyValue, store: str, genesis_hash: bytes) -> list[Put]:
    """Stamp an empty store with version and chain, or check the stamp of one that is in use. What must be in
    the batch that brings an older store to this version; nothing if it is of this version."""
    stamp, chain = kv.get(keys.META_FORMAT), kv.get(keys.META_GENESIS)
    if stamp is None and chain is None:
        if next(iter(kv.scan(b"")), None) is not None:
            raise StoreDamaged(f"the {store} store has data but no format version")
        version = VERSIONS[store].to_bytes(VERSION_BYTES)
        kv.write([(keys.META_FORMAT, version), (keys.META_GENESIS, genesis_hash)], sync=True)
        return []
    if stamp is None or len(stamp) != VERSION_BYTES:
        raise StoreDamaged(f"the format version of the {store} store is none")
    found = int.from_bytes(stamp)
    check_version(store, found)
    if chain != genesis_hash:
        raise StoreDamaged(
            f"the {store} store belongs to another chain",
            code="WRONG_CHAIN",
            hint="Check genesis.json; a home serves one chain for ever.",
        )
    if found == VERSIONS[store]:
        return []
    for kind, since in ROWS_SINCE.items():
        if found < since and next(iter(kv.scan(kind)), None) is not None:
            raise StoreDamaged(f"the {store} store has rows that its format version does not know")
    return [(keys.META_FORMAT, VERSIONS[store].to_bytes(VERSION_BYTES))]
