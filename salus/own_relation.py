"""A patient's relation as his own device has it: the seed, and the keys that follow from it.

    own = OwnRelation.begin(seed, chain_id, "hosp-a")
    await client.patients.register(own)

A value: after a rotation keep `own.next()`. What is kept of it is `seed` and `known`.
"""

from dataclasses import dataclass, replace

import msgspec

from salus import key_request
from salus.key_request import KeyRequest, Use
from salus.keys import Signer
from salus.patient_keys import KeyPair, Relation, card_secret, handle, owner_keys
from salus.patient_keys import delegate_key as derive_delegate
from salus.patient_keys import guardian_key as derive_guardian
from salus.relation import RelationEntry, Whose
from salus.wallet import KnownRelation


@dataclass(frozen=True, slots=True, repr=False)
class OwnRelation:
    """`seed`: 32 bytes, secret; `repr` does not show it."""

    seed: bytes
    chain_id: str
    known: KnownRelation

    @classmethod
    def begin(
        cls, seed: bytes, chain_id: str, org: str, *, custodial: bool = False
    ) -> "OwnRelation":
        """A new one, not registered yet."""
        known = KnownRelation(org, handle(seed, Relation(chain_id, org)), custodial, 0)
        return cls(seed, chain_id, known)

    @classmethod
    def taken_over(cls, seed: bytes, chain_id: str, whose: Whose) -> "OwnRelation":
        """One that began with another seed, or at the hospital: recovered, or claimed."""
        return cls(seed, chain_id, KnownRelation(whose.org, whose.handle, False, 0))

    @property
    def whose(self) -> Whose:
        return self.known.whose

    @property
    def signer(self) -> Signer:
        """The newest owner key. Which one is in force, the chain says: `in_force`."""
        return self.keys().signing

    def keys(self, generation: int | None = None) -> KeyPair:
        number = self.known.generation if generation is None else generation
        return owner_keys(self.seed, Relation(self.chain_id, self.known.org), number)

    def next(self) -> "OwnRelation":
        """With one owner key more: to be kept before a rotation is sent, since its answer may be lost."""
        newer = msgspec.structs.replace(self.known, generation=self.known.generation + 1)
        return replace(self, known=newer)

    def in_force(self, entry: RelationEntry, now_ms: int) -> Signer | None:
        """The owner key of this seed that the chain knows; None: another device has it."""
        owner = entry.owner_at(now_ms)
        for generation in range(self.known.generation, -1, -1):
            key = self.keys(generation).signing
            if key.public_key == owner:
                return key
        return None

    def request(self, use: Use) -> KeyRequest:
        """To claim or recover this relation with its newest key."""
        keys = self.keys()
        return key_request.make(use, self.chain_id, self.whose, keys.signing, keys.public.box)

    def card(self, number: int) -> bytes:
        """The secret of its card `number`, for salus.card."""
        return card_secret(self.seed, Relation(self.chain_id, self.known.org), number)

    def __repr__(self) -> str:
        return f"OwnRelation({self.known.org})"


def guardian(seed: bytes, chain_id: str, of: Whose, number: int = 0) -> tuple[Signer, KeyRequest]:
    """The key with which the person of this seed guards another's relation, and the request to be
    named. `number`: how often he was a guardian there before; a key is entered once."""
    key = derive_guardian(seed, Relation(chain_id, of.org), of.handle, number)
    return key, key_request.make(Use.GUARDIAN, chain_id, of, key)


def delegate(seed: bytes, chain_id: str, of: Whose, number: int = 0) -> tuple[Signer, KeyRequest]:
    """As `guardian`, for somebody who gets some of the owner's rights."""
    key = derive_delegate(seed, Relation(chain_id, of.org), of.handle, number)
    return key, key_request.make(Use.DELEGATE, chain_id, of, key)
