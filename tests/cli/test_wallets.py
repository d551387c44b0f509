"""A wallet on disk, and two commands at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cli.wallets import OpenWallet, _contents
from salus.permit import Purpose
from salus.wallet import GrantOpening, KnownRelation, Wallet
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
