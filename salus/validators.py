"""The set of validators of one epoch, and every threshold of the protocol (rules S5, 29).

n validators tolerate f = ⌊(n−1)/3⌋ liars; a quorum is q = ⌊(n+f)/2⌋+1, so that two quorums
share an honest member for every n (2f+1 does not for 64 of the sizes 4…100). f+1 = weak.
"""

from typing import Annotated

import msgspec

from salus.codec import Bytes32, Uint, Wire, encode
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.keys import valid_public_key

MEMBER_ID_BYTES_MAX = 32
VALIDATORS_MAX = 100  # n² messages of constant size per block: beyond, PBFT is the wrong tool.

MemberId = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$(?!\n)")]

_hash_set = hasher("validator-set")


class Validator(Wire, frozen=True):
    """A member with a vote: its id in the consortium and its node key."""

    member: MemberId
    public_key: Bytes32


class ValidatorSet(Wire, frozen=True):
    """Validators of one epoch, ordered by member id; a vote names its sender by index here."""

    epoch: Uint
    validators: Annotated[
        tuple[Validator, ...], msgspec.Meta(min_length=1, max_length=VALIDATORS_MAX)
    ]

    @property
    def n(self) -> int:
        return len(self.validators)

    @property
    def f(self) -> int:
        """How many may lie; 0 below four validators (rule 29)."""
        return (self.n - 1) // 3

    @property
    def quorum(self) -> int:
        return (self.n + self.f) // 2 + 1

    @property
    def weak(self) -> int:
        """So many contain at least one honest validator."""
        return self.f + 1

    def primary(self, view: int) -> int:
        """The index of the primary of a view. The epochs take turns as well (L22, decision 0009):
        else one member would lead every epoch that is too short to replace it."""
        return (self.epoch + view) % len(self.validators)

    def key(self, index: int) -> bytes:
        return self.validators[index].public_key

    def index_of(self, public_key: bytes) -> int | None:
        for index, validator in enumerate(self.validators):
            if validator.public_key == public_key:
                return index
        return None

    def hash(self) -> bytes:
        return _hash_set(encode(self))


def check_validators(validators: ValidatorSet) -> None:
    """Raises `BadMessage` (BAD_VALIDATORS) unless members ascend and all keys differ.

    Rule S5 counts distinct members: a set that names one key twice would give it two votes.
    """
    members = [validator.member for validator in validators.validators]
    keys = [validator.public_key for validator in validators.validators]
    if not 1 <= len(members) <= VALIDATORS_MAX:
        raise BadMessage(f"a set has 1 to {VALIDATORS_MAX} validators", code="BAD_VALIDATORS")
    if members != sorted(set(members)) or len(set(keys)) != len(keys):
        raise BadMessage("validators ascend by member, each key once", code="BAD_VALIDATORS")
    if not all(valid_public_key(key) for key in keys):
        raise BadMessage("a validator's key is not a valid Ed25519 key", code="BAD_VALIDATORS")
