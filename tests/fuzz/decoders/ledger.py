"""Transactions, proposals, and everything of a chain that somebody shows: salus/."""

from typing import Any

from hypothesis import strategies as st

from salus.block import Proposal, VerifiedTransactions, check_proposal
from salus.certificate import CertifiedBlock, EpochStep, check_certificate, follow_epochs
from salus.codec import decode, encode
from salus.document import Opening, Structure, check_structure, join, open_all, split
from salus.genesis import Genesis, from_json, to_json
from salus.join import read_admission, write_join
from salus.keys import address, parse_address, verify
from salus.proof import MAGIC, ProofBundle, _hash_file, read_proof, write_proof
from salus.record import anchor_key
from salus.rotation import make_rotation, read_rotation, write_rotation
from salus.statemap import StateProof, check_bucket, verify_state
from salus.transaction import Transaction, check_heights, check_signature, parse
from salus.verifier import verify_bundle, verify_file
from salus.writeset import changes
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.shapes import values_of
from tests.salus import test_join, test_verifier
from tests.salus.test_document import BUNDLE, FHIR

GENESIS, LIMITS = samples.GENESIS, samples.LIMITS
CHAIN_ID, GENESIS_HASH = GENESIS.chain_id, GENESIS.hash()
PROOFS = test_verifier.HASH


def transaction(data: bytes) -> Any:
    """Admission without state: form, chain, heights, signature."""
    tx = parse(data, CHAIN_ID, GENESIS_HASH, LIMITS)
    check_heights(tx.body, 4, LIMITS)
    check_signature(tx)
    return tx


def proposal(data: bytes) -> Any:
    verified = VerifiedTransactions(verify)
    return check_proposal(data, 4, CHAIN_ID, GENESIS_HASH, LIMITS, verified).body


def certified_block(data: bytes) -> Any:
    block = decode(data, CertifiedBlock)
    validators = GENESIS.validators()
    check_certificate(block.certificate, block.header, validators, GENESIS.vote_domain())
    return block


def epoch_step(data: bytes) -> Any:
    step = decode(data, EpochStep)
    follow_epochs(GENESIS.validators(), [step], GENESIS.vote_domain())
    return step


def epoch_steps() -> list[bytes]:
    chain = factories.Chain(GENESIS)
    chain.add()
    chain.end_epoch(["hosp-a", "hosp-b", "hosp-c", "hosp-e"])
    chain.add()
    return [encode(step) for step in chain.steps]


def state_proof(data: bytes) -> Any:
    proof = decode(data, StateProof)
    verify_state(proof, samples.ledger().state.head.state_root)
    return proof


def state_proofs() -> list[bytes]:
    """Of a key that is there, and of one that is not."""
    maker = samples.ledger().proofs
    keys = anchor_key("hosp-a", factories.seed("root")), b"records/nothing"
    return [encode(maker.state_of(key)[1]) for key in keys]


def proof_file(data: bytes) -> bytes:
    """A bundle with whatever is wrong in it, in a file whose hash fits."""
    body = MAGIC + data
    return body + _hash_file(body)


def bundle(data: bytes) -> Any:
    """The judgement of what the file's own checks let pass."""
    return verify_file(proof_file(data), PROOFS)


def opening(data: bytes) -> Any:
    shown = decode(data, Opening)
    check_structure(shown)
    return shown


def openings() -> list[bytes]:
    return [
        encode(open_all(split(document, kind), factories.seed("salts")))
        for document, kind in ((b"a finding", "text/plain"), (BUNDLE.encode(), FHIR))
    ]


def joined(data: bytes) -> Any:
    """A structure before two parts: what a shown document is put together by."""
    return join((data, b"one", b"two"))


def text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def admission() -> str:
    """A join file for a chain that runs."""
    return write_join(test_join.CARD, test_join.NODE, test_join.OPERATOR, chain_id=CHAIN_ID)


def rotation() -> str:
    return write_rotation(make_rotation(CHAIN_ID, "hosp-a", "node", factories.key("new node")))


