"""The proof file: what somebody needs who has the genesis hash, and no node and no network.

    file   = "SALUSPROOF1\\n" ‖ encode(ProofBundle) ‖ H("proof-file", all before), 32 bytes

It carries one operation of one transaction with its receipt, up to the certified header of its
block and the chain of validator sets from genesis; optionally a document that the operation
anchored, and what the state at a later certified block says about it (health.md §4.13). The
neighbours of the operation, the transaction and the batch appear as hashes only. Here is the
form; `salus/verifier.py` judges the content.
"""

from typing import Annotated

import msgspec

from salus.block import Header, Receipt
from salus.certificate import Certificate, EpochStep
from salus.codec import Bytes16, Bytes32, Bytes64, Uint, Wire, decode, encode
from salus.document import Opening
from salus.errors import BadMessage
from salus.genesis import Genesis
from salus.hashing import HASH_BYTES, hasher
from salus.record import LeafCount, LeafIndex, LeafPath
from salus.statemap import StateProof

MAGIC = b"SALUSPROOF1\n"  # Do not change: a new format gets a new number.
PROOF_VERSION = 1
PROOF_BYTES_MAX = 256 * 2**20  # Twice the largest document; a verifier holds it in memory.
# A step has 1 kB for 4 validators and 10 for 100, so the size of the file is what bounds them.
# Daily epochs make 365 a year; a validator that rejoins as often as it may adds as many again.
EPOCHS_MAX = 1_000_000
LINKS_MAX = 100_000  # headers between a block and a pinned later one: 45 MB, an epoch
PATH_MAX = 53  # trees have at most 2^53 leaves

_hash_file = hasher("proof-file")

Path = Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=PATH_MAX)]


class OperationProof(Wire, frozen=True):
    """One operation, the envelope that signs it, and its receipt, under one header."""

    version: Uint
    sender: Bytes32
    nonce: Bytes16
    first_height: Uint
    expiry_height: Uint
    independent: bool
    signature: Bytes64
    operation: bytes
    operation_index: Uint
    operations_count: Uint
    operation_path: Path  # to the root under the client's signature
    transaction_index: Uint
    transaction_path: Path  # to header.transactions_root
    receipt: Receipt
    receipt_index: Uint
    receipt_path: Path  # to header.receipts_root


class AnchorArguments(Wire, frozen=True):
    """The arguments of records.anchor, version 1; a test holds them to the contract's own."""

    root: Bytes32
    leaves: LeafCount
    author: Bytes32
    context: Bytes32


class RecordProof(Wire, frozen=True):
    """A document version under the batch that the operation anchored."""

    index: LeafIndex
    path: LeafPath
    tag_hash: Bytes32  # of the version's tag, which stays secret while the version is current
    opening: Opening


class AsOf(Wire, frozen=True):
    """What the state after a certified block, the proved one or a later one, says.

    `spent` speaks of the version's tag and is there iff the bundle has a `RecordProof`.
    """

    header: Header
    certificate: Certificate
    anchor: StateProof
    spent: StateProof | None


class ProofBundle(Wire, frozen=True):
    """`epochs`: the last blocks of all epochs before the newest header's. `links`: the headers
    that follow `header` one by one, for whoever pins a later block."""

    version: Uint
    genesis: Genesis
    epochs: Annotated[tuple[EpochStep, ...], msgspec.Meta(max_length=EPOCHS_MAX)]
    header: Header
    certificate: Certificate
    operation: OperationProof
    record: RecordProof | None
    as_of: AsOf | None
    links: Annotated[tuple[Header, ...], msgspec.Meta(max_length=LINKS_MAX)]


def write_proof(bundle: ProofBundle) -> bytes:
    """The bytes of the file; raises `BadMessage` (code TOO_LARGE) for what no verifier reads."""
    if len(bundle.epochs) > EPOCHS_MAX or len(bundle.links) > LINKS_MAX:
        raise BadMessage(
            f"a proof file has at most {EPOCHS_MAX} epochs and {LINKS_MAX} later headers",
            code="TOO_LARGE",
        )
    body = MAGIC + encode(bundle)
    if len(body) + HASH_BYTES > PROOF_BYTES_MAX:
        raise BadMessage(f"a proof file has at most {PROOF_BYTES_MAX} bytes", code="TOO_LARGE")
    return body + _hash_file(body)


def read_proof(data: bytes) -> ProofBundle:
    """The bundle of a file, its form checked and nothing else; raises `BadMessage`."""
    if len(data) > PROOF_BYTES_MAX:
        raise BadMessage(f"a proof file has at most {PROOF_BYTES_MAX} bytes", code="TOO_LARGE")
    if not data.startswith(MAGIC):
        raise BadMessage("not a Salus proof file, or of another format version")
    body, file_hash = data[:-HASH_BYTES], data[-HASH_BYTES:]
    if len(body) < len(MAGIC) or _hash_file(body) != file_hash:
        raise BadMessage("the file was changed or cut: its hash does not fit its content")
    bundle = decode(body[len(MAGIC) :], ProofBundle)
    if bundle.version != PROOF_VERSION:
        raise BadMessage(f"proof version {bundle.version}", code="UNSUPPORTED_VERSION")
    return bundle
