"""Identity tags: how two registrations of one person are noticed, and an unconscious one is found.

    identifier  = FHIR Identifier system | value, normalised as below
    root        = PRF(identifier): whoever can ask for it can find the person
    tag         = ◆ H("identity-tag", root ‖ encode(Relation)): what stands beside a handle

A tag is of one relation: two organisations have two, so no public value is common to two handles
of one patient (health.md §4.1). Whoever holds the identifier makes the tags of all organisations
and looks them up: that is the duplicate check at registration and the search in an emergency.

The PRF is first HMAC-SHA256 under a pepper that all members hold, so that **any member can try all
identifiers** (docs/privacy.md). `TagScheme` is the seam at which an oblivious PRF, with its key
shared among members, takes its place: a root may need answers of others, and no caller knows.

Law of the file: normalising depends on tables of Unicode, so it is done at the edge, once, and
never inside a contract; and what a table of another version could read otherwise is refused.
"""

import hmac
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from salus.codec import check, encode
from salus.errors import BadMessage
from salus.hashing import domain, hasher
from salus.patient_keys import Relation

PEPPER_BYTES = ROOT_BYTES = TAG_BYTES = 32
# As they are typed. The longest real ones are URLs, and passport lines of 44 letters.
SYSTEM_CHARS_MAX, VALUE_CHARS_MAX = 200, 64

_ROOT = domain("identity-root")
_hash_tag = hasher("identity-tag")


@dataclass(frozen=True, slots=True, repr=False)
class Identifier:
    """A normalised identifier; made by `normalise` only. Its `repr` shows nothing of it."""

    system: str
    value: str

    def __repr__(self) -> str:
        return "Identifier(…)"


class TagRun(Protocol):
    """One computation of a root, by messages: it waits for nobody and sends nothing itself."""

    @property
    def asks(self) -> tuple[bytes, ...]:
        """What each holder of a share of the key is to be sent; empty if nobody is needed."""

    def finish(self, answers: Sequence[bytes]) -> bytes:
        """The root, 32 bytes, from the answers in the order of `asks`. Raises `SalusError`."""


class TagScheme(Protocol):
    """A PRF over identifiers. Roots of two schemes have nothing in common."""

    def start(self, identifier: Identifier) -> TagRun: ...


@dataclass(frozen=True, slots=True, repr=False)
class PepperScheme:
    """Scheme 1: ◆ root = HMAC-SHA256(pepper, "salus/v1/identity-root" 00 ‖ encode([system, value]))

    `pepper`: 32 random bytes, the same at all members, in no file that leaves them."""

    pepper: bytes

    def __post_init__(self) -> None:
        assert len(self.pepper) == PEPPER_BYTES

    def start(self, identifier: Identifier) -> "PepperRun":
        message = _ROOT + encode((identifier.system, identifier.value))
        return PepperRun(hmac.digest(self.pepper, message, "sha256"))


@dataclass(frozen=True, slots=True, repr=False)
class PepperRun:
    """Needs nobody: the key is here."""

    root: bytes
    asks: tuple[bytes, ...] = ()

    def finish(self, answers: Sequence[bytes]) -> bytes:
        assert not answers
        return self.root


def identity_tag(root: bytes, relation: Relation) -> bytes:
    """32 bytes. Keep the root as private as the identifier: it links all tags of a person."""
    assert len(root) == ROOT_BYTES
    encoded = encode(relation)
    check(encoded, Relation)
    return _hash_tag(root + encoded)


# -- normalising ---------------------------------------------------------------------------------


def normalise(system: str, value: str) -> Identifier:
    """The same for what people take for the same number. Raises `BadMessage` (BAD_IDENTIFIER).

    Both are folded: NFKC, full case folding, NFKC again, decimal digits of any script as 0 to 9.
    Then the system, a URI, loses spaces, slashes at its end, and the s of https. The value keeps
    letters (with their marks) and digits only: «943-476 5919», «943.476.5919» and full-width
    digits are one. Leading zeros stay: they tell numbers of different length apart.
    """
    uri = _joined(_folded(system, "system", SYSTEM_CHARS_MAX).split()).rstrip("/")
    if uri.startswith("https:"):
        uri = "http:" + uri.removeprefix("https:")
    letters = _folded(value, "value", VALUE_CHARS_MAX)
    kept = _joined(letter for letter in letters if unicodedata.category(letter)[0] in "LMN")
    if not uri:
        raise _bad("an identifier needs a system, the URI of who gave it")
    if not any(unicodedata.category(letter)[0] in "LN" for letter in kept):
        raise _bad("the value of an identifier has no letter and no digit")
    return Identifier(uri, kept)


def _joined(pieces: Iterable[str]) -> str:
    """A letter and a mark that a separator stood between become one letter."""
    return unicodedata.normalize("NFKC", "".join(pieces))


def _folded(text: str, what: str, chars_max: int) -> str:
    if len(text) > chars_max:
        raise _bad(f"the {what} of an identifier has at most {chars_max} characters")
    for letter in text:
        # Unassigned, private, half of a pair, invisible, control: one table or screen shows them so,
        # another otherwise. Unicode promises that what is assigned stays as it is.
        if (
            unicodedata.category(letter) in ("Cn", "Co", "Cs", "Cc", "Cf")
            and letter not in "\t\n\r"
        ):
            raise _bad(f"the {what} of an identifier has a character that is no text")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(
        letter if (digit := unicodedata.decimal(letter, None)) is None else str(digit)
        for letter in folded
    )


def _bad(why: str) -> BadMessage:
    return BadMessage(why, code="BAD_IDENTIFIER")
