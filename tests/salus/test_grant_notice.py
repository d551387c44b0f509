"""The sealed field of a permit: opened by the grantee's box key alone, and of one length."""

from typing import Any

import pytest
from msgspec.structs import replace

from salus.errors import BadMessage, VerificationError
from salus.grant_notice import (
    NOTICE_VERSION,
    SEALED_NOTICE_BYTES,
    GrantNotice,
    Here,
    open_notice,
    seal_notice,
)
from salus.keys import box_public_key
from tests import factories
from tests.contracts.lab import h

SECRET = h("box of hosp-b")
OWNER = factories.key("ada at hosp-b")
UNSAID = GrantNotice(NOTICE_VERSION, "hosp-a", h("handle"), h("permit"), None)
NOTICE = UNSAID.said_here("net", "hosp-b", h("here"), OWNER)
assert NOTICE.here is not None


def sealed(notice: GrantNotice = NOTICE) -> bytes:
    return seal_notice("net", "hosp-b", notice, box_public_key(SECRET))


@pytest.mark.parametrize("here", [None, NOTICE.here])
@pytest.mark.parametrize("custodian", ["a", "a" * 32])
def test_every_notice_has_the_same_length_and_opens(here: Here | None, custodian: str) -> None:
    notice = GrantNotice(NOTICE_VERSION, custodian, h("handle"), h("permit"), here)
    assert len(sealed(notice)) == SEALED_NOTICE_BYTES == 512
    assert open_notice("net", "hosp-b", sealed(notice), SECRET) == notice


def test_nothing_of_it_shows_and_no_two_are_alike() -> None:
    one, other = sealed(), sealed()
    assert one != other
    for secret in (NOTICE.handle, NOTICE.permit, h("here"), b"hosp-a"):
        assert secret not in one


@pytest.mark.parametrize(
    ("chain_id", "grantee", "secret"),
    [("other", "hosp-b", SECRET), ("net", "hosp-c", SECRET), ("net", "hosp-b", h("another"))],
)
def test_it_opens_for_one_member_of_one_chain(chain_id: str, grantee: str, secret: bytes) -> None:
    with pytest.raises(VerificationError):
        open_notice(chain_id, grantee, sealed(), secret)


@pytest.mark.parametrize("at", [0, 31, 32, 300, 511])
def test_a_changed_byte_is_noticed(at: int) -> None:
    raw = bytearray(sealed())
    raw[at] ^= 1
    with pytest.raises(VerificationError):
        open_notice("net", "hosp-b", bytes(raw), SECRET)


@pytest.mark.parametrize("length", [0, 47, 48, 511])
def test_another_length_is_none(length: int) -> None:
    with pytest.raises(VerificationError):
        open_notice("net", "hosp-b", sealed()[:length], SECRET)


def test_nothing_is_sealed_to_a_key_of_low_order() -> None:
    with pytest.raises(BadMessage) as caught:
        seal_notice("net", "hosp-b", NOTICE, bytes(32))
    assert caught.value.code == "BAD_BOX_KEY"


@pytest.mark.parametrize(
    "changes",
    [
        {"custodian": "hosp-c"},
        {"handle": h("another patient")},
        {"permit": h("another permit")},
        {"here": None},
        {"here": Here(h("somebody else here"), NOTICE.here.signature)},
        {"here": Here(h("here"), bytes(64))},
    ],
)
def test_a_handle_here_is_proved_for_this_permit_alone(changes: dict[str, Any]) -> None:
    """G-16: whoever grants something elsewhere could else name anybody's handle here."""
    key = OWNER.public_key
    assert NOTICE.proves_here("net", "hosp-b", key)
    assert not replace(NOTICE, **changes).proves_here("net", "hosp-b", key)
    for chain_id, grantee, other in (
        ("other", "hosp-b", key),
        ("net", "hosp-c", key),
        ("net", "hosp-b", factories.key("mal").public_key),
    ):
        assert not NOTICE.proves_here(chain_id, grantee, other)
