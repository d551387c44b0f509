"""The JSON forms of what anybody may know of the consortium, and what a regulator sees of it."""

from salus.codec import Uint
from salus.forms import AddressText, Form, Hex32, MemberText, TimeText

CELL_MIN = 10  # a smaller number of persons' events could point to a person (health.md §4.12)


class OfferForm(Form, frozen=True, omit_defaults=False):
    """What an organisation says that it offers, in codes (salus/offer.py); nobody has checked it."""

    services: tuple[str, ...]
    sites: tuple[str, ...]
    surfaces: tuple[str, ...]
    height: Uint


class OrganisationForm(Form, frozen=True, omit_defaults=False):
    id: MemberText
    name: str
    roles: tuple[str, ...]
    validator: bool
    status: str
    since_height: Uint
    operator: AddressText
    offer: OfferForm | None  # null: it has said nothing


class Directory(Form, frozen=True, omit_defaults=False):
    items: tuple[OrganisationForm, ...]
    height: Uint


class CountsForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    """Of one organisation, since genesis. Null: fewer than ten, and the reader is no regulator."""

    organisation: MemberText
    name: str
    reads: Uint | None  # tickets that permitted it to read
    denials: Uint | None  # its requests that were denied, counted ones too
    emergencies: Uint | None  # cases that it opened
    emergencies_late: Uint | None  # of these: read while nothing could be certified
    justified_late: Uint | None  # of these: its justification came after the deadline
    disputed: Uint | None
    abuse: Uint | None  # of these: a reviewer judged so
    erasures: Uint | None  # cases at this custodian
    erasures_open: Uint | None  # of these: some holder has not answered


class EmergencyForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    """A case that no reviewer has decided; without its handle."""

    case_id: Hex32
    opener: MemberText
    custodian: MemberText
    opened: TimeText
    cosigned_by: MemberText | None
    justified: bool
    justify_until: TimeText
    disputed: bool
    late: bool
    panel: tuple[MemberText, ...] | None  # who reviews, in this order; null: not drawn yet


class Oversight(Form, frozen=True, kw_only=True, omit_defaults=False):
    items: tuple[CountsForm, ...]
    exact: bool  # for a regulator; else numbers below ten are null
    open_cases: tuple[EmergencyForm, ...]  # for a regulator
    more_cases: bool
    counted_height: Uint  # the counts are of the blocks up to here
    height: Uint
