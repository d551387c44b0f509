"""How this node is: what its replica says, whether it signs, and what troubles it.

One place to ask for status, readiness and doctor; the parts report here, nobody polls them.
"""

import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from consensus.replica import Replica
from consensus.snapshot import Snapshot

# Ids that expired here unordered: so many clients can still be told «expired» and not «unknown».
EXPIRED_MAX = 20_000
HEARD_TICKS = 100  # a validator whose signature came within so many ticks is online (2 s)


class Vitals:
    def __init__(self, data: Path, replica: Callable[[], Replica], voting: Callable[[], bool]):
        self._data, self._replica, self._voting = data, replica, voting
        self.me: int | None = None
        self.halted: str | None = None
        self.quarantined: str | None = None
        self.disk_full = False
        self.view_changes = 0
        self.equivocations = 0
        self.contract_faults = 0
        self.last_signed: dict[str, int] = {}
        self._expired: OrderedDict[bytes, None] = OrderedDict()

    def core(self) -> Snapshot:
        return self._replica().snapshot()

    def signing(self) -> str:
        """signing, observer, quarantine or halted."""
        if self.halted is not None:
            return "halted"
        if self.me is None:
            return "observer"
        return "signing" if self._voting() else "quarantine"

    def trouble(self) -> tuple[str, str]:
        """(code, reason) why this node should not be relied on; OK when it may."""
        if self.halted is not None:
            return "HALTED", self.halted
        if self.disk_full:
            return "DISK_FULL", "the disk has less free space than storage.free_min"
        if self.me is not None and not self._voting():
            return "OK", self.quarantined or "the vote journal was lost: rejoining"
        return "OK", ""

    def online(self) -> int:
        """Validators heard from lately, this one included."""
        ages = self.core().heard_ticks_ago
        return sum(1 for ticks in ages if ticks is not None and ticks <= HEARD_TICKS)

    def certified(self, height: int, signers: Iterable[str]) -> None:
        """Who signed the newest certificate that this node holds."""
        for member in signers:
            self.last_signed[member] = height

    def expired(self, tx_ids: Iterable[bytes]) -> None:
        for tx_id in tx_ids:
            self._expired[tx_id] = None
        while len(self._expired) > EXPIRED_MAX:
            self._expired.popitem(last=False)

    def has_expired(self, tx_id: bytes) -> bool:
        return tx_id in self._expired

    def storage_bytes(self) -> dict[str, int]:
        """Per store; walks the directories, so for status and scrapes, not for the hot path."""
        return {
            part: sum(f.stat().st_size for f in (self._data / part).rglob("*") if f.is_file())
            for part in ("journal", "blocks", "state", "vault")
            if (self._data / part).exists()
        }

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._data).free
