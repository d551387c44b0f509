"""What a patient types, and what a requester receives of a custodian."""

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from hypothesis import strategies as st
from msgspec import structs
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

from cli import drafts, templates
from cli import identifiers as cli_identifiers
from cli.errors import CliError
from cli.hexes import hex_bytes
from node.duplicate_cases import DuplicateCase, Search
from salus import (
    browser_code,
    card,
    desk_asks,
    disclosure,
    grant_notice,
    key_request,
    message,
    pepper,
    release,
    seed_backup,
    wallet,
)
from salus.acts import relations
from salus.client_patients import relation_of
from salus.codec import Wire, decode, encode
from salus.desk_asks import CasesAsk, CheckAsk, CloseAsk, DeskAsk, FindAsk, SearchesAsk
from salus.errors import SalusError
from salus.grant_notice import GrantNotice
from salus.identity_tag import normalise
from salus.key_request import Use
from salus.keys import box_public_key
from salus.permit import Docket, Effect, Permit, Reach, RecordClass
from salus.reading import Ask, Decided, Found, Locate, Located, Range
from salus.relation import RelationEntry, Whose
from salus.sealed_stream import SealedStream
from salus.wire_json import to_json
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.shapes import simplest, values_of
from tests.golden import test_page_vectors as page
from tests.golden import test_patient_vectors as vectors
from tests.salus.test_message import PLACE, written
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


def pepper_file(data: bytes) -> Any:
    """As the member hosp-a reads and opens it."""
    found = pepper.read(data)
    if "hosp-a" in found.copies:
        pepper.opened(found, "hosp-a", factories.seed("box hosp-a"))
    return found


def _pepper() -> pepper.PepperFile:
    box = box_public_key(factories.seed("box hosp-a"))
    return pepper.sealed(factories.seed("pepper"), "test-chain", {"hosp-a": box})


# What staff asks the desk, and where it comes in from outside.
DESK: dict[type[DeskAsk], tuple[str, ...]] = {
    CheckAsk: ("salus.desk_asks:opened",),
    FindAsk: (),
    CasesAsk: (),
    CloseAsk: (),
    SearchesAsk: (),
}


def _desk_ask(ask: DeskAsk) -> bytes:
    """Signed by a key that the ask may not name."""
    key = factories.key("amy")
    return desk_asks.signed(structs.replace(ask, key=key.public_key), key)


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


# The words of a read, and where they come in from outside.
READING: dict[type[Wire], tuple[str, ...]] = {
    Locate: ("node.reader_desk:serve.locate", "node.api.access:locate"),
    Ask: ("node.reader_desk:serve.ask", "node.api.access:ask"),
    Range: ("node.reader_desk:serve.chunk",),
    Located: ("node.reader_desk:ReaderDesk._at",),
    Found: (),
    Decided: ("node.reader_desk:ReaderDesk.ask",),
}


def measured(encoded: bytes) -> bytes:
    return len(encoded).to_bytes(2) + encoded


def sealed_notice(plain: bytes) -> bytes:
    """Whatever a granter seals, at the length that the chain asks for."""
    key = X25519PublicKey.from_public_bytes(box_public_key(SEED))
    bound = grant_notice._bound("net", "hosp-b")
    return grant_notice._SUITE.encrypt(plain.ljust(464, b"\0")[:464], key, bound)


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


def relation(data: bytes) -> Any:
    """A node's answer about a relation, which need not be honest."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        answer = {}
    return relation_of(answer)


WHOSE = Whose("hosp-a", bytes(32))


def _request() -> bytes:
    """A guardian's, signed."""
    form = key_request.make(Use.GUARDIAN, "test-chain", WHOSE, factories.key("eve"))
    return json.dumps(
        {
            "use": form.use.value,
            "chain_id": form.chain_id,
            "org": "hosp-a",
            "handle": bytes(32).hex(),
            "key": form.key.hex(),
            "box_key": None,
            "possession": form.possession.hex(),
        }
    ).encode()


def _draft() -> bytes:
    unsigned = drafts.Draft("test-chain", relations.remove_delegate(WHOSE, bytes(32)))
    signed = drafts.cosign(unsigned, factories.key("eve"))
    return json.dumps(signed.document).encode()


