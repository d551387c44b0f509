"""A request for a key, as text: what one device asks and another one brings to the chain.

A patient, a guardian or a delegate makes it on the device that holds the key; a hospital proposes
it, a friend approves it, the owner enters it. It holds no secret, and names nobody.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from salus import relation as forms
from salus.codec import Bytes32, Bytes64, Wire
from salus.errors import BadMessage
from salus.genesis import ChainId
from salus.keys import Signer, verify
from salus.relation import Whose
from salus.validators import MemberId
from salus.wire_json import from_json, to_json

FILE_BYTES_MAX = 4_096  # seven fields; it has 600


class Use(StrEnum):
    """What the key is for: the word that its signature covers."""

    CLAIM = "claim"
    RECOVER = "recover"
    GUARDIAN = "guardian"
    DELEGATE = "delegate"


class _Form(Wire, frozen=True):
    use: Use
    chain_id: ChainId
    org: MemberId
    handle: Bytes32
    key: Bytes32
    box_key: Bytes32 | None
    possession: Bytes64


@dataclass(frozen=True)
class KeyRequest:
    """A key that has signed what it is for."""

    use: Use
    chain_id: ChainId
    whose: Whose
    key: bytes
    box_key: bytes | None
    possession: bytes


def make(
    use: Use, chain_id: str, whose: Whose, key: Signer, box_key: bytes | None = None
) -> KeyRequest:
    """`box_key`: of an owner key, and of no other."""
    payload = forms.possession(chain_id, whose.org, whose.handle, use.value, box_key)
    return KeyRequest(use, chain_id, whose, key.public_key, box_key, key.sign(payload))


def text(request: KeyRequest) -> bytes:
    """As the file says it."""
    form = _Form(
        request.use,
        request.chain_id,
        request.whose.org,
        request.whose.handle,
        request.key,
        request.box_key,
        request.possession,
    )
    return (json.dumps(to_json(form), indent=1) + "\n").encode()


def parse(raw: bytes, *uses: Use) -> KeyRequest:
    """Raises `BadMessage` (BAD_KEY_REQUEST) unless it is one for one of these uses, signed."""
    form = _form(raw)
    if form.use not in uses:
        wanted = " or ".join(one.value for one in uses)
        raise _bad(f"it is for «{form.use.value}», not for {wanted}")
    if (form.box_key is not None) != (form.use in (Use.CLAIM, Use.RECOVER)):
        raise _bad("an owner key comes with a box key, and no other key does")
    payload = forms.possession(form.chain_id, form.org, form.handle, form.use.value, form.box_key)
    if not verify(form.key, payload, form.possession):
        raise _bad("its key has not signed it")
    whose = Whose(form.org, form.handle)
    return KeyRequest(form.use, form.chain_id, whose, form.key, form.box_key, form.possession)


def _form(raw: bytes) -> _Form:
    document: Any = None
    if len(raw) <= FILE_BYTES_MAX:
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError):
            pass
    try:
        return from_json(_Form, document)
    except BadMessage as error:
        raise _bad(error.message) from None


def _bad(why: str) -> BadMessage:
    return BadMessage(f"no request for a key: {why}", code="BAD_KEY_REQUEST")
