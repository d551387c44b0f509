"""The authenticated state map: 2^b buckets under a tree of arity 16, proofs of presence, absence.

◆ key hash    = H("state-key", key); the bucket of a key is the top b bits of its key hash
  leaf        = H("state-leaf", key hash ‖ salt ‖ value), salt 16 bytes (health.md §4.0)
  bucket      = its entries (key hash ‖ leaf), 64 bytes each, strictly ascending by key hash
  bucket hash = H("state-bucket", bucket), of an empty bucket 32 zero bytes
  node        = H("state-node", children), of all-zero children 32 zero bytes; sixteen children
                each, and the root what is left: 2^(b mod 4) of them, or sixteen
  change      = key hash ‖ old leaf ‖ new leaf, 32 zero bytes for none (salus/writeset.py)

Zero for every empty subtree makes the work follow what exists, not 2^b. Arity 16 costs a third
of a binary tree per changed key and 1.4 kB more in a proof; keys change far more often than
they are proved. Law of the file: the tree holds the newest executed block, and `prove` speaks
of the newest *certified* one only.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from hashlib import sha256

from salus.codec import Bytes16, Wire
from salus.errors import VerificationError
from salus.hashing import HASH_BYTES, ZERO_HASH, domain, hasher

SALT_BYTES = 16
ENTRY_BYTES = 2 * HASH_BYTES
CHANGE_BYTES = 3 * HASH_BYTES
BUCKET_BITS_MAX = 24  # parameters.py: 2^24 buckets are 1 GiB of nodes, and enough for 10^9 keys.

_NODE = domain("state-node")
_ARITY_BITS = 4
_ARITY = 1 << _ARITY_BITS
_GROUP_BYTES = _ARITY * HASH_BYTES

# The newest value of a key (None: deleted), and the transaction and operation that its salt comes from.
Write = tuple[bytes | None, bytes, int]

key_hash = hasher("state-key")
# Written out where they are used: a call each is a third of what a short hash costs, and there are
# a dozen for a transaction.
_KEY = domain("state-key")
_LEAF = domain("state-leaf")
_BUCKET = domain("state-bucket")
_SALT = domain("state-salt")


def bucket_of(hashed_key: bytes, bits: int) -> int:
    """The bucket that a key hash belongs to: its top `bits` bits."""
    return int.from_bytes(hashed_key[:4]) >> (32 - bits)


def salt_of(tx_id: bytes, operation: int, hashed_key: bytes) -> bytes:
    """The salt that this operation gives the value it writes: whoever holds the raw
    transactions derives it, whoever holds only a proof file cannot guess values by it."""
    return sha256(_SALT + tx_id + operation.to_bytes(4) + hashed_key).digest()[:SALT_BYTES]


def leaf_of(hashed_key: bytes, stored: bytes) -> bytes:
    """`stored`: salt ‖ value, as it lies in the state store."""
    return sha256(_LEAF + hashed_key + stored).digest()


def bucket_hash(content: bytes) -> bytes:
    return sha256(_BUCKET + content).digest() if content else ZERO_HASH


def find_entry(content: bytes, hashed_key: bytes) -> tuple[int, bytes | None]:
    """Where the key stands (or would stand) in the bucket, in bytes, and its leaf if it does."""
    low, high = 0, len(content) // ENTRY_BYTES
    while low < high:
        middle = (low + high) // 2
        if content[middle * ENTRY_BYTES : middle * ENTRY_BYTES + HASH_BYTES] < hashed_key:
            low = middle + 1
        else:
            high = middle
    at = low * ENTRY_BYTES
    if content[at : at + HASH_BYTES] == hashed_key:
        return at, content[at + HASH_BYTES : at + ENTRY_BYTES]
    return at, None


def change_bucket(
    content: bytes, leaves: Mapping[bytes, bytes | None], changes: list[bytes] | None = None
) -> bytes:
    """The bucket after `leaves` (key hash → new leaf, None = gone); `changes` takes each change."""
    for hashed_key, leaf in leaves.items():
        content, change = change_entry(content, hashed_key, leaf)
        if changes is not None:
            changes.append(change)
    return content


def change_entry(content: bytes, hashed_key: bytes, leaf: bytes | None) -> tuple[bytes, bytes]:
    """The bucket after a key has its new leaf (None = gone), and the change."""
    if leaf is not None and not content:  # the first of its bucket
        return hashed_key + leaf, hashed_key + ZERO_HASH + leaf
    at, old = find_entry(content, hashed_key)
    rest = at if old is None else at + ENTRY_BYTES
    entry = b"" if leaf is None else hashed_key + leaf
    change = hashed_key + (old or ZERO_HASH) + (leaf or ZERO_HASH)
    return content[:at] + entry + content[rest:], change


class Places(dict[bytes, tuple[bytes, int]]):
    """Of each state key that is asked for, its hash and the number of its bucket."""

    __slots__ = ("_shift",)

    def __init__(self, bits: int) -> None:
        self._shift = 32 - bits

    def __missing__(self, key: bytes) -> tuple[bytes, int]:
        # As `key_hash` and `bucket_of`.
        hashed = sha256(_KEY + key).digest()
        found = self[key] = hashed, int.from_bytes(hashed[:4]) >> self._shift
        return found


def as_stored(
    writes: Mapping[bytes, Write], places: Places, before: Mapping[int, bytes]
) -> tuple[dict[bytes, bytes | None], dict[int, bytes], bytes]:
    """What a block writes, as it is stored: the values, salt ‖ value; the contents of the buckets that
    change, of those `before`; and the changes themselves, by hashes."""
    values: dict[bytes, bytes | None] = {}
    buckets: dict[int, bytes] = {}
    changes: list[bytes] = []
    for key, (value, tx_id, operation) in writes.items():
        hashed, index = places[key]
        content = buckets[index] if index in buckets else before[index]
        if value is None:
            values[key] = leaf = None
        else:
            # As `salt_of` and `leaf_of`: for each key that a block writes.
            salt = sha256(_SALT + tx_id + operation.to_bytes(4) + hashed).digest()[:SALT_BYTES]
            values[key] = salted = salt + value
            leaf = sha256(_LEAF + hashed + salted).digest()
        buckets[index], change = change_entry(content, hashed, leaf)
        changes.append(change)
    return values, buckets, b"".join(changes)


class StateProof(Wire, frozen=True):
    """The bucket of a key and what stands beside it on the way to the state root.

    `salt` and `value` are there iff the key is; the bucket shows its neighbours only as key
    hashes and salted leaves.
    """

    key: bytes
    salt: Bytes16 | None
    value: bytes | None
    bucket: bytes  # as long as the bucket is: whoever reads the file bounds the file
    siblings: tuple[bytes, ...]  # per level, from the bucket upwards: the other children's hashes


def verify_state(proof: StateProof, state_root: bytes, *, bits: int | None = None) -> bytes | None:
    """The key's value under `state_root`, None if the proof is one of absence.

    Raises `VerificationError`. Give `bits` (from genesis) where it is known, so that a proof
    has exactly one accepted form.
    """
    depth = _proof_bits(proof.siblings)
    if bits is not None and depth != bits:
        raise VerificationError("state proof: wrong number of siblings")
    if len(state_root) != HASH_BYTES:
        raise VerificationError("state proof: a root is 32 bytes")
    hashed_key = key_hash(proof.key)
    index = bucket_of(hashed_key, depth)
    check_bucket(proof.bucket, index, depth)
    _, leaf = find_entry(proof.bucket, hashed_key)
    if proof.value is None:
        if proof.salt is not None or leaf is not None:
            raise VerificationError("state proof: the key is there, absence is not proved")
    else:
        if proof.salt is None or len(proof.salt) != SALT_BYTES:
            raise VerificationError("state proof: a value needs its salt of 16 bytes")
        if leaf != leaf_of(hashed_key, proof.salt + proof.value):
            raise VerificationError("state proof: the bucket does not hold this value")
    node = bucket_hash(proof.bucket)
    for siblings in proof.siblings:
        at = index % _ARITY * HASH_BYTES
        node = _hash_group(siblings[:at] + node + siblings[at:])
        index >>= _ARITY_BITS
    if node != state_root:
        raise VerificationError("state proof: leads to another state root")
    return proof.value


def _proof_bits(siblings: tuple[bytes, ...]) -> int:
    """The b of the tree that a proof of this shape comes from."""
    bits = 0
    for level in siblings:
        if bits % _ARITY_BITS:
            raise VerificationError("state proof: only the root has fewer than 16 children")
        children, rest = divmod(len(level) + HASH_BYTES, HASH_BYTES)
        if rest or children not in (2, 4, 8, _ARITY):
            raise VerificationError("state proof: wrong number of siblings, or not 32 bytes each")
        bits += children.bit_length() - 1
    if not 1 <= bits <= BUCKET_BITS_MAX:
        raise VerificationError("state proof: wrong number of siblings")
    return bits


def check_bucket(content: bytes, index: int, bits: int) -> None:
    """Raises `VerificationError` unless `content` is a well-formed bucket number `index`."""
    if len(content) % ENTRY_BYTES:
        raise VerificationError("state bucket: not whole entries")
    last = b""
    for at in range(0, len(content), ENTRY_BYTES):
        hashed_key = content[at : at + HASH_BYTES]
        if hashed_key <= last:
            raise VerificationError("state bucket: entries must ascend, each key once")
        if bucket_of(hashed_key, bits) != index:
            raise VerificationError("state bucket: a key of another bucket")
        last = hashed_key


def _hash_group(children: bytes | bytearray) -> bytes:
    """An inner node over the hashes of its children, one after the other."""
    # Compared, not any(): that would step through the zeroes one by one.
    if children == bytes(len(children)):
        return ZERO_HASH
    return sha256(_NODE + children).digest()


_Undo = list[dict[int, bytearray]]  # per level: node → its hash before a block


class StateTree:
    """The hashes of all buckets and inner nodes, newest executed block on top.

    One array per level, the buckets first and the root last. An update overwrites in place and
    keeps what stood there before, by block: certifying a block forgets its notes, discarding
    restores from them.
    """

    def __init__(self, bits: int, *, height: int = 0, uncertified_max: int = 8) -> None:
        """`uncertified_max`: how far execution may run ahead (parameters.py, rule B28); each epoch
        may set it anew."""
        assert 1 <= bits <= BUCKET_BITS_MAX
        self.bits = bits
        self.height = height  # of the newest block in the tree
        self.certified_height = height
        self.uncertified_max = uncertified_max
        widths = [1 << left for left in range(bits, 0, -_ARITY_BITS)] + [1]
        # Zeroed memory that nobody has touched costs nothing, however large b is.
        self._levels = [bytearray(width * HASH_BYTES) for width in widths]
        self._undo: deque[_Undo] = deque()  # per uncertified block, oldest first

    def load(self, buckets: Iterable[tuple[int, bytes]]) -> bytes:
        """Fill an empty tree with the contents of the non-empty buckets; gives the root."""
        assert self.root == ZERO_HASH, "load is for a new tree"
        # Not by `_overwrite`: there is nothing to undo, and a start walks through all buckets.
        below, width, nodes = self._levels[0], 1 << self.bits, set[int]()
        for index, content in buckets:
            assert 0 <= index < width
            at = index * HASH_BYTES
            below[at : at + HASH_BYTES] = bucket_hash(content)
            nodes.add(index >> _ARITY_BITS)
        for level in self._levels[1:]:
            for node in nodes:
                at, group = node * HASH_BYTES, node * _GROUP_BYTES
                level[at : at + HASH_BYTES] = _hash_group(below[group : group + _GROUP_BYTES])
            below, nodes = level, {node >> _ARITY_BITS for node in nodes}
        return self.root

    @property
    def root(self) -> bytes:
        """Of the newest block."""
        return bytes(self._levels[-1])

    @property
    def certified_root(self) -> bytes:
        return self._certified(len(self._levels) - 1, 0, 1)

    def is_empty(self, index: int) -> bool:
        """Has this bucket no entry in the newest block? Saves asking a disk for nothing."""
        return self._levels[0][index * HASH_BYTES : (index + 1) * HASH_BYTES] == ZERO_HASH

    def update(self, height: int, buckets: Mapping[int, bytes]) -> bytes:
        """Put the next block's new bucket contents on top; gives the root after it."""
        assert height == self.height + 1, "blocks are executed in order"
        assert len(self._undo) < self.uncertified_max, "execution runs too far ahead"
        self._undo.append(self._overwrite(buckets))
        self.height = height
        return self.root

    def certified(self, height: int) -> None:
        """Block `height`, the oldest uncertified one, has its certificate."""
        assert height == self.certified_height + 1 <= self.height
        self._undo.popleft()
        self.certified_height = height

    def discard(self) -> None:
        """Forget every block that is not certified."""
        while self._undo:
            for level, before in zip(self._levels, self._undo.pop(), strict=True):
                for node, old in before.items():
                    level[node * HASH_BYTES : (node + 1) * HASH_BYTES] = old
        self.height = self.certified_height

    def prove(self, key: bytes, stored: bytes | None, bucket: bytes) -> StateProof:
        """A proof against `certified_root`; `stored` (salt ‖ value, or None) and the content of
        the key's bucket must be those of the certified height."""
        node = bucket_of(key_hash(key), self.bits)
        siblings = []
        for level in range(len(self._levels) - 1):
            at = node % _ARITY * HASH_BYTES
            group = self._certified(level, node - node % _ARITY, _ARITY)
            siblings.append(group[:at] + group[at + HASH_BYTES :])
            node >>= _ARITY_BITS
        if stored is None:
            return StateProof(key, None, None, bucket, tuple(siblings))
        salt, value = stored[:SALT_BYTES], stored[SALT_BYTES:]
        return StateProof(key, salt, value, bucket, tuple(siblings))

    def _certified(self, level: int, first: int, count: int) -> bytes:
        """The certified hashes of `count` neighbours (fewer where the level ends)."""
        group = self._levels[level][first * HASH_BYTES : (first + count) * HASH_BYTES]
        # Newest first, so that the oldest uncertified block has the last word.
        for undo in reversed(self._undo):
            for node in range(first, first + len(group) // HASH_BYTES):
                old = undo[level].get(node)
                if old is not None:
                    at = (node - first) * HASH_BYTES
                    group[at : at + HASH_BYTES] = old
        return bytes(group)

    def _overwrite(self, buckets: Mapping[int, bytes]) -> _Undo:
        """Set bucket hashes and every node above them; gives what stood there before."""
        if buckets:
            assert 0 <= min(buckets) <= max(buckets) < 1 << self.bits
        below, before = self._levels[0], {}
        # What lies above a bucket that is not empty is not either: no need to compare.
        emptied = False
        for index, content in buckets.items():
            at = index * HASH_BYTES
            end = at + HASH_BYTES
            before[index] = below[at:end]
            if content:
                below[at:end] = sha256(_BUCKET + content).digest()  # `bucket_hash`, written out
            else:
                below[at:end], emptied = ZERO_HASH, True
        undo = [before]
        for level in self._levels[1:]:
            changed, before = {node >> _ARITY_BITS for node in before}, {}
            for node in changed:
                at, group = node * HASH_BYTES, node * _GROUP_BYTES
                end = at + HASH_BYTES
                before[node] = level[at:end]
                children = below[group : group + _GROUP_BYTES]
                level[at:end] = (
                    _hash_group(children) if emptied else sha256(_NODE + children).digest()
                )
            undo.append(before)
            below = level
        return undo
