"""The state file: what the certified state at one height says of some keys, for whoever has the
genesis hash and no node.

    file = "SALUSSTATE1\\n" ‖ encode(StateBundle) ‖ H("state-file", all before), 32 bytes

All values are of one height, so a list whose links stand in the state is either whole in it, or
seen to be cut (salus/trail.py). Law of the file: as of salus/verifier.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from salus.block import Header
from salus.certificate import Certificate, EpochStep, check_certificate, follow_epochs
from salus.codec import Uint, Wire, decode, encode
from salus.errors import BadMessage, VerificationError
from salus.genesis import Genesis
from salus.hashing import HASH_BYTES, hasher
from salus.keys import Verifier, verify
from salus.proof import EPOCHS_MAX
from salus.statemap import StateProof, verify_state

MAGIC = b"SALUSSTATE1\n"  # Do not change: a new format gets a new number.
STATE_FILE_VERSION = 1
STATE_FILE_BYTES_MAX = 64 * 2**20
VALUES_MAX = 4_096

_hash_file = hasher("state-file")


class StateBundle(Wire, frozen=True):
    """`epochs`: the last blocks of all epochs before the header's."""

    version: Uint
    genesis: Genesis
    epochs: Annotated[tuple[EpochStep, ...], msgspec.Meta(max_length=EPOCHS_MAX)]
    header: Header
    certificate: Certificate
    values: Annotated[tuple[StateProof, ...], msgspec.Meta(max_length=VALUES_MAX)]


@dataclass(frozen=True, slots=True)
class ProvedState:
    """What a file proves: values by key, None where the key is proved to be absent."""

    chain_id: str
    height: int
    block_hash: bytes
    time_ms: int
    signers: tuple[str, ...]
    values: Mapping[bytes, bytes | None]

    def value(self, key: bytes) -> bytes | None:
        """Raises `VerificationError` for a key of which the file says nothing."""
        if key not in self.values:
            raise VerificationError("the file leaves out a value that belongs to it")
        return self.values[key]


def write_state_file(bundle: StateBundle) -> bytes:
    """The bytes of the file; raises `BadMessage` (TOO_LARGE)."""
    body = MAGIC + encode(bundle)
    if len(bundle.values) > VALUES_MAX or len(body) + HASH_BYTES > STATE_FILE_BYTES_MAX:
        raise BadMessage(
            f"a state file has at most {VALUES_MAX} values and {STATE_FILE_BYTES_MAX} bytes",
            code="TOO_LARGE",
        )
    return body + _hash_file(body)


def read_state_file(data: bytes) -> StateBundle:
    """The bundle, judged by nobody yet; raises `VerificationError`, `BadMessage`."""
    if len(data) > STATE_FILE_BYTES_MAX:
        raise VerificationError("the file is larger than any state file")
    if not data.startswith(MAGIC):
        raise VerificationError("this is no state file of version 1")
    body, digest = data[:-HASH_BYTES], data[-HASH_BYTES:]
    if len(body) <= len(MAGIC) or _hash_file(body) != digest:
        raise VerificationError("the file was damaged or cut off")
    bundle = decode(body[len(MAGIC) :], StateBundle)
    if bundle.version != STATE_FILE_VERSION:
        raise VerificationError(f"state file version {bundle.version} is not known here")
    return bundle


def verify_state_file(
    data: bytes, genesis_hash: bytes, *, verifier: Verifier = verify
) -> ProvedState:
    """Read and verify; raises `VerificationError`, `BadMessage`, whatever the bytes are."""
    return verify_state_bundle(read_state_file(data), genesis_hash, verifier=verifier)


def verify_state_bundle(
    bundle: StateBundle, genesis_hash: bytes, *, verifier: Verifier = verify
) -> ProvedState:
    """What a bundle that was read proves. Raises `VerificationError`, `BadMessage`."""
    genesis, header = bundle.genesis, bundle.header
    if genesis.hash() != genesis_hash:
        raise VerificationError("the file speaks of another consortium: its genesis hash differs")
    domain = genesis.vote_domain()
    validators = follow_epochs(genesis.validators(), bundle.epochs, domain, verifier)
    base = bundle.epochs[-1].header.height if bundle.epochs else 0
    heights = [0, *(step.header.height for step in bundle.epochs)]
    if heights != sorted(set(heights)) or header.height <= base:
        raise VerificationError("the ends of epochs must ascend, up to the block of the file")
    if header.epoch != len(bundle.epochs):
        raise VerificationError("the chain of epochs must end at the block of the file")
    check_certificate(bundle.certificate, header, validators, domain, verifier)
    bits = genesis.parameters.state_bucket_bits
    values: dict[bytes, bytes | None] = {}
    for proof in bundle.values:
        if proof.key in values:
            raise VerificationError("a key stands twice in the file")
        values[proof.key] = verify_state(proof, header.state_root, bits=bits)
    return ProvedState(
        genesis.chain_id,
        header.height,
        header.hash(),
        header.time_ms,
        tuple(validators.validators[s.index].member for s in bundle.certificate.signatures),
        values,
    )
