"""What the certified state says of emergencies, for holders and for who asks them.

Reads only; a holder's own state is what it believes, since its node has checked every certificate.
"""

from typing import TypeVar

from contracts.context import Identity
from contracts.members import MemberStatus, get_entry, identify
from contracts.state import Read, ReadState
from salus.codec import Wire, decode
from salus.emergency import (
    NEW,
    NOBODY,
    Case,
    Clinician,
    Standing,
    Summary,
    case_key,
    clinician_key,
    standing_key,
    summary_key,
)
from salus.errors import SalusError
from salus.staff import StaffRole

W = TypeVar("W", bound=Wire)


class EmergencyState:
    """`read`: of the newest certified state, values without salts."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._members = ReadState(read, "members")

    def summary(self, org: str, handle: bytes) -> Summary:
        """Raises `SalusError`: OPTED_OUT, NO_SUMMARY."""
        found = self._get(Summary, summary_key(org, handle))
        if found is not None and found.opted_out:
            raise SalusError("the patient wants no emergency access", code="OPTED_OUT")
        if found is None or found.commitment is None:
            raise SalusError("no summary of this patient is deposited", code="NO_SUMMARY")
        return found

    def kept(self, org: str, handle: bytes) -> Summary | None:
        """As it stands, also after the patient opted out."""
        return self._get(Summary, summary_key(org, handle))

    def case(self, case: bytes) -> Case | None:
        return self._get(Case, case_key(case))

    def standing(self, org: str) -> Standing:
        return self._get(Standing, standing_key(org)) or NEW

    def clinician(self, org: str, staff: bytes) -> Clinician:
        return self._get(Clinician, clinician_key(org, staff)) or NOBODY

    def emergency_key(self, key: bytes, now_ms: int) -> Identity | None:
        """Whose key it is, if it may open cases now."""
        found = identify(self._members, key, now_ms)
        if found is None or StaffRole.EMERGENCY not in found.staff_roles:
            return None
        return found

    def box_key(self, org: str) -> bytes:
        """Raises `SalusError` (NO_HOLDER)."""
        entry = get_entry(self._members, org)
        if entry is None or entry.status is not MemberStatus.ACTIVE:
            raise SalusError(f"{org} is no active organisation", code="NO_HOLDER")
        return entry.box_key

    def _get(self, kind: type[W], key: bytes) -> W | None:
        raw = self._read(key)
        return None if raw is None else decode(raw, kind)
