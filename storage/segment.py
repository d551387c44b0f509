"""One file of the vote journal: a header and records, each with length, checksum and number.

◆ segment = magic (8) ‖ version u32 ‖ instance (16) ‖ genesis hash (32) ‖ number u64
            ‖ first record u64 ‖ CRC-32 of all before u32
  record  = length u32 ‖ CRC-32 u32 ‖ sequence number u64 ‖ payload; the CRC covers number and
            payload. Integers are big-endian.

Law of the file: numbers ascend by one. A bad record with nothing good after it is torn (its
sync never returned, so its votes never left); with a good one after it, the file is damaged.
"""

import struct
from dataclasses import dataclass
from zlib import crc32

from storage.errors import JournalDamaged
from storage.schema import VERSIONS, check_version

SEGMENT_SUFFIX = ".seg"

_MAGIC = b"SALUSVJ\n"  # Do not change.
_HEADER = struct.Struct(">8sI16s32sQQ")
_CRC = struct.Struct(">I")
_RECORD = struct.Struct(">IIQ")
_SEQUENCE = struct.Struct(">Q")

# A chance number among random bytes fits once in 10^13 places; real records lie side by side.
SUMS_PER_BYTE_MAX = 16

HEADER_BYTES = _HEADER.size + _CRC.size
RECORD_HEADER_BYTES = _RECORD.size


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    instance: bytes
    genesis_hash: bytes
    number: int
    first_record: int  # the sequence number of the first record in this segment

    @property
    def name(self) -> str:
        return f"{self.number:012d}{SEGMENT_SUFFIX}"

    def encode(self) -> bytes:
        fields = _HEADER.pack(
            _MAGIC,
            VERSIONS["journal"],
            self.instance,
            self.genesis_hash,
            self.number,
            self.first_record,
        )
        return fields + _CRC.pack(crc32(fields))


@dataclass(frozen=True, slots=True)
class Segment:
    header: SegmentHeader
    payloads: list[bytes]  # of the records, in order
    good_bytes: int  # the length of the file up to the end of the last good record
    torn_bytes: int  # what follows it


def encode_record(sequence: int, payload: bytes) -> bytes:
    number = _SEQUENCE.pack(sequence)
    return _RECORD.pack(len(payload), crc32(payload, crc32(number)), sequence) + payload


def read_segment(data: bytes, name: str) -> Segment:
    """Raises `StoreVersion` or `JournalDamaged`; a torn last record is reported, not an error."""
    header = _read_header(data, name)
    payloads: list[bytes] = []
    at = HEADER_BYTES
    while at < len(data):
        sequence = header.first_record + len(payloads)
        end = _record_end(data, at, sequence)
        if end is None:
            later = _find_later_record(data, at, sequence)
            if later is not None:
                raise JournalDamaged(
                    f"{name}: the record at byte {at} is damaged and a good one follows at {later}"
                )
            break
        payloads.append(data[at + RECORD_HEADER_BYTES : end])
        at = end
    return Segment(header, payloads, at, len(data) - at)


def _read_header(data: bytes, name: str) -> SegmentHeader:
    # A segment gets its name only when its header is on disk, so a bad one was never torn.
    if len(data) < HEADER_BYTES or data[: len(_MAGIC)] != _MAGIC:
        raise JournalDamaged(f"{name} does not begin as a segment of the vote journal")
    fields = data[: _HEADER.size]
    if _CRC.unpack_from(data, _HEADER.size)[0] != crc32(fields):
        raise JournalDamaged(f"{name}: the header is damaged")
    _, version, instance, genesis_hash, number, first_record = _HEADER.unpack(fields)
    check_version("journal", version)
    return SegmentHeader(instance, genesis_hash, number, first_record)


def _record_end(data: bytes, at: int, sequence: int) -> int | None:
    """Where the good record number `sequence` at `at` ends; None if there is no such record."""
    if at + RECORD_HEADER_BYTES > len(data):
        return None
    length, checksum, found = _RECORD.unpack_from(data, at)
    end: int = at + RECORD_HEADER_BYTES + length
    if found != sequence or end > len(data):
        return None
    covered = memoryview(data)[at + RECORD_HEADER_BYTES - _SEQUENCE.size : end]
    return end if crc32(covered) == checksum else None


def _find_later_record(data: bytes, bad: int, sequence: int) -> int | None:
    """Where the first good record behind the bad one begins. Its length may be what is wrong,
    so every byte is tried; a later record has a higher number, but not by more than fit.

    Bytes that look like the beginnings of long records everywhere were not written by a disk that
    failed: then one of them is taken for good, since whoever starts must not vote (S4)."""
    most = sequence + (len(data) - bad) // RECORD_HEADER_BYTES + 1
    summed_bytes_left = SUMS_PER_BYTE_MAX * len(data)
    for at in range(bad + 1, len(data) - RECORD_HEADER_BYTES + 1):
        found: int = _SEQUENCE.unpack_from(data, at + RECORD_HEADER_BYTES - _SEQUENCE.size)[0]
        if not sequence < found <= most:
            continue
        length: int = _RECORD.unpack_from(data, at)[0]
        if length <= len(data) - at - RECORD_HEADER_BYTES:
            summed_bytes_left -= length
        if summed_bytes_left < 0 or _record_end(data, at, found) is not None:
            return at
    return None
