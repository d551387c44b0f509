"""Signed asks that were answered: each counts once, also after a restart of the node.

    data/asks = "SALUSASK" version *( name until-ms )     name = H("seen-ask", encode([kind, key, nonce]))

Who copied an ask on its way could send it again until it expires, and read the answer. Law of the file:
remembered before it is answered, and until it has surely expired; no key stands in the file. It is written and not
synced: what a power cut loses of it can be sent again for as long as it lives, minutes.
"""

import heapq
import struct
import threading
from collections import Counter
from pathlib import Path

from salus.codec import encode
from salus.errors import SalusError
from salus.hashing import hasher
from storage.disk import AppendFile, Disk, RealDisk, io_errors, write_atomic
from storage.errors import StoreUnavailable, StoreVersion

ASKS_MAX = 32_768  # that have not expired; 10 MB
# Of one key and kind: 45 a second, for two minutes and the one after. A trail of 100,000 tickets is opened by 6,250.
ASKS_PER_KEY_MAX = 8_192
# Who asks whether an ask lives has read the clock a moment before; threads wait, and clocks are set back a little.
KEPT_LONGER_MS = 60_000
DEAD_MAX = 4_096  # lines of the file that have expired, beside as many as live; 160 kB

_HEAD = b"SALUSASK" + struct.pack(">I", 1)
_LINE = struct.Struct(">32sQ")

_hash_ask = hasher("seen-ask")


class SeenAsks:
    """Used by the loop and by worker threads."""

    def __init__(self, file: Path | None = None, disk: Disk | None = None) -> None:
        """`file`: None: nothing is remembered beyond this object. Raises `StoreUnavailable`,
        `StoreVersion`."""
        self._file, self._disk = file, disk or RealDisk()
        self._one = threading.Lock()
        self._names: set[bytes] = set()
        self._ends: list[tuple[int, bytes, bytes]] = []  # heap: until when, name, whose
        # By kind and key; those of an earlier life count in all only.
        self._of: Counter[bytes] = Counter()
        self._out: AppendFile | None = None
        self._lines = 0
        if file is not None:
            self._load(str(file))

    def use(
        self,
        kind: str,
        key: bytes,
        nonce: bytes,
        until_ms: int,
        now_ms: int,
        per_key_max: int = ASKS_PER_KEY_MAX,
    ) -> bool:
        """False if it was used before. `until_ms`: when it expires. Raises `SalusError` (RATE_LIMITED of
        one key, BUSY), `StoreUnavailable`; then it may come again."""
        whose = kind.encode() + key
        name = _hash_ask(encode((kind, key, nonce)))
        with self._one:
            self._forget(now_ms)
            if name in self._names:
                return False
            if self._of[whose] >= per_key_max:
                raise SalusError("this key has asked too often of late", code="RATE_LIMITED")
            if len(self._names) >= ASKS_MAX:
                raise SalusError("too many have asked of late", code="BUSY")
            self._write(name, until_ms)
            self._add(name, until_ms, whose)
        return True

    def _add(self, name: bytes, until_ms: int, whose: bytes) -> None:
        self._names.add(name)
        self._of[whose] += 1
        heapq.heappush(self._ends, (until_ms, name, whose))

    def _forget(self, now_ms: int) -> None:
        while self._ends and self._ends[0][0] + KEPT_LONGER_MS <= now_ms:
            _, name, whose = heapq.heappop(self._ends)
            self._names.discard(name)
            self._of[whose] -= 1
            if not self._of[whose]:
                del self._of[whose]

    # -- the file --------------------------------------------------------------------------------

    def _load(self, path: str) -> None:
        with io_errors(path):
            data = self._disk.read(path) or _HEAD
        if not data.startswith(_HEAD):
            raise StoreVersion(f"{path} is of another format")
        # A line that a crash cut short was never answered.
        whole = (len(data) - len(_HEAD)) // _LINE.size * _LINE.size
        for name, until_ms in _LINE.iter_unpack(data[len(_HEAD) : len(_HEAD) + whole]):
            self._add(name, until_ms, b"")
        self._renew(path)

    def _write(self, name: bytes, until_ms: int) -> None:
        if self._file is None:
            return
        if self._out is None or self._lines > 2 * len(self._names) + DEAD_MAX:
            self._renew(str(self._file))
        assert self._out is not None, "opened with the file"
        try:
            with io_errors(str(self._file)):
                self._out.write(_LINE.pack(name, until_ms))
        except StoreUnavailable:
            self.close()  # half a line may stand there: the next one begins a file anew
            raise
        self._lines += 1

    def _renew(self, path: str) -> None:
        """The file with what lives, and no more."""
        lines = b"".join(_LINE.pack(name, until_ms) for until_ms, name, _ in self._ends)
        directory, _, name = path.rpartition("/")
        with io_errors(path):
            self.close()
            write_atomic(self._disk, directory, name, _HEAD + lines)
            self._out = self._disk.open_append(path)
        self._lines = len(self._ends)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None
