"""A patient's seed on paper: SLIP-39 shares in groups, with or without a passphrase.

Each group makes its own secret of k of its n shares, and m groups make the seed: «two of my three
guardians, or my notary alone». A share is 33 English words. Its checksum finds every error in up
to three words; a digest inside finds shares that do not belong together. Nothing in SLIP-39 finds
a wrong passphrase, which leads to another seed: that is what the fingerprint is for.

Law of the file: no word of a share stands in a message, since messages end in logs; a share is
named by its number as given, from 1. Not pure: the library draws its own random bytes, and says
itself that it does not hide from whoever measures the machine; so split and combine on the
patient's own device, not on a server that others share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest

from shamir_mnemonic import (
    EncryptedMasterSecret,
    MnemonicError,
    Share,
    generate_mnemonics,
    recover_ems,
)
from shamir_mnemonic.shamir import ShareGroup
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from salus.errors import SalusError
from salus.patient_keys import PATIENT_SEED_BYTES, fingerprint

SHARE_WORDS = 33  # SLIP-39 §«Format of the share mnemonic», for a secret of 256 bits
GROUPS_MAX = SHARES_OF_GROUP_MAX = 16  # four bits each in SLIP-39
SHARES_MAX = GROUPS_MAX * SHARES_OF_GROUP_MAX
SHARE_CHARS_MAX = 1024  # 33 words of at most 8 letters, and generous spaces

# Work for one guess of the passphrase: 10,000 · 2^exponent rounds of PBKDF2 (SLIP-39). 5 is a fifth
# of a second; 8, the most that is opened, a second and a half: a share cannot stop a program.
ITERATION_EXPONENT = 5
ITERATION_EXPONENT_MAX = 8


class SeedBackupError(SalusError):
    """Shares that cannot be made or do not lead to the seed; `hint` is the next step."""

    code = "BAD_SHARE"

    def __init__(self, message: str, *, code: str, hint: str, **facts: int | str) -> None:
        super().__init__(message, code=code, **facts)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Group:
    """`needed` of `shares` open this group."""

    needed: int
    shares: int


def split(
    seed: bytes,
    groups: Sequence[Group],
    *,
    groups_needed: int = 1,
    passphrase: str = "",
    iteration_exponent: int = ITERATION_EXPONENT,
) -> tuple[tuple[str, ...], ...]:
    """The shares of each group. Raises `SeedBackupError` (BAD_SPLIT) for a plan that cannot be.

    They are put together once before they are handed out: paper is read years later."""
    assert len(seed) == PATIENT_SEED_BYTES
    _check_plan(groups, groups_needed)
    assert 0 <= iteration_exponent <= ITERATION_EXPONENT_MAX
    secret = _printable(passphrase, "BAD_SPLIT")
    made = generate_mnemonics(
        groups_needed,
        [(group.needed, group.shares) for group in groups],
        seed,
        secret,
        iteration_exponent=iteration_exponent,
    )
    every = [share for group in made for share in group]
    assert combine(every, passphrase) == seed, "the shares do not lead back to the seed"
    return tuple(tuple(group) for group in made)


def combine(shares: Sequence[str], passphrase: str = "", *, expected: bytes | None = None) -> bytes:
    """The 32-byte seed. Raises `SeedBackupError`:

    BAD_SHARE        a share is mistyped (which one, and if it can be known which word)
    FOREIGN_SHARE    a share belongs to another backup or does not fit the others
    SHARES_MISSING   what is still needed
    WRONG_PASSPHRASE only with `expected`, the fingerprint of the seed (8 bytes)

    More shares than needed are welcome, in any order and twice; each complete group is checked
    with all of its shares."""
    secret = _printable(passphrase, "WRONG_PASSPHRASE")
    sorted_shares = _sorted([_parsed(number, text) for number, text in _numbered(shares)])
    ciphertext = _recovered(sorted_shares)
    seed = ciphertext.decrypt(secret)
    if expected is not None and not compare_digest(fingerprint(seed), expected):
        raise SeedBackupError(
            "the shares fit, but the seed is not the expected one",
            code="WRONG_PASSPHRASE",
            hint="Try the passphrase again, capital letters and spaces too; is the fingerprint "
            "that of this patient?",
        )
    return seed


# -- making --------------------------------------------------------------------------------------


def _check_plan(groups: Sequence[Group], groups_needed: int) -> None:
    if not 1 <= groups_needed <= len(groups) <= GROUPS_MAX:
        raise _bad_split(f"{groups_needed} of {len(groups)} groups; there are 1 to {GROUPS_MAX}")
    for number, group in enumerate(groups, 1):
        if not 1 <= group.needed <= group.shares <= SHARES_OF_GROUP_MAX:
            raise _bad_split(
                f"group {number} needs {group.needed} of {group.shares} shares; a group has 1 to "
                f"{SHARES_OF_GROUP_MAX}"
            )
        if group.needed == 1 and group.shares > 1:
            # SLIP-39 forbids it: they would be copies of one share.
            raise _bad_split(f"group {number}: of several shares at least two are needed")


def _printable(passphrase: str, code: str) -> bytes:
    if not all(32 <= ord(letter) <= 126 for letter in passphrase):
        raise SeedBackupError(
            "a passphrase has printable ASCII letters only",
            code=code,
            hint="SLIP-39 fixes no other encoding: elsewhere the same letters give another seed.",
        )
    return passphrase.encode("ascii")


def _bad_split(why: str) -> SeedBackupError:
    return SeedBackupError(
        f"shares cannot be made so: {why}",
        code="BAD_SPLIT",
        hint="Say how many groups are needed, and of each group how many of how many shares.",
    )


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """A share and its number as given, from 1."""

    number: int
    share: Share


def _numbered(shares: Sequence[str]) -> list[tuple[int, str]]:
    if len(shares) > SHARES_MAX:
        raise SeedBackupError(
            f"a backup has at most {SHARES_MAX} shares, not {len(shares)}",
            code="BAD_SHARE",
            hint="Give the shares of one backup, each once.",
        )
    return list(enumerate(shares, 1))


def _parsed(number: int, text: str) -> _Given:
    words = text[: SHARE_CHARS_MAX + 1].lower().split()
    if len(text) > SHARE_CHARS_MAX or len(words) != SHARE_WORDS:
        raise _mistyped(number, f"it has {SHARE_WORDS} words; a word is missing or too many")
    for place, word in enumerate(words, 1):
        if word not in WORD_INDEX_MAP:
            raise _mistyped(number, f"word {place} is not in the list", word=place)
    try:
        share = Share.from_mnemonic(" ".join(words))
    except MnemonicError:  # its text repeats words of the share
        raise _mistyped(number, "its checksum does not fit") from None
    if share.iteration_exponent > ITERATION_EXPONENT_MAX:
        raise _foreign(number, "it was made by other software, with more work than is done here")
    return _Given(number, share)


def _sorted(given: list[_Given]) -> dict[int, dict[int, _Given]]:
    """Group → place → share, all of one backup."""
    groups: dict[int, dict[int, _Given]] = {}
    for one in given:
        first, share = given[0], one.share
        if share.common_parameters() != first.share.common_parameters():
            raise _foreign(one.number, f"it is of another backup than share {first.number}")
        group = groups.setdefault(share.group_index, {})
        for other in group.values():
            if share.group_parameters() != other.share.group_parameters():
                raise _foreign(one.number, f"its group is not that of share {other.number}")
        same = group.setdefault(share.index, one)
        if same.share.value != share.value:
            raise _foreign(one.number, f"it contradicts share {same.number}")
    return groups


def _recovered(groups: dict[int, dict[int, _Given]]) -> EncryptedMasterSecret:
    """The one secret that all complete groups agree on."""
    complete = {
        index: [group[place] for place in sorted(group)]
        for index, group in sorted(groups.items())
        if len(group) >= _any(group).member_threshold
    }
    groups_needed = _any(next(iter(groups.values()))).group_threshold if groups else 1
    if len(complete) < groups_needed:
        raise _missing(groups, len(complete), groups_needed)
    chosen = {
        index: group[: group[0].share.member_threshold]
        for index, group in list(complete.items())[:groups_needed]
    }
    secret = _secret(chosen)
    if secret is None:
        raise _foreign(0, "the shares are of one backup, but do not fit together")
    for index, group in complete.items():
        needed = group[0].share.member_threshold
        for extra in group[needed:] if index in chosen else group[needed - 1 :]:
            # In the place of one that was used, it must lead to the same.
            without = list(chosen) if index in chosen else list(chosen)[:-1]
            other = {i: chosen[i] for i in without}
            other[index] = [*group[: needed - 1], extra]
            if _secret(other) != secret:
                raise _foreign(extra.number, "it does not fit the others")
    return secret


def _secret(chosen: dict[int, list[_Given]]) -> EncryptedMasterSecret | None:
    groups = {index: ShareGroup() for index in chosen}
    for index, members in chosen.items():
        for member in members:
            groups[index].add(member.share)
    try:
        return recover_ems(groups)
    except MnemonicError:  # the digest of a group or of the whole
        return None


def _any(group: dict[int, _Given]) -> Share:
    return next(iter(group.values())).share


# -- what is wrong -------------------------------------------------------------------------------


def _mistyped(number: int, why: str, **facts: int) -> SeedBackupError:
    return SeedBackupError(
        f"share {number} is mistyped: {why}",
        code="BAD_SHARE",
        hint="Compare it word by word with the paper; the first four letters decide a word.",
        share=number,
        **facts,
    )


def _foreign(number: int, why: str) -> SeedBackupError:
    return SeedBackupError(
        f"share {number} does not belong here: {why}" if number else why,
        code="FOREIGN_SHARE",
        hint="Shares of one backup begin with the same two words; leave the stray one out.",
        share=number,
    )


def _missing(
    groups: dict[int, dict[int, _Given]], complete: int, groups_needed: int
) -> SeedBackupError:
    parts = [
        f"group {index + 1} has {len(group)} of {_any(group).member_threshold}"
        for index, group in sorted(groups.items())
    ]
    return SeedBackupError(
        f"{complete} of {groups_needed} groups are complete"
        + (": " + ", ".join(parts) if parts else ""),
        code="SHARES_MISSING",
        hint="Ask the other holders; shares of one group begin with the same three words.",
        groups_complete=complete,
        groups_needed=groups_needed,
    )
