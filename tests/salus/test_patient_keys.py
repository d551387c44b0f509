"""A patient's keys: one seed, and nothing public that two organisations have in common (health.md §4.1)."""

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus.errors import BadMessage
from salus.keys import SigningKey, box_public_key, verify
from salus.patient_keys import (
    KeyPair,
    Relation,
    browser_keys,
    card_secret,
    card_tag,
    delegate_key,
    fingerprint,
    guardian_key,
    handle,
    owner_keys,
)
from tests import factories
from tests.salus import data, rfc5869

SEED = factories.seed("patient")
HERE = Relation("health-dev", "hosp-a")
THERE = Relation("health-dev", "hosp-b")

seeds = st.binary(min_size=32, max_size=32)
relations = st.builds(
    Relation,
    st.from_regex(r"[a-z][a-z0-9-]{2,31}", fullmatch=True),
    st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
)


def test_the_second_computation_is_right() -> None:
    seen = 0
    for group in data.load("wycheproof/hkdf_sha256_test.json")["testGroups"]:
        for case in group["tests"]:
            if case["result"] != "valid":
                continue  # sizes that HKDF cannot give; nobody here asks for them
            made = rfc5869.hkdf(
                *(bytes.fromhex(case[k]) for k in ("ikm", "salt", "info")), case["size"]
            )
            assert made.hex() == case["okm"], case["tcId"]
            seen += 1
    assert seen > 40


def independent(seed: bytes, kind: str, *context: object) -> bytes:
    """docs/formats.md §16, word by word, with other libraries."""
    info = b"salus/v1/patient-" + kind.encode() + b"\0" + msgpack.packb(context)
    return rfc5869.hkdf(seed, b"", info, 32)


@settings(deadline=None, max_examples=60)
@given(seeds, relations, st.integers(0, 2**53 - 1))
def test_everything_is_what_the_format_says(seed: bytes, relation: Relation, number: int) -> None:
    of = [relation.chain_id, relation.organisation]
    assert handle(seed, relation) == independent(seed, "handle", of)
    assert card_secret(seed, relation, number) == independent(seed, "card", of, number)
    for friend, kind in ((guardian_key, "guardian"), (delegate_key, "delegate")):
        expected = independent(seed, kind, of, bytes(32), number)
        assert friend(seed, relation, bytes(32), number).seed == expected
    for made, prefix in ((owner_keys, ""), (browser_keys, "browser-")):
        pair = made(seed, relation, number)
        assert pair.signing.seed == independent(seed, f"{prefix}signing", of, number)
        assert pair.box_secret == independent(seed, f"{prefix}box", of, number)
        assert pair.public.signing == pair.signing.public_key
        assert pair.public.box == box_public_key(pair.box_secret)


def published(seed: bytes, relation: Relation) -> set[bytes]:
    """All that ever stands in the open for a relation, over rotations, browsers and cards."""
    values = {handle(seed, relation)}
    for number in range(4):
        values.add(card_tag(card_secret(seed, relation, number)))
        for made in (owner_keys, browser_keys):
            values |= {made(seed, relation, number).public.signing}
            values |= {made(seed, relation, number).public.box}
    return values


def secrets(seed: bytes, relation: Relation) -> set[bytes]:
    values = {seed, fingerprint(seed)}
    for number in range(4):
        values.add(card_secret(seed, relation, number))
        for made in (owner_keys, browser_keys):
            pair = made(seed, relation, number)
            values |= {pair.signing.seed, pair.box_secret}
    return values


def test_two_relations_of_one_patient_share_no_value_public_or_secret() -> None:
    all_of_them = [
        Relation(chain, organisation)
        for chain in ("health-dev", "health-prod")
        for organisation in ("hosp-a", "hosp-b", "hosp", "a", "hosp-ab")
    ]
    shown = [published(SEED, relation) for relation in all_of_them]
    assert [len(values) for values in shown] == [1 + 4 + 8 + 8] * len(all_of_them)
    assert len(set().union(*shown)) == sum(len(values) for values in shown)
    hidden = set().union(*(secrets(SEED, relation) for relation in all_of_them))
    assert len(hidden) == 2 + len(all_of_them) * (4 + 8 + 8)
    assert not hidden & set().union(*shown), "no secret stands in the open"


def test_names_that_run_together_are_told_apart() -> None:
    """Chain «abc» and organisation «d…» are not chain «abcd» and organisation «…»."""
    assert handle(SEED, Relation("abc", "de")) != handle(SEED, Relation("abcd", "e"))


def test_a_rotation_changes_the_keys_and_keeps_the_handle() -> None:
    first, second = owner_keys(SEED, HERE), owner_keys(SEED, HERE, 1)
    assert first.public == owner_keys(SEED, HERE, 0).public
    assert {first.public.signing, first.public.box}.isdisjoint(
        {second.public.signing, second.public.box}
    )
    signature = second.signing.sign(b"payload")
    assert verify(second.public.signing, b"payload", signature)
    assert not verify(first.public.signing, b"payload", signature)


def test_a_bit_of_the_seed_changes_everything() -> None:
    other = bytes([SEED[0] ^ 1, *SEED[1:]])
    assert published(SEED, HERE).isdisjoint(published(other, HERE))
    assert fingerprint(SEED) != fingerprint(other)


@pytest.mark.parametrize("organisation", ["", "Hosp-A", "hosp a", "hosp-a\n", "x" * 33])
def test_a_mistyped_organisation_makes_no_strangers_handle(organisation: str) -> None:
    with pytest.raises(BadMessage):
        handle(SEED, Relation("health-dev", organisation))
    with pytest.raises(BadMessage):
        owner_keys(SEED, Relation(organisation, "hosp-a"))


@pytest.mark.parametrize("number", [-1, 2**53])
def test_a_number_that_is_none_is_refused(number: int) -> None:
    with pytest.raises(BadMessage):
        owner_keys(SEED, HERE, number)


def test_a_card_is_not_made_of_what_stands_on_the_chain() -> None:
    secret = card_secret(SEED, HERE, 0)
    assert card_tag(secret) not in (secret, card_tag(card_secret(SEED, HERE, 1)))


def test_no_secret_is_shown_by_accident() -> None:
    pair = owner_keys(SEED, THERE)
    text = f"{pair!r} {pair} {[pair]}"
    assert pair.signing.seed.hex() not in text
    assert pair.box_secret.hex() not in text
    assert repr(pair.box_secret) not in text
    assert pair == KeyPair(SigningKey.from_seed(pair.signing.seed), pair.box_secret)
