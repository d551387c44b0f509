"""`check_stores` finds one flipped byte anywhere and names the first fault."""

from contextlib import closing
from pathlib import Path

import pytest

from cli.commands import db
from contracts.records import AnchorArgs
from salus.codec import encode
from salus.parameters import Parameters
from salus.statemap import key_hash
from salus.transaction import Operation
from storage import keys
from storage.blocks import BlockStore
from storage.check import Finding, check_stores
from storage.check_home import check_home
from storage.errors import StorageError
from storage.journal import VoteJournal
from storage.kv import KeyValue, LevelKV
from storage.state import StateStore
from storage.vault import Vault
from tests import factories
from tests.ledger import Ledger

LOCK = b"l" * 32


def anchor(label: str) -> Operation:
    root, salt = factories.seed(label), factories.seed("salt")
    return Operation("records", "anchor", 1, encode(AnchorArgs(root, 1, salt, salt)))


def small() -> Parameters:
    """A short epoch, so that the chain has a boundary in it; two buckets, so that both grow large."""
    return Parameters(
        epoch_blocks_max=3,
        watermark_window=8,
        in_flight_proposals_max=2,
        execute_ahead_max=4,
        state_bucket_bits=1,
    )


def grown() -> Ledger:
    ledger = Ledger(factories.genesis(parameters=small()))
    twice = factories.transaction(ledger.genesis, anchor("twice"))
    ledger.block(twice)
    for height in range(2, 16):
        if height % 4 == 0:
            ledger.null_block()
        elif height % 4 == 1:
            ledger.block()
        else:
            made = [
                factories.transaction(
                    ledger.genesis, anchor(f"{height}/{i}"), anchor(f"{height}+{i}")
                )
                for i in range(2)
            ]
            ledger.block(*made, *([twice] if height == 3 else []))
    assert ledger.state.current_epoch().epoch >= 1
    return ledger


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return grown()


def findings(ledger: Ledger) -> list[Finding]:
    """With stores opened anew, so that no cache hides what is on disk."""
    try:
        blocks = BlockStore(ledger.blocks.kv, ledger.genesis_hash)
        state = StateStore(ledger.state.kv, ledger.genesis_hash)
    except StorageError as error:
        return [Finding("store", error.message)]
    return list(check_stores(blocks, state, ledger.genesis))


class Changed:
    """One row changed for a while."""

    def __init__(self, kv: KeyValue, key: bytes, value: bytes | None) -> None:
        self.kv, self.key, self.value = kv, key, value

    def __enter__(self) -> None:
        self.old = self.kv.get(self.key)
        self.kv.write([(self.key, self.value)], sync=True)

    def __exit__(self, *_: object) -> None:
        self.kv.write([(self.key, self.old)], sync=True)


def test_a_sound_ledger_has_no_findings(ledger: Ledger) -> None:
    assert findings(ledger) == []


