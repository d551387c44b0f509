"""What stands on a look-up card (rule I-9)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.card import CARD_CHARS, parse, payload
from salus.errors import BadMessage


@given(st.binary(min_size=32, max_size=32))
def test_a_card_is_read_as_it_was_written_or_typed(secret: bytes) -> None:
    text = payload(secret)
    assert len(text) == CARD_CHARS
    assert re.fullmatch(r"[0-9A-Z:]+", text), "QR codes have a short mode for these"
    assert parse(text) == parse(f" {text[:20].lower()} {text[20:]}\n") == secret


@given(st.binary(min_size=32, max_size=32), st.integers(13, CARD_CHARS - 1))
def test_one_wrong_letter_is_noticed(secret: bytes, place: int) -> None:
    text = payload(secret)
    other = "A" if text[place] != "A" else "B"
    with pytest.raises(BadMessage) as caught:
        parse(text[:place] + other + text[place + 1 :])
    assert caught.value.code == "BAD_CARD"


@pytest.mark.parametrize("text", ["", "SALUS:CARD:1:", "SALUS:CARD:2:" + "A" * 56, "é" * 69])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        parse(text)
