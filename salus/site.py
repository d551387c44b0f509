"""Sites: places from where somebody reads, as SYSTEM|VALUE, like a FHIR identifier (rule G-19).

urn:example:wards|3-north
"""

from collections.abc import Iterable

from salus.consent.fhir_forms import code_of
from salus.consent.terms import Code, ascending
from salus.errors import BadMessage

SITES_MAX = 16  # of one permit, or of one node; terms take 64 codes


def parse_site(text: str) -> Code:
    """Raises `BadMessage` (BAD_SITE)."""
    system, _, value = text.partition("|")
    found = code_of(system, value)
    if found is None:
        raise BadMessage("a site is SYSTEM|VALUE, printable and without blanks", code="BAD_SITE")
    return found


def parse_sites(texts: Iterable[str]) -> tuple[Code, ...]:
    """Ascending, each once. Raises `BadMessage` (BAD_SITE)."""
    found = ascending(parse_site(text) for text in texts)
    if len(found) > SITES_MAX:
        raise BadMessage(f"at most {SITES_MAX} sites", code="BAD_SITE")
    return found


def site_text(site: Code) -> str:
    return f"{site.system}|{site.code}"
