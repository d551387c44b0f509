"""What contracts answer when they are asked about cases and terms; nothing of it is hashed or signed."""

from salus.codec import Bytes32, Uint, Wire
from salus.emergency import Case
from salus.erasure import AskedIn, ErasureCase, ErasureHolder, Stage
from salus.validators import MemberId


class Terms(Wire, frozen=True):
    """State under terms/<org>: the newest version."""

    version: Uint
    document: Bytes32
    height: Uint


class Cases(Wire, frozen=True):
    """Newest first."""

    cases: tuple[Case, ...]
    count: Uint  # of all; 0 where nobody counts
    next: Bytes32 | None  # where the rest begins


class HolderAnswer(Wire, frozen=True):
    member: MemberId
    holder: ErasureHolder


class CaseAnswer(Wire, frozen=True):
    case: ErasureCase
    holders: tuple[HolderAnswer, ...]  # the custodian first; who has no reply has not answered


class AskedAnswer(Wire, frozen=True):
    case: AskedIn
    handle: Bytes32
    stage: Stage
    holder: ErasureHolder


class AskedPage(Wire, frozen=True):
    """Newest first. `next`: where the rest begins."""

    items: tuple[AskedAnswer, ...]
    count: Uint  # of all
    next: AskedIn | None
