"""One fixed example of each thing a patient or a requester computes, byte for byte.

A difference here is a new format: seeds on paper give other keys, releases under way do not open.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from salus import card as card_payload
from salus import disclosure, document, identity_tag, patient_keys, release
from salus.codec import encode
from salus.keys import box_public_key
from tests import factories, transcript
from tests.salus import rfc9180

SEED = bytes(range(32))
RELATION = patient_keys.Relation(factories.CHAIN_ID, "hosp-a")
REQUESTER, RELEASE_KEY = factories.seed("ephemeral key"), factories.seed("release key")
DOCUMENT = document.open_all(
    document.split(b'{"resourceType":"Bundle","entry":[1,{"a":1.50},[]]}', "application/fhir+json"),
    factories.seed("salts"),
)
SHOWN = document.redact(DOCUMENT, [1, 3])
PARTS = disclosure.of_opening(SHOWN)
TERMS = release.Terms(
    1,
    factories.CHAIN_ID,
    "hosp-a",
    factories.seed("request")[:16],
    document.commitment(DOCUMENT),
    PARTS.digest(),
    disclosure.shown_size(PARTS),
)
PAGE = Path(__file__).parent / "patient.txt"


def lines(**values: bytes | str) -> str:
    return "\n".join(
        f"{name} {value if isinstance(value, str) else value.hex()}"
        for name, value in values.items()
    )


def pair(keys: patient_keys.KeyPair) -> str:
    public = keys.public
    return lines(
        signing_secret=keys.signing.seed,
        signing_public=public.signing,
        box_secret=keys.box_secret,
        box_public=public.box,
    )


def card() -> str:
    secret = patient_keys.card_secret(SEED, RELATION, 0)
    tag = patient_keys.card_tag(secret)
    return lines(secret=secret, tag=tag, payload=card_payload.payload(secret))


def contents(index: int) -> list[bytes]:
    part = SHOWN.parts[index]
    assert isinstance(part, document.OpenPart)
    return [part.content]


def shown() -> str:
    raw = b"".join(disclosure.write(PARTS, contents))
    return lines(commitment=document.commitment(SHOWN), digest=PARTS.digest(), shown_bytes=raw)


def sealed() -> tuple[release.Release, bytes]:
    """With a known ephemeral key, which the library draws at random."""
    wrapped = rfc9180.seal(
        box_public_key(REQUESTER),
        factories.seed("sender's ephemeral key"),
        b"salus/v1/release-key\0" + encode(TERMS),
        b"",
        RELEASE_KEY,
        rfc9180.AES_256_GCM,
    )
    _, stream = release.seal(TERMS, RELEASE_KEY, box_public_key(REQUESTER))
    (chunk,) = stream.seal_all(disclosure.write(PARTS, contents))
    return release.Release(TERMS, wrapped), chunk


def released() -> str:
    envelope, chunk = sealed()
    return lines(
        requester_secret=REQUESTER,
        release_key=RELEASE_KEY,
        envelope=encode(envelope),
        chunk=chunk,
    )


def tag() -> str:
    identifier = identity_tag.normalise("https://hl7.org/fhir/sid/us-ssn/", "123-45-678９")
    root = identity_tag.PepperScheme(factories.seed("pepper")).start(identifier).finish(())
    return lines(
        pepper=factories.seed("pepper"),
        system=identifier.system,
        value=identifier.value,
        root=root,
        tag=identity_tag.identity_tag(root, RELATION),
    )


NOUNS: dict[str, Callable[[], str]] = {
    "seed": lambda: lines(seed=SEED, fingerprint=patient_keys.fingerprint(SEED)),
    "handle": lambda: lines(handle=patient_keys.handle(SEED, RELATION)),
    "owner-keys": lambda: pair(patient_keys.owner_keys(SEED, RELATION)),
    "rotated-keys": lambda: pair(patient_keys.owner_keys(SEED, RELATION, 1)),
    "browser-keys": lambda: pair(patient_keys.browser_keys(SEED, RELATION, 0)),
    "friends-keys": lambda: lines(
        guardian_secret=patient_keys.guardian_key(SEED, RELATION, bytes(32), 1).seed,
        delegate_secret=patient_keys.delegate_key(SEED, RELATION, bytes(32), 1).seed,
    ),
    "card": card,
    "identity-tag": tag,
    "disclosure": shown,
    "release": released,
}


def test_the_bytes_are_those_of_the_vectors(rewrite: bool) -> None:
    transcript.check(PAGE, lambda name: NOUNS[name](), rewrite=rewrite)


def test_every_noun_has_its_vector() -> None:
    found = PAGE.read_text().splitlines()
    assert {line for line, after in pairwise(found) if after == "----"} == set(NOUNS)


def test_the_release_of_the_vectors_opens() -> None:
    envelope, chunk = sealed()
    stream = release.open_release(
        envelope,
        REQUESTER,
        chain_id=TERMS.chain_id,
        custodian=TERMS.custodian,
        request_id=TERMS.request_id,
        commitment=TERMS.commitment,
    )
    assert stream.open(0, chunk) == b"".join(disclosure.write(PARTS, contents))


def test_a_page_can_open_the_release_with_webcrypto_alone() -> None:
    """A third implementation, in the language and with the cryptography that browsers have."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here, whose WebCrypto is that of browsers")
    command = [node, "--no-warnings", Path(__file__).with_name("webcrypto.mjs"), PAGE]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "release_key": RELEASE_KEY.hex(),
        "shown_bytes": b"".join(disclosure.write(PARTS, contents)).hex(),
        "handle": patient_keys.handle(SEED, RELATION).hex(),
    }
