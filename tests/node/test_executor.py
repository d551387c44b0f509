"""Blocks from proposals: header, receipts, stack, duplicates, epochs, restart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalogue import registry
from node.executor import Executor, read_epoch
from node.genesis_block import genesis_block
from salus import merkle
from salus.block import Receipt, null_proposal, proposal_digest, receipt_leaf
from salus.certificate import Certificate, IndexedSignature
from salus.codec import encode
from salus.hashing import ZERO_HASH
from salus.record import anchor_key
from salus.staff import StaffRole
from salus.statemap import (
    StateTree,
    bucket_hash,
    bucket_of,
    change_bucket,
    key_hash,
    leaf_of,
    salt_of,
    verify_state,
)
from salus.transaction import Operation, ParsedTransaction
from storage.errors import StoreDamaged
from tests import factories
from tests.contracts import planted
from tests.contracts.lab import SMALL_MAP_BITS, Lab, h, parameters, possession_of
from tests.contracts.test_records import Batch

ROOT = Path(__file__).parent.parent.parent


def planted_lab(**changes: object) -> Lab:
    limits = parameters(contracts=planted.ACTIVE, **changes)
    return Lab(factories.genesis(4, parameters=limits), planted.registry)


def anchor(chain: Lab, name: str, **how: object) -> ParsedTransaction:
    return chain.tx(Batch(name).anchor(chain), **how)  # type: ignore[arg-type]


# ── genesis ──────────────────────────────────────────────────────────────────


def test_everybody_derives_the_same_genesis_block() -> None:
    genesis = factories.genesis(4, parameters=parameters())
    batch = genesis_block(genesis, registry())
    assert batch == genesis_block(genesis, registry())
    header = batch.header
    assert (header.height, header.epoch, header.epoch_end) == (0, 0, 0)
    assert header.parent_hash == genesis.hash()
    assert header.proposal_digest == ZERO_HASH
    assert header.time_ms == genesis.time_ms
    assert header.validators_hash == header.next_validators_hash == genesis.validators().hash()
    assert header.receipts_root == header.transactions_root == merkle.EMPTY_ROOT
    assert header.parameters_hash == genesis.parameters.hash()
    assert batch.certificate is None
    assert batch.epoch is not None
    assert batch.epoch.validators == genesis.validators()


def test_another_genesis_gives_another_state_root() -> None:
    """The salts come from the genesis hash."""
    roots = [
        genesis_block(factories.genesis(n, parameters=parameters()), registry()).header.state_root
        for n in (4, 5)
    ]
    assert roots[0] != roots[1]


# ── one block ────────────────────────────────────────────────────────────────


def test_the_header_commits_to_everything_in_the_block() -> None:
    chain = Lab()
    first, second = anchor(chain, "one"), anchor(chain, "two", by="operator hosp-b")
    proposal = chain.proposal(first, second)
    parent = chain.executor.head
    executed = chain.executor.execute(proposal)
    header = executed.header
    assert (header.height, header.parent_hash) == (1, parent.hash())
    assert header.proposal_digest == proposal.digest
    assert (header.proposer, header.origin_view) == (0, 0)
    assert (header.transactions_count, header.receipts_count) == (2, 2)
    assert header.transactions_root == merkle.root(
        [merkle.leaf_hash(tx.id) for tx in (first, second)]
    )
    assert header.receipts_root == merkle.root([receipt_leaf(r) for r in executed.receipts])
    assert executed.receipts_encoded == tuple(map(encode, executed.receipts))
    assert header.state_root == chain.executor.tree.root != parent.state_root
    assert header.validators_hash == header.next_validators_hash
    assert executed.tx_ids == (first.id, second.id)
    assert executed.expiries == (5_000, 5_000)
    assert chain.executor.head == header


def test_receipts_stand_in_the_order_of_transactions_and_operations() -> None:
    chain = Lab()
    two = chain.tx(Batch("a").anchor(chain), Batch("b").anchor(chain))
    one = anchor(chain, "c")
    receipts = chain.execute(two, one).receipts
    assert [(r.tx_id, r.operation) for r in receipts] == [(two.id, 0), (two.id, 1), (one.id, 0)]


def test_block_time_never_runs_backwards() -> None:
    """Rule S11: time(h) = max(time(h−1), proposal.time); a null proposal has none."""
    chain = Lab()
    first = chain.block().header
    assert first.time_ms == factories.TIME_MS + 100
    null = chain.null().header
    assert null.time_ms == first.time_ms
    assert (null.proposer, null.origin_view) == (None, 0)
    assert null.proposal_digest == proposal_digest(null_proposal(2))
    assert null.state_root == first.state_root
    chain.certify()
    assert chain.block().header.time_ms == factories.TIME_MS + 300


def test_a_block_out_of_turn_is_our_mistake() -> None:
    chain = Lab()
    proposal = chain.proposal()
    chain.executor.execute(proposal)
    with pytest.raises(AssertionError):
        chain.executor.execute(proposal)


# ── state ────────────────────────────────────────────────────────────────────


def naive_root(chain: Lab) -> bytes:
    """The root of the state map from the stored values alone."""
    buckets: dict[int, bytes] = {}
    for key, stored in chain.store.values():
        hashed = key_hash(key)
        index = bucket_of(hashed, SMALL_MAP_BITS)
        leaves: dict[bytes, bytes | None] = {hashed: leaf_of(hashed, stored)}
        buckets[index] = change_bucket(buckets.get(index, b""), leaves)
    for index, content in chain.store.buckets():
        assert bucket_hash(content) == bucket_hash(buckets[index])
    return StateTree(SMALL_MAP_BITS).load(sorted(buckets.items()))


def test_the_state_root_is_that_of_the_stored_values() -> None:
    chain = planted_lab()
    for n in range(20):
        chain.run(chain.op("planted", "put", n=n), chain.op("planted", "put", n=n + 100))
        chain.run(chain.op("planted", "drop", n=n // 2))
        assert chain.store.head.state_root == naive_root(chain)


def test_a_value_is_salted_by_the_operation_that_wrote_it_last() -> None:
    chain = planted_lab()
    tx = chain.tx(*[chain.op("planted", "put", n=n) for n in (1, 2, 1)])
    chain.block(tx)
    for n, operation in ((1, 2), (2, 1)):
        key = b"planted/cell/" + n.to_bytes(8)
        stored = chain.store.get(key)
        assert stored is not None
        assert stored[:16] == salt_of(tx.id, operation, key_hash(key))


def test_what_is_proved_about_a_block_holds_under_its_header() -> None:
    chain = Lab()
    one = Batch("one")
    header = chain.block(anchor(chain, "one")).header
    for key in (anchor_key("hosp-a", one.root), b"records/spent/" + h("nothing")):
        bucket = chain.store.bucket(bucket_of(key_hash(key), SMALL_MAP_BITS))
        proof = chain.executor.tree.prove(key, chain.store.get(key), bucket)
        value = verify_state(proof, header.state_root, bits=SMALL_MAP_BITS)
        assert (value is None) == (key != anchor_key("hosp-a", one.root))


# ── ahead of certification (B28) ─────────────────────────────────────────────


def test_blocks_stack_over_the_certified_state() -> None:
    chain = Lab()
    chain.execute(anchor(chain, "one"))
    chain.execute(anchor(chain, "two"))
    key = anchor_key("hosp-a", Batch("one").root)
    assert chain.executor.read(key) is not None
    assert chain.store.get(key) is None
    chain.certify()
    assert chain.store.get(key) is not None
    assert chain.executor.read(key) == chain.store.get(key)[16:]  # type: ignore[index]
    assert chain.executor.certified_head.height == 1
    assert chain.executor.head.height == 2


def test_execution_runs_at_most_so_far_ahead() -> None:
    chain = Lab()
    for _ in range(chain.genesis.parameters.execute_ahead_max):
        chain.null()
    with pytest.raises(AssertionError, match="ahead"):
        chain.null()
    chain.certify()
    chain.null()


def test_a_batch_on_its_way_to_disk_changes_nothing_yet() -> None:
    """Between `batch` and `certified` the store may or may not hold the block."""
    chain = Lab()
    chain.execute(anchor(chain, "one"))
    chain.execute(anchor(chain, "two"))
    height = 1
    executed = chain.executor.executed(height)
    assert executed is not None
    header = executed.header
    fake = Certificate(0, height, header.hash(), (IndexedSignature(0, bytes(64)),))
    batch = chain.executor.batch(height, fake)
    for written in (False, True):
        if written:
            chain.store.commit(batch)
        for name in ("one", "two"):
            assert chain.executor.read(anchor_key("hosp-a", Batch(name).root)) is not None
        assert chain.executor.simulate(anchor(chain, "three"))[0] == 1
    chain.executor.certified(height)
    assert chain.executor.simulate(anchor(chain, "three"))[0] == 2


def test_memory_holds_only_what_is_not_certified() -> None:
    chain = planted_lab()
    for n in range(30):
        chain.block(chain.tx(chain.op("planted", "put", n=n)))
    assert chain.executor._uncertified.sizes == (0, 0, 0)


# ── duplicates (S15) ─────────────────────────────────────────────────────────


def codes(receipts: tuple[Receipt, ...]) -> list[str]:
    return [receipt.code for receipt in receipts]


@pytest.mark.parametrize("certified", [0, 1, 2])
def test_a_transaction_is_executed_once(certified: int) -> None:
    """Before and after the first one is certified; refused ones count as executed too."""
    chain = planted_lab()
    tx = chain.tx(chain.op("planted", "put", n=1), chain.op("planted", "put", n=2))
    refused = chain.tx(chain.op("planted", "refuse", n=1))
    chain.execute(tx, refused)
    chain.null()
    for _ in range(certified):
        chain.certify()
    root = chain.executor.tree.root
    assert chain.executor.is_executed(tx)
    executed = chain.execute(refused, tx)
    assert codes(executed.receipts) == ["DUPLICATE"] * 3
    assert [r.operation for r in executed.receipts] == [0, 0, 1]
    assert executed.header.state_root == root
    assert executed.header.transactions_count == 2
    assert chain.store.height() == certified


def test_a_duplicate_does_not_hide_where_the_transaction_was_executed() -> None:
    chain = planted_lab()
    tx = chain.tx(chain.op("planted", "put", n=1))
    for _ in range(3):
        chain.block(tx)
    assert chain.store.find_transaction(tx.id) == (1, 0)


def test_a_prefix_in_common_is_no_duplicate() -> None:
    """The index keeps 8 bytes; the full id decides."""
    chain = planted_lab()
    tx = chain.tx(chain.op("planted", "put", n=1))
    chain.executor.replay.add([(tx.id[:8] + bytes(24), tx.body.expiry_height)])
    assert not chain.executor.is_executed(tx)
    assert codes(chain.block(tx).receipts) == ["OK"]
    assert chain.executor.is_executed(tx)


# ── epochs (S13) ─────────────────────────────────────────────────────────────


def to_height(chain: Lab, height: int) -> None:
    while chain.executor.head.height < height:
        chain.null()
        chain.certify()


def test_a_change_at_h_ends_the_epoch_at_exactly_h_plus_l() -> None:
    chain = Lab()
    window = chain.genesis.parameters.watermark_window
    to_height(chain, 4)
    header = chain.block(chain.tx(chain.op("members", "rejoin"), by="node hosp-a")).header
    end = 5 + window
    assert (header.height, header.epoch_end, header.ends_epoch) == (5, end, False)
    to_height(chain, end - 1)
    assert chain.executor.head.epoch_end == end
    last = chain.null()
    chain.certify()
    assert last.header.ends_epoch
    assert last.header.next_validators_hash != last.header.validators_hash
    assert last.epoch is not None
    assert (last.epoch.epoch, last.epoch.base, last.epoch.end) == (1, end, 0)
    assert last.epoch.validators.hash() == last.header.next_validators_hash
    following = chain.null().header
    chain.certify()
    assert (following.epoch, following.epoch_end) == (1, 0)
    assert following.validators_hash == last.header.next_validators_hash
    assert following.next_validators_hash == following.validators_hash


def test_an_old_epoch_ends_by_itself() -> None:
    chain = Lab(factories.genesis(4, parameters=parameters(epoch_blocks_max=70)))
    to_height(chain, 69)
    assert chain.executor.head.epoch_end == 0
    to_height(chain, 70)
    assert chain.executor.head.epoch_end == 70 + 64
    to_height(chain, 135)
    assert chain.executor.head.epoch == 1
    to_height(chain, 134 + 70)
    assert chain.executor.head.epoch_end == 134 + 70 + 64


def test_the_state_holds_the_epochs_record() -> None:
    chain = Lab()
    assert read_epoch(chain.store) == chain.executor.epoch
    chain.run(chain.op("members", "rejoin"), by="node hosp-a")
    assert read_epoch(chain.store) == chain.executor.epoch == chain.store.current_epoch()
    to_height(chain, 66)
    assert read_epoch(chain.store) == chain.executor.epoch == chain.store.current_epoch()
    assert chain.executor.epoch.epoch == 1


# ── restart and replay ───────────────────────────────────────────────────────


def script(chain: Lab, steps: list[int]) -> list[list[ParsedTransaction]]:
    """Proposals out of small numbers: fresh, refused, faulty, repeated, many-headed ones."""
    made: list[ParsedTransaction] = []
    blocks = []
    for number, step in enumerate(steps):
        match step:
            case 0:
                block: list[ParsedTransaction] = []
            case 1:
                block = [chain.tx(chain.op("planted", "put", n=number), number=number)]
            case 2:
                ops = [chain.op("planted", name, n=number % 5) for name in ("put", "refuse")]
                block = [chain.tx(*ops, number=number, independent=number % 2 == 0)]
            case 3:
                block = [chain.tx(chain.op("planted", "key_error"), number=number)]
            case 4:
                block = made[-3:]
            case _:
                ops = [chain.op("planted", "drop", n=n) for n in range(number)]
                block = [chain.tx(*(ops or [chain.op("planted", "put", n=1)]), number=number)]
        made += [tx for tx in block if tx not in made]
        blocks.append(block)
    return blocks


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=14),
    st.lists(st.integers(0, 2), min_size=14, max_size=14),
)
def test_the_same_proposals_give_the_same_headers(steps: list[int], pace: list[int]) -> None:
    """However far one runs ahead, and wherever the other is restarted."""
    one, two = planted_lab(), planted_lab()
    blocks = script(one, steps)
    for block in blocks:
        one.block(*block)
    waiting = 0
    for block, speed in zip(blocks, pace, strict=False):
        two.execute(*block)
        waiting += 1
        while waiting > (0, 3, 7)[speed]:
            two.certify()
            waiting -= 1
        if speed == 0:
            two.executor = two.open()
    while waiting:
        two.certify()
        waiting -= 1
    assert one.store.head == two.store.head
    assert one.dump() == two.dump()
    for height in range(1, len(steps) + 1):
        assert one.store.receipts(height) == two.store.receipts(height)


def test_a_restarted_executor_knows_what_was_executed() -> None:
    chain = planted_lab()
    tx = chain.tx(chain.op("planted", "put", n=1))
    chain.block(tx)
    chain.executor = chain.open()
    assert codes(chain.block(tx).receipts) == ["DUPLICATE"]


def test_a_restarted_executor_forgets_what_has_expired() -> None:
    chain = planted_lab()
    chain.block(chain.tx(chain.op("planted", "put", n=1), expiry_height=3))
    chain.block(chain.tx(chain.op("planted", "put", n=1), expiry_height=200))
    to_height(chain, 70)
    assert len(chain.executor.replay) == len(chain.open().replay) == 1


def test_a_state_that_does_not_fit_its_head_is_not_opened() -> None:
    chain = Lab()
    chain.block(anchor(chain, "one"))
    with pytest.raises(StoreDamaged, match="state root"):
        Executor(
            chain.registry,
            chain.genesis,
            chain.store,
            StateTree(SMALL_MAP_BITS, height=1),
            chain.store.head,
            chain.store.current_epoch(),
        )


HEADER_SCRIPT = """
from tests.node.test_executor import planted_lab, script
chain = planted_lab()
for block in script(chain, [1, 2, 3, 4, 5, 1, 0, 2, 4, 2, 5]):
    chain.block(*block)
