"""One fixed example of each noun, byte for byte: formats do not change unnoticed.

A difference here is a new format: every chain, store and proof file that exists stops verifying.
docs/formats.md points here, so another implementation can be checked against the same lines.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

from consensus.messages import (
    Fetch,
    NewView,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
    content_digest,
    encode_message,
    payload,
)
from salus import document, merkle
from salus.block import Event, Receipt, null_proposal, proposal_digest, receipt_leaf
from salus.certificate import IndexedSignature
from salus.codec import encode
from salus.hashing import domain
from salus.keys import address
from salus.parameters import Parameters
from salus.proof import OperationProof, ProofBundle, RecordProof, write_proof
from salus.record import anchor_key, record_leaf, spent_key, tag_hash
from salus.statemap import StateTree, bucket_of, change_bucket, key_hash, leaf_of, salt_of
from salus.transaction import Operation
from salus.verifier import verify_file
from salus.vote import JournalEntry, VoteType
from tests import factories, transcript

GENESIS = factories.genesis(4, parameters=Parameters(state_bucket_bits=6))
KEYS = factories.keys(4)
OPENING = document.open_all(
    document.split(b'{"resourceType":"Bundle","entry":[{"a":1.50}, 2]}', "application/fhir+json"),
    factories.seed("salts"),
)
TAG = factories.seed("tag")
VERSION = document.commitment(OPENING)
LEAF = record_leaf(VERSION, tag_hash(TAG))
ROOT, (PLACE,) = document.batch([LEAF], [])
ANCHOR = Operation(
    "records", "anchor", 1, encode((ROOT, 1, factories.seed("author"), factories.seed("context")))
)
OTHER = Operation("members", "rejoin", 1, b"\x90")
TX = factories.transaction(GENESIS, ANCHOR, OTHER, number=1)
RECEIPTS = [
    Receipt(TX.id, 0, "OK", {}, (Event("records.anchored", {"leaves": 1, "org": "hosp-a"}),)),
    Receipt(TX.id, 1, "NOT_AGAIN", {"height": 7, "late": True}, ()),
]
CHAIN = factories.Chain(GENESIS)
CHAIN.end_epoch(["hosp-a", "hosp-b", "hosp-c", "hosp-e"])
BLOCK = CHAIN.add(TX, receipts=RECEIPTS)
DOMAIN = GENESIS.vote_domain()


def value(raw: bytes, **hashes: bytes | str) -> str:
    """The bytes in lines of 48, then what is hashed or signed of them."""
    lines = [f"bytes {len(raw)}"]
    lines += [f"  {raw[i : i + 48].hex()}" for i in range(0, len(raw), 48)]
    lines += [
        f"{name} {text if isinstance(text, str) else text.hex()}" for name, text in hashes.items()
    ]
    return "\n".join(lines)


def vote(kind: VoteType) -> str:
    signed = DOMAIN.payload(kind, 0, 2, 9, factories.seed("digest"))
    return value(signed, signature=KEYS[0].sign(signed))


def pre_prepare() -> PrePrepare:
    digest = factories.seed("digest")
    signed = DOMAIN.payload(VoteType.PRE_PREPARE, 0, 2, 9, digest)
    return PrePrepare(0, 2, 9, digest, 2, KEYS[2].sign(signed))


def message(name: str) -> str:
    digest = factories.seed("digest")
    prepare = DOMAIN.payload(VoteType.PREPARE, 0, 2, 9, digest)
    prepared = PreparedCertificate(
        pre_prepare(), tuple(IndexedSignature(i, KEYS[i].sign(prepare)) for i in (0, 1))
    )
    change = ViewChange(0, 3, None, (prepared,), 1, bytes(64))
    if name == "fetch":
        return value(encode_message(Fetch(0, 9, digest, 1)))
    if name == "pre-prepare":
        return value(encode_message(pre_prepare()), signed=payload(DOMAIN, pre_prepare()))
    contents: dict[str, ViewChange | NewView | Status] = {
        "view-change": change,
        "new-view": NewView(0, 3, (change,), (pre_prepare(),), 3, bytes(64)),
        "status": Status(0, 2, 3, 8, 1, bytes(64)),
    }
    content = contents[name]
    return value(
        encode_message(content),
        content_digest=content_digest(content),
        signed=payload(DOMAIN, content),
    )


def state() -> str:
    """Two keys in a map of 2^6 buckets, one written by an operation and one by genesis."""
    tree, lines = StateTree(6), []
    buckets: dict[int, bytes] = {}
    for name, tx_id, operation in ((b"records/x", TX.id, 1), (b"members/y", GENESIS.hash(), 0)):
        hashed = key_hash(name)
        salt = salt_of(tx_id, operation, hashed)
        leaf, index = leaf_of(hashed, salt + b"value"), bucket_of(hashed, 6)
        buckets[index] = change_bucket(buckets.get(index, b""), {hashed: leaf})
        lines += [f"key_hash {hashed.hex()}", f"salt {salt.hex()}", f"leaf {leaf.hex()}"]
        lines += [f"bucket {index} {buckets[index].hex()}"]
    lines += [f"root {tree.load(buckets.items()).hex()}"]
    proof = tree.prove(b"records/x", None, b"")
    return "\n".join([*lines, f"siblings {[len(level) // 32 for level in proof.siblings]}"])


def documents() -> str:
    lines = [
        f"part {i} {part.content.hex()} salt {part.salt.hex()}"
        for i, part in enumerate(OPENING.parts)
        if isinstance(part, document.OpenPart)
    ]
    return "\n".join(
        [
            *lines,
            f"version_commitment {VERSION.hex()}",
            f"tag_hash {tag_hash(TAG).hex()}",
            f"record_leaf {LEAF.hex()}",
            f"root {ROOT.hex()}",
            f"anchor_key {anchor_key('hosp-a', ROOT).hex()}",
            f"spent_key {spent_key('hosp-a', tag_hash(TAG)).hex()}",
            f"author {document.author_commitment(TAG, 'dr-b').hex()}",
            f"context {document.context_commitment(TAG, document.Context('l', 'c', 5)).hex()}",
            f"reason {document.reason_commitment(TAG, 'wrong').hex()}",
        ]
    )


def proof() -> bytes:
    body = TX.body
    leaves = [merkle.leaf_hash(raw) for raw in body.operations]
    receipts = [receipt_leaf(receipt) for receipt in RECEIPTS]
    operation = OperationProof(
        body.version,
        body.sender,
        body.nonce,
        body.first_height,
        body.expiry_height,
        body.independent,
        body.signature,
        body.operations[0],
        0,
        2,
        tuple(merkle.inclusion_proof(leaves, 0)),
        0,
        (),
        RECEIPTS[0],
        0,
        tuple(merkle.inclusion_proof(receipts, 0)),
    )
    record = RecordProof(PLACE.index, PLACE.path, tag_hash(TAG), OPENING)
    return write_proof(
        ProofBundle(1, GENESIS, (), BLOCK.header, BLOCK.certificate, operation, record, None, ())
    )


NOUNS: dict[str, Callable[[], str]] = {
    "domain": lambda: value(domain("kind")),
    "address": lambda: value(KEYS[0].public_key, address=address(KEYS[0].public_key)),
    "merkle": lambda: "\n".join(
        f"root of {n} {merkle.root([merkle.leaf_hash(bytes([i])) for i in range(n)]).hex()}"
        for n in range(6)
    ),
    "parameters": lambda: value(encode(GENESIS.parameters), hash=GENESIS.parameters.hash()),
    "validators": lambda: value(encode(GENESIS.validators()), hash=GENESIS.validators().hash()),
    "genesis": lambda: value(encode(GENESIS), hash=GENESIS.hash()),
    "operation": lambda: value(encode(ANCHOR), leaf=merkle.leaf_hash(encode(ANCHOR))),
    "transaction": lambda: value(TX.raw, signed=TX.signed, id=TX.id),
    "null-proposal": lambda: value(null_proposal(9), digest=proposal_digest(null_proposal(9))),
    "proposal": lambda: value(BLOCK.proposal, digest=proposal_digest(BLOCK.proposal)),
    "receipt": lambda: value(encode(RECEIPTS[1]), leaf=receipt_leaf(RECEIPTS[1])),
    "genesis-header": lambda: value(encode(CHAIN.headers[0]), hash=CHAIN.headers[0].hash()),
    "header": lambda: value(encode(BLOCK.header), hash=BLOCK.header.hash()),
    "certificate": lambda: value(encode(BLOCK.certificate)),
    "epoch-step": lambda: value(encode(CHAIN.steps[0])),
    **{f"vote-{kind.name.lower().replace('_', '-')}": partial(vote, kind) for kind in VoteType},
    **{
        name: partial(message, name)
        for name in ("pre-prepare", "view-change", "new-view", "status", "fetch")
    },
    "journal-entry": lambda: value(encode(JournalEntry(3, 0, 2, 9, bytes(32), b"x"))),
    "state": state,
    "document": documents,
    "proof-file": lambda: value(proof()),
}


def test_the_bytes_are_those_of_the_vectors(rewrite: bool) -> None:
    transcript.check(
        Path(__file__).parent / "vectors.txt", lambda name: NOUNS[name](), rewrite=rewrite
    )


def test_every_noun_has_its_vector() -> None:
    lines = (Path(__file__).parent / "vectors.txt").read_text().splitlines()
    assert {line for line, after in pairwise(lines) if after == "----"} == set(NOUNS)


def test_the_proof_file_of_the_vectors_verifies() -> None:
    assert verify_file(proof(), GENESIS.hash()).status == "anchored"
