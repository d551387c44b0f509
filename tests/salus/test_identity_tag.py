"""Identity tags: one person, one root; two organisations, two tags that say nothing of each other."""

import hmac
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_core_ed25519_add,
    crypto_core_ed25519_from_uniform,
    crypto_core_ed25519_scalar_invert,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_noclamp,
)

from salus.errors import BadMessage
from salus.identity_tag import (
    SYSTEM_CHARS_MAX,
    VALUE_CHARS_MAX,
    Identifier,
    PepperScheme,
    TagScheme,
    identity_tag,
    normalise,
)
from salus.patient_keys import Relation
from tests import factories

PEPPER = factories.seed("pepper")
HERE, THERE = Relation("health-dev", "hosp-a"), Relation("health-dev", "hosp-b")
NHS = "https://fhir.nhs.uk/Id/nhs-number"


def root(identifier: Identifier, scheme: TagScheme | None = None) -> bytes:
    run = (scheme or PepperScheme(PEPPER)).start(identifier)
    assert run.asks == ()
    return run.finish(())


def parts(identifier: Identifier) -> tuple[str, str]:
    return identifier.system, identifier.value


# -- tags ----------------------------------------------------------------------------------------


def test_a_tag_is_what_the_format_says() -> None:
    """docs/formats.md §20, with other libraries."""
    identifier = normalise(NHS, "943 476 5919")
    message = b"salus/v1/identity-root\0" + msgpack.packb(
        ["http://fhir.nhs.uk/id/nhs-number", "9434765919"]
    )
    expected = hmac.digest(PEPPER, message, "sha256")
    assert root(identifier) == expected
    relation = msgpack.packb(["health-dev", "hosp-a"])
    assert (
        identity_tag(expected, HERE)
        == sha256(b"salus/v1/identity-tag\0" + expected + relation).digest()
    )


def test_two_organisations_share_no_value_and_each_can_find_the_other() -> None:
    """The duplicate check: B, which has the identifier before it, makes the tag A would have."""
    at_a = identity_tag(root(normalise(NHS, "943 476 5919")), HERE)
    typed_at_b = root(normalise("http://fhir.nhs.uk/Id/nhs-number/", "943-476-5919"))
    assert identity_tag(typed_at_b, THERE) != at_a
    assert identity_tag(typed_at_b, HERE) == at_a
    assert identity_tag(typed_at_b, Relation("health-prod", "hosp-a")) != at_a
    assert typed_at_b not in (at_a, identity_tag(typed_at_b, THERE))


def test_another_person_system_or_pepper_has_another_tag() -> None:
    identifier = normalise(NHS, "9434765919")
    known = {identity_tag(root(identifier), HERE)}
    known.add(identity_tag(root(normalise(NHS, "9434765911")), HERE))
    known.add(identity_tag(root(normalise(NHS + "x", "9434765919")), HERE))
    known.add(identity_tag(root(identifier, PepperScheme(factories.seed("other pepper"))), HERE))
    known.add(root(Identifier(identifier.system + identifier.value, "")))
    assert len(known) == 5


def test_a_mistyped_organisation_is_refused() -> None:
    with pytest.raises(BadMessage):
        identity_tag(bytes(32), Relation("health-dev", "Hosp A"))


def test_nothing_of_a_person_is_shown_by_accident() -> None:
    identifier = normalise(NHS, "9434765919")
    scheme = PepperScheme(PEPPER)
    run = scheme.start(identifier)
    text = f"{identifier!r} {identifier} {scheme!r} {run!r}"
    for secret in ("9434765919", "nhs", PEPPER.hex(), repr(PEPPER), run.root.hex()):
        assert secret not in text


# -- the seam for an oblivious PRF ---------------------------------------------------------------


@dataclass(frozen=True)
class BlindRun:
    """2HashDH: the holders of key shares see a blinded point and learn nothing."""

    identifier: bytes
    blind: bytes
    asks: tuple[bytes, ...]

    def finish(self, answers: Sequence[bytes]) -> bytes:
        together = answers[0]
        for answer in answers[1:]:
            together = crypto_core_ed25519_add(together, answer)
        point = crypto_scalarmult_ed25519_noclamp(
            crypto_core_ed25519_scalar_invert(self.blind), together
        )
        return sha256(self.identifier + point).digest()


class BlindScheme:
    def __init__(self, holders: int, random: Callable[[], bytes]) -> None:
        self.holders, self.random = holders, random

    def start(self, identifier: Identifier) -> BlindRun:
        said = msgpack.packb(parts(identifier))
        point = crypto_core_ed25519_from_uniform(sha256(said).digest())
        blind = crypto_core_ed25519_scalar_reduce(self.random())
        blinded = crypto_scalarmult_ed25519_noclamp(blind, point)
        return BlindRun(said, blind, (blinded,) * self.holders)


