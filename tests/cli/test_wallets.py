"""A wallet on disk, and two commands at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from cli.errors import CliError
from cli.wallets import OpenWallet, _contents
from salus.permit import Purpose
from salus.wallet import NONCE_BYTES, WALLET_VERSION, GrantOpening, KnownRelation, Wallet, seal
from tests import factories
from tests.contracts.lab import h

SEED = factories.seed("patient")
COMMANDS = 8


def opening(number: int) -> GrantOpening:
    return GrantOpening(
        "hosp-a", h("handle"), h(f"{number}"), "hosp-b", Purpose.TREATMENT, h("salt"), b"terms"
    )


def test_two_commands_at_once_lose_no_opening(tmp_path: Path) -> None:
    """Without its opening a permit cannot be weighed, and its docket neither."""
    path = tmp_path / "ada.wallet"
    wallets = [OpenWallet("ada", path, SEED, Wallet()) for _ in range(COMMANDS)]  # opened together

    def grant(number: int) -> None:
        wallets[number].update(lambda contents: contents.with_opening(opening(number)))

    with ThreadPoolExecutor(COMMANDS) as threads:
        list(threads.map(grant, range(COMMANDS)))
    kept = {one.permit for one in _contents(path, SEED).openings}
    assert kept == {h(f"{number}") for number in range(COMMANDS)}


def test_an_owner_key_is_found_whatever_was_named_since(tmp_path: Path) -> None:
    """A rotation or a recovery that came to nothing leaves numbers behind."""
    wallet = OpenWallet("ada", tmp_path / "ada.wallet", SEED, Wallet())
    relation = KnownRelation("hosp-a", h("handle"), False, 3)
    for generation in range(4):
        key = wallet.keys("chain", relation, generation).signing.public_key
        found = wallet.owner("chain", relation, key)
        assert found is not None
        assert found.public_key == key
    stranger = factories.key("mal").public_key
    assert not wallet.owns("chain", relation, stranger)


@pytest.mark.parametrize(
    ("version", "word", "next_step"),
    [
        (WALLET_VERSION - 1, "an older format", "salus patient rebuild ada"),
        (WALLET_VERSION + 1, "a newer format", "use the Salus that wrote it"),
    ],
)
def test_a_wallet_of_another_format_says_so_and_what_to_do(
    tmp_path: Path, version: int, word: str, next_step: str
) -> None:
    path = tmp_path / "ada.wallet"
    path.write_bytes(
        seal(msgspec.structs.replace(Wallet(), version=version), SEED, bytes(NONCE_BYTES))
    )
    with pytest.raises(CliError) as caught:
        _contents(path, SEED)
    assert caught.value.code == "WALLET_VERSION"
    assert str(path) in caught.value.message
    assert word in caught.value.message
    assert next_step in caught.value.next_step


def test_a_damaged_wallet_is_no_dead_end(tmp_path: Path) -> None:
    path = tmp_path / "ada.wallet"
    path.write_bytes(b"torn")
    with pytest.raises(CliError) as caught:
        _contents(path, SEED)
    assert caught.value.code == "BAD_WALLET"
    assert "salus patient rebuild ada" in caught.value.next_step
