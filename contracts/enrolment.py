"""Identity, what is enrolled with a relation: accepted terms, biometric templates, look-up cards
(rules I-7, I-8, I-9 of decision 0010). Methods of the `identity` contract.
"""

from typing import Annotated

import msgspec

from contracts.context import Capacity, Context
from contracts.errors import NOT_AUTHORISED, Refused
from contracts.fields import committed, public
from contracts.framework import ANYONE
from contracts.identity import CARE_ROLES, change, identity, known, owned
from contracts.state import ReadState, State
from salus import relation as forms
from salus.answers import Terms
from salus.biometric import Enrolment, Method
from salus.block import Event
from salus.codec import Bytes32, Bytes64, Uint, Wire
from salus.keys import valid_public_key, verify
from salus.validators import MemberId

TERMS_PUBLISHED = identity.event(
    "terms_published", "An organisation published terms.", org="the organisation", version="theirs"
)
TERMS_ACCEPTED = identity.event(
    "terms_accepted",
    "A patient accepted an organisation's terms.",
    org="the organisation",
    handle="the relation",
    version="of the terms",
    custodial="the hospital's key signed",
)
ENROLLED = identity.event(
    "biometric_enrolled",
    "A commitment to a biometric template.",
    org="the organisation",
    handle="the relation",
    custodial="the hospital's key signed",
)
MATCHED = identity.event(
    "biometric_compared",
    "A device compared somebody with an enrolled template.",
    org="the organisation",
    handle="the relation",
    matched="the device says it is the same person",
)
WITHDRAWN = identity.event(
    "biometric_withdrawn",
    "A template is not to be used any more.",
    org="the organisation",
    handle="the relation",
)
CARD_ISSUED = identity.event("card_issued", "A look-up card was issued.", org="the organisation")
CARD_ENDED = identity.event("card_ended", "A look-up card ended.", org="the organisation")


class PublishTermsArgs(Wire, frozen=True):
    version: Annotated[Uint, public("one more than the last")]
    document: Annotated[Bytes32, public("hash of the public document")]


@identity.method(senders=(Capacity.OPERATOR,))
def publish_terms(ctx: Context, state: State, args: PublishTermsArgs) -> list[Event]:
    """Publish the next version of the organisation's user terms (rule I-7)."""
    assert ctx.member is not None, "an operator's key has its organisation"
    newest = state.get(Terms, _terms(ctx.member))
    version = 0 if newest is None else newest.version
    if args.version != version + 1:
        raise Refused("BAD_VERSION", version=version)
    state.put(_terms(ctx.member), Terms(args.version, args.document, ctx.height))
    return [TERMS_PUBLISHED(org=ctx.member, version=args.version)]


class AcceptTermsArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    version: Annotated[Uint, public("of the terms")]


@identity.method(senders=ANYONE)
def accept_terms(ctx: Context, state: State, args: AcceptTermsArgs) -> list[Event]:
    """The patient accepts the newest terms. What the hospital's key accepted for him, it did on its
    own word: his own key begins anew (rule I-6)."""
    relation = owned(ctx, state, args.org, args.handle)
    newest = state.get(Terms, _terms(args.org))
    if newest is None:
        raise Refused("UNKNOWN_TERMS")
    if args.version != newest.version:
        raise Refused("OLD_TERMS", version=newest.version)
    change(state, args.org, args.handle, relation, terms_version=args.version)
    return [
        TERMS_ACCEPTED(
            org=args.org, handle=args.handle, version=args.version, custodial=relation.custodial
        )
    ]


class EnrolArgs(Wire, frozen=True):
    handle: Annotated[Bytes32, public("the relation")]
    template: Annotated[Bytes32, committed("the biometric template; it never leaves the device")]
    method: Annotated[Method, public("what is compared")]
    device: Annotated[Bytes32, public("Ed25519 public key of the device")]
    owner_signature: Annotated[Bytes64, public("by the owner key")]


@identity.method(senders=(Capacity.OPERATOR, Capacity.STAFF), roles=CARE_ROLES)
def enrol_biometric(ctx: Context, state: State, args: EnrolArgs) -> list[Event]:
    """Commit to a template that a device of the sender's organisation holds (rule I-8)."""
    assert ctx.member is not None, "the framework admits members only"
    org = ctx.member
    relation = known(state, org, args.handle)
    if relation.frozen:
        raise Refused("RECOVERY_OPEN")
    payload = forms.enrolment(
        ctx.chain_id, org, args.handle, args.template, args.method.value, args.device
    )
    if not verify(relation.owner_at(ctx.time_ms), payload, args.owner_signature):
        raise Refused("NO_POSSESSION")
    if not valid_public_key(args.device):
        raise Refused("BAD_KEY")
    key = _biometric(org, args.template)
    if state.get(Enrolment, key) is not None:
        raise Refused("DUPLICATE_TEMPLATE")
    custodial = relation.custodial
    entry = Enrolment(args.handle, args.method, args.device, custodial, ctx.height, None, 0, 0, 0)
    state.put(key, entry)
    return [ENROLLED(org=org, handle=args.handle, custodial=custodial)]


class CompareArgs(Wire, frozen=True):
    template: Annotated[Bytes32, committed("the enrolled template")]
    number: Annotated[Uint, public("of the comparison with this template, from 1")]
    session: Annotated[Bytes32, committed("when, where and for what somebody was compared")]
    matched: Annotated[bool, public("the device says it is the same person")]
    device_signature: Annotated[Bytes64, public("by the device")]


