"""A patient's trail as it was gathered, and the files of an export: written, and checked offline.

    FILE  FILE.manifest.json  FILE.proofs/

Beside salus/audit_export.py, which says what stands in them.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from salus import audit_check as checks
from salus import audit_export as exports
from salus.audit_export import Manifest
from salus.audit_story import Entry, clean, story
from salus.errors import BadMessage, SalusError
from salus.files import write_new
from salus.keys import Signer
from salus.looks import LookOpening
from salus.report import utc
from salus.trail import Look, Trail, complete


@dataclass(frozen=True, slots=True)
class Gathered:
    """One relation's trail, verified here. `files`: the state files it follows from."""

    chain_id: str
    genesis_hash: bytes
    org: str
    handle: bytes
    files: tuple[bytes, ...]
    trails: tuple[Trail, ...]
    openings: Mapping[bytes, LookOpening]
    opened: bool  # the custodian's node was asked

    @property
    def entries(self) -> tuple[Entry, ...]:
        return story(self.chain_id, self.trails, self.openings)

    @property
    def complete(self) -> bool:
        return complete(self.trails)

    @property
    def looks(self) -> tuple[Look, ...]:
        return tuple(look for trail in self.trails for look in trail.looks)

    @property
    def clean(self) -> bool:
        """Does the custodian tell what the tickets say?"""
        return clean(self.entries)


def written(
    gathered: Gathered, kind: str, name: str, proofs: Mapping[str, bytes], signer: Signer
) -> tuple[bytes, bytes]:
    """(the export, its manifest). `name`: of the export's file."""
    entries, newest = gathered.entries, gathered.trails[0]
    export = exports.render(kind, gathered.chain_id, entries)
    manifest = Manifest(
        version=1,
        format=kind,
        chain_id=gathered.chain_id,
        genesis=gathered.genesis_hash.hex(),
        custodian=gathered.org,
        handle=gathered.handle.hex(),
        height=newest.height,
        block=newest.block_hash.hex(),
        complete=gathered.complete,
        entries=len(entries),
        exported=utc(time.time_ns() // 1_000_000),
        key=signer.public_key.hex(),
        export=exports.described(name, export),
        proofs=tuple(exports.described(one, proofs[one]) for one in sorted(proofs)),
    )
    return export, exports.sign(manifest, signer)


def write(path: Path, export: bytes, manifest: bytes, proofs: Mapping[str, bytes]) -> None:
    """All files of an export. Raises `FileExistsError`; nothing is written then."""
    for one in (path, manifest_path(path), proofs_path(path)):
        if one.exists():
            raise FileExistsError(17, "it exists", str(one))
    folder = proofs_path(path)
    folder.mkdir(mode=0o700)
    for name, data in proofs.items():
        write_new(folder / name, data)
    write_new(path, export)
    # Last: an export that was cut off has no manifest, and verifies as nothing.
    write_new(manifest_path(path), manifest)


# -- offline ---------------------------------------------------------------------------------


def manifest_path(export: Path) -> Path:
    return export.with_name(f"{export.name}.manifest.json")


def proofs_path(export: Path) -> Path:
    return export.with_name(f"{export.name}.proofs")


def verified(export: Path, genesis_hash: bytes) -> tuple[Manifest, checks.Checked]:
    """An export as it lies there. Raises `BadMessage` (AUDIT_EXPORT_CHANGED), `VerificationError`."""
    data = _read(manifest_path(export), exports.MANIFEST_BYTES_MAX)
    manifest = exports.read(data)
    folder = proofs_path(export)
    proofs = {one.name: _read(folder / one.name, one.bytes) for one in manifest.proofs}
    here = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if here - set(proofs):
        raise _changed("there are more proofs than the manifest names")
    content = _read(export, manifest.export.bytes)
    return manifest, checks.check_export(manifest, content, proofs, genesis_hash)


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        # Somebody else has made the folder: no device, no pipe, and nothing that it only points to.
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise _changed(f"{path.name} is no file of an export")
        with path.open("rb") as stream:
            data = stream.read(bytes_max + 1)
    except FileNotFoundError:
        raise _changed(f"{path.name} is missing") from None
    if len(data) > bytes_max:
        raise _changed(f"{path.name} is larger than the manifest says")
    return data


def _changed(message: str) -> SalusError:
    return BadMessage(message, code="AUDIT_EXPORT_CHANGED")
