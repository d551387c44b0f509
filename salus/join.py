"""The join file: what a hospital sends to the founding ceremony, signed by its own keys.

A member card names the organisation, its roles, its three public keys and where its node is
reached. Node key and operator key both sign it, so whoever assembles genesis can neither swap a
key nor enter an organisation that does not hold the keys it names. That the *right* hospital
sent it, people check by voice or in person: the card has a short fingerprint to read aloud.

Where the network runs already, the file has an *admission* besides: what the two keys sign so that
a vote may enter them (salus/governance.py). It is of one chain; the card is of none.
"""

import json
from typing import Annotated, Any

import msgspec

from salus.codec import Bytes64, Wire, encode
from salus.errors import BadMessage
from salus.genesis import ChainId, Member
from salus.governance import possession
from salus.hashing import domain, hasher
from salus.keys import Signer, address, parse_address, verify

FORMAT = "salus-join-1"  # Do not change: a new format gets a new number.
JOIN_BYTES_MAX = 16 * 1024

_SIGNED = domain("join")
_hash_card = hasher("join-fingerprint")


class Card(Wire, frozen=True):
    """What is signed. `endpoint`: host:port that the others dial."""

    member: Member
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^[^\s@]{1,255}:[0-9]{1,5}$(?!\n)")]

    def payload(self) -> bytes:
        return _SIGNED + encode(self)

    def fingerprint(self) -> str:
        """Sixteen letters in groups of four, for a telephone."""
        text = _hash_card(encode(self))[:8].hex()
        return "-".join(text[i : i + 4] for i in range(0, 16, 4))


class Admission(Wire, frozen=True):
    """That the keys of a card want to be a member's of this chain."""

    chain_id: ChainId
    node_possession: Bytes64
    operator_possession: Bytes64


def write_join(card: Card, node: Signer, operator: Signer, chain_id: str | None = None) -> str:
    """The file as JSON; the two signers hold the keys that the card names. `chain_id`: of the
    running network that it is for, if it is for one."""
    assert node.public_key == card.member.node_key
    assert operator.public_key == card.member.operator_key
    member = card.member
    document = {
        "format": FORMAT,
        "member": {
            "id": member.id,
            "name": member.name,
            "roles": list(member.roles),
            "validator": member.validator,
            "node_key": address(member.node_key),
            "operator_key": address(member.operator_key),
            "box_key": member.box_key.hex(),
        },
        "endpoint": card.endpoint,
        "node_signature": node.sign(card.payload()).hex(),
        "operator_signature": operator.sign(card.payload()).hex(),
    }
    if chain_id is not None:
        document["admission"] = {"chain_id": chain_id} | {
            f"{capacity}_possession": key.sign(possession(chain_id, member.id, capacity)).hex()
            for capacity, key in (("node", node), ("operator", operator))
        }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def read_join(text: str | bytes) -> Card:
    """The card of a join file; raises `BadMessage` (BAD_JOIN) if it or a signature is wrong."""
    return read_admission(text)[0]


def read_admission(text: str | bytes) -> tuple[Card, Admission | None]:
    """The card, and the admission if the file has one; raises `BadMessage` (BAD_JOIN)."""
    try:
        if len(text) > JOIN_BYTES_MAX:
            raise BadMessage(f"larger than {JOIN_BYTES_MAX} bytes")
        document = json.loads(text, object_pairs_hook=_once)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise BadMessage(f"the format is not «{FORMAT}»")
        card = _card(document)
        admission = _admission(document["admission"]) if "admission" in document else None
        for name, key in (("node", card.member.node_key), ("operator", card.member.operator_key)):
            if not verify(key, card.payload(), bytes.fromhex(document[f"{name}_signature"])):
                raise BadMessage(f"the {name} key did not sign this card")
            if admission is None:
                continue
            payload = possession(admission.chain_id, card.member.id, name)
            if not verify(key, payload, getattr(admission, f"{name}_possession")):
                raise BadMessage(f"the {name} key did not sign for the chain")
        return card, admission
    except BadMessage as error:
        raise BadMessage(f"join file: {error.message}", code="BAD_JOIN") from None
    except KeyError as error:
        raise BadMessage(f"join file: field {error} is missing", code="BAD_JOIN") from None
    except (ValueError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise BadMessage(f"join file: {reason}", code="BAD_JOIN") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers disagree on which of two equal names counts; people read aloud what they see."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise BadMessage("a field stands twice")
    return dict(pairs)


def _card(document: dict[str, Any]) -> Card:
    member = document["member"]
    plain = [
        member["id"],
        member["name"],
        member["roles"],
        member["validator"],
        parse_address(member["node_key"]),
        parse_address(member["operator_key"]),
        bytes.fromhex(member["box_key"]),
    ]
    return msgspec.convert([plain, document["endpoint"]], Card)


def _admission(document: dict[str, Any]) -> Admission:
    keys = (bytes.fromhex(document[f"{name}_possession"]) for name in ("node", "operator"))
    return msgspec.convert([document["chain_id"], *keys], Admission)
