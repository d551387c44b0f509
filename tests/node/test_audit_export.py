"""An exported trail: follows from its proofs, and every change of it is seen."""

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.context import StaffRole
from contracts.emergency import OpenArgs
from node.audit_desk import AuditDesk
from node.fhir import check_fhir
from node.seen_asks import SeenAsks
from node.trail_files import TrailFiles
from salus import audit_check as checks
from salus import audit_export as exports
from salus import audit_files
from salus import trail as trails
from salus.audit_check import OPENINGS, check_export, proof_name, trail_name
from salus.audit_export import KeptOpenings, Manifest
from salus.audit_story import Entry, clean, story
from salus.codec import encode
from salus.errors import SalusError
from salus.looks import LookOpening
from salus.state_file import verify_state_file
from salus.verifier import verify_file
from tests import factories
from tests.contracts.lab import h
from tests.node.gate_world import World
from tests.node.test_audit_desk import LETTER, ORG, TEXT, signed

WORDS = b"=cmd|' /C calc'!A0"  # a reader's words why he cares


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


class Export:
    """Ada's trail: a read, a denial, own care; as the CLI puts it together."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.desk = AuditDesk(
            world.files,
            factories.CHAIN_ID,
            lambda: world.now_ms,
            TrailFiles(world.ledger.proofs),
            SeenAsks(),
        )
        self.trails: list[trails.Trail] = []
        self.openings: dict[bytes, LookOpening] = {}
        self.proofs: dict[str, bytes] = {}

    async def fill(self) -> None:
        world = self.world
        record = await world.keep(LETTER, TEXT)
        await world.grant("p", "documents")
        ask = await world.doctor.build(record)
        await world.gate.ask("hosp-b", replace(ask, care=WORDS))
        await world.surgeon.ask(record, permit=None)
        await world.nurse.ask(record, permit=None)

    async def gather(self) -> None:
        world, ledger = self.world, self.world.ledger
        self.proofs, self.trails, start = {}, [], None
        while not self.trails or start is not None:
            data = await self.desk.trail(ORG, world.ada.handle, start)
            state = verify_state_file(data, ledger.genesis_hash)
            self.trails.append(trails.trail_of(ORG, world.ada.handle, state, start))
            self.proofs[trail_name(len(self.trails))] = data
            start = self.trails[-1].next
        names = tuple(look.request_id for one in self.trails for look in one.looks)
        answer = await self.desk.openings(signed(world, world.ada.owner, *names))
        for name, opening in zip(names, answer.openings, strict=True):
            assert opening is not None
            self.openings[name] = opening
            made = await ledger.proofs.file(opening.tx_id)
            assert made is not None
            self.proofs[proof_name(name)] = made
        self.keep()

    def keep(self) -> None:
        """What the custodian said, among the proofs."""
        self.proofs[OPENINGS] = encode(KeptOpenings(tuple(sorted(self.openings.items()))))

    @property
    def entries(self) -> tuple[Entry, ...]:
        return story(factories.CHAIN_ID, self.trails, self.openings)

    def written(self, kind: str = "jsonl", **changes: Any) -> tuple[bytes, Manifest]:
        newest = self.trails[0]
        content = exports.render(kind, factories.CHAIN_ID, self.entries)
        manifest = Manifest(
            version=1,
            format=kind,
            chain_id=factories.CHAIN_ID,
            genesis=self.world.ledger.genesis_hash.hex(),
            custodian=ORG,
            handle=self.world.ada.handle.hex(),
            height=newest.height,
            block=newest.block_hash.hex(),
            complete=trails.complete(self.trails),
            entries=len(self.entries),
            exported="2026-11-22T12:00:00Z",
            key=self.world.ada.owner.public_key.hex(),
            export=exports.described("trail.out", content),
            proofs=tuple(exports.described(n, self.proofs[n]) for n in sorted(self.proofs)),
        )
        return content, replace(manifest, **changes)

    def checked(self, content: bytes, manifest: Manifest) -> checks.Checked:
        return check_export(manifest, content, self.proofs, self.world.ledger.genesis_hash)


@pytest.fixture
async def export(world: World) -> Export:
    made = Export(world)
    await made.fill()
    await made.gather()
    return made


@pytest.mark.parametrize("kind", exports.FORMATS)
async def test_an_export_follows_from_its_proofs(export: Export, kind: str) -> None:
    content, manifest = export.written(kind)
    raw = exports.sign(manifest, export.world.ada.owner)
    assert exports.read(raw) == manifest
    checked = export.checked(content, manifest)
    assert (checked.complete, checked.clean, checked.proofs) == (True, True, 3)
    assert checked.signer == "owner"
    assert [(one.kind, one.authority, one.receipt) for one in checked.entries] == [
        ("read", "OWN_CARE", "missing"),
        ("denied", "NO_PERMIT", None),
        ("read", "PERMIT", "missing"),
    ]
    for name, data in export.proofs.items():
        if name.endswith(".proof"):
            assert verify_file(data, export.world.ledger.genesis_hash).operation == "access.ticket"


async def test_an_export_with_more_cases_than_one_file_holds_is_complete(export: Export) -> None:
    """With 70 cases on one handle it never was again; and neither file can be left out."""
    world = export.world
    world.employ("night", "hosp-b", StaffRole.EMERGENCY)
    nonces = [h(f"nonce {number}") for number in range(70)]
    args = [OpenArgs(ORG, world.ada.handle, nonce, h("why")) for nonce in nonces]
    world.do(*(world.lab.op("emergency", "open", one) for one in args), by="night")
    await export.gather()
    assert trail_name(2) in export.proofs
    checked = export.checked(*export.written())
    assert checked.complete
    assert sum(one.kind == "emergency" for one in checked.entries) == 70
    export.trails.pop()
    del export.proofs[trail_name(2)]
    assert not export.checked(*export.written()).complete


async def test_what_a_spreadsheet_would_run_is_text(export: Export) -> None:
    content, _ = export.written("csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [row["care"] for row in rows][-1] == "'" + WORDS.decode()
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert list(rows[0]) == list(Entry.__struct_fields__)


async def test_a_fhir_export_passes_our_own_edge(export: Export) -> None:
    content, _ = export.written("fhir")
    checked = check_fhir(content, "application/fhir+json")
    assert checked is not None
    assert (checked.resources, checked.schemaless) == (5, 0)
    resources = [entry["resource"] for entry in json.loads(content)["entry"]]
    assert [one["resourceType"] for one in resources] == ["AuditEvent"] * 3 + ["Provenance"]
    assert [one["outcome"] for one in resources[:3]] == ["0", "4", "0"]
    assert resources[2]["agent"][0]["policy"] == [f"urn:salus:permit:{h('p').hex()}"]


def _drop(name: str) -> Any:
    def change(export: Export) -> tuple[bytes, Manifest]:
        del export.proofs[name]
        return export.written()

    return change


def _line_left_out(export: Export) -> tuple[bytes, Manifest]:
    content, manifest = export.written()
    cut = b"".join(content.splitlines(keepends=True)[1:])
    return cut, replace(manifest, export=exports.described("trail.out", cut))


def _denial_called_a_read(export: Export) -> tuple[bytes, Manifest]:
    content, manifest = export.written()
    told = content.replace(b'"denied"', b'"read"')
    return told, replace(manifest, export=exports.described("trail.out", told))


def _another_height(export: Export) -> tuple[bytes, Manifest]:
    return export.written(height=export.trails[0].height + 1)


def _another_patient(export: Export) -> tuple[bytes, Manifest]:
    return export.written(handle=export.world.bea.handle.hex())


def _another_tickets_proof(export: Export) -> tuple[bytes, Manifest]:
    names = sorted(name for name in export.proofs if name.endswith(".proof"))
    export.proofs[names[0]] = export.proofs[names[1]]
    return export.written()


def _another_opening(export: Export) -> tuple[bytes, Manifest]:
    """The export said one thing, the openings beside it now say another."""
    content, manifest = export.written()
    first = next(iter(export.openings))
    del export.openings[first]
    export.keep()
    proofs = tuple(exports.described(n, export.proofs[n]) for n in sorted(export.proofs))
    return content, replace(manifest, proofs=proofs)


@pytest.mark.parametrize(
    "change",
    [
        _drop(trail_name(1)),
        _line_left_out,
        _denial_called_a_read,
        _another_height,
        _another_patient,
        _another_tickets_proof,
        _another_opening,
    ],
)
async def test_what_does_not_follow_is_refused(export: Export, change: Any) -> None:
    content, manifest = change(export)
    with pytest.raises(SalusError):
        export.checked(content, manifest)


async def test_a_changed_byte_anywhere_is_seen(export: Export) -> None:
    content, manifest = export.written()
    with pytest.raises(SalusError):
        export.checked(content[:-2] + b"x\n", manifest)
    for name, data in list(export.proofs.items()):
        export.proofs[name] = data[:-1] + bytes([data[-1] ^ 1])
        with pytest.raises(SalusError):
            export.checked(content, manifest)
        export.proofs[name] = data
    export.checked(content, manifest)
    raw = exports.sign(manifest, export.world.ada.owner)
    for told in (
        raw.replace(b'"complete": true', b'"complete": false'),
        raw.replace(b'"version": 1', b'"version": 2'),
        raw.replace(b'"trail.out"', b'"../trail.out"'),
        b"{}",
        raw[:-20],
    ):
        with pytest.raises(SalusError) as refused:
            exports.read(told)
        assert refused.value.code == "AUDIT_EXPORT_CHANGED"


@pytest.mark.parametrize(
    "told",
    [
        {"export": {"bytes": -2}},
        {"export": {"bytes": exports.EXPORT_BYTES_MAX + 1}},
        {"export": {"bytes": exports.EXPORT_BYTES_MAX}},  # and the proofs
        {"custodian": "Größe"},
        {"chain_id": "\x1b[2J"},
    ],
)
async def test_who_signs_a_manifest_says_no_sizes_and_names_that_none_has(
    export: Export, told: dict[str, Any]
) -> None:
    _, manifest = export.written()
    signer = export.world.ada.owner
    document = json.loads(exports.sign(manifest, signer))["manifest"]
    document["export"] |= told.pop("export", {})
    document |= told
    payload = exports._MANIFEST + exports._json(document)
    raw = exports._json({"manifest": document, "signature": signer.sign(payload).hex()})
    with pytest.raises(SalusError) as refused:
        exports.read(raw)
    assert refused.value.code == "AUDIT_EXPORT_CHANGED"


@pytest.mark.parametrize("trick", ["link", "pipe"])
async def test_an_export_is_read_from_files_alone(
    export: Export, tmp_path: Path, trick: str
) -> None:
    content, manifest = export.written()
    path = tmp_path / "trail.out"
    path.write_bytes(content)
    audit_files.manifest_path(path).write_bytes(exports.sign(manifest, export.world.ada.owner))
    folder = audit_files.proofs_path(path)
    folder.mkdir()
    for name, data in export.proofs.items():
        (folder / name).write_bytes(data)
    genesis = export.world.ledger.genesis_hash
    assert audit_files.verified(path, genesis)[1].complete
    proof = folder / OPENINGS
    proof.unlink()
    if trick == "pipe":
        os.mkfifo(proof)
    else:
        proof.symlink_to("/dev/zero")
    with pytest.raises(SalusError) as refused:
        audit_files.verified(path, genesis)
    assert refused.value.code == "AUDIT_EXPORT_CHANGED"


async def test_a_lie_of_the_custodian_stands_in_the_export_as_one(export: Export) -> None:
    """It verifies as what was exported, and says that the custodian's words do not fit."""
    name = next(iter(export.openings))
    inner = export.openings[name].inner
    assert inner is not None
    export.openings[name] = replace(
        export.openings[name], inner=replace(inner, care=b"an emergency")
    )
    export.keep()
    content, manifest = export.written()
    checked = export.checked(content, manifest)
    assert not checked.clean
    (lie,) = [one for one in checked.entries if one.check == "mismatch"]
    assert (lie.faults, lie.care, lie.records) == (("care",), None, ())


async def test_a_missing_opening_is_shown(export: Export) -> None:
    export.openings.pop(next(iter(export.openings)))
    assert [one.check for one in export.entries].count("missing") == 1
    assert clean(export.entries)