print(chain.store.head.hash().hex())
"""


def test_the_hash_seed_decides_nothing() -> None:
    hashes = []
    for hash_seed in ("0", "1", "4242"):
        result = subprocess.run(
            [sys.executable, "-c", HEADER_SCRIPT],
            cwd=ROOT,
            env=dict(os.environ) | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.append(result.stdout)
    assert len(hashes[0]) == 65
    assert hashes[0] == hashes[1] == hashes[2]


# ── asking ───────────────────────────────────────────────────────────────────


def test_simulation_speaks_of_the_certified_state_and_changes_nothing() -> None:
    chain = Lab()
    tx = anchor(chain, "one")
    head, root = chain.executor.head, chain.executor.tree.root
    height, receipts = chain.executor.simulate(tx)
    assert (height, [r.code for r in receipts]) == (1, ["OK"])
    assert (chain.executor.head, chain.executor.tree.root) == (head, root)
    executed = chain.execute(tx)
    assert receipts == executed.receipts
    again = anchor(chain, "one")
    assert chain.executor.simulate(again)[1][0].code == "OK"  # not certified yet
    chain.certify()
    assert chain.executor.simulate(again)[1][0].code == "DUPLICATE_ROOT"
    assert chain.executor.simulate(tx)[1][0].code == "DUPLICATE"


def test_simulating_a_fault_raises_no_alarm_on_the_chain() -> None:
    chain = planted_lab()
    _, receipts = chain.executor.simulate(chain.tx(chain.op("planted", "key_error")))
    assert receipts[0].code == "CONTRACT_FAULT"
    assert chain.null().faults == ()


def test_the_organisation_of_a_key_is_known_at_the_head() -> None:
    chain = Lab()
    key = factories.key("nurse").public_key
    assert chain.executor.organisation(factories.key("operator hosp-b").public_key) == "hosp-b"
    assert chain.executor.organisation(key) is None
    op = chain.op(
        "members",
        "staff_register",
        org="hosp-a",
        handle=h("handle"),
        key=key,
        roles=(StaffRole.NURSE,),
        qualification=h("licence"),
        from_ms=0,
        until_ms=2**50,
        possession=possession_of("nurse", "hosp-a", h("handle")),
    )
    chain.execute(chain.tx(op))
    assert chain.executor.organisation(key) == "hosp-a"


# ── identity within a block ──────────────────────────────────────────────────


def test_keys_change_at_their_own_place_in_the_block() -> None:
    """A revocation wins over whatever stands behind it in the same block."""
    chain = planted_lab()
    nurse = factories.key("nurse")
    register = chain.op(
        "members",
        "staff_register",
        org="hosp-a",
        handle=h("handle"),
        key=nurse.public_key,
        roles=(StaffRole.NURSE,),
        qualification=h("licence"),
        from_ms=0,
        until_ms=2**50,
        possession=possession_of("nurse", "hosp-a", h("handle")),
    )
    args = planted.EveryKind(True, 1, planted.Colour.RED, "hosp-a", bytes(32), None, (), b"")
    act = chain.op("stranger", "every_kind", args)
    revoke = chain.op("members", "staff_revoke", handle=h("handle"))
    executed = chain.block(
        chain.tx(act, by=nurse),
        chain.tx(register),
        chain.tx(act, by=nurse),
        chain.tx(revoke, chain.op("planted", "refuse", n=1)),
        chain.tx(act, by=nurse),
        chain.tx(revoke),
        chain.tx(act, by=nurse),
    )
    assert [r.code for r in executed.receipts] == [
        "NOT_AUTHORISED",
        "OK",
        "OK",
        "ROLLED_BACK",
        "NO",
        "OK",
        "OK",
        "NOT_AUTHORISED",
    ]


# ── for the metrics ──────────────────────────────────────────────────────────


def test_a_block_says_how_often_which_method_ended_how() -> None:
    chain = planted_lab()
    put = chain.op("planted", "put", n=1)
    again = chain.tx(put)
    chain.block(again)
    unknown = Operation("planted", "no_such", 1, b"")
    executed = chain.block(
        chain.tx(put, put),
        again,
        chain.tx(put, chain.op("planted", "refuse", n=1), put),
        chain.tx(unknown, put, chain.op("planted", "key_error"), independent=True),
    )
    assert executed.calls == {
        ("planted.put", "OK"): 3,
        ("other", "DUPLICATE"): 1,
        ("planted.put", "ROLLED_BACK"): 1,
        ("planted.refuse", "NO"): 1,
        ("other", "ROLLED_BACK"): 1,  # it was not come to
        ("other", "UNKNOWN_METHOD"): 1,
        ("planted.key_error", "CONTRACT_FAULT"): 1,
    }
    assert sum(executed.calls.values()) == len(executed.receipts)
    assert executed.contracts == {"planted", "other"}
    assert chain.block(again).contracts == {"other"}
