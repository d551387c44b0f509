"""A seed on paper: what is enough opens it, what is wrong is named, and no word gets into a message."""

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic.wordlist import WORDLIST

from salus.codes import CODES
from salus.patient_keys import fingerprint
from salus.seed_backup import (
    ITERATION_EXPONENT,
    ITERATION_EXPONENT_MAX,
    SHARE_WORDS,
    Group,
    SeedBackupError,
    combine,
    split,
)
from tests import factories
from tests.salus import data

SEED = factories.seed("patient")
GUARDIANS, NOTARY, FRIENDS = Group(2, 3), Group(1, 1), Group(3, 5)
Shares = tuple[tuple[str, ...], ...]


def made(*groups: Group, needed: int = 1, passphrase: str = "", seed: bytes = SEED) -> Shares:
    return split(seed, groups, groups_needed=needed, passphrase=passphrase, iteration_exponent=0)


def refused(call: Callable[[], object]) -> SeedBackupError:
    with pytest.raises(SeedBackupError) as caught:
        call()
    error = caught.value
    assert error.code in CODES
    assert error.hint
    return error


@pytest.fixture(scope="module")
def shares() -> Shares:
    return made(GUARDIANS, NOTARY, FRIENDS, needed=2)


def test_every_sufficient_set_opens_and_one_share_less_does_not(shares: Shares) -> None:
    guardians, notary, friends = shares
    assert [len(group) for group in shares] == [3, 1, 5]
    assert all(len(share.split()) == SHARE_WORDS for group in shares for share in group)
    enough = (
        [[*two, *notary] for two in combinations(guardians, 2)]
        + [[*three, *notary] for three in combinations(friends, 3)]
        + [[*guardians[1:], *friends[::2]]]
    )
    for given_shares in enough:
        assert combine(given_shares) == SEED
        assert combine(given_shares[::-1]) == SEED
        for left_out in range(len(given_shares)):
            fewer = given_shares[:left_out] + given_shares[left_out + 1 :]
            assert refused(lambda few=fewer: combine(few)).code == "SHARES_MISSING"


def test_what_is_missing_is_said_group_by_group(shares: Shares) -> None:
    guardians, _, friends = shares
    error = refused(lambda: combine([guardians[0], *friends[:3]]))
    assert error.message == "1 of 2 groups are complete: group 1 has 1 of 2, group 3 has 3 of 3"
    assert error.facts == {"groups_complete": 1, "groups_needed": 2}
    assert refused(lambda: combine([])).code == "SHARES_MISSING"


def test_a_share_that_is_given_twice_counts_once(shares: Shares) -> None:
    guardians, notary, _ = shares
    twice = [guardians[0], guardians[0], *notary]
    assert refused(lambda: combine(twice)).code == "SHARES_MISSING"
    assert combine([*twice, guardians[2]]) == SEED


