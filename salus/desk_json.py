"""JSON forms of what a node answers its own staff about duplicate cases and searches."""

from typing import Annotated

from msgspec import Meta

from salus.forms import Form, Hex32
from salus.forms_me import Hex16
from salus.validators import MemberId


class MetForm(Form, frozen=True, omit_defaults=False):
    """A relation of somebody with the same identifier."""

    org: MemberId
    handle: Hex32


class CheckAnswer(Form, frozen=True, omit_defaults=False):
    tags: tuple[Hex32, ...]  # of the asking organisation, in the order of the identifiers
    possible_duplicate: Hex32 | None  # the case that is open for this handle


class FindAnswer(Form, frozen=True, omit_defaults=False):
    found: tuple[MetForm, ...]  # ascending by organisation


class CaseStepForm(Form, frozen=True, omit_defaults=False):
    time: str  # RFC 3339
    by: Hex32  # the key that signed
    staff: Hex32 | None  # its staff handle; null: the operator
    state: str
    note: str


class CaseForm(Form, frozen=True, omit_defaults=False):
    """A duplicate case; of this organisation's vault, and known nowhere else."""

    case_id: Hex32
    handle: Hex32  # the relation whose registration met others
    registered: bool  # does the chain have that relation?
    met: tuple[MetForm, ...]
    state: str
    steps: tuple[CaseStepForm, ...]  # oldest first


class CasesAnswer(Form, frozen=True, omit_defaults=False):
    items: Annotated[tuple[CaseForm, ...], Meta(max_length=256)]  # newest first
    more: bool  # there are older ones


class SearchForm(Form, frozen=True, omit_defaults=False):
    time: str
    by: Hex32
    staff: Hex32
    reason: str
    found: tuple[MetForm, ...]


class SearchesAnswer(Form, frozen=True, omit_defaults=False):
    items: tuple[SearchForm, ...]  # newest first
    next: Hex16 | None  # `before` of the ask for older ones
