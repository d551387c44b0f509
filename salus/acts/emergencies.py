"""Emergencies, as patients, clinicians and reviewers sign them (decision 0014)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from salus.acts.act import Act, act
from salus.emergency import Case, Verdict
from salus.emergency_forms import Note, note_commitment, summary_commitment
from salus.emergency_share import SummaryOwner, seal_share, seal_summary
from salus.key_shares import split
from salus.relation import Whose

SALT_BYTES = 32


def opening(whose: Whose, nonce: bytes, details: bytes) -> Act:
    """`details`: the commitment to reason, place and clinician."""
    return act(
        "emergency", "open", org=whose.org, handle=whose.handle, nonce=nonce, details=details
    )


def cosign(case: Case) -> Act:
    return act("emergency", "cosign", case=case.id)


def justify(case: Case, salt: bytes, text: str) -> Act:
    said = note_commitment(salt, Note(text))
    return act("emergency", "justify", case=case.id, justification=said)


def review(case: Case, verdict: Verdict, salt: bytes, text: str) -> Act:
    said = note_commitment(salt, Note(text))
    return act("emergency", "review", case=case.id, verdict=verdict, grounds=said)


def dispute(case: Case, salt: bytes, text: str) -> Act:
    said = note_commitment(salt, Note(text))
    return act("emergency", "dispute", case=case.id, statement=said)


def opt(method: str, whose: Whose, generation: int) -> Act:
    """`opt_out`, `opt_in`. `generation`: of the summary that there is."""
    return act("emergency", method, org=whose.org, handle=whose.handle, generation=generation + 1)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A summary ready to be deposited."""

    owner: SummaryOwner
    salt: bytes
    sealed: bytes
    shares: Mapping[str, bytes]  # holder → sealed to its box key
    threshold: int

    @property
    def act(self) -> Act:
        return act(
            "emergency",
            "deposit",
            org=self.owner.org,
            handle=self.owner.handle,
            summary=summary_commitment(self.salt, sha256(self.sealed).digest()),
            holders=tuple(sorted(self.shares)),
            threshold=self.threshold,
            generation=self.owner.generation,
        )


def sealed(
    owner: SummaryOwner, document: bytes, box_keys: Mapping[str, bytes], threshold: int
) -> Sealed:
    """Under a fresh key; a share for each holder. Raises `BadMessage`."""
    key, ciphertext = seal_summary(owner, document)
    holders = sorted(box_keys)
    words = split(key, threshold, len(holders))
    shares = {
        holder: seal_share(owner, holder, share, box_keys[holder])
        for holder, share in zip(holders, words, strict=True)
    }
    return Sealed(owner, os.urandom(SALT_BYTES), ciphertext, shares, threshold)
