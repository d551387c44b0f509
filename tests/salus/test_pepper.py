"""The pepper's sealed copies: one member's opens for him alone, and another pepper is seen."""

import json
from typing import Any

import pytest

from salus import pepper
from salus.errors import BadMessage, VerificationError
from salus.keys import box_public_key
from tests import factories

SECRET, OTHER = factories.seed("pepper"), factories.seed("another pepper")
CHAIN = factories.CHAIN_ID
BOXES = {name: factories.seed(f"box {name}") for name in ("hosp-a", "hosp-b")}
PUBLIC = {name: box_public_key(seed) for name, seed in BOXES.items()}


def file() -> pepper.PepperFile:
    return pepper.sealed(SECRET, CHAIN, PUBLIC)


def test_each_member_opens_its_own_copy() -> None:
    made = pepper.read(pepper.write(file()).encode())
    assert made == pepper.read(pepper.write(made).encode())
    for name, seed in BOXES.items():
        pepper.require(made, CHAIN, pepper.commitment(SECRET), name)
        assert pepper.opened(made, name, seed) == SECRET


def test_the_file_holds_nothing_that_opens_itself() -> None:
    text = pepper.write(file())
    assert SECRET.hex() not in text
    assert pepper.commitment(SECRET).hex() in text
    assert pepper.write(file()) != text, "each copy is under a key of its own"


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": "other-chain"},
        {"commitment": pepper.commitment(OTHER).hex()},
        {"copies": {"hosp-b": "00" * pepper.COPY_BYTES}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_chain_pepper_or_member_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(pepper.write(file())) | change
    changed = pepper.read(json.dumps(document).encode())
    with pytest.raises(VerificationError) as caught:
        pepper.require(changed, CHAIN, pepper.commitment(SECRET), "hosp-a")
    assert caught.value.code == "WRONG_PEPPER"
    with pytest.raises(VerificationError) as caught:
        pepper.opened(changed, "hosp-a", BOXES["hosp-a"])
    assert caught.value.code == "WRONG_PEPPER"


def test_a_copy_under_another_members_name_opens_for_nobody() -> None:
    made = file()
    swapped = pepper.PepperFile(
        made.format, made.chain_id, made.commitment, {"hosp-a": made.copies["hosp-b"]}
    )
    for seed in BOXES.values():
        with pytest.raises(VerificationError):
            pepper.opened(swapped, "hosp-a", seed)


def test_a_copy_of_another_pepper_under_the_right_name_is_seen() -> None:
    """Whoever seals can write any commitment above it."""
    lying = pepper.sealed(OTHER, CHAIN, PUBLIC)
    named = pepper.PepperFile(
        lying.format, CHAIN, pepper.commitment(SECRET).hex(), dict(lying.copies)
    )
    pepper.require(named, CHAIN, pepper.commitment(SECRET), "hosp-a")
    with pytest.raises(VerificationError):
        pepper.opened(named, "hosp-a", BOXES["hosp-a"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        json.dumps({"format": "salus-pepper-2"}).encode(),
        b" " * (pepper.PEPPER_FILE_BYTES_MAX + 1),
    ],
)
def test_what_is_no_pepper_file_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        pepper.read(data)
    assert caught.value.code == "BAD_PEPPER_FILE"


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"copies": {}}, {"copies": {"hosp-a": "AA"}}, {"commitment": "ab"}],
    ids=str,
)
def test_every_field_of_the_file_is_held_to_its_form(change: dict[str, Any]) -> None:
    document = json.loads(pepper.write(file())) | change
    with pytest.raises(BadMessage):
        pepper.read(json.dumps(document).encode())


def test_nothing_is_sealed_to_a_key_of_zeroes() -> None:
    with pytest.raises(BadMessage) as caught:
        pepper.sealed(SECRET, CHAIN, {"hosp-a": bytes(32)})
    assert caught.value.code == "BAD_BOX_KEY"
