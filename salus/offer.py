"""What an organisation offers to the public, in codes: services, places, what it can be reached by
(health.md §4.15: a directory of organisations and services).

Codes and no words: what stands in a transaction stays for ever, and a free text could say anything of
anybody (§4.0). A place is a country of ISO 3166-1 by its number and a division by the six digits of
the country's own code (GB/T 2260, INSEE, FIPS …), 000000 for all of it: 156-110101.
"""

import re
from enum import StrEnum
from typing import Annotated

import msgspec

from salus.codec import Uint, Wire
from salus.errors import BadMessage

SITES_MAX = 64  # of one organisation: a chain of clinics
DIVISION = 10**6

_SITE = re.compile(r"([0-9]{3})-([0-9]{6})")


class Service(StrEnum):
    """Ascending; a public enum has eight words at most."""

    EMERGENCY = "emergency"
    IMAGING = "imaging"
    INPATIENT = "inpatient"
    LABORATORY = "laboratory"
    MATERNITY = "maternity"
    OUTPATIENT = "outpatient"
    PHARMACY = "pharmacy"
    TELEMEDICINE = "telemedicine"


class Surface(StrEnum):
    """By what patients and other organisations reach it; ascending."""

    FHIR = "fhir"  # records are given and taken as FHIR R4
    MESSAGES = "messages"  # letters of patients are answered
    PAGE = "page"  # its patients have a page at its node
    SUMMARIES = "summaries"  # it keeps emergency summaries of others' patients


Services = Annotated[tuple[Service, ...], msgspec.Meta(max_length=len(Service))]
Surfaces = Annotated[tuple[Surface, ...], msgspec.Meta(max_length=len(Surface))]
Site = Annotated[int, msgspec.Meta(ge=DIVISION, le=999 * DIVISION + DIVISION - 1)]
Sites = Annotated[tuple[Site, ...], msgspec.Meta(max_length=SITES_MAX)]


class Offer(Wire, frozen=True):
    """State value under members/offer/<org>: what the organisation said last."""

    services: Services
    sites: Sites
    surfaces: Surfaces
    height: Uint


def site(text: str) -> int:
    """`156-110101`. Raises `BadMessage` (BAD_ARGUMENT)."""
    found = _SITE.fullmatch(text)
    if found is None or found[1] == "000":
        raise BadMessage(
            "a place is a country's number and six digits, 156-110101", code="BAD_ARGUMENT"
        )
    return int(found[1]) * DIVISION + int(found[2])


def site_text(code: int) -> str:
    country, division = divmod(code, DIVISION)
    return f"{country:03}-{division:06}"
