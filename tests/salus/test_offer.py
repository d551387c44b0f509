"""Codes of what an organisation offers: as text, and in both languages of the pages."""

import pytest

from node.web.words import WORDS
from salus.errors import BadMessage
from salus.offer import Service, Surface, site, site_text


@pytest.mark.parametrize("text", ["156-110101", "008-000000", "999-999999", "001-000001"])
def test_a_place_is_read_as_it_is_shown(text: str) -> None:
    assert site_text(site(text)) == text


@pytest.mark.parametrize(
    "text", ["", "156", "156-11010", "000-110101", "156-1101011", "１５６-110101"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadMessage) as caught:
        site(text)
    assert caught.value.code == "BAD_ARGUMENT"


def test_every_code_has_its_words_on_the_page() -> None:
    for name in (*(f"service.{one}" for one in Service), *(f"surface.{one}" for one in Surface)):
        assert all(WORDS[name]), name
