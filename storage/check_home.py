"""Checks everything that a stopped node has on disk: `salus db check` and `salus doctor`.

Each store that cannot even be opened is a finding like any other, so that one bad store does
not hide what the rest is like. Nothing is changed, healed or locked for longer than the check.
"""

from collections.abc import Iterator
from pathlib import Path

from salus.genesis import Genesis
from salus.keys import Verifier, verify
from storage.blocks import BlockStore
from storage.check import Finding, Replay, check_stores
from storage.disk import RealDisk
from storage.errors import StorageError
from storage.kv import LevelKV
from storage.segment import SEGMENT_SUFFIX, read_segment
from storage.state import StateStore
from storage.vault import Vault

BLOCKS, STATE, JOURNAL, VAULT = "blocks", "state", "journal", "vault"


def check_home(
    data: Path,
    genesis: Genesis,
    *,
    vault_lock: bytes | None = None,
    verifier: Verifier = verify,
    replay: Replay | None = None,
) -> Iterator[Finding]:
    """All faults of the stores in `data`, first fault first.

    The vault's documents are read only with `vault_lock`, since nothing opens them without.
    """
    yield from _chain(data, genesis, verifier, replay)
    yield from _journal(data / JOURNAL)
    if vault_lock is not None and (data / VAULT).is_dir():
        yield from _vault(data / VAULT, vault_lock)


def _chain(
    data: Path, genesis: Genesis, verifier: Verifier, replay: Replay | None
) -> Iterator[Finding]:
    opened: list[LevelKV] = []
    try:
        for name in (BLOCKS, STATE):
            opened.append(LevelKV(data / name, create=False))  # noqa: PERF401 (closed below)
        blocks = BlockStore(opened[0], genesis.hash())
        state = StateStore(opened[1], genesis.hash())
        if state.initialised:
            yield from check_stores(blocks, state, genesis, verifier=verifier, replay=replay)
        else:
            yield Finding("store", "the state store has no genesis block yet")
    except StorageError as error:
        yield Finding("store", error.message)
    finally:
        for kv in opened:
            kv.close()


def _journal(directory: Path) -> Iterator[Finding]:
    """A torn last record is no fault: the next start heals it."""
    disk = RealDisk()
    for name in disk.names(str(directory)):
        if name.endswith(SEGMENT_SUFFIX):
            try:
                read_segment(disk.read(str(directory / name)) or b"", name)
            except StorageError as error:
                yield Finding("journal", error.message)


def _vault(directory: Path, lock: bytes) -> Iterator[Finding]:
    try:
        vault = Vault.open(str(directory), lock)
    except StorageError as error:
        yield Finding("vault", error.message)
        return
    for document in vault.documents():
        try:
            vault.verify(document)
        except StorageError as error:
            yield Finding("vault", error.message)
    for record_id in vault.records():
        try:
            vault.record(record_id)
        except StorageError as error:
            yield Finding("vault", error.message)
