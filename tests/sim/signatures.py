"""Cheap signatures at the Signer seam, and the account of everything ever signed (rule S4).

A signature is a keyed hash; nobody in the simulation inverts it, so it is unforgeable to liars
that only use `Signers.sign_as` with their own keys. Law of the file: every signature made by
anybody in a run passes `Ledger.record`.
"""

from hashlib import sha256

import msgspec

from salus.vote import VoteDomain, VoteType

GENESIS_HASH = sha256(b"simulated genesis").digest()
DOMAIN = VoteDomain("sim", GENESIS_HASH)

_PREFIX_BYTES = len(DOMAIN.payload(VoteType.PREPARE, 0, 0, 0, bytes(32))) - (1 + 4 + 2 + 32)
_tuple = msgspec.msgpack.Decoder(tuple[int, int, int, int, bytes])

# Two digests under one place are a double vote; STATUS is no vote (salus/vote.py).
_VOTES = frozenset(int(kind) for kind in VoteType if kind is not VoteType.STATUS)
_PREPARING = (int(VoteType.PRE_PREPARE), int(VoteType.PREPARE))
_COMMIT = int(VoteType.COMMIT)


def public_key(member: int) -> bytes:
    return bytes([member + 1]) * 32


def keyed(key: bytes, payload: bytes) -> bytes:
    digest = sha256(key + payload).digest()
    return digest + digest


def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    """The simulator's `Verifier`."""
    return signature == keyed(public_key, payload)


class Ledger:
    """Who signed what: the double-vote check, and the quorums behind commits."""

    def __init__(self, faulty: set[int]) -> None:
        self.faulty = faulty
        self.voted: dict[tuple[int, int, int, int, int], bytes] = {}
        # (epoch, sequence, digest) → view → bit masks of who prepared and who committed
        self.quorums: dict[tuple[int, int, bytes], dict[int, list[int]]] = {}

    def record(self, member: int, payload: bytes) -> None:
        epoch, kind, view, sequence, digest = _tuple.decode(payload[_PREFIX_BYTES:])
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


class SimSigner:
    """The `Signer` of one member; twins share one."""

    def __init__(self, member: int, ledger: Ledger) -> None:
        self.public_key = public_key(member)
        self._member, self._ledger = member, ledger

    def sign(self, payload: bytes) -> bytes:
        self._ledger.record(self._member, payload)
        return keyed(self.public_key, payload)
