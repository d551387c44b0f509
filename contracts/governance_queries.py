"""What can be asked of governance: proposals, what is under way, who is to get a vote."""

from contracts.governance import governance
from contracts.proposals import (
    PROPOSALS_PER_PAGE,
    Agenda,
    Candidacy,
    Proposal,
    read_agenda,
    read_candidacy,
    read_proposal,
)
from contracts.state import ReadState
from salus.codec import Uint, Wire
from salus.validators import MemberId


class NumberArgs(Wire, frozen=True):
    number: Uint


@governance.query
def proposal(state: ReadState, args: NumberArgs) -> Proposal | None:
    """A proposal by number, with its ballots."""
    return read_proposal(state, args.number)


class ListArgs(Wire, frozen=True):
    below: Uint  # the number after the first one wanted; 0: begin with the newest


class ProposalList(Wire, frozen=True):
    proposals: tuple[Proposal, ...]


@governance.query
def list_proposals(state: ReadState, args: ListArgs) -> ProposalList:
    """Proposals, the newest first, a page at a time; the last page is not full."""
    newest = read_agenda(state).next_number
    below = min(args.below or newest, newest)
    numbers = range(below - 1, max(below - 1 - PROPOSALS_PER_PAGE, 0), -1)
    found = [read_proposal(state, number) for number in numbers]
    return ProposalList(tuple(one for one in found if one is not None))


class NoArgs(Wire, frozen=True):
    """No arguments."""


@governance.query
def agenda(state: ReadState, args: NoArgs) -> Agenda:
    """What is under way: numbers of open and of passed proposals, and candidates."""
    return read_agenda(state)


class CandidateArgs(Wire, frozen=True):
    member: MemberId


@governance.query
def candidacy(state: ReadState, args: CandidateArgs) -> Candidacy | None:
    """The newest candidacy of a member for a vote."""
    return read_candidacy(state, args.member)