@identity.method(senders=(Capacity.OPERATOR, Capacity.STAFF), roles=CARE_ROLES)
def compare_biometric(ctx: Context, state: State, args: CompareArgs) -> list[Event]:
    """Record the result of a comparison that the enrolling device made and signed."""
    assert ctx.member is not None, "the framework admits members only"
    org = ctx.member
    key, entry = _enrolled(state, org, args.template)
    if args.number != entry.compared + 1:  # a result that was sent before, or out of order
        raise Refused("BAD_NUMBER", number=entry.compared)
    payload = forms.match(ctx.chain_id, org, args.template, args.number, args.session, args.matched)
    if not verify(entry.device, payload, args.device_signature):
        raise Refused("NO_POSSESSION")
    entry = msgspec.structs.replace(
        entry,
        compared=entry.compared + 1,
        matched=entry.matched + args.matched,
        last_height=ctx.height,
    )
    state.put(key, entry)
    return [MATCHED(org=org, handle=entry.handle, matched=args.matched)]


class WithdrawArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation that holds the template")]
    template: Annotated[Bytes32, committed("the enrolled template")]


@identity.method(senders=ANYONE)
def withdraw_biometric(ctx: Context, state: State, args: WithdrawArgs) -> list[Event]:
    """The patient, or the organisation, ends an enrolment; at once, also during a recovery."""
    key, entry = _enrolled(state, args.org, args.template)
    relation = known(state, args.org, entry.handle)
    operator = ctx.capacity is Capacity.OPERATOR and ctx.member == args.org
    if not operator and ctx.sender != relation.owner_at(ctx.time_ms):
        raise Refused(NOT_AUTHORISED)
    state.put(key, msgspec.structs.replace(entry, ended_height=ctx.height))
    return [WITHDRAWN(org=args.org, handle=entry.handle)]


def _enrolled(state: State, org: str, template: bytes) -> tuple[bytes, Enrolment]:
    key = _biometric(org, template)
    entry = state.get(Enrolment, key)
    if entry is None:
        raise Refused("UNKNOWN_TEMPLATE")
    if entry.ended_height is not None:
        raise Refused("TEMPLATE_ENDED", height=entry.ended_height)
    return key, entry


# ── look-up cards ────────────────────────────────────────────────────────────


class Card(Wire, frozen=True):
    """State under card/<id>: the relation, for whoever has the card."""

    org: MemberId
    handle: Bytes32
    height: Uint
    ended: bool  # for ever: nobody enters a lost card again


class IssueCardArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    card: Annotated[Bytes32, public("Ed25519 public key of the card's secret")]
    possession: Annotated[Bytes64, public("by the card: that it belongs to this relation")]


@identity.method(senders=ANYONE)
def issue_card(ctx: Context, state: State, args: IssueCardArgs) -> list[Event]:
    """Enter a card by which a clinician finds the relation of somebody who cannot speak (I-9)."""
    owned(ctx, state, args.org, args.handle)
    if not valid_public_key(args.card):
        raise Refused("BAD_KEY")
    # Who copies a waiting card would else have it find himself, and another one's records.
    payload = forms.possession(ctx.chain_id, args.org, args.handle, "card")
    if not verify(args.card, payload, args.possession):
        raise Refused("NO_POSSESSION")
    if state.get(Card, _card(args.card)) is not None:
        raise Refused("DUPLICATE_CARD")
    state.put(_card(args.card), Card(args.org, args.handle, ctx.height, False))
    return [CARD_ISSUED(org=args.org)]


class EndCardArgs(Wire, frozen=True):
    org: Annotated[MemberId, public("the organisation of the relation")]
    handle: Annotated[Bytes32, public("the relation")]
    card: Annotated[Bytes32, public("Ed25519 public key of the card's secret")]


@identity.method(senders=ANYONE)
def end_card(ctx: Context, state: State, args: EndCardArgs) -> list[Event]:
    """A card was lost: it finds nothing any more."""
    relation = known(state, args.org, args.handle)
    operator = ctx.capacity is Capacity.OPERATOR and ctx.member == args.org
    if not operator and ctx.sender != relation.owner_at(ctx.time_ms):
        raise Refused(NOT_AUTHORISED)
    card = state.get(Card, _card(args.card))
    if card is None or card.ended or (card.org, card.handle) != (args.org, args.handle):
        raise Refused("UNKNOWN_CARD")
    state.put(_card(args.card), msgspec.structs.replace(card, ended=True))
    return [CARD_ENDED(org=args.org)]


# ── queries ──────────────────────────────────────────────────────────────────


class TermsArgs(Wire, frozen=True):
    org: MemberId


@identity.query
def terms(state: ReadState, args: TermsArgs) -> Terms | None:
    """The newest terms of an organisation."""
    return state.get(Terms, _terms(args.org))


class CardArgs(Wire, frozen=True):
    card: Bytes32


@identity.query
def card(state: ReadState, args: CardArgs) -> Card | None:
    """What a look-up card points to; null: it is none, or ended."""
    found = state.get(Card, _card(args.card))
    return None if found is None or found.ended else found


class TemplateArgs(Wire, frozen=True):
    org: MemberId
    template: Bytes32


@identity.query
def biometric(state: ReadState, args: TemplateArgs) -> Enrolment | None:
    """An enrolled template, and how often somebody was compared with it."""
    return state.get(Enrolment, _biometric(args.org, args.template))


def _terms(org: str) -> bytes:
    return b"terms/" + org.encode("ascii")


def _biometric(org: str, template: bytes) -> bytes:
    return b"biometric/" + org.encode("ascii") + b"/" + template


def _card(card_id: bytes) -> bytes:
    return b"card/" + card_id
