"""One version of a record as its custodian knows it; sealed in the vault, never on a wire."""

from typing import Annotated

import msgspec

from salus.codec import Bytes32, Uint, Wire
from salus.document import Context
from salus.permit import RecordClass
from salus.record import LeafPath

VERSIONS_MAX = 10_000  # of one record: its file stays below the vault's 16 MiB
REASONS_MAX = 16  # for one retraction: so often somebody changed his mind before it was certified


class Reason(Wire, frozen=True):
    """Why a version is withdrawn, and the salt that opens its commitment."""

    salt: Bytes32
    text: str


class PrivateVersion2(Wire, frozen=True):
    """One version of a record, as it was known before keys were sealed."""

    document: Bytes32  # its name in the vault
    size: Uint
    media_type: str
    salt_seed: Bytes32  # of the parts' salts
    tag: Bytes32
    commitment: Bytes32
    root: Bytes32
    leaves: Uint
    index: Uint
    path: LeafPath
    author_salt: Bytes32
    author: str
    context_salt: Bytes32
    context: Context
    # Of its retraction: every one that was handed out for signing, for any may be on the chain.
    reasons: Annotated[tuple[Reason, ...], msgspec.Meta(max_length=REASONS_MAX)] = ()


class PrivateVersion(PrivateVersion2, frozen=True):
    """One version of a record."""

    # Of a patient's record: what stands in this version. A ticket for it names them all, and its
    # key is sealed under them.
    classes: Annotated[tuple[RecordClass, ...], msgspec.Meta(max_length=6)] = ()
    sealed: bool = False  # the keeper alone opens it
