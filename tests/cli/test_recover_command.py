"""Which proposal a patient objects to: named, where there are several."""

import pytest

from cli.commands.patient_recover import meant
from cli.errors import CliError

ONE, OTHER, LIKE = bytes.fromhex("ab" * 32), bytes.fromhex("cd" * 32), b"\xab" * 4 + bytes(28)


def test_the_only_proposal_is_meant_without_its_name() -> None:
    assert meant([ONE], None) == ONE
    assert meant([ONE, ONE], None) == ONE  # two proposers, one key


@pytest.mark.parametrize("beginning", [OTHER.hex(), OTHER.hex()[:8]])
def test_a_proposal_is_named_by_its_new_key_or_how_it_begins(beginning: str) -> None:
    assert meant([ONE, OTHER], beginning) == OTHER


@pytest.mark.parametrize(
    ("proposed", "beginning", "code"),
    [
        ([ONE, OTHER], None, "USAGE"),
        ([ONE, LIKE], ONE.hex()[:8], "USAGE"),
        ([ONE], ONE.hex()[:7], "USAGE"),
        ([ONE], "", "USAGE"),
        ([ONE], OTHER.hex(), "NO_RECOVERY"),
        ([ONE], "no hex at all", "NO_RECOVERY"),
    ],
)
def test_what_is_not_exactly_one_proposal_is_refused(
    proposed: list[bytes], beginning: str | None, code: str
) -> None:
    with pytest.raises(CliError) as caught:
        meant(proposed, beginning)
    assert caught.value.code == code
    if beginning is None:
        assert all(key.hex() in caught.value.message for key in proposed)
