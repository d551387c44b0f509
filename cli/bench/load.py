"""The load of the benchmark: unique signed transactions against the records contract.

90 % anchor a new record, 10 % end a prefilled one in favour of another (a new version), and one
in a thousand has a bad signature, which every node must refuse. All of it is made and signed
before the clock runs, in as many processes as there are cores; what the chain outgrows meanwhile is signed
again (cli/bench/freshness.py).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context

from contracts.records import AnchorArgs, SupersedeArgs
from salus.codec import encode
from salus.keys import SigningKey
from salus.record import record_leaf, tag_hash
from salus.transaction import Operation, build

NEW_VERSION_EVERY = 10
BAD_SIGNATURE_EVERY = 1_000
PREFILL_OPERATIONS_PER_TRANSACTION = 400  # ≈ 50 kB: below the limit of a transaction


@dataclass(frozen=True, slots=True)
class Chain:
    """What signing needs; `seeds` are the operators' keys, one per node."""

    chain_id: str
    genesis_hash: bytes
    expiry_height: int
    seeds: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """One transaction of the load."""

    raw: bytes
    tx_id: bytes
    good: bool


def _secret(kind: str, org: int, number: int) -> bytes:
    return sha256(b"salus bench %s %d %d" % (kind.encode(), org, number)).digest()


def record(org: int, number: int) -> tuple[bytes, bytes, bytes]:
    """(version commitment, tag, root of its batch of one) of a prefilled record."""
    commitment, tag = _secret("version", org, number), _secret("tag", org, number)
    return commitment, tag, record_leaf(commitment, tag_hash(tag))


def _anchor(root: bytes, number: int) -> Operation:
    author, context = _secret("author", 0, number), _secret("context", 0, number)
    return Operation("records", "anchor", 1, encode(AnchorArgs(root, 1, author, context)))


def _supersede(org: int, number: int) -> Operation:
    """Ends prefilled record `number`; its successor is another prefilled one."""
    commitment, tag, root = record(org, number)
    successor = record(org, number + 1)[2]
    args = SupersedeArgs(root, 1, 0, commitment, tag, (), successor)
    return Operation("records", "supersede", 1, encode(args))


def prefill(chain: Chain, org: int, count: int) -> list[bytes]:
    """Transactions that anchor `count` records of one organisation, many in each."""
    key = SigningKey.from_seed(chain.seeds[org])
    step = PREFILL_OPERATIONS_PER_TRANSACTION
    return [
        build(
            tuple(_anchor(record(org, n)[2], n) for n in range(start, min(start + step, count))),
            signer=key,
            chain_id=chain.chain_id,
            genesis_hash=chain.genesis_hash,
            nonce=os.urandom(16),
            expiry_height=chain.expiry_height,
        ).raw
        for start in range(0, count, step)
    ]


def sign(
    chain: Chain, org: int, first: int, count: int, prefilled: int, operations: int = 1
) -> list[Signed]:
    """`count` transactions of one organisation, numbered from `first`; all of them unique."""
    key = SigningKey.from_seed(chain.seeds[org])
    signed = []
    for number in range(first, first + count):
        # Every other prefilled record is ended, its neighbour is the successor.
        ended = 2 * (number // NEW_VERSION_EVERY)
        calls: tuple[Operation, ...]
        if number % NEW_VERSION_EVERY == 0 and ended + 1 < prefilled and operations == 1:
            calls = (_supersede(org, ended),)
        else:
            calls = tuple(_anchor(os.urandom(32), number) for _ in range(operations))
        tx = build(
            calls,
            signer=key,
            chain_id=chain.chain_id,
            genesis_hash=chain.genesis_hash,
            nonce=os.urandom(16),
            expiry_height=chain.expiry_height,
        )
        good = number % BAD_SIGNATURE_EVERY != BAD_SIGNATURE_EVERY - 1
        raw = tx.raw if good else tx.raw[:-1] + bytes((tx.raw[-1] ^ 1,))
        signed.append(Signed(raw, tx.id, good))
    return signed


def sign_all(
    chain: Chain, per_org: int, prefilled: int, operations: int, begin: int = 0
) -> list[list[Signed]]:
    """`per_org` transactions for each organisation, numbered from `begin`, on all cores."""
    step = 1_000
    jobs = [
        (org, begin + done, min(step, per_org - done))
        for org in range(len(chain.seeds))
        for done in range(0, per_org, step)
    ]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        made = list(pool.map(_job, [(chain, *job, prefilled, operations) for job in jobs]))
    load: list[list[Signed]] = [[] for _ in chain.seeds]
    for (org, _, _), part in zip(jobs, made, strict=True):
        load[org] += part
    return load


def _job(job: tuple[Chain, int, int, int, int, int]) -> list[Signed]:
    return sign(*job)


def sizes(load: Sequence[Sequence[Signed]]) -> tuple[int, int]:
    """Smallest and mean size in bytes, for the summary."""
    lengths = [len(tx.raw) for part in load for tx in part]
    return (min(lengths), sum(lengths) // len(lengths)) if lengths else (0, 0)
