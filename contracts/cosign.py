"""Co-signatures: a second party signs the very operation that one alone may not do (rule I-6 of
decision 0010).

A contract that takes one declares `org`, `cosigner` and `cosignature` among the fields, the codes
NEEDS_COSIGNATURE and BAD_COSIGNATURE, and that it reads the members.
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

Cosigner = Annotated[
    Bytes32 | None, public("a guardian, or the operator of another organisation; or null")
]
Cosignature = Annotated[Bytes64 | None, public("its signature over this operation without it")]


class Cosignable(Protocol):
    """Arguments that can be co-signed."""

    @property
    def org(self) -> str: ...
    @property
    def cosigner(self) -> bytes | None: ...
    @property
    def cosignature(self) -> bytes | None: ...


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
        member = ctx.ask(operator_of, cosigner)
        if member is None or member in (args.org, involved):
            raise Refused("BAD_COSIGNATURE")
    assert isinstance(args, Wire), "arguments are a Wire struct"
    bare = encode(msgspec.structs.replace(args, cosigner=None, cosignature=None))
    payload = forms.cosigned(ctx.chain_id, contract.name, method, contract.version, bare)
    if not verify(cosigner, payload, signature):
        raise Refused("BAD_COSIGNATURE")
