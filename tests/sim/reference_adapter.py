"""Between the simulator and the reference model: messages as plain tuples, events as its calls.

Signatures are checked here, once for each message object, so that the model only sees what was
validly signed. Liars, twins and nodes that lost votes unnoticed are free: they have no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from consensus.config import ReplicaConfig
from consensus.effects import (
    CheckProposal,
    Effects,
    Evidence,
    Execute,
    Persist,
    PersistBody,
    Send,
    ViewEntered,
    WriteBlock,
)
from consensus.events import (
    BlockWritten,
    BodyArrived,
    BodyDropped,
    CaughtUp,
    Event,
    Executed,
    ProposalBuilt,
    ProposalChecked,
    Received,
)
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
    content_digest,
    decode_message,
    payload,
)
from salus.block import null_proposal, proposal_digest
from salus.certificate import Certificate, IndexedSignature
from salus.codec import decode
from salus.vote import (
    JOURNAL_FLOOR,
    JOURNAL_NEW_VIEW,
    JOURNAL_PREPARED,
    JournalEntry,
    VoteType,
)
from tests.sim import reference
from tests.sim.observer import Observer
from tests.sim.reference import (
    Certified,
    Disagreement,
    Disk,
    Place,
    Prepared,
    Replica,
    Vote,
)
from tests.sim.reference_disk import Key, Past

if TYPE_CHECKING:
    from tests.sim.machine import Machine

_KINDS: dict[type, str] = {
    PrePrepare: reference.PRE_PREPARE,
    Prepare: reference.PREPARE,
    Commit: reference.COMMIT,
    Checkpoint: reference.CHECKPOINT,
    ViewChange: reference.VIEW_CHANGE,
    NewView: reference.NEW_VIEW,
}
_JOURNALLED: dict[int, str] = {
    VoteType.PRE_PREPARE: reference.PRE_PREPARE,
    VoteType.PREPARE: reference.PREPARE,
    VoteType.COMMIT: reference.COMMIT,
    VoteType.CHECKPOINT: reference.CHECKPOINT,
    VoteType.VIEW_CHANGE: reference.VIEW_CHANGE,
    VoteType.NEW_VIEW: reference.NEW_VIEW,
}
_VOTES = (PrePrepare, Prepare, Commit, Checkpoint)

_nulls: dict[int, bytes] = {}


def null(sequence: int) -> bytes:
    digest = _nulls.get(sequence)
    if digest is None:
        digest = _nulls[sequence] = proposal_digest(null_proposal(sequence))
    return digest


class Reader:
    """Messages of one epoch into tuples; each object is read once."""

    def __init__(self, config: ReplicaConfig) -> None:
        self.epoch, self.domain = config.epoch, config.vote_domain
        self.verifier, self.validators = config.verifier, config.validators
        # By identity, which the kept message holds fast: the same object reaches everybody.
        self._read: dict[int, tuple[object, Any]] = {}

    def __call__(self, message: Any) -> Any:
        """None: another epoch, no member, or no valid signature."""
        known = self._read.get(id(message))
        if known is None:
            known = self._read[id(message)] = (message, self._tuple(message))
        return known[1]

    def _tuple(self, message: Any) -> Any:
        if message.epoch != self.epoch or message.sender >= self.validators.n:
            return None
        if not self._signed(message.sender, payload(self.domain, message), message.signature):
            return None
        if isinstance(message, ViewChange):
            low = None if message.low is None else self.certified(message.low)
            prepared = tuple(self.prepared(each) for each in message.prepared)
            head = (reference.VIEW_CHANGE, message.view, 0, content_digest(message))
            return reference.ViewChange(*head, message.sender, low, prepared)
        if isinstance(message, NewView):
            changes = tuple(self(each) for each in message.view_changes)
            proposals = tuple(self(each) for each in message.pre_prepares)
            head = (reference.NEW_VIEW, message.view, 0, content_digest(message))
            return reference.NewView(*head, message.sender, changes, proposals)
        if isinstance(message, Status):
            return message
        kind = _KINDS[type(message)]
        return Vote(kind, message.view, message.sequence, message.digest, message.sender)

    def prepared(self, certificate: PreparedCertificate) -> Prepared:
        vote = certificate.pre_prepare
        proposer = None if self(vote) is None else vote.sender
        covered = self.domain.payload(
            VoteType.PREPARE, vote.epoch, vote.view, vote.sequence, vote.digest
        )
        signers = self._signers(certificate.prepares, covered)
        return Prepared(vote.view, vote.sequence, vote.digest, proposer, signers)

    def certified(self, certificate: Certificate) -> Certified:
        height, header = certificate.height, certificate.header_hash
        covered = self.domain.payload(VoteType.CHECKPOINT, certificate.epoch, 0, height, header)
        signers = self._signers(certificate.signatures, covered)
        if certificate.epoch != self.epoch:
            signers = (None,)
        return Certified(height, header, signers)

    def _signers(
        self, signatures: Iterable[IndexedSignature], covered: bytes
    ) -> tuple[int | None, ...]:
        return tuple(
            each.index if self._signed(each.index, covered, each.signature) else None
            for each in signatures
        )

    def _signed(self, member: int, covered: bytes, signature: bytes) -> bool:
        return member < self.validators.n and self.verifier(
            self.validators.key(member), covered, signature
        )


class Reference(Observer):
    """One model for each honest replica of a run; `calls` counts what was compared."""

    def __init__(self, faulty: set[int]) -> None:
        self.faulty = faulty
        self.models: dict[int, Replica] = {}
        self.pasts: dict[int, Past] = {}
        self.readers: dict[int, Reader] = {}
        self.epochs: dict[int, int] = {}  # address → epoch of its replica
        self.steps = 0

    # -- what the simulator calls ---------------------------------------------------------------

    def born(self, node: Machine, config: ReplicaConfig) -> None:
        if node.member in self.faulty:
            return
        epoch, parameters = config.epoch, config.parameters
        past = self.pasts.setdefault(node.address, Past(node.member))
        read = self.readers.setdefault(epoch, Reader(config))
        entries = [entry for entry in config.journal if entry.epoch == epoch]
        past.synced[epoch] = {}
        _note_synced(past, entries)
        place = Place(
            config.me,
            config.validators.n,
            config.base,
            parameters.watermark_window,
            parameters.execute_ahead_max,
            null,
        )
        may_vote = config.me is not None and past.may_vote(epoch)
        model = Replica(place, _disk(config, entries, read, may_vote))
        past.restarts(epoch, model, set(node.bodies))
        self.epochs[node.address] = epoch
        self.models[node.address] = model

    def lost_disk(self, node: Machine) -> None:
        if node.address in self.pasts:
            self.pasts[node.address].loses_journal()

    def synced(self, node: Machine, effects: Effects) -> None:
        past = self.pasts.get(node.address)
        if past is not None:
            _note_synced(past, effects.persist)

    def leaves(self, node: Machine, message: Message) -> None:
        past = self.pasts.get(node.address)
        kind = _KINDS.get(type(message))
        if past is not None and kind is not None and message.sender == node.member:
            past.leaves(message.epoch, *_key(kind, message))

    def stepped(self, node: Machine, event: Event, effects: Effects) -> None:
        model = self.models.get(node.address)
        if model is None:
            return
        self.steps += 1
        read = self.readers[self.epochs[node.address]]
        entered = _happen(model, read, event)
        if effects.persist or effects.send or effects.deliver:
            _compare(model, read, effects, entered)
        began = type(event) is Received and type(event.message) is Prepare
        model.must(read(event.message) if began else None)


def _note_synced(past: Past, items: Iterable[Persist]) -> None:
    for item in items:
        if not isinstance(item, JournalEntry):
            continue
        kind = _JOURNALLED.get(item.kind)
        if kind is not None:
            past.syncs(item.epoch, (kind, item.view, item.sequence), item.digest)
        elif item.kind == JOURNAL_NEW_VIEW:  # binds its primary to all that it holds
            past.syncs(item.epoch, (reference.NEW_VIEW, item.view, 0), item.digest)
            for vote in _decoded(item).pre_prepares:
                key = (reference.PRE_PREPARE, vote.view, vote.sequence)
                past.syncs(item.epoch, key, vote.digest)


def _key(kind: str, message: Any) -> tuple[Key, bytes]:
    if isinstance(message, _VOTES):
        return (kind, message.view, message.sequence), message.digest
    return (kind, message.view, 0), content_digest(message)


def _decoded(entry: JournalEntry) -> NewView:
    message = decode_message(entry.payload)
    assert isinstance(message, NewView)
    return message


def _disk(config: ReplicaConfig, entries: list[JournalEntry], read: Reader, may_vote: bool) -> Disk:
    floor = max((e.sequence for e in entries if e.kind == JOURNAL_FLOOR), default=0)
    floor = max(floor, config.certified)
    votes: dict[Key, bytes] = {}
    for entry in entries:
        kind = _JOURNALLED.get(entry.kind)
        if kind is not None and (entry.sequence == 0 or entry.sequence > floor):
            votes[kind, entry.view, entry.sequence] = entry.digest
    installed = [entry for entry in entries if entry.kind == JOURNAL_NEW_VIEW]
    new_view = None
    if installed:
        new_view = read(_decoded(max(installed, key=lambda entry: entry.view)))
        if new_view.sender == config.me:
            votes[reference.NEW_VIEW, new_view.view, 0] = new_view.digest
            for vote in new_view.proposals:
                votes[reference.PRE_PREPARE, vote.view, vote.sequence] = vote.digest
    prepared = tuple(
        read.prepared(decode(entry.payload, PreparedCertificate))
        for entry in entries
        if entry.kind == JOURNAL_PREPARED and entry.sequence > config.certified
    )
    certified, end = config.certified, config.epoch_end
    return Disk(votes, prepared, new_view, certified, floor, end, may_vote)


def _happen(model: Replica, read: Reader, event: Event) -> NewView | None:
    """The event, and the NEW-VIEW that it brings."""
    match event:
        case Received(message):
            if isinstance(message, NewView):
                return message
            if type(message) in _KINDS:
                said = read(message)
                if said is not None:
                    model.hear(said)
            elif isinstance(message, Status) and read(message) is not None:
                model.reaches(message.sender, message.wish)
        case ProposalBuilt(view, sequence, digest):
            model.holds(sequence, digest)
            model.checked(view, sequence, digest, reference.VALID)
        case ProposalChecked(view, sequence, digest, verdict):
            model.checked(view, sequence, digest, verdict.name)
        case BodyArrived(sequence, digest):
            model.holds(sequence, digest)
        case BodyDropped(sequence, digest):
            model.bodies.discard((sequence, digest))
        case Executed(sequence, header, epoch_end):
            model.was_executed(sequence, header, epoch_end)
        case BlockWritten(height):
            model.was_certified(height)
        case CaughtUp(height, _, epoch_end):
            model.was_certified(height, epoch_end)
    return None


def _compare(model: Replica, read: Reader, effects: Effects, brought: NewView | None) -> None:
    """What the replica did, in the order in which one thing follows from the other."""
    entered = [action.view for action in effects.deliver if type(action) is ViewEntered]
    if (
        brought is not None
        and entered
        and entered[0] == brought.view
        and brought.sender != model.me
    ):
        made = read(brought)
        if made is None:
            raise Disagreement(
                f"reference model: n{model.me} enters view {brought.view} by a NEW-VIEW that "
                "nobody signed (S1)"
            )
        model.enters(made)
    for item in effects.persist:
        if isinstance(item, PersistBody):
            model.stored.add((item.sequence, item.digest))
        elif item.kind == JOURNAL_PREPARED:
            found = read.prepared(decode(item.payload, PreparedCertificate))
            model.proofs[found[:3]] = found
    if model.n == 1:
        _compare_alone(model, read, effects)
    for sending in effects.send:
        if type(sending) is Send:
            message = sending.message
            if message.sender != model.me:
                continue
            if type(message) in _KINDS:
                model.says(read(message))
            elif type(message) is Status and message.signature != NO_SIGNATURE:
                _claims(model, message)
    for action in effects.deliver:
        match action:
            case Execute(sequence, digest):
                model.executes(sequence, digest)
            case WriteBlock(_, certificate):
                model.writes(read.certified(certificate))
            case CheckProposal(view, sequence, _, _, first):
                model.asks(view, sequence, first)
            case Evidence(_, first, second):
                _accuses(model, read(first), read(second))


def _compare_alone(model: Replica, read: Reader, effects: Effects) -> None:
    """A member without others sends nothing; its votes are what it journals."""
    for item in effects.persist:
        if not isinstance(item, JournalEntry):
            continue
        kind = _JOURNALLED.get(item.kind)
        if item.kind in (VoteType.VIEW_CHANGE, JOURNAL_NEW_VIEW):
            model.says(read(decode_message(item.payload)))
        elif kind is not None and item.kind != VoteType.NEW_VIEW:
            model.says(Vote(kind, item.view, item.sequence, item.digest, 0))


def _claims(model: Replica, said: Status) -> None:
    """L19, L20: a signed STATUS says where it stands."""
    true = (said.view, said.wish) == (model.view, model.wish) and said.certified <= model.certified
    if not (model.may_vote and true):
        raise Disagreement(
            f"reference model: n{model.me} signs STATUS view {said.view}, wish {said.wish}, "
            f"certified {said.certified}; it {'' if model.may_vote else 'may not vote, and '}is at "
            f"{model.view}, {model.wish}, {model.certified} (S4, L20)"
        )


def _accuses(model: Replica, first: Any, second: Any) -> None:
    """L23: a NEW-VIEW that does not follow, or two votes of one member for one place."""
    if type(first) is reference.NewView:
        lie = not model.follows(first)
    else:
        lie = first is not None and second is not None and first.sender == second.sender
        if lie and first[0] == second[0]:  # a COMMIT and the VIEW-CHANGE that belies it differ
            lie = first[:3] == second[:3] and first.digest != second.digest
    if not lie:
        raise Disagreement(f"reference model: n{model.me} accuses without a proof (L23)")
