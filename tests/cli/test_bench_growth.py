"""What a large state costs is measured on a state that a node would accept."""

from pathlib import Path

import pytest

from cli.bench import founding, growth, network
from cli.bench.founding import found
from cli.errors import CliError
from cli.home import read_testnet
from cli.main import run
from salus.statemap import StateTree
from storage import keys
from storage.kv import LevelKV
from storage.place_rows import PlaceRows
from storage.state import StateStore


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "BLOCKS", 1)
    monkeypatch.setattr(growth, "TURNS", 1)
    monkeypatch.setattr(founding, "REST_S", 0.01)
    monkeypatch.setattr(growth, "BLOCK_TRANSACTIONS", 20)


def test_each_size_is_filled_and_its_blocks_are_executed_and_written(tmp_path: Path) -> None:
    rows = growth.run(tmp_path, [300, 3_000], 12, lambda words: None)
    assert [row.state_keys for row in rows] == [300, 3_000]
    assert [row.bucket_bits for row in rows] == [12, 12]
    assert rows[0].ratio == 1.0
    assert all(row.execute_us > 0 and row.write_us > 0 and row.open_s > 0 for row in rows)
    kv = LevelKV(tmp_path / "3000", create=False)
    try:
        written = 2 * growth.BLOCK_TRANSACTIONS  # the turn that does not count too
        assert sum(1 for _ in kv.scan(keys.VALUE)) == 3_000 + written
    finally:
        kv.close()


def test_buckets_are_founded_as_blocks_leave_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As much lies there dead as alive, in every part of the log: else no block would have to make room."""
    monkeypatch.setattr(founding, "BATCH_BUCKETS", 32)  # 60 kB: no small block
    chain = growth._Chain(tmp_path / "x", 10)
    found(chain.place, chain.genesis, 30_000)
    (segment,) = (tmp_path / "x" / "buckets").iterdir()
    half = segment.stat().st_size // 2
    kv = LevelKV(tmp_path / "x", create=False)
    places, lengths = PlaceRows().load(kv)
    kv.close()
    living = sum(lengths)
    assert living == pytest.approx(half, rel=0.2)
    first = sum(
        length
        for place, length in zip(places, lengths, strict=True)
        if place & (2**32 - 1) < half  # the offset
    )
    assert 0.1 < first / living < 0.9, "of the older half some live"
    chain.open()  # the root is that of all the keys
    chain.close()


def test_a_state_that_is_not_what_was_written_is_no_figure(tmp_path: Path) -> None:
    chain = growth._Chain(tmp_path / "x", 18)
    found(chain.place, chain.genesis, 300)
    kv = LevelKV(tmp_path / "x", create=False)
    place, content = next(iter(kv.scan(keys.BUCKET)))
    kv.write([(place, content[:-1] + bytes((content[-1] ^ 1,)))], sync=True)
    kv.close()
    with pytest.raises(CliError, match="not what was written"):
        chain.open()


def test_sizes_that_are_no_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--measure", "growth", "--sizes", "1000,many"]) != 0
    assert "--sizes" in capsys.readouterr().err


def test_validators_begin_with_the_same_keys(tmp_path: Path) -> None:
    network.create(tmp_path / "net", 3, "bench-keys", 500, lambda words: None)
    heads = set()
    for node in read_testnet(tmp_path / "net").nodes:
        kv = LevelKV(node.node_home.data / "state", create=False)
        assert sum(1 for _ in kv.scan(keys.VALUE)) == 500
        kv.close()
        state = StateStore.open(
            node.node_home.data / "state", network.chain_of(tmp_path / "net").genesis_hash
        )
        tree = StateTree(state.current_epoch().parameters.state_bucket_bits)
        assert tree.load(state.buckets()) == state.head.state_root
        heads.add(state.head.hash())
        state.close()
    assert len(heads) == 1


def test_a_store_that_has_a_chain_is_not_founded_again(tmp_path: Path) -> None:
    genesis = growth._Chain(tmp_path / "x", 6).genesis
    found(tmp_path / "x", genesis, 20)
    with pytest.raises(AssertionError, match="another state"):
        found(tmp_path / "x", genesis, 30)
