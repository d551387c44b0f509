"""Co-signatures: a second party signs the very operation that one alone may not do (rule I-6 of
decision 0010).

A contract that takes one declares `org`, `cosigner` and `cosignature` among the fields (several:
`cosigners` and `cosignatures`), the codes NEEDS_COSIGNATURE and BAD_COSIGNATURE, and that it reads
the members.
"""

from collections.abc import Collection
from typing import Annotated, Protocol

import msgspec

from contracts.context import Context
from contracts.errors import Refused
from contracts.fields import public
from contracts.framework import Contract
from contracts.members import operator_of
from salus import relation as forms
from salus.codec import Bytes32, Bytes64, Wire, encode
from salus.keys import verify
from salus.relation import GUARDIANS_MAX, RelationEntry

COSIGNERS_MAX = GUARDIANS_MAX + 2  # all guardians, and two organisations

Cosigner = Annotated[
    Bytes32 | None, public("a guardian, or the operator of another organisation; or null")
]
Cosignature = Annotated[Bytes64 | None, public("its signature over this operation without it")]


Cosigners = Annotated[
    tuple[Bytes32, ...],
    msgspec.Meta(max_length=COSIGNERS_MAX),
    public("guardians, or operators of other organisations; ascending"),
]
Cosignatures = Annotated[
    tuple[Bytes64, ...],
    msgspec.Meta(max_length=COSIGNERS_MAX),
    public("their signatures over this operation without any"),
]


class Cosignable(Protocol):
    """Arguments that can be co-signed."""

    @property
    def org(self) -> str: ...
    @property
    def cosigner(self) -> bytes | None: ...
    @property
    def cosignature(self) -> bytes | None: ...


class Cosignables(Protocol):
    """Arguments that several co-sign."""

    @property
    def org(self) -> str: ...
    @property
    def cosigners(self) -> tuple[bytes, ...]: ...
    @property
    def cosignatures(self) -> tuple[bytes, ...]: ...


def check_cosignature(
    ctx: Context,
    contract: Contract,
    method: str,
    guardians: Collection[bytes],
    args: Cosignable,
    *,
    involved: str | None = None,
) -> None:
    """Raises `Refused` unless a guardian, or the operator of an organisation that is neither
    `args.org` nor `involved`, signed these arguments as they are."""
    cosigner, signature = args.cosigner, args.cosignature
    if cosigner is None or signature is None:
        raise Refused("NEEDS_COSIGNATURE")
    if cosigner not in guardians:
        _other(ctx, cosigner, args.org, involved)
    assert isinstance(args, Wire), "arguments are a Wire struct"
    bare = encode(msgspec.structs.replace(args, cosigner=None, cosignature=None))
    payload = forms.cosigned(ctx.chain_id, contract.name, method, contract.version, bare)
    if not verify(cosigner, payload, signature):
        raise Refused("BAD_COSIGNATURE")


def check_cosignatures(
    ctx: Context, contract: Contract, method: str, relation: RelationEntry, args: Cosignables
) -> None:
    """Raises `Refused` unless so many signed these arguments as they are that the owner's key and
    one friend do not do: `threshold` guardians, or a guardian and another organisation, or two
    other organisations (all guardians may be lost); without guardians, one other organisation."""
    if list(args.cosigners) != sorted(set(args.cosigners)):
        raise Refused("BAD_COSIGNATURE")
    if len(args.cosigners) != len(args.cosignatures):
        raise Refused("BAD_COSIGNATURE")
    guardians = [one for one in args.cosigners if one in relation.guardians]
    found = {_other(ctx, one, args.org) for one in args.cosigners if one not in guardians}
    enough = len(found) + bool(guardians) >= (2 if relation.guardians else 1)
    if not enough and (not guardians or len(guardians) < relation.threshold):
        raise Refused("NEEDS_COSIGNATURE")
    assert isinstance(args, Wire), "arguments are a Wire struct"
    bare = encode(msgspec.structs.replace(args, cosigners=(), cosignatures=()))
    payload = forms.cosigned(ctx.chain_id, contract.name, method, contract.version, bare)
    for key, signature in zip(args.cosigners, args.cosignatures, strict=True):
        if not verify(key, payload, signature):
            raise Refused("BAD_COSIGNATURE")


def _other(ctx: Context, key: bytes, *involved: str | None) -> str:
    """The organisation whose operator has this key, and which is none of these."""
    member = ctx.ask(operator_of, key)
    if member is None or member in involved:
        raise Refused("BAD_COSIGNATURE")
    return member
