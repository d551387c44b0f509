"""A state store that begins with many keys: genesis, and records beside it as blocks would have left them.

Written without running blocks, in a minute for 10^7 keys where transactions take a quarter of an hour. Law of
the file: what is opened anew hashes to the state root in the head, or no node starts from it. Such a chain is
the benchmark's alone: a node that founds itself by the genesis document has another block 0.
"""

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from math import isqrt
from pathlib import Path

import msgspec

from contracts.catalogue import registry
from node.genesis_block import genesis_block
from salus.genesis import Genesis
from salus.statemap import (
    ENTRY_BYTES,
    SALT_BYTES,
    StateTree,
    bucket_of,
    change_bucket,
    key_hash,
    leaf_of,
)
from storage import keys
from storage.buckets import WHOLE_BYTES_MAX
from storage.kv import STATE_WRITE_BUFFER_BYTES, LevelKV, Put
from storage.state import StateStore

BATCH_BUCKETS = 4_096
REST_S = 0.3  # in which LevelDB's thread uses less than a hundredth: it merges, or it does not
VALUE_BYTES = 60  # as large as what `records.anchor` keeps


def found(place: Path, genesis: Genesis, size: int) -> None:
    """The store in `place`: genesis, and as many records beside it as make `size` keys."""
    batch = genesis_block(genesis, registry())
    bits = genesis.parameters.state_bucket_bits
    by_bucket: dict[int, list[bytes]] = defaultdict(list)
    for number in range(max(0, size - len(batch.writes))):
        key = _key(number)
        by_bucket[bucket_of(key_hash(key), bits)].append(key)
    kv = LevelKV(place, write_buffer_bytes=STATE_WRITE_BUFFER_BYTES)
    with closing(StateStore(kv, genesis.hash())) as state:
        assert not state.initialised, "the rows of another state would be mixed with these"
        tree = StateTree(bits)
        buckets = dict(batch.buckets)  # genesis's own; those that are filled hold them too
        puts: list[Put] = []
        order = iter(sorted(by_bucket))
        while part := list(islice(order, BATCH_BUCKETS)):
            for index in part:
                puts += _filled(index, by_bucket.pop(index), buckets)
            kv.write(puts, sync=False)
            puts = []
        header = msgspec.structs.replace(batch.header, state_root=tree.load(buckets.items()))
        own = {index: buckets[index] for index in batch.buckets}
        state.initialise(replace(batch, header=header, buckets=own))
        rest()  # or the first blocks would pay for merging all of it


def found_alike(places: Sequence[Path], genesis: Genesis, size: int) -> None:
    """The same store in each."""
    first, *others = places
    found(first, genesis, size)
    for place in others:
        shutil.copytree(first, place)


def rest() -> None:
    """Wait until LevelDB has merged what is to be merged; for who does nothing beside."""
    began = -1.0
    while time.process_time() - began > REST_S / 100:
        began = time.process_time()
        time.sleep(REST_S)


def _filled(index: int, names: list[bytes], buckets: dict[int, bytes]) -> Iterator[Put]:
    leaves: dict[bytes, bytes | None] = {}
    for name in names:
        stored = bytes(SALT_BYTES + VALUE_BYTES)
        hashed = key_hash(name)
        leaves[hashed] = leaf_of(hashed, stored)
        yield keys.VALUE + name, stored
    own = buckets.get(index, b"")  # genesis's
    content = buckets[index] = change_bucket(own, leaves)
    since: dict[bytes, bytes | None] = {}
    if not own and len(content) > WHOLE_BYTES_MAX:
        # As blocks leave a large bucket: each has gone another part of the way to the next whole one.
        age = index % (isqrt(2 * len(content) // ENTRY_BYTES) + 1)
        since = {hashed: leaves.pop(hashed) for hashed in list(leaves)[:age]}
        content = change_bucket(own, leaves)
    yield keys.bucket_key(index), content
    if since:
        yield keys.changed_key(index), change_bucket(b"", since)


def _key(number: int) -> bytes:
    """Of the records contract's own length, and of nobody's record."""
    return b"records/" + number.to_bytes(4) + os.urandom(28)
