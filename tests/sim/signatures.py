"""Cheap signatures at the Signer seam, and the account of every vote ever signed (rule S4).

A signature is a keyed hash; nobody in the simulation inverts it, so it is unforgeable to liars
that only sign with their own keys. Law of the file: every vote signed by anybody in a run passes
`Ledger.record`.
"""

from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from consensus.config import ReplicaConfig
from consensus.messages import (
    NewView,
    SignedMessage,
    Status,
    ViewChange,
    content_digest,
    payload,
    vote_type,
)
from consensus.proofs import Proofs
from salus.keys import SigningKey
from salus.vote import VoteDomain, VoteType

_tuple = msgspec.msgpack.Decoder(tuple[int, int, int, int, bytes])

# Two digests under one place are a double vote; STATUS is no vote (salus/vote.py).
_VOTES = frozenset(int(kind) for kind in VoteType if kind is not VoteType.STATUS)
_PREPARING = (int(VoteType.PRE_PREPARE), int(VoteType.PREPARE))
_COMMIT = int(VoteType.COMMIT)


@lru_cache(maxsize=1_024)
def true_key(label: str) -> SigningKey:
    """A real Ed25519 key, as genesis and contracts ask for; it signs only what they check."""
    return SigningKey.from_seed(sha256(b"simulated " + label.encode()).digest())


@lru_cache(maxsize=4_096)  # each is asked for by everybody who hears the message, one after another
def keyed(key: bytes, payload: bytes) -> bytes:
    digest = sha256(key + payload).digest()
    return digest + digest


def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    """The simulator's `Verifier`."""
    return signature == keyed(public_key, payload)


class SimKey:
    """A `Signer` for transactions."""

    __slots__ = ("public_key",)

    def __init__(self, label: str) -> None:
        self.public_key = true_key(label).public_key

    def sign(self, payload: bytes) -> bytes:
        return keyed(self.public_key, payload)


class Ledger:
    """Who signed which vote: the double-vote check, and the quorums behind commits. Members are
    numbered by place in the consortium, whatever their index in an epoch's set is."""

    def __init__(self, faulty: set[int], domain: VoteDomain) -> None:
        self.faulty = faulty
        self._prefix_bytes = len(domain.payload(VoteType.PREPARE, 0, 0, 0, bytes(32))) - 39
        self.voted: dict[tuple[int, int, int, int, int], bytes] = {}
        # (epoch, sequence, digest) → view → bit masks of who prepared and who committed
        self.quorums: dict[tuple[int, int, bytes], dict[int, list[int]]] = {}

    def record(self, member: int, payload: bytes) -> None:
        epoch, kind, view, sequence, digest = _tuple.decode(payload[self._prefix_bytes :])
        if kind not in _VOTES:
            return
        if member not in self.faulty:
            key = (member, kind, epoch, view, sequence)
            earlier = self.voted.setdefault(key, digest)
            assert earlier == digest, (
                f"double vote (S4): n{member} signed two {VoteType(kind).name}s in epoch {epoch}, "
                f"view {view}, sequence {sequence}"
            )
        if kind == _COMMIT or kind in _PREPARING:
            views = self.quorums.setdefault((epoch, sequence, digest), {})
            masks = views.setdefault(view, [0, 0])
            masks[kind == _COMMIT] |= 1 << member

    def never_left(self, member: int, kind: int, epoch: int, view: int, sequence: int) -> None:
        """Signed in memory, lost with the power before its sync, hence before its sending."""
        self.voted.pop((member, kind, epoch, view, sequence), None)

    def committed(self, epoch: int, sequence: int, digest: bytes, quorum: int) -> bool:
        """Some view saw a quorum prepare and a quorum commit this digest (S6)."""
        views = self.quorums.get((epoch, sequence, digest), {})
        return any(
            prepared.bit_count() >= quorum and committed.bit_count() >= quorum
            for prepared, committed in views.values()
        )


class Seals:
    """Is a message signed, and what stands for its content? The simulator's own answer, whatever the
    nodes say (`SharedProofs`); asked once a run for each object, which everybody hears."""

    __slots__ = ("_contents", "_domain", "_valid")

    def __init__(self, domain: VoteDomain) -> None:
        self._domain = domain
        # By identity, which the message beside the answer holds fast.
        self._contents: dict[int, tuple[object, bytes]] = {}
        self._valid: dict[int, tuple[object, bytes, bool]] = {}

    def content(self, message: ViewChange | NewView | Status) -> bytes:
        found = self._contents.get(id(message))
        if found is None:
            found = self._contents[id(message)] = (message, content_digest(message))
        return found[1]

    def valid(self, key: bytes, message: SignedMessage) -> bool:
        """By `key`, which is that of its sender in its epoch."""
        found = self._valid.get(id(message))
        if found is None or found[1] != key:
            about, signed = type(message), b""
            if about is ViewChange or about is NewView or about is Status:
                content: Any = message
                sequence = content.certified if about is Status else 0
                signed = self._domain.payload(
                    vote_type(message), message.epoch, message.view, sequence, self.content(content)
                )
            else:
                signed = payload(self._domain, message)
            found = (message, key, verifier(key, signed, message.signature))
            self._valid[id(message)] = found
        return found[2]


class SharedProofs(Proofs):
    """Is this message signed? Asked once a run, however many hear it: they hear the same object."""

    __slots__ = ("known",)

    def __init__(self, config: ReplicaConfig, known: dict[int, tuple[object, bool]]) -> None:
        """`known`: by identity, which the message beside the answer holds fast."""
        super().__init__(config)
        self.known = known

    def signed(self, message: SignedMessage) -> bool:
        found = self.known.get(id(message))
        if found is None:
            found = self.known[id(message)] = (message, super().signed(message))
        return found[1]


class SimSigner:
    """The node key of one member, as its replica uses it; twins share one."""

    __slots__ = ("_ledger", "_member", "public_key")

    def __init__(self, public_key: bytes, member: int, ledger: Ledger) -> None:
        self.public_key = public_key
        self._member, self._ledger = member, ledger

    def sign(self, payload: bytes) -> bytes:
        self._ledger.record(self._member, payload)
        return keyed(self.public_key, payload)