def test_one_flipped_byte_in_any_row_of_any_kind_is_found(ledger: Ledger) -> None:
    seen = set[bytes]()
    for kv in (ledger.blocks.kv, ledger.state.kv):
        for key, value in list(kv.scan(b"")):
            # Few rows of each kind and few bytes of each row: the kinds are what differs.
            for at in sorted({0, len(value) // 3, len(value) // 2, len(value) - 1}):
                if not value or (len(value) > 1 and at == 0 and key[:1] in seen):
                    continue
                # Not the last bit: version 4 of this store would differ in its stamp alone.
                flipped = value[:at] + bytes([value[at] ^ 2]) + value[at + 1 :]
                with Changed(kv, key, flipped):
                    found = findings(ledger)
                    assert found, f"{key!r} byte {at}"
                    assert all(len(str(finding)) < 300 for finding in found)
            seen.add(key[:1])
    assert seen == {
        keys.META, keys.BODY, keys.HEADER, keys.CERTIFICATE, keys.RECEIPTS, keys.REPLAY,
        keys.TRANSACTION, keys.EPOCH, keys.VALUE, keys.BUCKET, keys.HASH,
        keys.WRITE_SET,
    }  # fmt: skip


def test_every_byte_of_one_row_of_each_kind_counts(ledger: Ledger) -> None:
    chosen = dict[bytes, tuple[KeyValue, bytes, bytes]]()
    for kv in (ledger.blocks.kv, ledger.state.kv):
        for key, value in kv.scan(b""):
            if value:
                chosen[key[:1]] = (kv, key, value)
    for kv, key, value in chosen.values():
        for at in range(0, len(value), 1 + len(value) // 50):
            with Changed(kv, key, value[:at] + bytes([value[at] ^ 0x40]) + value[at + 1 :]):
                assert findings(ledger), f"{key!r} byte {at}"


def test_a_missing_row_of_any_kind_is_found(ledger: Ledger) -> None:
    for kv in (ledger.blocks.kv, ledger.state.kv):
        for key, _ in list(kv.scan(b"")):
            if key[:1] == keys.BODY and int.from_bytes(key[1:9]) % 4 == 0:
                continue  # a null proposal need not be stored
            with Changed(kv, key, None):
                assert findings(ledger), f"{key!r}"


def test_an_extra_row_of_any_kind_is_found(ledger: Ledger) -> None:
    state, height = ledger.state.kv, ledger.height
    ahead = keys.number(height + 1)
    extra = [
        (keys.HEADER + ahead, state.get(keys.HEADER + keys.number(height))),
        (keys.CERTIFICATE + keys.number(0), b""),
        (keys.RECEIPTS + ahead, b"\x90"),
        (keys.REPLAY + ahead, b""),
        (keys.TRANSACTION + bytes(32), keys.number(1) + bytes(4)),
        (keys.EPOCH + keys.number(99), state.get(keys.EPOCH + keys.number(1))),
        (keys.VALUE + b"records/anchor/none", bytes(17)),
        (keys.bucket_key(1 << 1), bytes(64)),
        (keys.changed_key(1 << 1), bytes(64)),
        (keys.changed_key(0), bytes(32) + b"l" * 32),
        (keys.WRITE_SET + ahead, state.get(keys.WRITE_SET + keys.number(height))),
        (b"z", b"what is this"),
    ]
    for key, value in extra:
        with Changed(state, key, value):
            assert findings(ledger), f"{key!r}"
    with Changed(ledger.blocks.kv, b"z", b""):
        assert findings(ledger)


# --- the first fault is named


def damage(ledger: Ledger, prefix: bytes, height: int) -> Changed:
    kv = ledger.state.kv
    key = prefix + keys.number(height)
    value = bytearray(kv.get(key) or b"")
    value[-1] ^= 1
    return Changed(kv, key, bytes(value))


@pytest.mark.parametrize(
    ("prefix", "what"),
    [
        (keys.CERTIFICATE, "certificate"),
        (keys.REPLAY, "index"),
    ],
)
def test_the_first_fault_is_named_with_its_height(ledger: Ledger, prefix: bytes, what: str) -> None:
    with damage(ledger, prefix, 7), damage(ledger, prefix, 11):
        found = findings(ledger)
    assert (found[0].what, found[0].height) == (what, 7)
    assert [finding.height for finding in found] == [7, 11]


def test_a_damaged_value_is_named_by_its_key_hash(ledger: Ledger) -> None:
    key, value = next(iter(ledger.state.values(b"records/anchor/")))
    with Changed(ledger.state.kv, keys.VALUE + key, value[:-1] + bytes([value[-1] ^ 1])):
        (found,) = findings(ledger)
    assert found.key_hash == key_hash(key)
    assert found.height == ledger.height
    assert key_hash(key).hex() in str(found)


def test_a_damaged_body_is_named(ledger: Ledger) -> None:
    header = ledger.state.header(3)
    key = keys.body_key(3, header.proposal_digest)
    body = ledger.blocks.kv.get(key) or b""
    with Changed(ledger.blocks.kv, key, body[:-1] + bytes([body[-1] ^ 1])):
        found = findings(ledger)
    assert (found[0].what, found[0].height) == ("body", 3)


def test_a_certificate_of_too_few_is_a_fault(ledger: Ledger) -> None:
    certificate = ledger.state.certificate(5)
    assert certificate is not None
    signers = [factories.key(f"node {m.id}") for m in ledger.genesis.members]
    weak = factories.certificate(ledger.state.header(5), ledger.genesis, signers, [0, 1])
    with Changed(ledger.state.kv, keys.CERTIFICATE + keys.number(5), encode(weak)):
        (found,) = findings(ledger)
    assert (found.what, found.height) == ("certificate", 5)
    assert "quorum" in found.message


def test_replaying_through_the_contracts_compares_every_header(ledger: Ledger) -> None:
    heights = []

    def replay(proposal: object) -> object:
        heights.append(proposal.body.sequence)  # type: ignore[attr-defined]
        return ledger.state.header(min(heights[-1], 9))

    found = list(check_stores(ledger.blocks, ledger.state, ledger.genesis, replay=replay))  # type: ignore[arg-type]
    assert heights == list(range(1, ledger.height + 1))
    assert [(f.what, f.height) for f in found][:1] == [("replay", 10)]


# --- a whole home


@pytest.fixture
def home(tmp_path: Path, ledger: Ledger) -> Path:
    for name, kv in (("blocks", ledger.blocks.kv), ("state", ledger.state.kv)):
        level = LevelKV(tmp_path / name)
        level.write(kv.scan(b""), sync=True)
        if name == "state":  # rows k alone, as version 3 left small buckets
            level.write([(keys.META_FORMAT, (3).to_bytes(4))], sync=True)
        level.close()
    VoteJournal.create(str(tmp_path / "journal"), ledger.genesis_hash, instance=bytes(16)).close()
    Vault.open(str(tmp_path / "vault"), LOCK).put([b"document"])
    return tmp_path


def check(home: Path, ledger: Ledger) -> list[Finding]:
    return list(check_home(home, ledger.genesis, vault_lock=LOCK))


def test_a_sound_home_has_no_findings(home: Path, ledger: Ledger) -> None:
    assert check(home, ledger) == []


def test_a_store_of_an_older_version_is_checked_as_it_is(home: Path, ledger: Ledger) -> None:
    """Who only looks moves nothing: the former software can go on with it."""

    def rows() -> list[tuple[bytes, bytes]]:
        with closing(LevelKV(home / "state")) as kv:
            return list(kv.scan(b""))

    before = rows()
    assert check(home, ledger) == []
    assert db._height(home, ledger.genesis) == ledger.height
    assert rows() == before
    assert not (home / "state" / "buckets").exists()
    (index, content) = next((key, row) for key, row in before if key[:1] == keys.BUCKET)
    with closing(LevelKV(home / "state")) as kv:
        kv.write([(index, content[:-1] + bytes((content[-1] ^ 1,)))], sync=True)
    assert check(home, ledger)


def test_a_flipped_byte_of_a_bucket_or_of_its_place_is_found(home: Path, ledger: Ledger) -> None:
    with closing(StateStore.open(home / "state", ledger.genesis_hash)):
        pass  # as the first start after an upgrade: the buckets move to the log
    (segment,) = home.glob("state/buckets/*.seg")
    content = segment.read_bytes()
    for at in range(0, len(content), len(content) // 40):
        segment.write_bytes(content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :])
        assert check(home, ledger)[0].what == "store", at
    segment.write_bytes(content)
    with closing(LevelKV(home / "state")) as kv:
        rows = dict(kv.scan(keys.PLACES))
    assert len(rows) == 1
    for key, row in rows.items():
        for at in range(len(row)):
            with closing(LevelKV(home / "state")) as kv:
                kv.write([(key, row[:at] + bytes((row[at] ^ 1,)) + row[at + 1 :])], sync=True)
            assert check(home, ledger), at
            with closing(LevelKV(home / "state")) as kv:
                kv.write([(key, row)], sync=True)
        with closing(LevelKV(home / "state")) as kv:
            kv.write([(key, None)], sync=True)
        assert check(home, ledger), "buckets that nobody names"
        with closing(LevelKV(home / "state")) as kv:
            kv.write([(key, row)], sync=True)
    assert check(home, ledger) == []


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("journal/*.seg", "journal"),
        ("vault/documents/*", "vault"),
        ("vault/keys/*", "vault"),
        ("vault/epochs/*", "vault"),
    ],
)
def test_a_damaged_file_of_the_other_stores_is_found(
    home: Path, ledger: Ledger, pattern: str, what: str
) -> None:
    (path,) = home.glob(pattern)
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    assert [finding.what for finding in check(home, ledger)] == [what]


@pytest.mark.parametrize("name", ["blocks", "state"])
def test_a_store_that_does_not_open_is_a_finding(home: Path, ledger: Ledger, name: str) -> None:
    (home / name / "CURRENT").unlink()
    (found,) = check(home, ledger)
    assert found.what == "store"


@pytest.mark.parametrize("name", ["blocks", "state"])
def test_the_stores_of_a_running_node_are_left_alone(home: Path, ledger: Ledger, name: str) -> None:
    kv = LevelKV(home / name)
    half_written = home / "vault" / "documents" / "x.tmp"
    half_written.write_bytes(b"")
    (found,) = check(home, ledger)
    kv.close()
    assert found.what == "running"
    assert "another process" in found.message
    assert half_written.exists()
