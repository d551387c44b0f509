"""What is shown of a version proves itself, whatever is withheld (health.md §4.3, §4.5)."""

import gzip
import json
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus import merkle
from salus.codec import decode, encode
from salus.disclosure import (
    SHOWN_BYTES_MAX,
    Disclosure,
    Piece,
    Reader,
    ShownPart,
    commitment_of,
    disclose,
    of_opening,
    shown_size,
    write,
)
from salus.document import (
    CHUNK_BYTES,
    PARTS_MAX,
    Opening,
    OpenPart,
    commitment,
    leaves_of,
    open_all,
    redact,
    salts,
    split,
)
from salus.errors import SalusError, VerificationError
from tests import factories
from tests.memory import peak_bytes
from tests.salus import data

SEED = factories.seed("salts")


def opening(sizes: Iterable[int]) -> Opening:
    contents = [bytes([index % 251]) * size for index, size in enumerate(sizes)]
    return open_all(contents, SEED)


def sent(shown: Opening, start: int = 0) -> bytes:
    def contents(index: int) -> Iterable[bytes]:
        part = shown.parts[index]
        assert isinstance(part, OpenPart), "a withheld part is not asked for"
        return [part.content[:5], part.content[5:]]

    return b"".join(write(of_opening(shown), contents, start=start))


def received(raw: bytes, of: bytes, digest: bytes, step: int = 1000) -> list[Piece]:
    reader = Reader(of, digest)
    pieces = [
        piece for at in range(0, len(raw), step) for piece in reader.feed(raw[at : at + step])
    ]
    reader.finish()
    return pieces


