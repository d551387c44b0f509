"""How this node is: what its replica says, whether it signs, and what troubles it.

One place to ask for status, readiness and doctor; the parts report here, nobody polls them.
"""

import logging
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

from consensus.replica import Replica
from consensus.snapshot import Snapshot
from node.logs import log_event
from node.roster import Belonging
from salus.epoch import EpochRecord
from salus.parameters import Parameters

# Ids that expired here unordered: so many clients can still be told «expired» and not «unknown».
EXPIRED_MAX = 20_000
# When all is well a validator is heard once per progress timeout (L20); one may get lost.
HEARD_TIMEOUTS = 2
NEVER = float("-inf")

# What the state that this node has read says of its own key, where that is trouble.
_STRANGER = {
    Belonging.UNKNOWN: ("NOT_YET_MEMBER", "no organisation of the ledger has this node's key"),
    Belonging.REPLACED: ("KEY_REPLACED", "the organisation's node has another key by now"),
    Belonging.REMOVED: ("MEMBER_REMOVED", "the organisation is no member any more"),
}

log = logging.getLogger("salus.node")


class Vitals:
    def __init__(
        self,
        data: Path,
        replica: Callable[[], Replica],
        voting: Callable[[], bool],
        connected: Callable[[], Iterable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`connected`: the members whose frames reach us."""
        self._data, self._replica, self._voting = data, replica, voting
        self._connected, self._clock = connected, clock
        self._born = clock()
        self._heard: dict[str, float] = {}  # member → when a signature of it was last heard
        self._members: tuple[str, ...] = ()  # of the epoch's set, by index
        self._parameters = Parameters()
        self.me: int | None = None
        self.belonging = Belonging.MEMBER
        self.halted: str | None = None
        self.quarantined: str | None = None
        self.disk_full = False
        self.clock_ahead_ms = 0  # measured once a second (node/clock_watch.py)
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
            return "QUARANTINE", self.quarantined or "the vote journal was lost: rejoining"
        return _STRANGER.get(self.belonging, ("OK", ""))

    def begin_epoch(
        self, epoch: EpochRecord, me: int | None, belonging: Belonging = Belonging.MEMBER
    ) -> None:
        """Before the new replica, which has heard nobody yet: what the old one heard still holds."""
        if self._members:
            self._listen()
        self._members = tuple(v.member for v in epoch.validators.validators)
        self._parameters, self.me = epoch.parameters, me
        if belonging is not self.belonging:
            serious = belonging in _STRANGER
            level = logging.ERROR if serious else logging.INFO
            log_event(log, level, "belonging", now=belonging.value, epoch=epoch.epoch)
        self.belonging = belonging

    def online(self) -> int:
        """Validators heard from lately, this one included. Who was never heard of since the start
        of this process may not have had its turn yet: a connection counts for so long."""
        self._listen()
        now, lately_s = self._clock(), self._lately_s
        early = self._connected() if now - self._born <= lately_s else ()
        return sum(
            index == self.me
            or now - self._heard.get(member, NEVER) <= lately_s
            or (member not in self._heard and member in early)
            for index, member in enumerate(self._members)
        )

    @property
    def _lately_s(self) -> float:
        return HEARD_TIMEOUTS * self._parameters.progress_timeout_ms / 1000

    def _listen(self) -> None:
        now, tick_s = self._clock(), self._parameters.tick_ms / 1000
        for member, ticks in zip(self._members, self.core().heard_ticks_ago, strict=True):
            if ticks is not None:
                self._heard[member] = max(self._heard.get(member, NEVER), now - ticks * tick_s)

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
