"""What an auditor reads: state files of a trail, and what a custodian says opens its tickets."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from node.audit_desk import read_reduced
from salus import audit_export, permit_list
from salus.audit_check import OPENINGS, check_export, check_ticket, trail_name
from salus.audit_export import KeptOpenings, Manifest
from salus.audit_story import text_of
from salus.codec import decode, encode
from salus.errors import SalusError
from salus.looks import LookOpening, Openings, SignedAsk, faults
from salus.permit_list import permits_of
from salus.proof import write_proof
from salus.state_file import (
    MAGIC,
    STATE_FILE_VERSION,
    StateBundle,
    _hash_file,
    read_state_file,
    verify_state_file,
    write_state_file,
)
from salus.ticket import Ticket
from salus.trail import Look, keys_of, trail_of
from storage.errors import StorageError
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.decoders.ledger import BUNDLES
from tests.fuzz.shapes import simplest, values_of

ORG, HANDLE = "hosp-a", bytes(32)
LOOK = Look(bytes(16), simplest(Ticket))


@cache
def bundle(keys_of: Callable[..., Iterator[bytes]] = keys_of) -> StateBundle:
    """Of a relation that is not there: its heads, proved to be absent."""
    maker = samples.ledger().proofs
    found = [maker.state_of(key) for key in keys_of(ORG, HANDLE, lambda key: None)]
    header = found[0][0]
    epochs, certificate = maker.trust(header)
    values = tuple(proof for _, proof in found)
    return StateBundle(STATE_FILE_VERSION, maker.genesis, epochs, header, certificate, values)


def state_file(data: bytes) -> bytes:
    body = MAGIC + data
    return body + _hash_file(body)


def trail(data: bytes) -> Any:
    """The judgement of what the file's own checks let pass."""
    state = verify_state_file(state_file(data), samples.ledger().genesis_hash)
    return trail_of(ORG, HANDLE, state)


def permits(data: bytes) -> Any:
    """A list of permits: the same bundle with the keys of that list."""
    state = verify_state_file(state_file(data), samples.ledger().genesis_hash)
    return permits_of(ORG, HANDLE, state)


def judged(data: bytes) -> Any:
    """An opening as a custodian sends it, held against a ticket."""
    opening = decode(data, LookOpening)
    faults(factories.CHAIN_ID, ORG, LOOK, opening)
    return opening


def told(openings: bytes) -> Manifest:
    """Of an empty trail, with these openings beside it."""
    proofs = {OPENINGS: openings, trail_name(1): write_state_file(bundle())}
    header = bundle().header
    return Manifest(
        version=1,
        format="jsonl",
        chain_id=factories.CHAIN_ID,
        genesis=samples.ledger().genesis_hash.hex(),
        custodian=ORG,
        handle=HANDLE.hex(),
        height=header.height,
        block=header.hash().hex(),
        complete=True,
        entries=0,
        exported="2026-11-22T12:00:00Z",
        key=factories.key("ada").public_key.hex(),
        export=audit_export.described("trail.jsonl", b""),
        proofs=tuple(audit_export.described(name, proofs[name]) for name in sorted(proofs)),
    )


def manifest() -> bytes:
    return audit_export.sign(told(b"\x91\x90"), factories.key("ada"))


def exported(data: bytes) -> Any:
    """Openings of an export whose hashes fit them."""
    proofs = {OPENINGS: data, trail_name(1): write_state_file(bundle())}
    checked = check_export(told(data), b"", proofs, samples.ledger().genesis_hash)
    return checked.height, checked.complete


DECODERS: tuple[Decoder, ...] = (
    Decoder(
        "state-file",
        ("salus.state_file:read_state_file",),
        read_state_file,
        lambda: [write_state_file(bundle())],
        values=values_of(StateBundle).map(write_state_file),
        encode=write_state_file,
        form="bytes",
    ),
    Decoder(
        "trail",
        ("salus.trail:_read",),
        trail,
        lambda: [encode(bundle())],
        slow=True,
    ),
    Decoder(
        "permits-of-a-relation",
        ("salus.permit_list:_read",),
        permits,
        lambda: [encode(bundle(permit_list.keys_of))],
        slow=True,
    ),
    Decoder(
        "look-opening",
        (),
        judged,
        lambda: [encode(simplest(LookOpening))],
        values=values_of(LookOpening).map(encode),
        slow=True,
    ),
    Decoder(
        "openings",
        (),
        lambda data: decode(data, Openings),
        lambda: [encode(simplest(Openings))],
        values=values_of(Openings).map(encode),
        encode=encode,
    ),
    Decoder(
        "signed-ask",
        ("node.api.audit:openings",),
        lambda data: decode(data, SignedAsk),
        lambda: [encode(simplest(SignedAsk))],
        values=values_of(SignedAsk).map(encode),
        encode=encode,
    ),
    Decoder(
        "audit-manifest",
        ("salus.audit_export:read",),
        audit_export.read,
        lambda: [manifest()],
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "audit-openings",
        ("salus.audit_check:check_export",),
        exported,
        lambda: [encode(KeptOpenings(())), encode(simplest(KeptOpenings))],
        values=values_of(KeptOpenings).map(encode),
        examples_refused=True,
        slow=True,
    ),
    Decoder(
        "audit-ticket-proof",
        ("salus.audit_check:check_ticket",),
        lambda data: check_ticket(ORG, LOOK, data, samples.ledger().genesis_hash),
        lambda: [write_proof(made) for made in BUNDLES],
        form="bytes",
        refuses=True,
        slow=True,
    ),
    Decoder(
        "audit-care",
        ("salus.audit_story:text_of",),
        text_of,
        lambda: [b"visit", b"\xff", "\u202e".encode()],
        form="bytes",
    ),
    Decoder(
        "vault-reduced-ticket",
        ("node.audit_desk:read_reduced",),
        read_reduced,
        lambda: [encode(simplest(LookOpening))],
        errors=(StorageError, SalusError),
        values=values_of(LookOpening).map(encode),
    ),
)
