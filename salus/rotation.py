"""The rotation file: what an organisation sends to whoever proposes another key for it.

It names chain, organisation, capacity and the new key, and what that key signs so that a vote may
enter it (salus/governance.py). That the right hospital sent it, people check by voice: it has a
short fingerprint, like the join file.
"""

import json
from typing import Any, Literal

import msgspec

from salus.codec import Bytes32, Bytes64, Wire, encode
from salus.errors import BadMessage
from salus.genesis import ChainId
from salus.governance import possession
from salus.hashing import hasher
from salus.keys import Signer, address, parse_address, verify
from salus.validators import MemberId

FORMAT = "salus-rotation-1"  # Do not change: a new format gets a new number.
ROTATION_BYTES_MAX = 4 * 1024

_hash_rotation = hasher("rotation-fingerprint")

Capacity = Literal["node", "operator"]


class Rotation(Wire, frozen=True):
    """A new key for an organisation, and its word that it belongs there."""

    chain_id: ChainId
    member: MemberId
    capacity: Capacity
    new_key: Bytes32
    possession: Bytes64

    def fingerprint(self) -> str:
        """Sixteen letters in groups of four, for a telephone."""
        text = _hash_rotation(encode(self))[:8].hex()
        return "-".join(text[i : i + 4] for i in range(0, 16, 4))


def make_rotation(chain_id: str, member: str, capacity: str, new: Signer) -> Rotation:
    word = new.sign(possession(chain_id, member, capacity))
    return msgspec.convert([chain_id, member, capacity, new.public_key, word], Rotation)


def write_rotation(rotation: Rotation) -> str:
    """The file as JSON."""
    document = {
        "format": FORMAT,
        "chain_id": rotation.chain_id,
        "member": rotation.member,
        "capacity": rotation.capacity,
        "new_key": address(rotation.new_key),
        "possession": rotation.possession.hex(),
    }
    return json.dumps(document, indent=2) + "\n"


def read_rotation(text: str | bytes) -> Rotation:
    """Raises `BadMessage` (BAD_ROTATION) if the file or its signature is wrong."""
    try:
        if len(text) > ROTATION_BYTES_MAX:
            raise BadMessage(f"larger than {ROTATION_BYTES_MAX} bytes")
        document = json.loads(text, object_pairs_hook=_once)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise BadMessage(f"the format is not «{FORMAT}»")
        plain = [
            document["chain_id"],
            document["member"],
            document["capacity"],
            parse_address(document["new_key"]),
            bytes.fromhex(document["possession"]),
        ]
        rotation = msgspec.convert(plain, Rotation)
        payload = possession(rotation.chain_id, rotation.member, rotation.capacity)
        if not verify(rotation.new_key, payload, rotation.possession):
            raise BadMessage("the new key did not sign that it belongs to the organisation")
        return rotation
    except BadMessage as error:
        raise BadMessage(f"rotation file: {error.message}", code="BAD_ROTATION") from None
    except KeyError as error:
        raise BadMessage(f"rotation file: field {error} is missing", code="BAD_ROTATION") from None
    except (ValueError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise BadMessage(f"rotation file: {reason}", code="BAD_ROTATION") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers disagree on which of two equal names counts; people read aloud what they see."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise BadMessage("a field stands twice")
    return dict(pairs)
