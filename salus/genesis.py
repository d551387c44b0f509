"""The founding document: members, validators, parameters. Its hash is the anchor of all trust.

Hospitals exchange it as JSON that people can read and diff; its hash is taken over the
canonical MessagePack of the same content. It holds keys, never certificates.
"""

import json
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from salus.codec import Bytes32, Uint, Wire, encode
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.keys import address, parse_address, valid_public_key
from salus.parameters import Parameters, check_parameters
from salus.validators import MemberId, Validator, ValidatorSet, check_validators
from salus.vote import VoteDomain

GENESIS_VERSION = 1
NO_PEPPER = bytes(32)

ChainId = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{2,31}$(?!\n)")]
DisplayName = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]

_hash_genesis = hasher("genesis")


class Role(StrEnum):
    """What kind of organisation a member is (architecture.md, identity)."""

    HOSPITAL = "hospital"
    INSURER = "insurer"
    MANUFACTURER = "manufacturer"
    DISTRIBUTOR = "distributor"
    PHARMACY = "pharmacy"
    LABORATORY = "laboratory"
    RESEARCH = "research"
    REGULATOR = "regulator"


class Member(Wire, frozen=True):
    """An organisation of the consortium and its three public keys.

    `node_key` (Ed25519) signs votes and pins TLS; `operator_key` (Ed25519) signs the
    organisation's transactions; `box_key` (X25519) receives sealed things.
    """

    id: MemberId
    name: DisplayName
    roles: tuple[Role, ...]
    validator: bool
    node_key: Bytes32
    operator_key: Bytes32
    box_key: Bytes32


class Genesis(Wire, frozen=True):
    version: Uint
    chain_id: ChainId
    time_ms: Uint
    members: tuple[Member, ...]  # ascending by id
    parameters: Parameters
    # Of the secret under which identity tags are made (salus/pepper.py); NO_PEPPER: none are.
    pepper_commitment: Bytes32

    def hash(self) -> bytes:
        return _hash_genesis(encode(self))

    def validators(self) -> ValidatorSet:
        """The set of epoch 0."""
        return ValidatorSet(
            0, tuple(Validator(m.id, m.node_key) for m in self.members if m.validator)
        )

    def vote_domain(self) -> VoteDomain:
        return VoteDomain(self.chain_id, self.hash())


def check_genesis(genesis: Genesis) -> None:
    """Raises `BadMessage` (code BAD_GENESIS) naming the member or rule that is broken."""

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise BadMessage(message, code="BAD_GENESIS")

    require(genesis.version == GENESIS_VERSION, f"genesis version {genesis.version}")
    ids = [member.id for member in genesis.members]
    require(ids == sorted(set(ids)), "members must have distinct ids, in ascending order")
    require(any(m.validator for m in genesis.members), "at least one member must be a validator")
    seen: dict[bytes, str] = {}
    for member in genesis.members:
        require(bool(member.roles), f"{member.id} has no role")
        require(
            list(member.roles) == sorted(set(member.roles)), f"{member.id}: roles sorted, once each"
        )
        for key in (member.node_key, member.operator_key):
            require(valid_public_key(key), f"{member.id}: not a valid Ed25519 key")
            require(key not in seen, f"{member.id} and {seen.get(key)} share a key")
            seen[key] = member.id
        require(any(member.box_key), f"{member.id}: the box key is empty")
        require(
            member.box_key not in seen, f"{member.id} and {seen.get(member.box_key)} share a key"
        )
        seen[member.box_key] = member.id
        require(member.name.isprintable(), f"{member.id}: the name has control characters")
    check_parameters(genesis.parameters, validators=genesis.validators())
    check_validators(genesis.validators())


def to_json(genesis: Genesis) -> str:
    """The document for people: keys as addresses, box keys as hex."""
    document: dict[str, Any] = {
        "version": genesis.version,
        "chain_id": genesis.chain_id,
        "time_ms": genesis.time_ms,
        "members": [
            {
                "id": m.id,
                "name": m.name,
                "roles": list(m.roles),
                "validator": m.validator,
                "node_key": address(m.node_key),
                "operator_key": address(m.operator_key),
                "box_key": m.box_key.hex(),
            }
            for m in genesis.members
        ],
        "parameters": {
            name: getattr(genesis.parameters, name)
            for name in Parameters.__struct_fields__
            if name != "contracts"
        }
        | {"contracts": {c.contract: c.version for c in genesis.parameters.contracts}},
        "pepper_commitment": genesis.pepper_commitment.hex(),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str | bytes) -> Genesis:
    """Parse and check; raises `BadMessage` (code BAD_GENESIS) with the path of the fault."""
    try:
        document = json.loads(text, object_pairs_hook=_once)
        members = [
            {
                **entry,
                "node_key": parse_address(entry["node_key"]),
                "operator_key": parse_address(entry["operator_key"]),
                "box_key": _hex(entry["box_key"]),
            }
            for entry in document["members"]
        ]
        contracts = [list(item) for item in sorted(document["parameters"]["contracts"].items())]
        plain = [
            document["version"],
            document["chain_id"],
            document["time_ms"],
            [_row(Member, entry) for entry in members],
            _row(Parameters, {**document["parameters"], "contracts": contracts}),
            _hex(document["pepper_commitment"]),
        ]
        extra = set(document) - set(Genesis.__struct_fields__)
        if extra:
            raise BadMessage(f"unknown field {min(extra)!r}", code="BAD_GENESIS")
        genesis = msgspec.convert(plain, Genesis)
        encode(genesis)  # a lone surrogate in a name has no UTF-8, hence no hash
    except BadMessage as error:
        raise BadMessage(f"genesis: {error.message}", code="BAD_GENESIS") from None
    except KeyError as error:
        raise BadMessage(f"genesis: field {error} is missing", code="BAD_GENESIS") from None
    except (ValueError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError) as error:
        reason = str(error).split("\n", 1)[0][:200]
        raise BadMessage(f"genesis: {reason}", code="BAD_GENESIS") from None
    check_genesis(genesis)
    return genesis


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A key that stands twice would let people read one value and machines hash the other."""
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise BadMessage("a key stands twice in one object")
    return dict(pairs)


def _hex(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if raw.hex() != text:
        raise BadMessage("keys and commitments are lowercase hex without spaces")
    return raw


def _row(kind: type[Wire], fields: dict[str, Any]) -> list[Any]:
    """A JSON object as the array form of a struct; every field must be named, none invented."""
    unknown = set(fields) - set(kind.__struct_fields__)
    if unknown:
        raise BadMessage(f"unknown field {min(unknown)!r} of {kind.__name__}")
    return [fields[name] for name in kind.__struct_fields__]
