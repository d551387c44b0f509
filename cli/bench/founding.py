"""A state store that begins with many keys: genesis, and records beside it as blocks would have left them.

Written without running blocks, in a minute for 10^7 keys where transactions take a quarter of an hour. Law of
the file: what is opened anew hashes to the state root in the head, or no node starts from it. Such a chain is
the benchmark's alone: a node that founds itself by the genesis document has another block 0.
"""

import os
import random
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import msgspec

from contracts.catalogue import registry
from node.genesis_block import genesis_block
from salus.genesis import Genesis
from salus.statemap import (
    SALT_BYTES,
    StateTree,
    bucket_of,
    change_bucket,
    key_hash,
    leaf_of,
)
from storage import keys
from storage.kv import Put
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
    with closing(StateStore.open(place, genesis.hash())) as state:
        assert not state.initialised, "the rows of another state would be mixed with these"
        tree = StateTree(bits)
        buckets = dict(batch.buckets)  # genesis's own; those that are filled hold them too
        order = iter(sorted(by_bucket))
        while part := list(islice(order, BATCH_BUCKETS)):
            puts: list[Put] = []
            for index in part:
                puts += _filled(index, by_bucket.pop(index), buckets)
            puts += state.bucket_store.puts({index: buckets[index] for index in part})
            state.kv.write(puts, sync=False)
            state.bucket_store.written()
        _age(state, buckets)
        header = msgspec.structs.replace(batch.header, state_root=tree.load(buckets.items()))
        own = {index: buckets[index] for index in batch.buckets}
        state.initialise(replace(batch, header=header, buckets=own))
        rest()  # or the first blocks would pay for merging all of it


def _age(state: StateStore, buckets: dict[int, bytes]) -> None:
    """As blocks leave it: each has written some buckets anew, so that as much lies there dead as alive."""
    order = sorted(buckets)
    for _ in range(0, len(order), BATCH_BUCKETS):
        some = random.sample(order, min(len(order), BATCH_BUCKETS))
        state.kv.write(
            state.bucket_store.puts({index: buckets[index] for index in some}), sync=False
        )
        state.bucket_store.written()


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
    buckets[index] = change_bucket(buckets.get(index, b""), leaves)


def _key(number: int) -> bytes:
    """Of the records contract's own length, and of nobody's record."""
    return b"records/" + number.to_bytes(4) + os.urandom(28)
