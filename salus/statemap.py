"""The authenticated state map: 2^b buckets under a binary tree, proofs of presence and absence.

◆ key hash   = H("state-key", key); the bucket of a key is the top b bits of its key hash
  leaf       = H("state-leaf", key hash ‖ salt ‖ value), salt 16 bytes (health.md §4.0)
  bucket     = its entries (key hash ‖ leaf), 64 bytes each, strictly ascending by key hash
  bucket hash= H("state-bucket", bucket), of an empty bucket 32 zero bytes
  node       = H("state-node", left ‖ right), of two zero children 32 zero bytes

Zero for every empty subtree makes the work follow what exists, not 2^b. Law of the file: the
tree holds the newest executed block, and `proof` speaks of the newest *certified* one only.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from hashlib import sha256

from salus.codec import Bytes16, Bytes32, Wire
from salus.errors import VerificationError
from salus.hashing import HASH_BYTES, ZERO_HASH, domain, hasher

SALT_BYTES = 16
ENTRY_BYTES = 2 * HASH_BYTES
BUCKET_BITS_MAX = 24  # parameters.py: 2^24 buckets are 1 GiB of nodes, and enough for 10^9 keys.

_NODE = domain("state-node")
_ZERO_PAIR = ZERO_HASH + ZERO_HASH

key_hash = hasher("state-key")
_hash_leaf = hasher("state-leaf")
_hash_bucket = hasher("state-bucket")
_hash_salt = hasher("state-salt")


def bucket_of(hashed_key: bytes, bits: int) -> int:
    """The bucket that a key hash belongs to: its top `bits` bits."""
    return int.from_bytes(hashed_key[:4]) >> (32 - bits)


def salt_of(tx_id: bytes, operation: int, hashed_key: bytes) -> bytes:
    """The salt that this operation gives the value it writes: whoever holds the raw
    transactions derives it, whoever holds only a proof file cannot guess values by it."""
    return _hash_salt(tx_id + operation.to_bytes(4) + hashed_key)[:SALT_BYTES]


def leaf_of(hashed_key: bytes, stored: bytes) -> bytes:
    """`stored`: salt ‖ value, as it lies in the state store."""
    return _hash_leaf(hashed_key + stored)


def bucket_hash(content: bytes) -> bytes:
    return _hash_bucket(content) if content else ZERO_HASH


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


def change_bucket(content: bytes, leaves: Mapping[bytes, bytes | None]) -> bytes:
    """The bucket after `leaves` (key hash → new leaf, None = gone)."""
    for hashed_key, leaf in leaves.items():
        at, old = find_entry(content, hashed_key)
        rest = at if old is None else at + ENTRY_BYTES
        entry = b"" if leaf is None else hashed_key + leaf
        content = content[:at] + entry + content[rest:]
    return content


class StateProof(Wire, frozen=True):
    """The bucket of a key and the siblings from it to the state root.

    `salt` and `value` are there iff the key is; the bucket shows its neighbours only as key
    hashes and salted leaves.
    """

    key: bytes
    salt: Bytes16 | None
    value: bytes | None
    bucket: bytes  # as long as the bucket is: whoever reads the file bounds the file
    siblings: tuple[Bytes32, ...]  # from the bucket upwards


def verify_state(proof: StateProof, state_root: bytes, *, bits: int | None = None) -> bytes | None:
    """The key's value under `state_root`, None if the proof is one of absence.

    Raises `VerificationError`. Give `bits` (from genesis) where it is known, so that a proof
    has exactly one accepted form.
    """
    depth = len(proof.siblings)
    if not 1 <= depth <= BUCKET_BITS_MAX or (bits is not None and depth != bits):
        raise VerificationError("state proof: wrong number of siblings")
    if any(len(node) != HASH_BYTES for node in (state_root, *proof.siblings)):
        raise VerificationError("state proof: every root and node is 32 bytes")
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
    for level, sibling in enumerate(proof.siblings):
        node = node_hash(sibling + node if index >> level & 1 else node + sibling)
    if node != state_root:
        raise VerificationError("state proof: leads to another state root")
    return proof.value


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


def node_hash(pair: bytes) -> bytes:
    """An inner node over left ‖ right."""
    return ZERO_HASH if pair == _ZERO_PAIR else sha256(_NODE + pair).digest()


class StateTree:
    """The hashes of all buckets and inner nodes, newest executed block on top.

    Node 1 is the root and node n has the children 2n and 2n+1, so both children of n lie side
    by side in one array. An update overwrites in place and keeps what stood there before, by
    block: certifying a block forgets its list, discarding restores from it.
    """

    def __init__(self, bits: int, *, height: int = 0, uncertified_max: int = 8) -> None:
        """`uncertified_max`: how far execution may run ahead (parameters.py, rule B28)."""
        assert 1 <= bits <= BUCKET_BITS_MAX
        self.bits = bits
        self.height = height  # of the newest block in the tree
        self.certified_height = height
        self._uncertified_max = uncertified_max
        # Zeroed memory that nobody has touched costs nothing, however large b is.
        self._nodes = bytearray(2 * HASH_BYTES << bits)
        self._before: deque[dict[int, bytes]] = deque()  # per uncertified block, oldest first

    def load(self, buckets: Iterable[tuple[int, bytes]]) -> bytes:
        """Fill an empty tree with the contents of the non-empty buckets; gives the root."""
        assert not self._before
        assert self.root == ZERO_HASH
        hashes = {index: bucket_hash(content) for index, content in buckets}
        self._overwrite(hashes)
        return self.root

    @property
    def root(self) -> bytes:
        """Of the newest block."""
        return bytes(self._nodes[HASH_BYTES : 2 * HASH_BYTES])

    @property
    def certified_root(self) -> bytes:
        return self._certified_node(1)

    def update(self, height: int, buckets: Mapping[int, bytes]) -> bytes:
        """Put the next block's new bucket contents on top; gives the root after it."""
        assert height == self.height + 1, "blocks are executed in order"
        assert len(self._before) < self._uncertified_max, "execution runs too far ahead"
        hashes = {index: bucket_hash(content) for index, content in buckets.items()}
        self._before.append(self._overwrite(hashes))
        self.height = height
        return self.root

    def certified(self, height: int) -> None:
        """Block `height`, the oldest uncertified one, has its certificate."""
        assert height == self.certified_height + 1 <= self.height
        self._before.popleft()
        self.certified_height = height

    def discard(self) -> None:
        """Forget every block that is not certified."""
        while self._before:
            for node, old in self._before.pop().items():
                self._nodes[node * HASH_BYTES : (node + 1) * HASH_BYTES] = old
        self.height = self.certified_height

    def prove(self, key: bytes, stored: bytes | None, bucket: bytes) -> StateProof:
        """A proof against `certified_root`; `stored` (salt ‖ value or None) and the content of
        the key's bucket are those of the certified height."""
        node = bucket_of(key_hash(key), self.bits) + (1 << self.bits)
        siblings = []
        while node > 1:
            siblings.append(self._certified_node(node ^ 1))
            node >>= 1
        if stored is None:
            return StateProof(key, None, None, bucket, tuple(siblings))
        salt, value = stored[:SALT_BYTES], stored[SALT_BYTES:]
        return StateProof(key, salt, value, bucket, tuple(siblings))

    def _certified_node(self, node: int) -> bytes:
        # The oldest uncertified block that changed the node remembers the certified hash.
        for before in self._before:
            if node in before:
                return before[node]
        return bytes(self._nodes[node * HASH_BYTES : (node + 1) * HASH_BYTES])

    def _overwrite(self, hashes: Mapping[int, bytes]) -> dict[int, bytes]:
        """Set bucket hashes and all nodes above them; gives what stood there before."""
        nodes, first = self._nodes, 1 << self.bits
        before: dict[int, bytes] = {}
        changed: set[int] = set()
        for index, value in hashes.items():
            assert 0 <= index < first
            node = index + first
            at = node * HASH_BYTES
            before[node] = bytes(nodes[at : at + HASH_BYTES])
            nodes[at : at + HASH_BYTES] = value
            changed.add(node >> 1)
        # Level by level; within a level no node depends on another, so their order is free.
        for _ in range(self.bits):
            above: set[int] = set()
            for node in sorted(changed):
                at = node * HASH_BYTES
                before[node] = bytes(nodes[at : at + HASH_BYTES])
                pair = bytes(nodes[2 * at : 2 * at + 2 * HASH_BYTES])
                nodes[at : at + HASH_BYTES] = (
                    ZERO_HASH if pair == _ZERO_PAIR else sha256(_NODE + pair).digest()
                )
                above.add(node >> 1)
            changed = above
        return before
