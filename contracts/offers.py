"""What organisations offer to the public: a part of the contract `members`.

Each says it of itself, in codes; nobody checks it but those who know the place. The last word counts.
"""

from typing import Annotated

from contracts.context import Capacity, Context
from contracts.errors import Refused
from contracts.fields import public
from contracts.member_queries import MemberArgs, NoArgs
from contracts.members import all_members, members
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import Wire
from salus.offer import Offer, Services, Sites, Surfaces
from salus.validators import MemberId

OFFERED = members.event(
    "offered", "An organisation says what it offers to the public.", org="the organisation"
)


class OfferArgs(Wire, frozen=True):
    services: Annotated[Services, public("kinds of care")]
    sites: Annotated[Sites, public("places: country number and six digits of the country's code")]
    surfaces: Annotated[Surfaces, public("by what it can be reached")]


@members.method(senders=(Capacity.OPERATOR,))
def offer(ctx: Context, state: State, args: OfferArgs) -> list[Event]:
    """Say what the sender's organisation offers; it takes the place of what it said before."""
    assert ctx.member is not None, "an operator's key has its organisation"
    words = (*args.services,), (*args.surfaces,)
    if any(list(one) != sorted(set(one)) for one in words) or (
        list(args.sites) != sorted(set(args.sites))
    ):
        raise Refused("BAD_OFFER")
    state.put(_place(ctx.member), Offer(args.services, args.sites, args.surfaces, ctx.height))
    return [OFFERED(org=ctx.member)]


@members.query
def offer_of(state: ReadState, args: MemberArgs) -> Offer | None:
    """What an organisation said last of what it offers."""
    return state.get(Offer, _place(args.id))


class Offered(Wire, frozen=True):
    org: MemberId
    offer: Offer


class OfferList(Wire, frozen=True):
    offers: tuple[Offered, ...]


@members.query
def offers(state: ReadState, args: NoArgs) -> OfferList:
    """Of all organisations that said something, ascending by id."""
    found = []
    for member in all_members(state):
        said = state.get(Offer, _place(member.id))
        if said is not None:
            found.append(Offered(member.id, said))
    return OfferList(tuple(found))


def _place(org: str) -> bytes:
    return b"offer/" + org.encode("ascii")
