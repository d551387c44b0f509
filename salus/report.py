"""What a verification says: named checks with plain words, the claim, and the claim's limit."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from salus.errors import SalusError, VerificationError

T = TypeVar("T")

_MEDIA_TYPE = re.compile(r"[a-z]+/[a-zA-Z0-9.+-]+(; ?[a-z]+=[a-zA-Z0-9.+-]+)*")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: what was checked and, in plain words, what came out."""

    name: str
    detail: str
    passed: bool = True


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """The whole document of a proof: which one it is that was anchored."""

    media_type: str  # as its author wrote it: any text
    content: bytes = field(repr=False)

    @property
    def sha256(self) -> bytes:
        """Plain, as `sha256sum` prints it, so that a person can compare it with a file."""
        return sha256(self.content).digest()

    def __str__(self) -> str:
        kind = self.media_type if _MEDIA_TYPE.fullmatch(self.media_type) else "of unusual type"
        return f"{kind}, {len(self.content)} bytes, SHA-256 {self.sha256.hex()}"


@dataclass(frozen=True, slots=True)
class Report:
    """All checks passed. `claim` is what is proved, `limit` what is not."""

    checks: tuple[Check, ...]
    claim: str
    limit: str
    status: str  # executed | anchored | current | superseded | retracted
    height: int
    block_hash: bytes
    time_ms: int
    tx_id: bytes
    operation: str  # contract.method
    sender: bytes
    signers: tuple[str, ...]
    as_of_height: int | None
    version_commitment: bytes | None
    parts_shown: int
    parts_count: int
    document: ShownDocument | None  # None: the proof has none, or withholds parts of it


class ProofRefused(VerificationError):
    """The proof does not hold; the last of `checks` is the one that failed, and why."""

    def __init__(self, message: str, checks: tuple[Check, ...]) -> None:
        super().__init__(message, check=checks[-1].name)
        self.checks = checks


class CheckTable:
    """Runs the checks one by one and keeps what they said."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def run(self, name: str, check: Callable[[], tuple[str, T]]) -> T:
        try:
            detail, result = check()
        except SalusError as error:
            self.checks.append(Check(name, error.message, passed=False))
            raise ProofRefused(f"{name}: {error.message}", tuple(self.checks)) from None
        self.checks.append(Check(name, detail))
        return result


def utc(time_ms: int) -> str:
    """RFC 3339 of Unix milliseconds, in whole seconds (days to date by H. Hinnant's rule)."""
    days, second = divmod(time_ms // 1000, 86_400)
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    date = day - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year += era * 400 + (month <= 2)
    return (
        f"{year:04}-{month:02}-{date:02}"
        f"T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
    )
