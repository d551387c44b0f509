"""A relation, one patient at one organisation: what its keys sign, and its entry in the state map.

A relation is a random-looking handle with one Ed25519 owner key and one X25519 box key; two
relations of one patient share no value (decision 0010). State keys carry the organisation first,
so nobody can occupy another one's handle.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

from salus.codec import Bytes32, Uint, Wire, encode
from salus.hashing import domain, hasher

DAY_MS = 86_400_000
GUARDIANS_MAX = 7  # a family; each is a key in the entry that every grant reads
DELEGATES_MAX = 8  # browsers and devices of one person
PROPOSALS_MAX = 2 * (GUARDIANS_MAX + 1)  # one each of guardians and organisations; bounds the entry
CANCELLED_WAITS = 2  # of recovery_wait_ms: time enough to propose once more (rule I-4)

DAY_MAX = 2_932_896  # 9999-12-31: what comes later no page, no FHIR and no RFC 3339 can say
Day = Annotated[int, msgspec.Meta(ge=0, le=DAY_MAX)]  # UTC days since 1970
Threshold = Annotated[int, msgspec.Meta(ge=0, le=GUARDIANS_MAX)]
Guardians = Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=GUARDIANS_MAX)]

_POSSESSION = domain("relation-possession")
_COSIGN = domain("relation-cosign")
_REGISTER = domain("relation-register")
_ENROL = domain("biometric-enrol")
_MATCH = domain("biometric-match")
_RELATION = b"identity/relation/"  # ◆ what a proof speaks of
_hash_document = hasher("terms-document")
_hash_operator = hasher("relation-approver")


@dataclass(frozen=True, slots=True)
class Whose:
    """A relation by its name: the custodian, and the handle there (32 bytes)."""

    org: str
    handle: bytes


class Right(StrEnum):
    """What a delegate may do; ascending."""

    DENY = "deny"
    REVOKE = "revoke"
    VIEW = "view"


Rights = Annotated[tuple[Right, ...], msgspec.Meta(min_length=1, max_length=3)]


class Delegate(Wire, frozen=True):
    """A key with some rights, through the end of a UTC day."""

    key: Bytes32
    rights: Rights
    until_day: Day


class PendingRotation(Wire, frozen=True):
    """New owner and box keys that wait; guardians who veto them."""

    new_key: Bytes32
    new_box_key: Bytes32
    effective_ms: Uint  # block time
    vetoes: Guardians


class Recovery(Wire, frozen=True):
    """New keys that wait for approvals, and then for time. Proposer and approvals: guardians' keys,
    or hashes of organisations."""

    new_key: Bytes32
    new_box_key: Bytes32
    proposer: Bytes32
    approvals: Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=GUARDIANS_MAX + 1)]
    needed: Annotated[int, msgspec.Meta(ge=1, le=GUARDIANS_MAX + 1)]
    ready_ms: Uint  # block time: a proposal is over then, an approved recovery can be finished
    cancellable: bool


class RelationEntry(Wire, frozen=True):
    """State value under `relation_key(org, handle)`."""

    owner_key: Bytes32
    box_key: Bytes32
    custodial: bool  # the hospital holds the owner key (rule I-6)
    guardians: Guardians
    threshold: Threshold  # so many guardians; 0 without any
    delegates: Annotated[tuple[Delegate, ...], msgspec.Meta(max_length=DELEGATES_MAX)]
    rotation: PendingRotation | None
    recovery: Recovery | None  # approved: no rotation and no grant until it ends
    proposals: Annotated[tuple[Recovery, ...], msgspec.Meta(max_length=PROPOSALS_MAX)]
    cancelled_until_ms: Uint  # block time to which a cancellation counts; 0: none does
    generation: Uint  # raised with every change of who may speak: what was co-signed fits one
    terms_version: Uint  # accepted by the owner key; 0: none
    since_height: Uint

    def owner_at(self, time_ms: int) -> bytes:
        """The owner key in force at this block time (rule I-3)."""
        return self.settled_at(time_ms).owner_key

    def settled_at(self, time_ms: int) -> "RelationEntry":
        """With a rotation that is in force by this block time entered."""
        rotation = self.rotation
        if rotation is None or time_ms < rotation.effective_ms:
            return self
        return msgspec.structs.replace(
            self,
            owner_key=rotation.new_key,
            box_key=rotation.new_box_key,
            rotation=None,
            generation=self.generation + 1,
        )

    @property
    def frozen(self) -> bool:
        """No rotation and no grant: as many as it takes want other keys (rule I-4)."""
        return self.recovery is not None

    def contested(self, time_ms: int) -> bool:
        """Others want other keys, or wanted them not long ago: what cannot be undone rests."""
        return self.frozen or time_ms < self.cancelled_until_ms

    def proposals_at(self, time_ms: int) -> tuple[Recovery, ...]:
        """What waits for approvals at this block time. It freezes nothing: else a single guardian
        could, by proposing again and again."""
        return tuple(one for one in self.proposals if time_ms < one.ready_ms)

    def rights_at(self, key: bytes, time_ms: int) -> tuple[Right, ...]:
        """What this key may do as a delegate at this block time; of a stranger: nothing."""
        for delegate in self.delegates:
            if delegate.key == key and time_ms // DAY_MS <= delegate.until_day:
                return delegate.rights
        return ()


def relation_key(org: str, handle: bytes) -> bytes:
    """The state key of a relation."""
    return _RELATION + org.encode("ascii") + b"/" + handle


# -- what is signed --------------------------------------------------------------------------


def registration(
    chain_id: str,
    org: str,
    handle: bytes,
    owner_key: bytes,
    box_key: bytes,
    custodial: bool,
    guardians: tuple[bytes, ...],
    threshold: int,
    tag: bytes,
) -> bytes:
    """What the owner key signs before an organisation registers it: all of it (rule I-1)."""
    return _REGISTER + encode(
        (chain_id, org, handle, owner_key, box_key, custodial, guardians, threshold, tag)
    )


def possession(
    chain_id: str, org: str, handle: bytes, purpose: str, box_key: bytes | None = None
) -> bytes:
    """What any later key of a relation signs. `purpose`: rotate, recover, claim, delegate,
    guardian, card. `box_key`: of a new owner key, the one beside it; else whoever sends the
    operation could put his own there and read what is sealed to the patient.

    Without it, whoever sees a waiting transaction could enter the key as his own first."""
    return _POSSESSION + encode((chain_id, org, handle, purpose, box_key))


def cosigned(chain_id: str, contract: str, method: str, version: int, args: bytes) -> bytes:
    """What a co-signature covers: the operation whose own fields for it are null (rule I-6).
    `args`: its canonical bytes, as the contract's `version` reads them."""
    return _COSIGN + encode((chain_id, contract, method, version, args))


def enrolment(
    chain_id: str, org: str, handle: bytes, template: bytes, method: str, device: bytes
) -> bytes:
    """What the owner signs: that this template commitment is his (rule I-8)."""
    return _ENROL + encode((chain_id, org, handle, template, method, device))


def match(
    chain_id: str, org: str, template: bytes, number: int, session: bytes, matched: bool
) -> bytes:
    """What the device signs: the result of a comparison that it made (rule I-8). `number`: of the
    comparison with this template, from 1, so that none counts twice."""
    return _MATCH + encode((chain_id, org, template, number, session, matched))


def terms_hash(document: bytes) -> bytes:
    """The hash of a public document, as `identity.publish_terms` names it."""
    return _hash_document(document)


def approver(org: str) -> bytes:
    """An organisation among the approvals of a recovery, where the others are keys."""
    return _hash_operator(org.encode("ascii"))