DECODERS = (
    Decoder(
        "key-request",
        ("salus.key_request:_form",),
        lambda data: key_request.parse(data, *Use),
        lambda: [_request()],
        errors=(SalusError, CliError),
        form="json",
    ),
    Decoder(
        "cosigned-draft",
        ("cli.drafts:parse",),
        drafts.parse,
        lambda: [_draft()],
        errors=(SalusError, CliError),
        form="json",
    ),
    Decoder(
        "enrolled-template",
        ("cli.templates:parse",),
        templates.parse,
        lambda: [json.dumps(to_json(simplest(templates.Enrolled))).encode()],
        errors=(SalusError, CliError),
        form="json",
        memory_factor=64,  # objects of JSON; the file is read with a cap of 512 KiB
    ),
    Decoder(
        "hex-argument",
        ("cli.hexes:hex_bytes",),
        lambda data: hex_bytes(data.decode(errors="surrogateescape"), 4, "a key"),
        lambda: [b"00ff10ab"],
        errors=(SalusError, CliError),
        encode=lambda value: value.hex().encode(),
        form="text",
    ),
    Decoder(
        "card",
        ("salus.card:parse",),
        lambda data: card.parse(data.decode(errors="replace")),
        lambda: [card.payload(SEED).encode(), card.payload(SEED).lower().encode()],
        form="text",
    ),
    Decoder(
        "wallet",
        ("salus.wallet:unseal", "salus.wallet:_version"),
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
    *(
        Decoder(
            f"desk-{kind.__name__.lower()}",
            covers,
            lambda data, kind=kind: desk_asks.opened(data, kind),
            lambda kind=kind: [_desk_ask(simplest(kind))],
            values=values_of(kind).map(_desk_ask),
        )
        for kind, covers in DESK.items()
    ),
    *(
        Decoder(
            f"vault-{kind.__name__.lower()}",
            ("node.duplicate_cases:DuplicateCases._read",) if kind is DuplicateCase else (),
            lambda data, kind=kind: decode(data, kind),
            lambda kind=kind: [encode(simplest(kind))],
            values=values_of(kind).map(encode),
            encode=encode,
        )
        for kind in (DuplicateCase, Search)
    ),
    Decoder(
        "typed-identifiers",
        (),
        lambda data: tuple(
            cli_identifiers._typed(line)
            for line in cli_identifiers._lines(data.decode(errors="surrogateescape"))
        ),
        lambda: [b"urn:oid:1.2|123\nurn:x|A-1\n"],
        errors=(SalusError, CliError),
        form="text",
    ),
    Decoder(
        "pepper-file",
        ("salus.pepper:read", "salus.pepper:opened"),
        pepper_file,
        lambda: [pepper.write(_pepper()).encode()],
        form="json",
        memory_factor=64,  # a dict of short texts
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
        "grant-notice",
        ("salus.grant_notice:open_notice",),
        lambda data: grant_notice.open_notice("net", "hosp-b", data, SEED),
        lambda: [sealed_notice(measured(encode(simplest(GrantNotice))))],
        errors=(SalusError,),
        values=values_of(GrantNotice).map(lambda one: sealed_notice(measured(encode(one)))),
        form="bytes",
    ),
    *(
        Decoder(
            f"read-{kind.__name__.lower()}",
            covers,
            lambda data, kind=kind: decode(data, kind),
            lambda kind=kind: [encode(simplest(kind))],
            values=values_of(kind).map(encode),
            encode=encode,
        )
        for kind, covers in READING.items()
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
        "message",
        ("salus.message:read", "salus.message:_formed"),
        lambda data: message.read(data, *PLACE),
        lambda: [written().document()],
        values=values_of(message.Message).map(lambda one: one.document()),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "browser-code",
        ("salus.browser_code:read",),
        lambda data: browser_code.read(data.decode("latin-1")),
        lambda: [page.code().text().encode()],
        values=values_of(browser_code.BrowserCode).map(lambda code: code.text().encode()),
        encode=lambda code: code.text().encode(),
        form="text",
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
