"""What a message says to a terminal."""

import pytest

from cli.messages import sent_text
from salus.codec import UINT_MAX


@pytest.mark.parametrize(
    ("sent_ms", "said"),
    [(0, "1970-01-01T00:00:00Z"), (UINT_MAX, f"{UINT_MAX} ms after 1970")],
)
def test_a_letter_says_when_its_author_wrote_it_whatever_he_wrote(sent_ms: int, said: str) -> None:
    """An operator can anchor an old letter once more: the day under the signature is the author's."""
    assert sent_text(sent_ms) == said
