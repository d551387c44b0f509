"""The keeper's own log: one line for each unwrapping, on disk before a key is opened.

Apart from the node's logs, so that who rules the node alone cannot remove a line. An auditor
compares it with the tickets on the chain: each line names one.
"""

import json
import threading

import msgspec

from node.keeper import Unwrapping
from storage.disk import Disk, RealDisk, io_errors

PIECE_BYTES = 2**20


class KeeperLog:
    """Append-only. A line that a crash cut short stays, and the next one begins anew."""

    def __init__(self, path: str, disk: Disk | None = None) -> None:
        self.path, disk = path, disk or RealDisk()
        self._one = threading.Lock()  # a question that timed out may still be on its way here
        with io_errors(path):
            new = not disk.exists(path)
            whole = new or _ends_whole(disk, path)
            self._file = disk.create(path) if new else disk.open_append(path)
            if new:
                disk.sync_directory(path.rpartition("/")[0])
            elif not whole:
                self._file.write(b"\n")

    def record(self, line: Unwrapping) -> None:
        """Durable on return. Raises `StoreUnavailable`: then nothing may be opened."""
        document = msgspec.structs.asdict(line) | {"tx_id": line.tx_id.hex()}
        with self._one, io_errors(self.path):
            self._file.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")
            self._file.sync()

    def close(self) -> None:
        self._file.close()


def _ends_whole(disk: Disk, path: str) -> bool:
    """Reads in pieces: nothing ever removes a line, so the file may be long."""
    file = disk.open_read(path)
    assert file is not None
    try:
        last = b"\n"
        while piece := file.read(PIECE_BYTES):
            last = piece[-1:]
        return last == b"\n"
    finally:
        file.close()
