"""Checks everything that a stopped node has on disk: `salus db check` and `salus doctor`.

Each store that cannot even be opened is a finding like any other, so that one bad store does
not hide what the rest is like. The two LevelDB locks are held for as long as the check takes, so
that no node can start meanwhile.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from salus.genesis import Genesis
from salus.keys import Verifier, verify
from storage.blocks import BlockStore
from storage.check import Finding, Replay, check_stores
from storage.disk import RealDisk
from storage.errors import StorageError
from storage.kv import LevelKV
from storage.segment import SEGMENT_SUFFIX, read_segment
from storage.state import StateStore, log_beside
from storage.vault import Vault

RUNNING = "running"  # `what` of the finding that another process uses the stores

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
    with ExitStack() as stack:
        stores: dict[str, LevelKV] = {}
        for name in (BLOCKS, STATE):
            try:
                stores[name] = LevelKV(data / name, create=False)
                stack.callback(stores[name].close)
            except StorageError as error:
                if error.code == "STORE_LOCKED":
                    # Opening its vault would sweep away what the node is just writing.
                    yield Finding(RUNNING, error.message)
                    return
                yield Finding("store", error.message)
        if len(stores) == 2:
            yield from _chain(stores[BLOCKS], stores[STATE], genesis, verifier, replay)
        yield from _journal(data / JOURNAL)
        if vault_lock is not None and (data / VAULT).is_dir():
            yield from _vault(data / VAULT, vault_lock)


def _chain(
    blocks_kv: LevelKV,
    state_kv: LevelKV,
    genesis: Genesis,
    verifier: Verifier,
    replay: Replay | None,
) -> Iterator[Finding]:
    try:
        blocks = BlockStore(blocks_kv, genesis.hash())
        state = StateStore(state_kv, genesis.hash(), log=log_beside(state_kv.path), as_it_is=True)
    except StorageError as error:
        yield Finding("store", error.message)
        return
    if state.initialised:
        yield from check_stores(blocks, state, genesis, verifier=verifier, replay=replay)
    else:
        yield Finding("store", "the state store has no genesis block yet")


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