PROPOSALS = (samples.proposal(), factories.proposal(4))
BUNDLES = test_verifier.PLAIN, test_verifier.RECORD, test_verifier.FULL

DECODERS = (
    Decoder(
        "transaction",
        ("salus.transaction:parse",),
        transaction,
        lambda: [tx.raw for tx in samples.transactions()],
        values=values_of(Transaction).map(encode),
        encode=lambda tx: tx.raw if tx.raw == encode(tx.body) else b"",
    ),
    Decoder(
        "proposal",
        ("salus.block:check_proposal", "node.pipeline:Pipeline.parse_proposal"),
        proposal,
        lambda: PROPOSALS,
        values=values_of(Proposal).map(encode),
        encode=encode,
    ),
    Decoder(
        "certified-block",
        (),
        certified_block,
        lambda: [encode(samples.ledger().certified(height)) for height in (1, 2, 3)],
        values=values_of(CertifiedBlock).map(encode),
        encode=encode,
    ),
    Decoder("epoch-step", (), epoch_step, epoch_steps, encode=encode),
    Decoder("state-proof", (), state_proof, state_proofs, encode=encode),
    Decoder(
        "state-bucket",
        ("salus.statemap:bucket_of",),
        lambda data: check_bucket(data, 3, LIMITS.state_bucket_bits) or data,
        lambda: [samples.ledger().state.bucket(3), b""],
        encode=lambda content: content,
        form="bytes",
    ),
    Decoder(
        "write-set",
        (),
        lambda data: tuple(changes(data)),
        lambda: [bytes(96), bytes(range(96)) * 2, b""],
        encode=lambda found: b"".join(b"".join(change) for change in found),
        form="bytes",
    ),
    Decoder(
        "proof-file",
        ("salus.proof:read_proof",),
        read_proof,
        lambda: [write_proof(made) for made in BUNDLES],
        values=values_of(ProofBundle).map(write_proof),
        encode=write_proof,
        form="bytes",
    ),
    Decoder(
        "proof-bundle",
        (
            "salus.verifier:_transaction",
            "salus.verifier:_anchor_arguments",
            "salus.verifier:_state",
        ),
        bundle,
        lambda: [encode(made) for made in BUNDLES],
        slow=True,
    ),
    Decoder(
        "opening",
        ("salus.document:_structure",),
        opening,
        openings,
        values=values_of(Opening).map(encode),
        encode=encode,
    ),
    Decoder(
        "structure",
        (),
        joined,
        lambda: [encode(Structure("text/plain", ())), encode(Structure(FHIR, (b"[", b",", b"]")))],
        values=values_of(Structure).map(encode),
    ),
    Decoder(
        "document-cut",
        ("salus.document:_bundle_entries", "salus.document:_Scanner._value"),
        lambda data: split(data, FHIR),
        lambda: [BUNDLE.encode(), b"{}", b"\xff", b""],
        encode=lambda parts: join(parts)[1],
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "genesis",
        ("salus.genesis:from_json", "salus.genesis:_hex"),
        from_json,
        lambda: [to_json(GENESIS).encode(), to_json(factories.genesis(1, observers=2)).encode()],
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "genesis-bytes",
        (),
        lambda data: decode(data, Genesis),
        lambda: [encode(GENESIS)],
        values=values_of(Genesis).map(encode),
        encode=encode,
    ),
    Decoder(
        "join-file",
        ("salus.join:read_admission", "salus.join:_card", "salus.join:_admission"),
        read_admission,
        lambda: [test_join.TEXT.encode(), admission().encode()],
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "rotation-file",
        ("salus.rotation:read_rotation",),
        read_rotation,
        lambda: [rotation().encode()],
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "address",
        ("salus.keys:address",),
        lambda data: parse_address(text(data)),
        lambda: [address(key.public_key).encode() for key in factories.keys(2)],
        values=st.binary(min_size=32, max_size=32).map(lambda key: address(key).encode()),
        encode=lambda key: address(key).encode(),
        form="text",
    ),
)

assert verify_bundle  # what `verify_file` calls
