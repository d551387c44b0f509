"""The JSON forms of planning an import: a FHIR Consent → the permits that would stand for it.

As in salus/forms.py, and under its law.
"""

from typing import Annotated

from msgspec import Meta

from salus.codec import Uint
from salus.forms import Form, Hex, MemberText, Request

# As text, so that it is read as strictly as a file is: no name twice, none unknown.
ResourceText = Annotated[str, Meta(min_length=2, max_length=2**20)]
ActorText = Annotated[str, Meta(min_length=1, max_length=300)]


class ActorEntry(Request, frozen=True):
    actor: ActorText  # Type/id as the Consent refers to him, or SYSTEM|VALUE
    to: Annotated[str, Meta(min_length=1, max_length=97)]  # ORG, ORG/STAFF-HANDLE, or - for nobody


class PlanRequest(Request, frozen=True):
    """A FHIR R4 Consent in JSON, who its actors are, and who of them is whom here."""

    consent: ResourceText
    parties: Annotated[tuple[ResourceText, ...], Meta(max_length=256)] = ()
    actors: Annotated[tuple[ActorEntry, ...], Meta(max_length=256)] = ()


class PlannedPermit(Form, frozen=True, kw_only=True, omit_defaults=False):
    """The arguments of consent.grant that follow; `terms`: canonical, of which they hold a commitment
    with a salt of the sender's own."""

    grantee: MemberText
    effect: str
    reach: str
    purpose: str
    classes: tuple[str, ...]
    from_day: Uint
    until_day: Uint
    terms: Hex


class PlanAnswer(Form, frozen=True, kw_only=True, omit_defaults=False):
    """`in_force`: false for what is not active, or over: it grants nothing. `notes`: what it says and
    is not carried."""

    name: str
    in_force: bool
    permits: tuple[PlannedPermit, ...]  # in the order in which to send them: denials first
    notes: tuple[str, ...]