def joined(pieces: Iterable[Piece]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for piece in pieces:
        found[piece.index] = found.get(piece.index, b"") + piece.content
    return found


plans = st.integers(1, 40).flatmap(
    lambda count: st.tuples(
        st.lists(st.integers(0, 30), min_size=count, max_size=count),
        st.sets(st.integers(0, count - 1)),
        st.integers(1, 70),
    )
)


@settings(deadline=None, max_examples=300)
@given(plans)
def test_any_redaction_keeps_its_proof(plan: tuple[list[int], set[int], int]) -> None:
    sizes, hidden, step = plan
    whole = opening(sizes)
    shown = redact(whole, sorted(hidden))
    disclosure = of_opening(shown)
    assert disclosure == disclose(
        leaves_of(whole), [part for part in of_opening(whole).shown if part.index not in hidden]
    ), "the same from the keeper's leaves as from a redacted opening"
    assert disclosure.withheld == len(hidden)
    assert decode(encode(disclosure), Disclosure) == disclosure

    raw = sent(shown)
    assert len(raw) == shown_size(disclosure) <= SHOWN_BYTES_MAX
    found = joined(received(raw, commitment(whole), disclosure.digest(), step))
    assert found == {
        index: part.content
        for index, part in enumerate(shown.parts)
        if isinstance(part, OpenPart) and part.content
    }
    for start in (0, 1, len(raw) // 2, len(raw)):
        assert sent(shown, start) == raw[start:], "from any offset the same bytes"


@settings(deadline=None, max_examples=300)
@given(plans, st.data())
def test_no_other_bytes_pass(plan: tuple[list[int], set[int], int], draw: st.DataObject) -> None:
    """One bit turned, cut off or added: refused, and only by the two documented errors."""
    sizes, hidden, step = plan
    whole = opening(sizes)
    shown = redact(whole, sorted(hidden))
    raw, digest = sent(shown), of_opening(shown).digest()
    at = draw.draw(st.integers(0, len(raw) - 1))
    turned = raw[:at] + bytes([raw[at] ^ 1 << draw.draw(st.integers(0, 7))]) + raw[at + 1 :]
    for bad in (turned, raw[:at], raw + b"\0", raw[:at] + raw[at + 1 :]):
        with pytest.raises(SalusError) as caught:
            received(bad, commitment(whole), digest, step)
        assert caught.value.code in ("NOT_PROVED", "NOT_CANONICAL")


@settings(deadline=None, max_examples=200)
@given(plans, st.data())
def test_no_other_list_leads_to_the_commitment(
    plan: tuple[list[int], set[int], int], draw: st.DataObject
) -> None:
    """The custodian himself cannot show another content, place, number or salt."""
    sizes, hidden, _ = plan
    whole = opening(sizes)
    good = of_opening(redact(whole, sorted(hidden)))
    leaves = [leaves_of(whole)[part.index] for part in good.shown]
    assert commitment_of(good, leaves) == commitment(whole)

    others: list[tuple[Disclosure, list[bytes]]] = [
        (msgspec.structs.replace(good, count=good.count + 1), leaves),
        (msgspec.structs.replace(good, hidden=(*good.hidden, bytes(32))), leaves),
        (good, [*leaves, bytes(32)]),
    ]
    if good.hidden:
        at = draw.draw(st.integers(0, len(good.hidden) - 1))
        changed = [*good.hidden[:at], factories.seed("x"), *good.hidden[at + 1 :]]
        others.append((msgspec.structs.replace(good, hidden=tuple(changed)), leaves))
        others.append((msgspec.structs.replace(good, hidden=good.hidden[1:]), leaves))
    if leaves:
        at = draw.draw(st.integers(0, len(leaves) - 1))
        others.append((good, [*leaves[:at], factories.seed("x"), *leaves[at + 1 :]]))
        others.append((msgspec.structs.replace(good, shown=good.shown[1:]), leaves[1:]))
        moved = msgspec.structs.replace(good.shown[-1], index=good.count)
        others.append((msgspec.structs.replace(good, shown=(*good.shown[:-1], moved)), leaves))
        twice = (*good.shown, good.shown[-1])
        others.append((msgspec.structs.replace(good, shown=twice), [*leaves, leaves[-1]]))
    for other, of in others:
        try:
            assert commitment_of(other, of) != commitment(whole)
        except VerificationError:
            pass


def test_what_is_withheld_is_not_in_the_bytes_and_costs_one_hash_per_subtree() -> None:
    whole = opening([20] * 1000)
    shown = redact(whole, [index for index in range(1000) if index != 517])
    disclosure = of_opening(shown)
    assert len(disclosure.hidden) == 10, "the path of one leaf: log2 of 1,000, upwards"
    raw = sent(shown)
    assert len(raw) < 500
    for index, part in enumerate(whole.parts):
        assert isinstance(part, OpenPart)
        assert (part.content in raw) == (index % 251 == 517 % 251)
        assert (part.salt in raw) == (index == 517)


def test_nothing_shown_is_one_hash_and_still_proves_the_version() -> None:
    whole = opening([3, 0, 5])
    nothing = redact(whole, [0, 1, 2])
    assert of_opening(nothing).hidden == (merkle.root(leaves_of(whole)),)
    assert received(sent(nothing), commitment(whole), of_opening(nothing).digest()) == []


def test_a_node_cannot_pose_as_a_leaf() -> None:
    """Four parts as two «hidden parts» made of their inner nodes: the count stands beside."""
    whole = opening([1, 2, 3, 4])
    four = leaves_of(whole)
    posed = Disclosure(2, (), (merkle.root(four),))
    assert commitment_of(posed, []) != commitment(whole)


def test_a_patients_history_without_the_patient_resource() -> None:
    packed = min(data.path("synthea-bundles").glob("*.gz"))
    parts = split(gzip.decompress(packed.read_bytes()), "application/fhir+json")
    assert json.loads(parts[1])["resource"]["resourceType"] == "Patient"
    whole = open_all(parts, SEED)
    shown = redact(whole, [1])
    raw = sent(shown)
    found = joined(received(raw, commitment(whole), of_opening(shown).digest(), step=100_000))
    assert found == {index: part for index, part in enumerate(parts) if index != 1}
    assert parts[1] not in raw


def test_a_transfer_that_goes_on_asks_for_what_is_left_only() -> None:
    whole = opening([4, 4, 0, 4, 4])
    disclosure = of_opening(whole)
    head = shown_size(disclosure) - disclosure.size
    asked: list[int] = []

    def contents(index: int) -> list[bytes]:
        asked.append(index)
        part = whole.parts[index]
        assert isinstance(part, OpenPart)
        return [part.content]

    for start, expected in ((head + 8, [3, 4]), (head + 9, [3, 4]), (head + 16, [])):
        asked.clear()
        assert b"".join(write(disclosure, contents, start=start)) == sent(whole)[start:]
        assert asked == expected


# -- limits --------------------------------------------------------------------------------------


def test_a_hundred_megabytes_flow_through_a_few() -> None:
    """Writer and reader hold the list and a piece, whatever the document has."""
    count, chunk = 101, bytes(CHUNK_BYTES)
    made = salts(SEED, count)
    sizes = [40] + [CHUNK_BYTES] * (count - 1)
    leaves = leaves_of(Opening(tuple(OpenPart(made[i], chunk[:n]) for i, n in enumerate(sizes))))
    shown = [ShownPart(i, sizes[i], made[i]) for i in range(count)]
    disclosure = disclose(leaves, shown)
    commitment = commitment_of(disclosure, leaves)

    def through() -> None:
        reader, total = Reader(commitment, disclosure.digest()), 0
        for piece in write(disclosure, lambda index: [chunk[: sizes[index]]]):
            total += sum(len(got.content) for got in reader.feed(piece))
        assert reader.finish() == disclosure
        assert total == 40 + 100 * CHUNK_BYTES

    peak = peak_bytes(through, 4 * CHUNK_BYTES)
    assert peak <= 4 * CHUNK_BYTES, f"{peak:,} bytes"


def test_a_list_that_is_too_long_is_refused_by_its_length() -> None:
    reader = Reader(bytes(32), bytes(32))
    with pytest.raises(VerificationError, match="at most"):
        list(reader.feed(b"\x7f\xff\xff\xff"))


def test_a_list_that_was_not_announced_is_refused_before_its_contents() -> None:
    whole = opening([3, 4])
    reader = Reader(commitment(whole), bytes(32))
    with pytest.raises(VerificationError, match="announced"):
        list(reader.feed(sent(whole)))


def test_the_largest_list_fits() -> None:
    leaves = [factories.seed("leaf")] * PARTS_MAX
    for every in (1, 2):
        shown = [ShownPart(index, 2**27, SEED) for index in range(0, PARTS_MAX, every)]
        disclosure = disclose(leaves, shown)
        assert commitment_of(disclosure, [leaves[0]] * len(shown))
        reader = Reader(bytes(32), disclosure.digest())
        list(reader.feed(next(iter(write(disclosure, lambda _: [])))))
        assert reader.disclosure == disclosure


def test_an_end_too_early_is_no_proof() -> None:
    whole = opening([3, 4])
    raw = sent(whole)
    for end in range(len(raw)):
        reader = Reader(commitment(whole), of_opening(whole).digest())
        list(reader.feed(raw[:end]))
        with pytest.raises(VerificationError, match="early"):
            reader.finish()
