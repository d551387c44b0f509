"""What a patient types, and what a requester receives of a custodian."""

import json
from typing import Any

from hypothesis import strategies as st
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

from cli.errors import CliError
from cli.patients import docket_of, relation_of
from contracts.fields import to_json
from salus import disclosure, release, seed_backup, wallet
from salus.codec import encode
from salus.errors import SalusError
from salus.identity_tag import normalise
from salus.permit import Docket, Effect, Permit, Reach, RecordClass
from salus.relation import RelationEntry
from salus.sealed_stream import SealedStream
from tests.fuzz.decoder import Decoder
from tests.fuzz.shapes import simplest, values_of
from tests.golden import test_patient_vectors as vectors
from tests.salus.test_seed_backup import ON_PAPER
from tests.salus.test_wallet import FULL, SEED

DOCKET = Docket(
    (
        Permit(
            bytes(32),
            Effect.PERMIT,
            Reach.PART,
            (RecordClass.RESULTS,),
            20_000,
            20_090,
            bytes(32),
            7,
            None,
        ),
    )
)


def shares(data: bytes) -> bytes:
    """One share per line, as somebody typed them."""
    return seed_backup.combine(data.decode(errors="replace").split("\n"))


def identifier(data: bytes) -> Any:
    """«system|value», as FHIR searches write it."""
    system, _, value = data.decode(errors="surrogateescape").partition("|")
    return normalise(system, value)


def envelope(data: bytes) -> Any:
    """As the requester of the vectors opens it."""
    found = release.read(data)
    if found.terms == vectors.TERMS:
        release.open_release(
            found,
            vectors.REQUESTER,
            chain_id=vectors.TERMS.chain_id,
            custodian=vectors.TERMS.custodian,
            request_id=vectors.TERMS.request_id,
            commitment=vectors.TERMS.commitment,
        )
    return found


def _stream() -> SealedStream:
    return SealedStream(vectors.RELEASE_KEY, encode(vectors.TERMS), vectors.TERMS.size)


def shown(data: bytes) -> Any:
    """Bytes of a custodian who seals what he likes: the first ones name their own list."""
    length = int.from_bytes(data[:4])
    listed = disclosure._hash_disclosure(data[4 : 4 + length])
    reader = disclosure.Reader(vectors.TERMS.commitment, listed)
    pieces = [
        piece for at in range(0, len(data), 4096) for piece in reader.feed(data[at : at + 4096])
    ]
    return pieces, reader.finish()


def _shown() -> bytes:
    return b"".join(disclosure.write(vectors.PARTS, vectors.contents))


def _listed(listed: disclosure.Disclosure) -> bytes:
    encoded = encode(listed)
    return len(encoded).to_bytes(4) + encoded


def wallet_file(data: bytes) -> Any:
    """What somebody who has the seed sealed; then a file of somebody who has not."""
    nonce = bytes(wallet.NONCE_BYTES)
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(
        data, wallet._CONTEXT, nonce, wallet._hash_key(SEED)
    )
    return wallet.unseal(nonce + sealed, SEED)


def docket(data: bytes) -> Any:
    """The node's answer to the query, any JSON."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = None
    return docket_of(answer)


def relation(data: bytes) -> Any:
    """A node's answer about a relation, which need not be honest."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = {}
    return relation_of(answer)


DECODERS = (
    Decoder(
        "wallet",
        ("salus.wallet:unseal",),
        wallet_file,
        lambda: [encode(FULL), encode(wallet.Wallet())],
        values=values_of(wallet.Wallet).map(encode),
        encode=encode,
    ),
    Decoder(
        "wallet-file",
        (),
        lambda data: wallet.unseal(data, SEED),
        lambda: [wallet.seal(FULL, SEED, bytes(wallet.NONCE_BYTES))],
        form="bytes",
    ),
    Decoder(
        "docket",
        (),
        docket,
        lambda: [json.dumps(to_json(DOCKET)).encode()],
        errors=(SalusError, CliError),
        form="json",
    ),
    Decoder(
        "relation",
        (),
        relation,
        lambda: [json.dumps(to_json(simplest(RelationEntry))).encode(), b"null"],
        errors=(SalusError, CliError),
        form="json",
    ),
    Decoder(
        "identifier",
        (),
        identifier,
        lambda: [b"urn:oid:2.16.840.1.113883.4.1|123-45-6789", "urn:x|港澳１２".encode()],
        form="text",
    ),
    Decoder(
        "release",
        ("salus.release:read",),
        envelope,
        lambda: [encode(vectors.sealed()[0])],
        values=values_of(release.Release).map(encode),
        encode=encode,
    ),
    Decoder(
        "release-chunk",
        (),
        lambda data: _stream().open(0, data),
        lambda: [vectors.sealed()[1]],
        encode=lambda plain: _stream().seal(0, plain),
        form="bytes",
    ),
    Decoder(
        "shown-bytes",
        ("salus.disclosure:Reader._read_head",),
        shown,
        lambda: [_shown()],
        values=st.one_of(values_of(disclosure.Disclosure).map(_listed), st.just(_shown())),
        form="bytes",
    ),
    Decoder(
        "seed-shares",
        ("salus.seed_backup:_parsed",),
        shares,
        lambda: ["\n".join(ON_PAPER).encode(), "\n".join(ON_PAPER[::-1]).encode()],
        form="text",
        slow=True,
    ),
)
