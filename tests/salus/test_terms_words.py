"""Terms in words: whatever may stand in them can be shown."""

import pytest

from salus.codec import UINT_MAX
from salus.consent.instant import parse_span
from salus.consent.terms import Effect, Rule, Terms
from salus.granting import CATEGORY
from salus.terms_words import rules


@pytest.mark.parametrize("until_ms", [parse_span("9999").end_ms, 10**15, UINT_MAX - 1])
def test_an_end_after_the_year_9999_can_be_shown(until_ms: int) -> None:
    """A Consent until 9999-12-31 is common, and its first moment after is in the year 10000."""
    rule = Rule(effect=Effect.PERMIT, from_ms=until_ms - 1, until_ms=until_ms)
    (shown,) = rules(Terms(categories=(CATEGORY,), rules=(rule,)))
    assert shown.ends == "9999-12-31T23:59:59.999Z"
    assert shown.begins == shown.ends
    (open_end,) = rules(Terms(categories=(CATEGORY,), rules=(Rule(effect=Effect.PERMIT),)))
    assert (open_end.begins, open_end.ends) == (None, None)