@settings(deadline=None, max_examples=25)
@given(
    st.binary(min_size=32, max_size=32),
    st.lists(
        st.integers(2, 4).flatmap(lambda n: st.builds(Group, st.integers(2, n), st.just(n)))
        | st.just(Group(1, 1)),
        min_size=1,
        max_size=3,
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
    st.data(),
)
def test_any_plan_leads_back(
    seed: bytes, groups: list[Group], passphrase: str, draw: st.DataObject
) -> None:
    needed = draw.draw(st.integers(1, len(groups)))
    parts = made(*groups, needed=needed, passphrase=passphrase, seed=seed)
    order = draw.draw(st.permutations(range(len(groups))))[:needed]
    given_shares = [
        share
        for index in order
        for share in draw.draw(st.permutations(parts[index]))[: groups[index].needed]
    ]
    assert combine(given_shares, passphrase, expected=fingerprint(seed)) == seed
    error = refused(lambda: combine(given_shares[:-1], passphrase))
    assert error.code == "SHARES_MISSING"


# -- wrong shares --------------------------------------------------------------------------------


def test_every_error_in_one_word_is_caught(shares: Shares) -> None:
    """33 places, 1,023 other words each: the checksum misses none (SLIP-39: up to three words)."""
    (notary,) = shares[1]
    words = notary.split()
    for place in range(SHARE_WORDS):
        for wrong in WORDLIST:
            if wrong == words[place]:
                continue
            text = " ".join([*words[:place], wrong, *words[place + 1 :]])
            with pytest.raises(SeedBackupError) as caught:
                combine([text])
            assert caught.value.code == "BAD_SHARE"


def test_words_in_the_wrong_order_and_unknown_words_are_caught(shares: Shares) -> None:
    guardians = shares[0]
    words = guardians[0].split()
    for place in range(SHARE_WORDS - 1):
        if words[place] == words[place + 1]:
            continue
        swapped = [*words[:place], words[place + 1], words[place], *words[place + 2 :]]
        assert refused(lambda s=swapped: combine([" ".join(s)])).code == "BAD_SHARE"
    error = refused(lambda: combine([guardians[1], " ".join([*words[:6], "salus", *words[7:]])]))
    assert (error.code, error.facts) == ("BAD_SHARE", {"share": 2, "word": 7})
    for text in ("", " ", " ".join(words[:-1]), " ".join([*words, "academic"]), "x" * 100_000):
        assert refused(lambda t=text: combine([t])).code == "BAD_SHARE"


def test_no_message_says_anything_of_the_shares_that_it_refuses(shares: Shares) -> None:
    """What is said of a fault is the same, word for word, for two backups that share nothing.

    (A message may use a word that is on SLIP-39's list too: «begin», «group».)"""
    another = made(GUARDIANS, NOTARY, FRIENDS, needed=2)
    said = _said_of_faults(shares, another)
    assert said == _said_of_faults(another, shares)
    assert not any("zzzz" in each for each in said)


def _said_of_faults(shares: Shares, other: Shares) -> list[str]:
    guardians, notary, friends = shares
    words = guardians[0].split()
    last = next(word for word in words[4:] if word != words[-1])  # two that differ change places
    place = words.index(last)
    swapped = [*words]
    swapped[place], swapped[-1] = words[-1], words[place]
    refusals = [
        refused(lambda g=given: combine(g))
        for given in (
            [" ".join([*words[:8], "zzzz", *words[9:]])],
            [" ".join(swapped)],
            [guardians[0], other[0][0]],
            [guardians[0], notary[0]],
            [*friends[:2]],
        )
    ]
    return [f"{error.code} {error.message} {error.hint} {error.facts}" for error in refusals]


def test_case_and_spaces_do_not_matter(shares: Shares) -> None:
    guardians, notary, _ = shares
    untidy = [f"  {share.upper()}\n".replace(" ", "\t ") for share in (*guardians[:2], *notary)]
    assert combine(untidy) == SEED


def test_a_share_of_another_backup_is_named(shares: Shares) -> None:
    guardians, notary, _ = shares
    other = made(GUARDIANS, NOTARY, FRIENDS, needed=2)
    error = refused(lambda: combine([guardians[0], *notary, other[0][1]]))
    assert (error.code, error.facts) == ("FOREIGN_SHARE", {"share": 3})
    assert error.message == "share 3 does not belong here: it is of another backup than share 1"


def forged(identifier: int, group: int, place: int, needed: int, value: bytes) -> str:
    """A share with a right checksum that no split made."""
    from shamir_mnemonic import Share

    share = Share(identifier, True, 0, group, 1, 1, place, needed, value)
    return str(share.mnemonic())


def test_shares_that_contradict_each_other_are_named() -> None:
    a, b, c = (forged(7, 0, place, 2, factories.seed(str(place))) for place in range(3))
    assert refused(lambda: combine([a, b])).code == "FOREIGN_SHARE", "the digest inside"
    again = forged(7, 0, 0, 2, factories.seed("other"))
    error = refused(lambda: combine([a, b, again]))
    assert error.message == "share 3 does not belong here: it contradicts share 1"
    needs_three = forged(7, 0, 2, 3, factories.seed("2"))
    error = refused(lambda: combine([a, c, needs_three]))
    assert error.message == "share 3 does not belong here: its group is not that of share 1"


def test_a_superfluous_wrong_share_is_named_too() -> None:
    """With the right identifier and place, and not needed: nobody relies on what was not read."""
    from shamir_mnemonic import Share

    (guardians,) = made(GUARDIANS)
    third = Share.from_mnemonic(guardians[2])
    bad = forged(third.identifier, 0, 2, 2, factories.seed("bad"))
    error = refused(lambda: combine([*guardians[:2], bad]))
    assert (error.code, error.facts) == ("FOREIGN_SHARE", {"share": 3})


def test_a_superfluous_wrong_group_is_named_too() -> None:
    from shamir_mnemonic import Share

    one, two, three = made(NOTARY, NOTARY, NOTARY, needed=2)
    last = Share.from_mnemonic(three[0])
    bad = Share(last.identifier, True, 0, 2, 2, 3, 0, 1, factories.seed("bad")).mnemonic()
    assert combine([*one, *two, *three]) == SEED
    assert refused(lambda: combine([*one, *two, bad])).facts == {"share": 3}


# -- the passphrase ------------------------------------------------------------------------------


def test_a_wrong_passphrase_is_known_by_the_fingerprint_only() -> None:
    (guardians,) = made(GUARDIANS, passphrase="correct horse")
    assert combine(guardians, "correct horse", expected=fingerprint(SEED)) == SEED
    other = combine(guardians, "Correct horse")
    assert other != SEED, "SLIP-39 says nothing: every passphrase leads to a seed"
    for wrong in ("Correct horse", "", "correct horse "):
        error = refused(lambda w=wrong: combine(guardians, w, expected=fingerprint(SEED)))
        assert error.code == "WRONG_PASSPHRASE"


@pytest.mark.parametrize("passphrase", ["pass\nword", "пароль", "密码", "\x7f", "\ud800"])
def test_a_passphrase_that_other_software_would_read_otherwise_is_refused(passphrase: str) -> None:
    error = refused(lambda: split(SEED, [NOTARY], passphrase=passphrase))
    assert error.code == "BAD_SPLIT"
    assert refused(lambda: combine(["x"], passphrase)).code == "WRONG_PASSPHRASE"


def test_a_guess_costs_what_is_said_and_no_share_can_ask_for_more() -> None:
    from shamir_mnemonic import Share

    ((share,),) = split(SEED, [NOTARY], passphrase="p")
    assert Share.from_mnemonic(share).iteration_exponent == ITERATION_EXPONENT
    assert combine([share], "p") == SEED
    for exponent in (ITERATION_EXPONENT_MAX + 1, 15):
        slow = Share(7, True, exponent, 0, 1, 1, 0, 1, SEED).mnemonic()
        assert refused(lambda s=slow: combine([s])).code == "FOREIGN_SHARE"


# -- plans and vectors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "needed"),
    [
        ([], 1),
        ([NOTARY], 0),
        ([NOTARY], 2),
        ([NOTARY] * 17, 1),
        ([Group(0, 1)], 1),
        ([Group(3, 2)], 1),
        ([Group(1, 2)], 1),
        ([Group(2, 17)], 1),
    ],
)
def test_a_plan_that_cannot_be_is_refused(groups: list[Group], needed: int) -> None:
    assert refused(lambda: split(SEED, groups, groups_needed=needed)).code == "BAD_SPLIT"


