"""What is asked: by whom, in which roles, from where, for which purpose, for which classes."""

from functools import cached_property
from typing import Annotated

import msgspec

from salus.consent.terms import Code, Codes, CodeText, Sets

IDENTITIES_MAX = 16  # one person: staff id, organisation, and the groups of a hospital

Identities = Annotated[tuple[Code, ...], msgspec.Meta(min_length=1, max_length=IDENTITIES_MAX)]
SomeCodes = Annotated[tuple[Code, ...], msgspec.Meta(min_length=1, max_length=IDENTITIES_MAX)]


class Request(Sets, frozen=True, kw_only=True):
    """One question. Roles and groups are those of the moment, as whoever decides knows them."""

    categories: SomeCodes  # of the consents that may answer
    purpose: CodeText  # of v3-ActReason
    actors: Identities  # all identities of the one who asks: person, organisation, groups
    roles: Codes = ()
    sites: Codes = ()  # empty: not said
    classes: Codes = ()  # empty: everything

    @cached_property
    def category_set(self) -> frozenset[Code]:
        return frozenset(self.categories)
