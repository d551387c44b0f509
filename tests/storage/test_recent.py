"""A damaged log is noticed at the start: LevelDB itself says nothing and forgets blocks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.blocks import BlockStore
from storage.errors import StoreDamaged
from storage.kv import LevelKV
from storage.recent import ROWS_BYTES_MIN, check_recent
from storage.state import StateStore
from tests import factories, ledger
from tests.ledger import Ledger
from tests.storage.test_check import anchor

BLOCKS = 60  # so that the logs have several of LevelDB's own blocks
LEVELDB_BLOCK_BYTES = 32 * 1024  # of a log: what follows in it is lost with a damaged record


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, bytes]:
    """Stores of a real chain, closed; its genesis hash."""
    names = iter(("state", "blocks"))
    monkeypatch.setattr(ledger, "MemoryKV", lambda: LevelKV(tmp_path / next(names)))
    made = Ledger()
    for height in range(1, BLOCKS + 1):
        operations = [anchor(f"{height}/{number}") for number in range(4)]
        made.block(factories.transaction(made.genesis, *operations))
    made.state.close()
    made.blocks.close()
    return tmp_path, made.genesis_hash


def opened(home: tuple[Path, bytes], look: Callable[[BlockStore, StateStore], None]) -> None:
    place, genesis_hash = home
    blocks = BlockStore(LevelKV(place / "blocks"), genesis_hash)
    state = StateStore(LevelKV(place / "state"), genesis_hash)
    try:
        look(blocks, state)
    finally:
        blocks.close()
        state.close()


def damage(home: tuple[Path, bytes], store: str, at: int) -> None:
    (log,) = (home[0] / store).glob("*.log")
    content = bytearray(log.read_bytes())
    assert len(content) > at + 2 * LEVELDB_BLOCK_BYTES or store == "blocks"
    content[at] ^= 0xFF
    log.write_bytes(content)


def test_whole_stores_pass(home: tuple[Path, bytes]) -> None:
    opened(home, check_recent)


def test_blocks_that_the_state_store_lost_in_the_middle_are_named(
    home: tuple[Path, bytes],
) -> None:
    damage(home, "state", LEVELDB_BLOCK_BYTES + 100)

    def look(blocks: BlockStore, state: StateStore) -> None:
        assert state.height() == BLOCKS, "LevelDB opens it and knows of nothing"
        with pytest.raises(StoreDamaged, match=r"lacks block \d+, and has block 60"):
            check_recent(blocks, state)

    opened(home, look)


def test_bodies_that_the_block_store_lost_are_named(home: tuple[Path, bytes]) -> None:
    damage(home, "blocks", 5_000)

    def look(blocks: BlockStore, state: StateStore) -> None:
        with pytest.raises(StoreDamaged, match="lacks the body of block"):
            check_recent(blocks, state)

    opened(home, look)


def test_a_torn_end_of_the_log_is_no_damage(home: tuple[Path, bytes]) -> None:
    """What a power cut leaves: the newest block is gone as if it had never been (S12)."""
    (log,) = (home[0] / "state").glob("*.log")
    log.write_bytes(log.read_bytes()[:-200])

    def look(blocks: BlockStore, state: StateStore) -> None:
        assert state.height() == BLOCKS - 1
        check_recent(blocks, state)

    opened(home, look)


def test_it_looks_no_further_back_than_a_log_reaches(home: tuple[Path, bytes]) -> None:
    """A long chain must not make a long start."""
    damage(home, "state", LEVELDB_BLOCK_BYTES + 100)
    opened(home, lambda blocks, state: check_recent(blocks, state, log_bytes=3 * ROWS_BYTES_MIN))
