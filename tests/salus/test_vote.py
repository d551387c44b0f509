"""A vote of one place, time or kind is never one of another (rule S1)."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from salus.codec import UINT_MAX
from salus.vote import VoteDomain, VoteType

DIGESTS = (bytes(32), bytes(31) + b"\1")
numbers = st.integers(0, UINT_MAX)
places = st.tuples(
    st.sampled_from(["abc", "abcd"]),
    st.sampled_from(DIGESTS),
    st.sampled_from(VoteType),
    numbers,
    numbers,
    numbers,
    st.binary(min_size=32, max_size=32),
)


def payload(
    chain: str, genesis: bytes, kind: VoteType, epoch: int, view: int, sequence: int, digest: bytes
) -> bytes:
    return VoteDomain(chain, genesis).payload(kind, epoch, view, sequence, digest)


def test_every_field_makes_another_payload() -> None:
    every = list(
        product(("abc", "abcd"), DIGESTS, VoteType, (0, 1, 300), (0, 1, 300), (0, 1, 300), DIGESTS)
    )
    assert len({payload(*fields) for fields in every}) == len(every)


@settings(deadline=None, max_examples=200)
@given(places, places)
def test_equal_payloads_mean_equal_votes(one: tuple[object, ...], two: tuple[object, ...]) -> None:
    assert (payload(*one) == payload(*two)) == (one == two)  # type: ignore[arg-type]
