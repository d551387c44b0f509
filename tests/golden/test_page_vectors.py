"""The page's own encoder against Python's, byte for byte: what a browser signs, and what it opens.

Run in node, whose WebCrypto is that of browsers; the modules are those that the page loads.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.consent import RevokeArgs
from contracts.erasure import WaitingArgs
from salus import disclosure, document, relation, ticket
from salus.browser_code import CODE_VERSION, BrowserCode
from salus.codec import encode
from salus.keys import SigningKey
from salus.login import Login
from salus.permit import Purpose, RecordClass
from salus.reading import derived_payload
from salus.transaction import Operation, build
from tests import factories, transcript
from tests.golden import test_patient_vectors as patient

PAGE = Path(__file__).parent / "page.txt"
KEY = SigningKey.from_seed(factories.seed("browser"))
HANDLE, PERMIT = factories.seed("handle"), factories.seed("permit")
GENESIS_HASH = factories.seed("genesis hash")
LOGIN = Login(
    factories.CHAIN_ID, "hosp-a", "https://hosp-a:7480", HANDLE, KEY.public_key, bytes(16), 2**40
)
POSSESSION = relation.possession(factories.CHAIN_ID, "hosp-a", HANDLE, "delegate")
REQUEST = ticket.Request(
    factories.CHAIN_ID,
    "hosp-a",
    HANDLE,
    ticket.records_commitment(bytes(32), (bytes(32), PERMIT)),
    Purpose.PATIENT_REQUEST,
    (RecordClass.DOCUMENTS, RecordClass.RESULTS),
    bytes(16),
    70_000,
    factories.seed("release key"),
    None,
    "hosp-a",
    KEY.public_key,
)
# Every width of each kind; the longest array and text would take megabytes.
VALUES: list[Any] = [
    None, True, False, 0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1,
    "", "a" * 31, "b" * 32, "ü字" * 60, "c" * 65_536, [], [1] * 15, [1] * 16, [[["x"]]],
]  # fmt: skip
LENGTHS = (0, 1, 255, 256, 65_535, 65_536)


def documents() -> list[tuple[dict[str, str], dict[str, Any]]]:
    """What is sent of some documents, whole and in part, and what a page shows of it."""
    bundle = json.dumps({"resourceType": "Bundle", "entry": [{"n": n} for n in range(11)]}).encode()
    found = []
    for content, kind, hidden in (
        (b"a finding\n", "text/plain", ()),
        (bundle, "application/fhir+json", ()),
        (bundle, "application/fhir+json", (1, 4, 5, 6, 11)),
        (bundle, "application/fhir+json", (0,)),
        (bytes(range(256)) * 8_193, "application/octet-stream", ()),
    ):
        opening = document.open_all(document.split(content, kind), factories.seed("salts"))
        shown = document.redact(opening, list(hidden))
        parts = disclosure.of_opening(shown)
        pieces = {
            index: part.content
            for index, part in enumerate(shown.parts)
            if isinstance(part, document.OpenPart)
        }
        plain = b"".join(disclosure.write(parts, lambda index, of=pieces: [of[index]]))
        kept = [part for index, part in enumerate(document.split(content, kind)) if index in pieces]
        whole = content if not hidden else b"".join(kept)
        if hidden and 0 not in hidden:
            _, gaps = msgspec.msgpack.decode(pieces[0])
            whole = gaps[0] + b"".join(
                pieces.get(index, b"") + gaps[index] for index in range(1, parts.count)
            )
        found.append(
            (
                {
                    "plain": plain.hex(),
                    "commitment": document.commitment(opening).hex(),
                    "digest": parts.digest().hex(),
                },
                {
                    "withheld": len(hidden),
                    "mediaType": None if 0 in hidden else kind,
                    "content": whole.hex(),
                },
            )
        )
    return found


DOCUMENTS = documents()


def code() -> BrowserCode:
    signed = KEY.sign(POSSESSION)
    return BrowserCode(CODE_VERSION, factories.CHAIN_ID, "hosp-a", HANDLE, KEY.public_key, signed)


def revocation() -> tuple[bytes, bytes, bytes]:
    args = encode(RevokeArgs("hosp-a", HANDLE, PERMIT, None, None))
    return signed_by_page(Operation("consent", "revoke", 1, args))


def stop() -> bytes:
    """Of a case whose id is the permit's."""
    args = encode(WaitingArgs("hosp-a", PERMIT))
    return signed_by_page(Operation("erasure", "cancel", 1, args))[0]


