"""An audit trail as a file: JSON lines, CSV or FHIR, and the signed manifest that stands beside it.

    FILE                 what somebody reads
    FILE.manifest.json   hashes of all files, chain, heights, signed by who exported
    FILE.proofs/         trail-N.state, openings.bin, REQUEST_ID.proof of each ticket

`render` is a function of the proofs alone, so whoever has them makes FILE again, byte for byte, and
needs to believe neither the exporter nor the custodian. Pure.
"""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Annotated, Any

import msgspec

from salus.audit_fhir import bundle
from salus.audit_story import Entry, plain
from salus.codec import Bytes16, Wire
from salus.errors import BadMessage
from salus.genesis import ChainId
from salus.hashing import domain
from salus.keys import Signer, Verifier, verify
from salus.looks import LookOpening
from salus.validators import MemberId

FORMATS = ("fhir", "csv", "jsonl")
MANIFEST_BYTES_MAX = 4 * 2**20  # ten thousand proof files
FILES_MAX = 10_000
EXPORT_BYTES_MAX = 2**30  # of all files together: whoever checks them reads them into memory
OPENINGS_MAX = 100_000

_MANIFEST = domain("audit-manifest")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_HEX32 = r"^[0-9a-f]{64}$(?!\n)"
# OWASP: a spreadsheet runs what begins so, in some languages the wide forms too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")

COLUMNS = tuple(Entry.__struct_fields__)

Hex32 = Annotated[str, msgspec.Meta(pattern=_HEX32)]


class KeptOpenings(Wire, frozen=True):
    """What the custodian said of the tickets: `openings.bin`."""

    openings: Annotated[
        tuple[tuple[Bytes16, LookOpening], ...], msgspec.Meta(max_length=OPENINGS_MAX)
    ]


class ExportedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str  # beside the manifest, or within the folder of proofs
    bytes: Annotated[int, msgspec.Meta(ge=0, le=EXPORT_BYTES_MAX)]
    sha256: Hex32


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`height`: of the certified state that the trail was read from; `complete`: the trail is whole
    as of it; `key`: who exported, and signed this."""

    version: int
    format: str
    chain_id: ChainId
    genesis: Hex32
    custodian: MemberId
    handle: Hex32
    height: int
    block: Hex32
    complete: bool
    entries: int
    exported: str  # RFC 3339, by the exporter's clock
    key: Hex32
    export: ExportedFile
    proofs: tuple[ExportedFile, ...]


class SignedManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    manifest: Manifest
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]


def render(kind: str, chain_id: str, entries: Sequence[Entry]) -> bytes:
    """The file in one of FORMATS."""
    match kind:
        case "jsonl":
            return b"".join(_json(plain(entry)) + b"\n" for entry in entries)
        case "csv":
            return _csv(entries)
        case "fhir":
            return _json(bundle(chain_id, entries), indent=1) + b"\n"
    raise BadMessage(f"a format is one of {', '.join(FORMATS)}", code="BAD_ARGUMENT")


def described(name: str, content: bytes) -> ExportedFile:
    return ExportedFile(name, len(content), sha256(content).hexdigest())


def sign(manifest: Manifest, signer: Signer) -> bytes:
    """The manifest's file. Raises `BadMessage` (TOO_LARGE): what nobody would read back."""
    if _bytes_of(manifest) > EXPORT_BYTES_MAX or len(manifest.proofs) > FILES_MAX:
        raise BadMessage(
            f"an export has at most {FILES_MAX} files and {EXPORT_BYTES_MAX} bytes",
            code="TOO_LARGE",
        )
    assert manifest.key == signer.public_key.hex()
    signature = signer.sign(_payload(manifest)).hex()
    return _json(msgspec.to_builtins(SignedManifest(manifest, signature)), indent=1) + b"\n"


def read(data: bytes, verifier: Verifier = verify) -> Manifest:
    """A manifest whose signature fits its key; whose key it is, the chain says. Raises `BadMessage`
    (AUDIT_EXPORT_CHANGED)."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise _changed("the manifest is larger than any")
    try:
        signed = msgspec.json.decode(data, type=SignedManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _changed("this is no manifest of an audit export") from None
    manifest = signed.manifest
    if manifest.version != 1 or len(manifest.proofs) > FILES_MAX:
        raise _changed(f"manifest version {manifest.version} is not known here")
    if _bytes_of(manifest) > EXPORT_BYTES_MAX:
        raise _changed("the manifest names more bytes than any export has")
    names = [one.name for one in (manifest.export, *manifest.proofs)]
    if len(set(names)) != len(names) or not all(_NAME.fullmatch(name) for name in names):
        raise _changed("the manifest names a file twice, or outside of its folder")
    key = bytes.fromhex(manifest.key)
    if not verifier(key, _payload(manifest), bytes.fromhex(signed.signature)):
        raise _changed("the signature does not fit the manifest")
    return manifest


def check_file(told: ExportedFile, content: bytes) -> None:
    """Raises `BadMessage` (AUDIT_EXPORT_CHANGED) unless it is the very file."""
    if described(told.name, content) != told:
        raise _changed(f"{told.name} is not the file that the manifest names")


def _bytes_of(manifest: Manifest) -> int:
    return sum(one.bytes for one in (manifest.export, *manifest.proofs))


def _payload(manifest: Manifest) -> bytes:
    return _MANIFEST + _json(msgspec.to_builtins(manifest))


def _csv(entries: Sequence[Entry]) -> bytes:
    """RFC 4180, UTF-8; lists are joined by blanks. No cell begins as a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        row: Mapping[str, Any] = plain(entry)
        writer.writerow([_cell(row[column]) for column in COLUMNS])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = " ".join(value) if isinstance(value, (list, tuple)) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(document: Any, indent: int | None = None) -> bytes:
    """One form for one content: names ascend."""
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(
        document, ensure_ascii=False, sort_keys=True, indent=indent, separators=separators
    ).encode()


def _changed(message: str) -> BadMessage:
    return BadMessage(message, code="AUDIT_EXPORT_CHANGED")
