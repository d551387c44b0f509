"""People of an organisation, by the commands that its administrator types."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from salus.codes import Exit
from tests.e2e.consortium import PATIENCE, document, error, salus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("staff") / "net"
    try:
        document("testnet", "up", "-n", 4, "--home", home)
        yield home
    finally:
        assert salus("testnet", "down", "--home", home).returncode == 0


def listed(net: Path, org: str) -> dict[str, str]:
    found: Any = document("staff", "list", "--at", org, "--home", net)
    return {one["name"]: one["status"] for one in found["staff"]}


def test_a_person_gets_a_key_and_loses_it(net: Path) -> None:
    added = document("staff", "add", "dr-bo", "--at", "hosp-b", "--role", "clinician", "--role",
                     "emergency", "--qualification", "licence 77", "--home", net, *PATIENCE)  # fmt: skip
    assert added["roles"] == ["clinician", "emergency"]
    account = document("query", "account", added["key"], "--home", net)
    assert (account["member"], account["capacity"]) == ("hosp-b", "staff")
    block = document("block", added["height"], "--home", net)
    assert "licence" not in str(block)
    assert "dr-bo" not in str(block)
    assert listed(net, "hosp-b") == {"dr-bo": "active"}
    again = error(Exit.REFUSES_OVERWRITE, "staff", "add", "dr-bo", "--at", "hosp-b", "--home", net)
    assert again["code"] == "REFUSES_OVERWRITE"
    document("staff", "revoke", "dr-bo", "--at", "hosp-b", "--home", net, *PATIENCE)
    assert listed(net, "hosp-b") == {"dr-bo": "revoked"}


def test_a_registration_that_was_cut_off_goes_on_with_the_same_key(net: Path) -> None:
    made = document("keys", "new", "nurse-cy", "--node", "hosp-c", "--home", net)
    added = document("staff", "add", "nurse-cy", "--at", "hosp-c", "--role", "nurse", "--home", net,
                     *PATIENCE)  # fmt: skip
    known = document("query", "account", added["key"], "--home", net)
    assert known["address"] == made["address"]


def test_a_staff_key_is_found_by_its_name_in_a_testnet(net: Path) -> None:
    document("staff", "add", "dr-di", "--at", "hosp-d", "--home", net, *PATIENCE)
    refused = error(Exit.REJECTED, "staff", "revoke", "dr-di", "--at", "hosp-d", "--as", "dr-di",
                    "--home", net)  # fmt: skip
    assert refused["code"] == "NOT_AUTHORISED"  # a person is no operator: but the key was found
    assert listed(net, "hosp-d") == {"dr-di": "active"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("Dr Evil", "--at", "hosp-a"), "USAGE"),
        (("operator", "--at", "hosp-a"), "REFUSES_OVERWRITE"),
        (("dr-e", "--at", "hosp-a", "--role", "king"), "USAGE"),
        (("dr-e", "--at", "hosp-a", "--until", "soon"), "USAGE"),
    ],
)
def test_what_is_meant_wrongly_is_told_before_anything_is_made(
    net: Path, words: tuple[str, ...], code: str
) -> None:
    done = salus("staff", "add", *words, "--home", net, "--json")
    assert done.returncode not in (0, Exit.BUG)
    assert code in done.stdout
    assert "dr-e" not in listed(net, "hosp-a")