def signed_by_page(operation: Operation) -> tuple[bytes, bytes, bytes]:
    """The transaction, its id, what was signed."""
    tx = build(
        (operation,),
        signer=KEY,
        chain_id=factories.CHAIN_ID,
        genesis_hash=GENESIS_HASH,
        nonce=bytes(16),
        expiry_height=70_000,
    )
    return tx.raw, tx.id, tx.signed


def request() -> dict[str, str]:
    signature = KEY.sign(REQUEST.payload())
    commitment = ticket.request_commitment(bytes(32), REQUEST, signature)
    own = ticket.own_request(
        REQUEST.chain_id,
        REQUEST.custodian,
        REQUEST.handle,
        REQUEST.request_id,
        REQUEST.requester,
        REQUEST.classes,
        REQUEST.expiry_height,
        REQUEST.records,
        commitment,
    )
    return {
        "records": REQUEST.records.hex(),
        "payload": REQUEST.payload().hex(),
        "commitment": commitment.hex(),
        "own_request": own.hex(),
    }


def derived() -> tuple[dict[str, str], dict[str, str]]:
    """What a page is given of a document that the custodian made of a version; and the same with one
    thing wrong each."""
    node, made = factories.key("node hosp-a"), factories.seed("derived")
    payload = derived_payload(factories.CHAIN_ID, "hosp-a", REQUEST.request_id, PERMIT, made)
    signature = node.sign(payload)
    right = {
        "request_id": REQUEST.request_id.hex(),
        "version": PERMIT.hex(),
        "derived": made.hex(),
        "signature": signature.hex(),
        "node_key": node.public_key.hex(),
    }
    wrong = {name: factories.seed("wrong").hex()[: len(value)] for name, value in right.items()}
    wrong["signature"] = (bytes([signature[0] ^ 1]) + signature[1:]).hex()
    return right, wrong


NOUNS = {
    "login": lambda: patient.lines(payload=LOGIN.payload(), signature=KEY.sign(LOGIN.payload())),
    "enrolment": lambda: patient.lines(possession=POSSESSION, code=code().text()),
    "revocation": lambda: patient.lines(
        **dict(zip(("raw", "id", "signed"), revocation(), strict=True))
    ),
    "stop": lambda: patient.lines(raw=stop()),
    "own-request": lambda: patient.lines(**request()),
    "derived": lambda: patient.lines(**derived()[0]),
}


def test_the_bytes_are_those_of_the_vectors(rewrite: bool) -> None:
    transcript.check(PAGE, lambda name: NOUNS[name](), rewrite=rewrite)


def test_the_page_makes_the_same_bytes_with_its_own_encoder() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here, whose WebCrypto is that of browsers")
    given = {
        "seed": KEY.seed.hex(),
        "public": KEY.public_key.hex(),
        "handle": HANDLE.hex(),
        "permit": PERMIT.hex(),
        "genesis_hash": GENESIS_HASH.hex(),
        "release_key": REQUEST.release_key.hex(),
        "values": VALUES,
        "lengths": LENGTHS,
        "requester_secret": patient.REQUESTER.hex(),
        "envelope": encode(patient.sealed()[0]).hex(),
        "chunk": patient.sealed()[1].hex(),
        "documents": [each for each, _ in DOCUMENTS],
        "derived": derived()[0],
        "wrong": derived()[1],
    }
    command = [node, "--no-warnings", Path(__file__).with_name("page.mjs")]
    done = subprocess.run(
        command, input=json.dumps(given), check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    raw, tx_id, signed = revocation()
    assert json.loads(done.stdout) == {
        "decoded": True,
        "documents": [shown for _, shown in DOCUMENTS],
        "faults": ["refused"],
        "derived": [derived()[0]["derived"], PERMIT.hex()] + ["refused"] * 5,
        "values": [encode(value).hex() for value in VALUES],
        "bytes": [encode(bytes(length)).hex() for length in LENGTHS],
        "login": LOGIN.payload().hex(),
        "code": code().text(),
        "revocation": {"raw": raw.hex(), "id": tx_id.hex(), "signed": signed.hex()},
        "stop": stop().hex(),
        "request": request(),
        "shown_bytes": b"".join(patient.disclosure.write(patient.PARTS, patient.contents)).hex(),
    }
