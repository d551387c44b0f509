"""What is asked: by whom, in which roles, from where, for which purpose, for which classes."""

from typing import Annotated

import msgspec

from salus.codec import Wire
from salus.consent.terms import Code, Codes, CodeText

IDENTITIES_MAX = 16  # one person: staff id, organisation, and the groups of a hospital

Identities = Annotated[tuple[Code, ...], msgspec.Meta(min_length=1, max_length=IDENTITIES_MAX)]
SomeCodes = Annotated[tuple[Code, ...], msgspec.Meta(min_length=1, max_length=IDENTITIES_MAX)]


class Request(Wire, frozen=True, kw_only=True):
    """One question. Roles and groups are those of the moment, as whoever decides knows them."""

    categories: SomeCodes  # of the consents that may answer
    purpose: CodeText  # of v3-ActReason
    actors: Identities  # all identities of the one who asks: person, organisation, groups
    roles: Codes = ()
    sites: Codes = ()  # empty: not said
    classes: Codes = ()  # empty: everything
