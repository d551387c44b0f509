"""Is an exported audit trail what the chain says? The file, its manifest and proofs, and a genesis hash.

Law of the file: the export is made again from the proofs and compared byte for byte, so neither the
exporter nor the custodian is believed. No node, no network. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from salus.audit_export import KeptOpenings, Manifest, check_file, render
from salus.audit_story import Entry, clean, story
from salus.codec import decode
from salus.errors import BadMessage, VerificationError
from salus.proof import read_proof
from salus.state_file import verify_state_file
from salus.ticket import Ticket
from salus.ticket_proof import TicketArguments
from salus.trail import Look, Trail, complete, trail_of
from salus.transaction import Operation
from salus.verifier import verify_file

OPENINGS = "openings.bin"


@dataclass(frozen=True, slots=True)
class Checked:
    """Everything fits. `clean`: and all that the custodian said leads to the chain."""

    entries: tuple[Entry, ...]
    height: int
    complete: bool
    clean: bool
    proofs: int  # of tickets; fewer than tickets where blocks were pruned
    signer: str  # owner | delegate | other: of the relation, as of the height


def trail_name(number: int) -> str:
    return f"trail-{number}.state"


def proof_name(request_id: bytes) -> str:
    return f"{request_id.hex()}.proof"


def check_export(
    manifest: Manifest, export: bytes, proofs: Mapping[str, bytes], genesis_hash: bytes
) -> Checked:
    """`manifest`: its signature was checked (salus.audit_export.read). Raises `BadMessage`
    (AUDIT_EXPORT_CHANGED), `VerificationError`."""
    check_file(manifest.export, export)
    if set(proofs) != {one.name for one in manifest.proofs}:
        raise _changed("the proofs are not those that the manifest names")
    for told in manifest.proofs:
        check_file(told, proofs[told.name])
    if bytes.fromhex(manifest.genesis) != genesis_hash:
        raise VerificationError("the export speaks of another consortium")
    trails = read_trails(manifest.custodian, bytes.fromhex(manifest.handle), proofs, genesis_hash)
    kept = decode(proofs.get(OPENINGS, b""), KeptOpenings)
    entries = story(manifest.chain_id, trails, dict(kept.openings))
    newest = trails[0]
    told_of = (manifest.height, manifest.block, manifest.complete, manifest.entries)
    found = (newest.height, newest.block_hash.hex(), complete(trails), len(entries))
    if told_of != found:
        raise _changed("the manifest says something else of the trail than its proofs")
    if render(manifest.format, manifest.chain_id, entries) != export:
        raise _changed("the export is not what its proofs lead to")
    counted = 0
    for trail in trails:
        for look in trail.looks:
            data = proofs.get(proof_name(look.request_id))
            if data is not None:
                check_ticket(trail.org, look, data, genesis_hash)
                counted += 1
    return Checked(
        entries,
        newest.height,
        found[2],
        clean(entries),
        counted,
        signer_of(newest, bytes.fromhex(manifest.key)),
    )


def read_trails(
    org: str, handle: bytes, proofs: Mapping[str, bytes], genesis_hash: bytes
) -> Sequence[Trail]:
    """The files of a trail in order. Raises `VerificationError`, `BadMessage`."""
    trails: list[Trail] = []
    while (data := proofs.get(trail_name(len(trails) + 1))) is not None:
        start = trails[-1].next if trails else None
        if trails and start is None:
            raise _changed("a file of the trail follows its end")
        trails.append(trail_of(org, handle, verify_state_file(data, genesis_hash), start))
    if not trails:
        raise _changed("there is no proof of the trail")
    return trails


def check_ticket(org: str, look: Look, data: bytes, genesis_hash: bytes) -> None:
    """A proof file of the ticket's transaction: it made this very ticket. Raises `VerificationError`,
    `BadMessage`."""
    report = verify_file(data, genesis_hash)
    bundle = read_proof(data)
    operation = decode(bundle.operation.operation, Operation)
    if (operation.contract, operation.method, operation.version) != ("access", "ticket", 1):
        raise VerificationError("the proof is of another operation than a ticket")
    told = [
        e.data.get("org") for e in bundle.operation.receipt.events if e.kind == "access.decided"
    ]
    args, ticket = decode(operation.args, TicketArguments), look.ticket
    if told != [org] or report.height != ticket.height or not _same(args, look.request_id, ticket):
        raise VerificationError("the proof is of another ticket")


def _same(args: TicketArguments, request_id: bytes, ticket: Ticket) -> bool:
    said = (args.request_id, args.handle, args.requester, args.purpose, args.classes, args.permit)
    stands = (
        request_id,
        ticket.handle,
        ticket.requester,
        ticket.purpose,
        ticket.classes,
        ticket.permit,
    )
    committed = (args.records, args.request, args.decision, args.care)
    return (said, committed) == (
        stands,
        (ticket.records, ticket.request, ticket.decision, ticket.care),
    )


def signer_of(trail: Trail, key: bytes) -> str:
    """Who a key is to the relation, as of the trail's height."""
    relation = trail.relation
    if relation is None:
        return "other"
    if key == relation.owner_at(trail.time_ms):
        return "owner"
    return "delegate" if relation.rights_at(key, trail.time_ms) else "other"


def _changed(message: str) -> BadMessage:
    return BadMessage(message, code="AUDIT_EXPORT_CHANGED")
