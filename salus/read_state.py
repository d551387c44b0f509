"""What a reader keeps beside a file that is on its way, so that a broken transfer goes on.

    FILE.reading      the request, its secret, and what was decided
    FILE.part         the shown bytes that have come, in whole chunks

Both are the owner's alone (0600) and gone when the file is there. Law of the file: nothing in FILE.part
is proved yet; FILE itself appears whole and verified, or not at all.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from salus import files
from salus.codec import Bytes32, Wire, decode, encode
from salus.errors import BadMessage, SalusError
from salus.reading import Ask, Decided
from salus.sealed_stream import CHUNK_BYTES

STATE_VERSION = 1
STATE_BYTES_MAX = 4 * 2**20


class ReadState(Wire, frozen=True):
    """As it lies in FILE.reading."""

    version: Annotated[int, msgspec.Meta(ge=STATE_VERSION, le=STATE_VERSION)]
    ask: Ask
    secret: Bytes32  # of `ask.request.release_key`
    decided: Decided
    custodian_key: Bytes32  # its node key, as the certified ticket shows it


class Unfinished:
    """The two files beside one output."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.state_path = output.with_name(output.name + ".reading")
        self.part_path = output.with_name(output.name + ".part")

    def load(self) -> ReadState | None:
        """None if nothing is on its way. Raises `SalusError` (REFUSES_OVERWRITE) for what is no
        state of ours."""
        try:
            with self.state_path.open("rb") as stream:
                size = self._ours(stream.fileno()).st_size
                raw = stream.read(min(size, STATE_BYTES_MAX))
        except FileNotFoundError:
            return None
        try:
            return decode(raw, ReadState)
        except BadMessage:
            raise SalusError(
                f"{self.state_path} is no unfinished read of this version", code="REFUSES_OVERWRITE"
            ) from None

    def store(self, state: ReadState) -> None:
        files.replace(self.state_path, encode(state))

    def chunks(self) -> int:
        """How many whole chunks have come; half a one is cut off."""
        try:
            size = self.part_path.stat().st_size
        except FileNotFoundError:
            return 0
        if size % CHUNK_BYTES:
            os.truncate(self.part_path, size - size % CHUNK_BYTES)
        return size // CHUNK_BYTES

    def append(self, plain: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self.part_path, flags, files.OWNER_ONLY)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise self._taken() from None
        try:
            self._ours(descriptor)
            at = 0
            while at < len(plain):
                at += os.write(descriptor, plain[at:])
        finally:
            os.close(descriptor)

    def _ours(self, descriptor: int) -> os.stat_result:
        """What another user could have laid there, in a folder of several, is neither believed nor
        written to. Raises `SalusError` (REFUSES_OVERWRITE)."""
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise self._taken()
        return status

    def _taken(self) -> SalusError:
        return SalusError(
            f"{self.state_path} or {self.part_path.name} is open to other users, or theirs",
            code="REFUSES_OVERWRITE",
        )

    def pieces(self) -> Iterator[bytes]:
        """What has come, a chunk at a time."""
        with self.part_path.open("rb") as stream:
            while data := stream.read(CHUNK_BYTES):
                yield data

    def begin_anew(self) -> None:
        """What has come is of another release."""
        self.part_path.unlink(missing_ok=True)

    def clear(self) -> None:
        """The file is there, or will never come."""
        self.part_path.unlink(missing_ok=True)
        self.state_path.unlink(missing_ok=True)
