"""Transactions: operations in an envelope, one signature over their Merkle root.

The signature covers chain, envelope and the *root* of the operations, so that one operation
can be proved without showing its neighbours (health.md §3). A transaction stays bytes from
the socket to the executor; it is parsed once, and its id names those bytes.
"""

from hashlib import sha256
from typing import Annotated

import msgspec

from salus import merkle
from salus.codec import Bytes16, Bytes32, Bytes64, Uint, Wire, decode, encode
from salus.errors import BadMessage, BadSignature
from salus.hashing import domain
from salus.keys import Signer, Verifier, verify
from salus.parameters import Parameters

TRANSACTION_VERSION = 1

Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]

_SIGNED = domain("transaction")
_ID = domain("transaction-id")


class Operation(Wire, frozen=True):
    """One call of a contract; `args` is the canonical encoding of the method's own struct."""

    contract: Word
    method: Word
    version: Uint
    args: bytes


class Transaction(Wire, frozen=True):
    """The envelope on the wire. Valid for heights `first_height` … `expiry_height`.

    Operations are all-or-nothing unless `independent`; each has its own receipt either way.
    """

    version: Uint
    chain_id: str
    sender: Bytes32
    nonce: Bytes16
    first_height: Uint
    expiry_height: Uint
    independent: bool
    operations: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1)]
    signature: Bytes64


class ParsedTransaction(msgspec.Struct, frozen=True, gc=False):
    """A transaction that passed `parse`: its bytes, its fields and its id (32 bytes)."""

    raw: bytes
    body: Transaction
    id: bytes
    signed: bytes

    def signature_valid(self, verifier: Verifier = verify) -> bool:
        return verifier(self.body.sender, self.signed, self.body.signature)


def signed_payload(
    genesis_hash: bytes, tx: Transaction, operations_count: int, operations_root: bytes
) -> bytes:
    """The bytes under a client's signature; `tx.operations` and `tx.signature` do not matter."""
    return _SIGNED + encode(
        (
            genesis_hash,
            tx.version,
            tx.chain_id,
            tx.sender,
            tx.nonce,
            tx.first_height,
            tx.expiry_height,
            tx.independent,
            operations_count,
            operations_root,
        )
    )


def transaction_id(signed: bytes, signature: bytes) -> bytes:
    """Names exactly these bytes: the same content signed again differently has another id."""
    return sha256(_ID + signed + signature).digest()


def operation_leaves(operations: tuple[bytes, ...]) -> list[bytes]:
    return [merkle.leaf_hash(operation) for operation in operations]


def parse(
    raw: bytes, chain_id: str, genesis_hash: bytes, parameters: Parameters
) -> ParsedTransaction:
    """Everything about a transaction that needs neither state nor the signature check.

    Raises `BadMessage` with code TOO_LARGE, NOT_CANONICAL, UNSUPPORTED_VERSION, WRONG_CHAIN or
    EXPIRY_RANGE. A function of the bytes and the epoch's parameters only (rule 15).
    """
    if len(raw) > parameters.transaction_bytes_max:
        raise _too_many_bytes(raw, parameters)
    tx = decode(raw, Transaction)
    if tx.version != TRANSACTION_VERSION:
        raise BadMessage(f"transaction version {tx.version}", code="UNSUPPORTED_VERSION")
    if tx.chain_id != chain_id:
        raise BadMessage("the transaction was made for another chain", code="WRONG_CHAIN")
    operations = tx.operations
    if len(operations) > parameters.transaction_operations_max:
        raise _too_many_operations(parameters)
    if tx.first_height > tx.expiry_height:
        raise BadMessage("first height above expiry height", code="EXPIRY_RANGE")
    root = (
        sha256(b"\0" + operations[0]).digest()  # `merkle.leaf_hash`, and below `transaction_id`
        if len(operations) == 1
        else merkle.root(operation_leaves(operations))
    )
    signed = signed_payload(genesis_hash, tx, len(operations), root)
    return ParsedTransaction(raw, tx, sha256(_ID + signed + tx.signature).digest(), signed)


def check_size(tx: ParsedTransaction, parameters: Parameters) -> None:
    """The limits of this epoch on bytes and operations, for what was parsed under another's; raises
    `BadMessage` (TOO_LARGE)."""
    if len(tx.raw) > parameters.transaction_bytes_max:
        raise _too_many_bytes(tx.raw, parameters)
    if len(tx.body.operations) > parameters.transaction_operations_max:
        raise _too_many_operations(parameters)


def _too_many_bytes(raw: bytes, parameters: Parameters) -> BadMessage:
    most = parameters.transaction_bytes_max
    return BadMessage(f"a transaction has at most {most} bytes, not {len(raw)}", code="TOO_LARGE")


def _too_many_operations(parameters: Parameters) -> BadMessage:
    most = parameters.transaction_operations_max
    return BadMessage(f"at most {most} operations", code="TOO_LARGE")


def check_signature(tx: ParsedTransaction, verifier: Verifier = verify) -> None:
    """Raises `BadSignature`; the one costly check, done once per node and remembered by id."""
    if not tx.signature_valid(verifier):
        raise BadSignature("the signature does not fit sender, chain and content")


def check_heights(tx: Transaction, sequence: int, parameters: Parameters) -> None:
    """Rule 15: may the transaction stand at this sequence? Raises `BadMessage`."""
    if sequence > tx.expiry_height:
        raise BadMessage(
            f"valid until height {tx.expiry_height}, this is {sequence}", code="EXPIRED"
        )
    if sequence < tx.first_height:
        raise BadMessage(
            f"valid from height {tx.first_height}, this is {sequence}", code="NOT_YET_VALID"
        )
    if tx.expiry_height - sequence > parameters.expiry_window_blocks:
        raise BadMessage(
            f"expiry height {tx.expiry_height} is more than {parameters.expiry_window_blocks} "
            f"blocks ahead of {sequence}",
            code="EXPIRY_RANGE",
        )


def build(
    operations: tuple[Operation, ...],
    *,
    signer: Signer,
    chain_id: str,
    genesis_hash: bytes,
    nonce: bytes,
    expiry_height: int,
    first_height: int = 0,
    independent: bool = False,
) -> ParsedTransaction:
    """Sign operations into a transaction; `nonce`: 16 random bytes."""
    raw_operations = tuple(encode(operation) for operation in operations)
    unsigned = Transaction(
        TRANSACTION_VERSION,
        chain_id,
        signer.public_key,
        nonce,
        first_height,
        expiry_height,
        independent,
        raw_operations,
        bytes(64),
    )
    signed = signed_payload(
        genesis_hash, unsigned, len(raw_operations), merkle.root(operation_leaves(raw_operations))
    )
    tx = msgspec.structs.replace(unsigned, signature=signer.sign(signed))
    return ParsedTransaction(encode(tx), tx, transaction_id(signed, tx.signature), signed)
