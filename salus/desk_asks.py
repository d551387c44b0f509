"""What a hospital's own staff asks its node about people and identifiers, signed by a key of theirs.

    CheckAsk   at registration: our tags of these identifiers, and is the person known anywhere?
    FindAsk    in an emergency: where does a person have a relation, and under which handle?
    CasesAsk   the duplicate cases, or one of them        CloseAsk   what came of one
    SearchesAsk   who has looked for people, and why

Sent as `Signed`, in bodies only; `nonce` is random, so that each ask is answered once. Law of the file (decision 0017): an identifier goes from the desk to
its own node and no further; its `repr` shows nothing of it. Pure.
"""

from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from salus.codec import Bytes16, Bytes32, Bytes64, Uint, Wire, decode, encode
from salus.errors import BadMessage, SalusError
from salus.genesis import ChainId
from salus.hashing import domain, hasher
from salus.identity_tag import SYSTEM_CHARS_MAX, VALUE_CHARS_MAX
from salus.keys import Signer, verify
from salus.validators import MemberId

IDENTIFIERS_MAX = 4  # a passport, an insurance number, a hospital's and a state's own
NOTE_CHARS_MAX = 1_000  # why somebody decided so, for people
REASON_CHARS_MAX = 200
ASK_LIVES_MS, ASK_AHEAD_MS_MAX = 120_000, 300_000  # a slow line; clocks differ
ASK_BYTES_MAX = 8_192  # a note of 1,000 letters in any script takes four
CASES_PER_ANSWER_MAX = 256
SEARCHES_PER_ANSWER_MAX = 256  # 100 kB; 28 MB if each found somebody everywhere
NONCE_BYTES = 16


class Typed(Wire, frozen=True):
    """An identifier as somebody typed it; `salus.identity_tag.normalise` makes it one."""

    system: Annotated[str, msgspec.Meta(max_length=SYSTEM_CHARS_MAX)]
    value: Annotated[str, msgspec.Meta(max_length=VALUE_CHARS_MAX)]

    def __repr__(self) -> str:
        return "Typed(…)"


Identifiers = Annotated[tuple[Typed, ...], msgspec.Meta(min_length=1, max_length=IDENTIFIERS_MAX)]


class CaseState(StrEnum):
    """What is known of two relations that seem to be one person's."""

    OPEN = "open"
    SAME_PERSON = "same_person"
    DIFFERENT_PERSONS = "different_persons"
    THEFT = "theft"  # somebody uses another one's identity


class CheckAsk(Wire, frozen=True):
    """`handle`: of the relation that is, or is about to be, registered."""

    chain_id: ChainId
    org: MemberId
    key: Bytes32
    expires_ms: Uint
    nonce: Bytes16
    handle: Bytes32
    identifiers: Identifiers


class FindAsk(Wire, frozen=True):
    chain_id: ChainId
    org: MemberId
    key: Bytes32
    expires_ms: Uint
    nonce: Bytes16
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_CHARS_MAX)]
    identifiers: Identifiers


class CasesAsk(Wire, frozen=True):
    """`case`: that one; None: those in `state`, or all."""

    chain_id: ChainId
    org: MemberId
    key: Bytes32
    expires_ms: Uint
    nonce: Bytes16
    case: Bytes32 | None
    state: CaseState | None


class CloseAsk(Wire, frozen=True):
    """`state` may be OPEN again: people err."""

    chain_id: ChainId
    org: MemberId
    key: Bytes32
    expires_ms: Uint
    nonce: Bytes16
    case: Bytes32
    state: CaseState
    note: Annotated[str, msgspec.Meta(max_length=NOTE_CHARS_MAX)]


class SearchesAsk(Wire, frozen=True):
    """`before`: the `next` of the page before; None: the newest."""

    chain_id: ChainId
    org: MemberId
    key: Bytes32
    expires_ms: Uint
    nonce: Bytes16
    before: Bytes16 | None


DeskAsk = CheckAsk | FindAsk | CasesAsk | CloseAsk | SearchesAsk
A = TypeVar("A", CheckAsk, FindAsk, CasesAsk, CloseAsk, SearchesAsk)

_DOMAINS: dict[type[DeskAsk], bytes] = {
    CheckAsk: domain("desk-check"),
    FindAsk: domain("desk-find"),
    CasesAsk: domain("desk-cases"),
    CloseAsk: domain("desk-close"),
    SearchesAsk: domain("desk-searches"),
}


class Signed(Wire, frozen=True):
    """`ask`: the canonical bytes of one of the above; the signature is over its domain and these."""

    ask: Annotated[bytes, msgspec.Meta(max_length=ASK_BYTES_MAX)]
    signature: Bytes64


def signed(ask: DeskAsk, signer: Signer) -> bytes:
    """The body of the request."""
    assert ask.key == signer.public_key
    raw = encode(ask)
    return encode(Signed(raw, signer.sign(_DOMAINS[type(ask)] + raw)))


def opened(body: bytes, kind: type[A]) -> A:
    """The ask, signed by the key that it names. Raises `BadMessage`, `SalusError` (DESK_REFUSED)."""
    if len(body) > ASK_BYTES_MAX + 128:
        raise BadMessage(f"an ask has at most {ASK_BYTES_MAX} bytes", code="TOO_LARGE")
    outer = decode(body, Signed)
    ask = decode(outer.ask, kind)
    if not verify(ask.key, _DOMAINS[kind] + outer.ask, outer.signature):
        raise SalusError("the signature does not fit the ask", code="DESK_REFUSED")
    return ask


_hash_case = hasher("duplicate-case")


def case_id(org: str, handle: bytes) -> bytes:
    """Of the case of one registration: asked twice, there is still one."""
    return _hash_case(encode((org, handle)))
