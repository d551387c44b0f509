"""The state map against a dict and a naive tree; forged proofs are refused."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus.codec import decode, encode
from salus.errors import BadMessage, VerificationError
from salus.hashing import ZERO_HASH, domain
from salus.statemap import (
    ENTRY_BYTES,
    StateProof,
    StateTree,
    bucket_hash,
    bucket_of,
    change_bucket,
    check_bucket,
    find_entry,
    key_hash,
    leaf_of,
    salt_of,
    verify_state,
)

KEYS = [b"records/anchor/" + bytes([i]) for i in range(40)]


class Model:
    """A dict beside the tree, as the executor and the state store keep it."""

    def __init__(self, bits: int) -> None:
        self.tree = StateTree(bits)
        self.values: dict[bytes, bytes] = {}  # newest executed: key → salt ‖ value
        self.buckets: dict[int, bytes] = {}
        self.certified: list[tuple[dict[bytes, bytes], dict[int, bytes]]] = [({}, {})]

    def execute(self, writes: dict[bytes, bytes | None]) -> None:
        leaves: dict[int, dict[bytes, bytes | None]] = {}
        for key, value in writes.items():
            hashed = key_hash(key)
            leaf = None
            if value is None:
                self.values.pop(key, None)
            else:
                stored = salt_of(b"t" * 32, 0, hashed) + value
                self.values[key], leaf = stored, leaf_of(hashed, stored)
            leaves.setdefault(bucket_of(hashed, self.tree.bits), {})[hashed] = leaf
        changed = {
            index: change_bucket(self.buckets.get(index, b""), entries)
            for index, entries in leaves.items()
        }
        self.buckets.update(changed)
        self.tree.update(self.tree.height + 1, changed)
        self.certified.append((dict(self.values), dict(self.buckets)))

    def prove(self, key: bytes) -> StateProof:
        values, buckets = self.certified[self.tree.certified_height]
        bucket = buckets.get(bucket_of(key_hash(key), self.tree.bits), b"")
        return self.tree.prove(key, values.get(key), bucket)


def naive_root(bits: int, buckets: dict[int, bytes]) -> bytes:
    """By the definition, over all 2^bits buckets."""
    level = [bucket_hash(buckets.get(index, b"")) for index in range(1 << bits)]
    while len(level) > 1:
        groups = [level[at : at + 16] for at in range(0, len(level), 16)]
        level = [
            sha256(domain("state-node") + b"".join(group)).digest()
            if any(node != ZERO_HASH for node in group)
            else ZERO_HASH
            for group in groups
        ]
    return level[0]


writes = st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=8), max_size=12)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.lists(writes, max_size=12), st.data())
def test_it_agrees_with_a_dict_while_blocks_are_executed_certified_and_discarded(
    bits: int, blocks: list[dict[bytes, bytes | None]], data: st.DataObject
) -> None:
    model = Model(bits)
    roots = [ZERO_HASH]
    for block in blocks:
        if model.tree.height - model.tree.certified_height == 8:
            model.tree.certified(model.tree.certified_height + 1)
        model.execute(block)
        roots.append(naive_root(bits, model.buckets))
        assert model.tree.root == roots[-1]
        for _ in range(data.draw(st.integers(0, 2))):
            if model.tree.certified_height < model.tree.height:
                model.tree.certified(model.tree.certified_height + 1)
        certified = model.tree.certified_height
        assert model.tree.certified_root == roots[certified]
        for key in data.draw(st.lists(st.sampled_from(KEYS), max_size=3)):
            proof = decode(encode(model.prove(key)), StateProof)
            stored = model.certified[certified][0].get(key)
            expected = None if stored is None else stored[16:]
            assert verify_state(proof, roots[certified], bits=bits) == expected
    model.tree.discard()
    assert model.tree.root == roots[model.tree.certified_height]
    assert model.tree.height == model.tree.certified_height


@pytest.mark.parametrize("bits", [1, 3, 4, 5, 8, 10])
def test_a_tree_loaded_from_its_buckets_has_the_same_root(bits: int) -> None:
    model = Model(bits)
    model.execute(dict.fromkeys(KEYS, b"value"))
    model.execute(dict.fromkeys(KEYS[::2]))
    loaded = StateTree(bits, height=2)
    content = {index: bucket for index, bucket in model.buckets.items() if bucket}
    assert loaded.load(content.items()) == model.tree.root == naive_root(bits, content)


def test_emptying_the_map_leads_back_to_the_empty_root() -> None:
    model = Model(8)
    model.execute(dict.fromkeys(KEYS, b"v"))
    model.execute(dict.fromkeys(KEYS))
    assert model.tree.root == ZERO_HASH == StateTree(8).root
    assert all(content == b"" for content in model.buckets.values())


def test_the_root_does_not_depend_on_the_order_or_history_of_writes() -> None:
    one, two = Model(8), Model(8)
    one.execute(dict.fromkeys(KEYS, b"v"))
    two.execute(dict.fromkeys(reversed(KEYS), b"other"))
    two.execute(dict.fromkeys(KEYS, b"v"))
    assert one.tree.root == two.tree.root


def test_execution_may_not_run_further_ahead_than_agreed() -> None:
    """B28."""
    model = Model(4)
    for _ in range(8):
        model.execute({})
    with pytest.raises(AssertionError):
        model.execute({})


# --- proofs


@pytest.fixture(scope="module")
def proved() -> tuple[Model, bytes]:
    model = Model(6)
    model.execute(dict.fromkeys(KEYS[:30], b"value"))
    model.tree.certified(1)
    return model, model.tree.certified_root


def test_presence_and_absence_are_proved(proved: tuple[Model, bytes]) -> None:
    model, root = proved
    for key in KEYS:
        expected = b"value" if key in KEYS[:30] else None
        assert verify_state(model.prove(key), root, bits=6) == expected


def test_a_changed_byte_anywhere_in_a_proof_is_refused(proved: tuple[Model, bytes]) -> None:
    """Each changed encoding either does not decode or does not verify to the same claim."""
    model, root = proved
    for key in (KEYS[0], KEYS[35]):
        proof = model.prove(key)
        raw = encode(proof)
        for at in range(len(raw)):
            changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            try:
                forged = decode(changed, StateProof)
                verify_state(forged, root, bits=6)
            except (VerificationError, BadMessage):
                continue
            # Absence of another key may be proved by the same bucket: a true claim.
            assert forged.key not in {key, *KEYS[:30]}


def refuse(proof: StateProof, root: bytes, match: str, bits: int | None = None) -> None:
    with pytest.raises(VerificationError, match=match):
        verify_state(proof, root, bits=bits)


def test_forged_proofs_are_refused(proved: tuple[Model, bytes]) -> None:
    model, root = proved
    proof = model.prove(KEYS[0])
    absent = model.prove(KEYS[35])
    replace = msgspec.structs.replace
    refuse(replace(proof, value=b"other"), root, "does not hold")
    refuse(replace(proof, salt=None), root, "salt")
    refuse(replace(proof, salt=bytes(16)), root, "does not hold")
    refuse(replace(proof, salt=None, value=None), root, "absence is not proved")
    refuse(replace(absent, salt=bytes(16), value=b"v"), root, "does not hold")
    refuse(replace(absent, salt=bytes(16)), root, "absence is not proved")
    refuse(proof, b"\1" * 32, "another state root")
    refuse(proof, root[:31], "32 bytes")
    refuse(replace(proof, siblings=()), root, "number of siblings")
    refuse(replace(proof, siblings=proof.siblings[:-1]), root, "another state root")
    refuse(replace(proof, siblings=proof.siblings[:-1]), root, "number of siblings", bits=6)
    refuse(replace(proof, siblings=(*proof.siblings, bytes(96))), root, "only the root")
    refuse(replace(proof, siblings=(proof.siblings[0][:-1], proof.siblings[1])), root, "32 bytes")
    refuse(replace(proof, siblings=(proof.siblings[0], bytes(64))), root, "number of siblings")
    refuse(replace(proof, siblings=(bytes(480),) * 7), root, "number of siblings")


def test_a_bucket_out_of_order_or_with_strangers_is_refused(proved: tuple[Model, bytes]) -> None:
    model, root = proved
    proof = next(p for p in map(model.prove, KEYS[:30]) if len(p.bucket) >= 2 * ENTRY_BYTES)
    bucket, replace = proof.bucket, msgspec.structs.replace
    entries = [bucket[at : at + ENTRY_BYTES] for at in range(0, len(bucket), ENTRY_BYTES)]
    refuse(replace(proof, bucket=b"".join(reversed(entries))), root, "ascend")
    refuse(replace(proof, bucket=entries[0] + bucket), root, "ascend")
    refuse(replace(proof, bucket=bucket[:-1]), root, "whole entries")
    stranger = bytes([bucket[0] ^ 0x80]) + bucket[1:ENTRY_BYTES]
    refuse(replace(proof, bucket=b"".join(sorted([stranger, *entries]))), root, "another bucket")
    refuse(replace(proof, bucket=b""), root, "does not hold")


def test_absence_in_an_empty_map_is_proved_by_an_empty_bucket() -> None:
    tree = StateTree(16)
    assert verify_state(tree.prove(b"k", None, b""), tree.root, bits=16) is None


# --- buckets


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.integers(0, 20), st.none() | st.binary(min_size=32, max_size=32), max_size=8
        ),
        max_size=6,
    )
)
def test_a_bucket_is_the_sorted_list_of_what_was_put_in(
    changes: list[dict[int, bytes | None]],
) -> None:
    content, model = b"", dict[bytes, bytes]()
    for change in changes:
        leaves = {bytes([number]) * 32: leaf for number, leaf in change.items()}
        content = change_bucket(content, leaves)
        model = {k: v for k, v in {**model, **leaves}.items() if v is not None}
        assert content == b"".join(key + model[key] for key in sorted(model))
        for number in range(21):
            key = bytes([number]) * 32
            assert find_entry(content, key)[1] == model.get(key)
    # Three top bits are 0 in every key made here (20 < 32).
    check_bucket(content, 0, 3)


def test_the_formats_are_what_they_were() -> None:
    """◆ Do not change: the state root of every chain hangs on them."""
    model = Model(6)
    model.execute({b"key": b"value"})
    # Computed apart, from the definition at the head of statemap.py.
    assert model.tree.root.hex() == (
        "b2481ee04ff30c7eb5856c3be57b44359ccacd0deaed6bf12cc037ae90e444e0"
    )
