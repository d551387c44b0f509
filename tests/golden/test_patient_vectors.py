"""One fixed example of each thing a patient or a requester computes, byte for byte.

A difference here is a new format: seeds on paper give other keys, releases under way do not open.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from salus import patient_keys
from tests import factories, transcript

SEED = bytes(range(32))
RELATION = patient_keys.Relation(factories.CHAIN_ID, "hosp-a")
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
    return lines(secret=secret, tag=patient_keys.card_tag(secret))


NOUNS: dict[str, Callable[[], str]] = {
    "seed": lambda: lines(seed=SEED, fingerprint=patient_keys.fingerprint(SEED)),
    "handle": lambda: lines(handle=patient_keys.handle(SEED, RELATION)),
    "owner-keys": lambda: pair(patient_keys.owner_keys(SEED, RELATION)),
    "rotated-keys": lambda: pair(patient_keys.owner_keys(SEED, RELATION, 1)),
    "browser-keys": lambda: pair(patient_keys.browser_keys(SEED, RELATION, 0)),
    "card": card,
}


def test_the_bytes_are_those_of_the_vectors(rewrite: bool) -> None:
    transcript.check(PAGE, lambda name: NOUNS[name](), rewrite=rewrite)


def test_every_noun_has_its_vector() -> None:
    found = PAGE.read_text().splitlines()
    assert {line for line, after in pairwise(found) if after == "----"} == set(NOUNS)
