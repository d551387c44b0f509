"""What each stage of a transaction cannot do without, measured here and now: microseconds of one core.

Not a goal but a floor: the same work with nothing around it. Law of the file: a limit is measured with
the very primitive and the very size that a node has, least of several turns.
"""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contracts.records import AnchorArgs
from salus.codec import decode, encode
from salus.keys import SigningKey, verify
from salus.transaction import Operation
from storage.kv import LevelKV

TURNS, TURN_S = 5, 0.02
BATCH = 1_000


def limits(
    place: Path, tx_bytes: int, tx_per_block: float, validators: int, operations: int
) -> dict[str, float]:
    """By stage; of one transaction of so many operations at one node. `tx_per_block`: shares what is
    done once a block."""
    key = SigningKey.from_seed(bytes(32))
    payload = bytes(tx_bytes)
    signature = key.sign(payload)
    args = encode(AnchorArgs(os.urandom(32), 1, bytes(32), bytes(32)))
    operation = encode(Operation("records", "anchor", 1, args))
    seal = AESGCM(bytes(32))
    block = bytes(max(1, int(tx_bytes * tx_per_block)))
    line = _least(lambda: seal.encrypt(bytes(12), payload, None))
    verified = _least(lambda: verify(key.public_key, payload, signature))
    votes = 3 * (validators - 1)  # PREPARE, COMMIT, CHECKPOINT of the others: a signature each
    table = {i.to_bytes(32): payload for i in range(BATCH)}
    return {
        "receive": line,  # once from the client or a peer
        "decode": operations
        * _least(lambda: (decode(operation, Operation), decode(args, AnchorArgs))),
        "verify": verified,
        "mempool": _least(lambda: (table.pop(bytes(32), None), table.setdefault(bytes(32), b""))),
        "gossip": line,  # sealed once more for those who lack it
        "order": (_least(lambda: hashlib.sha256(block).digest()) + votes * verified) / tx_per_block,
        "execute": operations
        * _least(lambda: (decode(args, AnchorArgs), encode(AnchorArgs(*_fields)))),
        # key, leaf, node
        "state root": 3 * operations * _least(lambda: hashlib.sha256(bytes(64)).digest()),
        "write": operations * _written(place, tx_bytes // operations),
        "vote journal": 3 * _synced(place) / tx_per_block,
        "notify": _least(lambda: msgspec.json.encode({"tx_id": "0" * 64, "state": "committed"})),
    }


_fields = (bytes(32), 1, bytes(32), bytes(32))


def _least(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(TURNS):
        count, began = 0, time.thread_time()
        while time.thread_time() - began < TURN_S:
            for _ in range(16):
                call()
            count += 16
        best = min(best, (time.thread_time() - began) / count)
    return round(1e6 * best, 3)


def _written(place: Path, tx_bytes: int) -> float:
    """Processor time of LevelDB for what a transaction leaves: body, receipt, id, state value."""
    store = LevelKV(place / "limits")
    try:
        best = float("inf")
        for turn in range(TURNS):
            puts = [(os.urandom(32), bytes(tx_bytes // 2)) for _ in range(4 * BATCH)]
            began = time.process_time()
            store.write(puts, sync=turn == TURNS - 1)
            best = min(best, (time.process_time() - began) / BATCH)
    finally:
        store.close()
    return round(1e6 * best, 3)


def _synced(place: Path) -> float:
    """Processor time of an append and an fdatasync."""
    with (place / "journal").open("ab", buffering=0) as file:
        began = time.process_time()
        for _ in range(50):
            file.write(bytes(200))
            os.fdatasync(file.fileno())
        return 1e6 * (time.process_time() - began) / 50
