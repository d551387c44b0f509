"""Write sets: what two nodes compare when their headers differ (L24)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.errors import BadMessage
from salus.hashing import ZERO_HASH
from salus.statemap import CHANGE_BYTES, change_bucket
from salus.writeset import Change, changes, first_difference, seal

A, B, C, X, Y = (bytes([n]) * 32 for n in range(1, 6))
HASH = st.binary(min_size=32, max_size=32)


def write_set(*made: tuple[bytes, bytes, bytes]) -> bytes:
    return b"".join(b"".join(change) for change in made)


def test_a_bucket_tells_what_changed_in_it() -> None:
    told: list[bytes] = []
    content = change_bucket(b"", {A: X, B: X}, told)
    content = change_bucket(content, {A: Y, B: None, C: None}, told)
    assert content == A + Y
    assert list(changes(b"".join(told))) == [
        (A, ZERO_HASH, X),
        (B, ZERO_HASH, X),
        (A, X, Y),
        (B, X, ZERO_HASH),
        (C, ZERO_HASH, ZERO_HASH),
    ]


def test_equal_write_sets_in_another_order_do_not_differ() -> None:
    one, two = (A, ZERO_HASH, X), (B, X, Y)
    assert first_difference(write_set(one, two), write_set(two, one), [A, B]) is None
    assert first_difference(b"", b"", []) is None


def test_the_difference_that_was_written_first_is_named() -> None:
    mine = write_set((A, X, Y), (B, X, Y), (C, X, X))
    theirs = write_set((A, X, X), (B, X, X), (C, X, X))
    assert first_difference(mine, theirs, [C, B, A]) == (Change(B, X, Y), Change(B, X, X))
    assert first_difference(mine, theirs, [A, B, C]) == (Change(A, X, Y), Change(A, X, X))


def test_a_key_that_only_one_wrote_is_a_difference() -> None:
    mine, theirs = write_set((A, X, Y)), write_set((A, X, Y), (C, X, Y), (B, X, Y))
    assert first_difference(mine, theirs, [A]) == (None, Change(B, X, Y))
    assert first_difference(theirs, mine, [C, A, B]) == (Change(C, X, Y), None)


def test_another_value_before_the_block_is_a_difference() -> None:
    """The disk lost or changed what an older block wrote: no contract is to blame."""
    mine, theirs = write_set((A, X, Y)), write_set((A, ZERO_HASH, Y))
    assert first_difference(mine, theirs, [A]) == (Change(A, X, Y), Change(A, ZERO_HASH, Y))


@given(st.dictionaries(HASH, st.tuples(HASH, HASH)), st.dictionaries(HASH, st.tuples(HASH, HASH)))
def test_a_difference_is_found_iff_there_is_one(
    mine: dict[bytes, tuple[bytes, bytes]], theirs: dict[bytes, tuple[bytes, bytes]]
) -> None:
    found = first_difference(
        write_set(*((key, *leaves) for key, leaves in mine.items())),
        write_set(*((key, *leaves) for key, leaves in theirs.items())),
        list(mine),
    )
    assert (found is None) == (mine == theirs)
    if found is not None:
        for change, leaves in zip(found, (mine, theirs), strict=True):
            if change is not None:
                assert leaves[change.key_hash] == change[1:]


@pytest.mark.parametrize("size", [1, CHANGE_BYTES - 1, CHANGE_BYTES + 1])
def test_a_torn_write_set_is_refused(size: int) -> None:
    with pytest.raises(BadMessage):
        list(changes(bytes(size)))


def test_a_seal_holds_for_one_height_and_one_write_set() -> None:
    assert len({seal(1, b""), seal(2, b""), seal(1, bytes(CHANGE_BYTES))}) == 3