def test_an_oblivious_prf_fits_behind_the_interface() -> None:
    """With three holders of shares: another blinding, other questions, the same root."""
    shares = [crypto_core_ed25519_scalar_reduce(factories.seed(str(i)) * 2) for i in range(3)]
    blinds = iter([factories.seed("blind 1") * 2, factories.seed("blind 2") * 2])
    scheme: TagScheme = BlindScheme(3, lambda: next(blinds))
    asked, roots = set(), set()
    for typed in ("943 476 5919", "943-476-5919"):
        run = scheme.start(normalise(NHS, typed))
        asked |= set(run.asks)
        roots.add(
            run.finish(
                [
                    crypto_scalarmult_ed25519_noclamp(share, ask)
                    for share, ask in zip(shares, run.asks, strict=True)
                ]
            )
        )
    assert len(asked) == 2, "who answers cannot tell that it is the same person"
    assert len(roots) == 1
    assert len(identity_tag(roots.pop(), HERE)) == 32


# -- normalising ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        "943 476 5919",
        "943-476-5919",
        "943.476.5919",
        "943/476/5919",
        " 9434765919\r\n",
        "\t943\u00a0476\u20095919",
        "943–476—5919",
        "９４３４７６５９１９",  # full-width
        "٩٤٣٤٧٦٥٩١٩",  # Arabic-Indic
        "९४३४७६५९१९",  # Devanagari
        "𝟗𝟒𝟑𝟒𝟕𝟔𝟓𝟗𝟏𝟗",  # mathematical
    ],
)
def test_one_number_however_it_is_written(typed: str) -> None:
    assert parts(normalise(NHS, typed)) == ("http://fhir.nhs.uk/id/nhs-number", "9434765919")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("11010519491231002X", "11010519491231002x"),  # check letter of a Chinese card
        ("AB 12 34 56 C", "ab123456c"),
        ("Straße-7", "STRASSE 7"),
        ("Å1", "A\u030a1"),  # composed or not
        ("ﬁ9", "FI9"),
        ("\u03aa\u0301", "\u0390"),  # the one folds to composed letters, the other to loose ones
        ("港澳１２", "港澳12"),
    ],
)
def test_case_and_composition_do_not_matter(one: str, other: str) -> None:
    assert normalise("urn:oid:1.2.3", one) == normalise("urn:oid:1.2.3", other)


@pytest.mark.parametrize(
    ("one", "other"), [("0123", "123"), ("12", "21"), ("1é", "1e"), ("x\u0301", "x"), ("a1", "1a")]
)
def test_what_tells_people_apart_stays(one: str, other: str) -> None:
    assert normalise("urn:oid:1.2.3", one) != normalise("urn:oid:1.2.3", other)


@pytest.mark.parametrize(
    "system",
    [
        "http://hl7.org/fhir/sid/us-ssn",
        "https://hl7.org/fhir/sid/us-ssn",
        "HTTP://HL7.org/fhir/sid/us-ssn/",
        " http://hl7.org/fhir/sid/us-ssn ",
    ],
)
def test_one_system_however_it_is_written(system: str) -> None:
    assert normalise(system, "1").system == "http://hl7.org/fhir/sid/us-ssn"


@pytest.mark.parametrize(
    ("system", "value"),
    [
        ("", "1"),
        (" / ", "1"),
        ("urn:x", ""),
        ("urn:x", " -./ "),
        ("urn:x", "\u0301"),  # a mark without a letter
        ("urn:x", "1\u200b2"),  # invisible
        ("urn:x", "1\ue0002"),  # private use
        ("urn:x", "1\u03782"),  # unassigned
        ("urn:x", "1\ud8002"),  # half of a pair
        ("urn:x", "1\x002"),
        ("urn:\u202ex", "1"),
        ("urn:x", "1" * (VALUE_CHARS_MAX + 1)),
        ("u" * (SYSTEM_CHARS_MAX + 1), "1"),
    ],
)
def test_what_is_no_identifier_is_refused_without_repeating_it(system: str, value: str) -> None:
    with pytest.raises(BadMessage) as caught:
        normalise(system, value)
    assert caught.value.code == "BAD_IDENTIFIER"
    assert not (value.strip() and value in caught.value.message)


def test_a_letter_and_a_mark_that_a_separator_stood_between_are_one_letter() -> None:
    """Else an identifier would be another one when it is normalised again."""
    once = normalise("urn:a \u0301/b", "12a-\u0301")
    assert once == normalise("urn:\u00e1/b", "12\u00e1") == normalise(once.system, once.value)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=SYSTEM_CHARS_MAX), st.text(max_size=VALUE_CHARS_MAX))
def test_normalising_ends_and_changes_nothing_twice(system: str, value: str) -> None:
    try:
        once = normalise(system, value)
    except BadMessage:
        return
    assert not any(unicodedata.category(letter)[0] in "PZSC" for letter in once.value)
    root(once)
    try:
        again = normalise(once.system, once.value)
    except BadMessage:  # folding can make a text longer than may be typed
        assert len(once.system) > SYSTEM_CHARS_MAX or len(once.value) > VALUE_CHARS_MAX
        return
    assert again == once
