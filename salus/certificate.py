"""Quorum certificates of blocks, and the chain of validator sets from genesis (rules 12–14).

◆ A certificate is q CHECKPOINT signatures over one header hash by members of that block's
epoch. Two valid certificates of one block may differ in their signers; the header hash does
not cover them (rule 27).
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from salus.block import BLOCK_VERSION, Header
from salus.codec import Bytes32, Bytes64, Uint, Wire
from salus.errors import VerificationError
from salus.keys import Verifier, verify
from salus.validators import VALIDATORS_MAX, ValidatorSet, check_validators
from salus.vote import VoteDomain, VoteType


class IndexedSignature(Wire, frozen=True):
    """The signature of the `index`-th validator of the epoch's set."""

    index: Uint
    signature: Bytes64


class Certificate(Wire, frozen=True):
    """q signatures, ascending by index, over (epoch, CHECKPOINT, view 0, height, header hash)."""

    epoch: Uint
    height: Uint
    header_hash: Bytes32
    signatures: Annotated[
        tuple[IndexedSignature, ...], msgspec.Meta(min_length=1, max_length=VALIDATORS_MAX)
    ]


class CertifiedBlock(Wire, frozen=True):
    """A block as it is stored and as it travels to whoever catches up."""

    header: Header
    certificate: Certificate
    proposal: bytes


class EpochStep(Wire, frozen=True):
    """The certified last block of an epoch and the set that it hands over to."""

    header: Header
    certificate: Certificate
    next_validators: ValidatorSet


def check_certificate(
    certificate: Certificate,
    header: Header,
    validators: ValidatorSet,
    vote_domain: VoteDomain,
    verifier: Verifier = verify,
) -> None:
    """Raises `VerificationError` unless a quorum of `validators` signed `header`."""
    if header.version != BLOCK_VERSION:
        raise VerificationError(f"block version {header.version} is not known here")
    if header.validators_hash != validators.hash() or header.epoch != validators.epoch:
        raise VerificationError("the header names another validator set")
    if certificate.height != header.height or certificate.header_hash != header.hash():
        raise VerificationError("the certificate is of another block")
    check_signatures(certificate, validators, vote_domain, verifier)


def check_signatures(
    certificate: Certificate,
    validators: ValidatorSet,
    vote_domain: VoteDomain,
    verifier: Verifier = verify,
) -> None:
    """The quorum alone, for whoever holds no header: distinct members, q valid signatures."""
    if certificate.epoch != validators.epoch:
        raise VerificationError("the certificate is of another epoch")
    indexes = [signature.index for signature in certificate.signatures]
    if not indexes or indexes != sorted(set(indexes)) or indexes[-1] >= validators.n:
        raise VerificationError("signers must be distinct members in ascending order")
    if len(indexes) < validators.quorum:
        raise VerificationError(f"{len(indexes)} signatures, the quorum is {validators.quorum}")
    payload = vote_domain.payload(
        VoteType.CHECKPOINT, certificate.epoch, 0, certificate.height, certificate.header_hash
    )
    for signature in certificate.signatures:
        if not verifier(validators.key(signature.index), payload, signature.signature):
            member = validators.validators[signature.index].member
            raise VerificationError(f"the signature of {member} is not valid")


def follow_epochs(
    first: ValidatorSet,
    steps: Sequence[EpochStep],
    vote_domain: VoteDomain,
    verifier: Verifier = verify,
) -> ValidatorSet:
    """The set that the certified steps lead to, from a set that is trusted (rule 14).

    Raises `VerificationError`, or `BadMessage` for a set that is not well-formed.
    """
    current = first
    for step in steps:
        check_certificate(step.certificate, step.header, current, vote_domain, verifier)
        if not step.header.ends_epoch:
            raise VerificationError("a step must be the last block of its epoch")
        if step.next_validators.epoch != current.epoch + 1:
            raise VerificationError("epochs follow one another without a gap")
        if step.next_validators.hash() != step.header.next_validators_hash:
            raise VerificationError("the certified header names another next set")
        check_validators(step.next_validators)
        current = step.next_validators
    return current
