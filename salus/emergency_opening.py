"""From the shares that holders give to the summary, on the clinician's own machine (rule E-2)."""

from collections.abc import Mapping
from itertools import combinations, islice

from salus.emergency_forms import EmergencyRequest
from salus.emergency_json import GivenShare
from salus.emergency_share import SummaryOwner, open_summary, take_share
from salus.errors import VerificationError
from salus.key_shares import join

COMBINATIONS_MAX = 1_000  # of shares, some seconds: more than any f liars among ten holders leave


def opened(
    owner: SummaryOwner,
    threshold: int,
    request: EmergencyRequest,
    given: Mapping[str, GivenShare],
    secret: bytes,
) -> bytes | None:
    """The summary, if `threshold` of the given shares open it; else None. `owner`, `threshold`: as the
    chain has them, never as a holder says: one that lies must not keep the others' shut."""
    shares: dict[str, bytes] = {}
    for holder, one in given.items():
        try:
            sealed = bytes.fromhex(one.share)
            shares[holder] = take_share(owner, request.case, holder, sealed, secret)
        except VerificationError:
            continue
    for chosen in islice(combinations(sorted(shares), threshold), COMBINATIONS_MAX):
        try:
            key = join(shares[holder] for holder in chosen)
        except VerificationError:
            continue
        for one in given.values():  # a holder may have lost or changed the ciphertext
            try:
                return open_summary(owner, bytes.fromhex(one.sealed), key)
            except VerificationError:
                continue
    return None