def test_too_many_shares_are_refused_before_they_are_read() -> None:
    assert refused(lambda: combine(["x"] * 257)).code == "BAD_SHARE"


def test_public_vectors() -> None:
    """Of the standard, those of 256 bits: what it says is refused, the rest gives its secret."""
    opened = closed = 0
    for name, mnemonics, secret, _ in data.load("slip39-shamir/vectors.json"):
        if "256 bits" not in name:
            continue
        if secret:
            assert combine(mnemonics, "TREZOR").hex() == secret, name
            opened += 1
        else:
            refused(lambda m=mnemonics: combine(m, "TREZOR"))
            closed += 1
    assert (opened, closed) == (5, 6)


# Written down on 22 November 2026: 2 of 3 and 1 of 1, both groups needed, exponent 1.
ON_PAPER = (
    (
        "august desert acrobat echo award busy wrote belong spew cage testify hormone jury regular "
        "unfair glen pants mixture museum ladle facility building echo force emperor demand merit "
        "shrimp filter involve spelling year grocery"
    ),
    (
        "august desert acrobat entrance acrobat cowboy answer jump photo penalty ting slow crowd "
        "username rapids lecture clinic plan ruin market improve tofu auction mason leaf olympic "
        "impulse playoff pencil fatal together obesity playoff"
    ),
    (
        "august desert beard easy adorn sugar salt crisis laundry ivory puny alcohol genre join "
        "organize canyon easel beyond index pitch aviation writing kind grill learn ranked august "
        "mailman ajar born crucial deny morning"
    ),
)


def test_paper_of_before_opens_for_ever() -> None:
    assert combine(ON_PAPER, "correct horse") == bytes(range(32))
