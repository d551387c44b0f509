"""The keeper's own log: one line for each unwrapping, on disk before a key is opened.

Apart from the node's logs, so that who rules the node alone cannot remove a line. An auditor
compares it with the tickets on the chain: each line names one.
"""

import json

import msgspec

from node.keeper import Unwrapping
from storage.disk import Disk, RealDisk, io_errors


class KeeperLog:
    """Append-only. A line that a crash cut short stays, and the next one begins anew."""

    def __init__(self, path: str, disk: Disk | None = None) -> None:
        self.path, disk = path, disk or RealDisk()
        with io_errors(path):
            before = disk.read(path)
            self._file = disk.create(path) if before is None else disk.open_append(path)
            if before is None:
                disk.sync_directory(path.rpartition("/")[0])
            elif before and not before.endswith(b"\n"):
                self._file.write(b"\n")

    def record(self, line: Unwrapping) -> None:
        """Durable on return. Raises `StoreUnavailable`: then nothing may be opened."""
        document = msgspec.structs.asdict(line) | {"tx_id": line.tx_id.hex()}
        with io_errors(self.path):
            self._file.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")
            self._file.sync()

    def close(self) -> None:
        self._file.close()
