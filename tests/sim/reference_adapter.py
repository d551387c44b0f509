"""Between the simulator and the reference model: messages as plain tuples, events as its calls.

Signatures are checked here, once for each message object, so that the model only sees what was
validly signed. Liars, twins and nodes that lost votes unnoticed are free: they have no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from consensus.config import ReplicaConfig
from consensus.effects import (
    BuildProposal,
    CatchUp,
    CheckProposal,
    Effects,
    Evidence,
    Execute,
    Persist,
    PersistBody,
    Send,
    SendBlocks,
    SendBody,
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
    Tick,
)
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    Fetch,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
    decode_message,
)
from salus.block import DUPLICATE, null_proposal, proposal_digest
from salus.certificate import Certificate, IndexedSignature
from salus.codec import decode
from salus.validators import VALIDATORS_MAX
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
from tests.sim.reference_duties import Duties

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.signatures import Seals
    from tests.sim.work import Worker

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
_VOTES = frozenset((PrePrepare, Prepare, Commit, Checkpoint))
_OWING = frozenset((Tick, Executed, CaughtUp))

_nulls: dict[int, bytes] = {}


def null(sequence: int) -> bytes:
    digest = _nulls.get(sequence)
    if digest is None:
        digest = _nulls[sequence] = proposal_digest(null_proposal(sequence))
        if len(set(_nulls.values())) < len(_nulls):
            raise Disagreement(f"reference model: Null({sequence}) is that of another place (S11)")
    return digest


class Reader:
    """Messages of one epoch into tuples; each object is read once."""

    def __init__(self, config: ReplicaConfig, seals: Seals) -> None:
        self.seals = seals
        self.epoch, self.domain = config.epoch, config.vote_domain
        self.verifier = config.verifier
        self.keys = [each.public_key for each in config.validators.validators]
        self.n = len(self.keys)
        # By identity, which the kept message holds fast: the same object reaches everybody.
        self._read: dict[int, tuple[object, Any]] = {}

    def tell(self, message: Any) -> Any:
        """None: another epoch, no member, or no valid signature."""
        known = self._read.get(id(message))
        if known is None:
            known = self._read[id(message)] = (message, self._tuple(message))
        return known[1]

    def _tuple(self, message: Any) -> Any:
        sender: int = message.sender
        if message.epoch != self.epoch or sender >= self.n:
            return None
        if not self.seals.valid(self.keys[sender], message):
            return None
        kind = _KINDS.get(type(message))
        if kind is None:  # STATUS
            return message
        if kind is reference.VIEW_CHANGE:
            low = None if message.low is None else self.certified(message.low)
            prepared = tuple(self.prepared(each) for each in message.prepared)
            head = (kind, message.view, 0, self.seals.content(message))
            return reference.ViewChange(*head, sender, low, prepared)
        if kind is reference.NEW_VIEW:
            changes = tuple(self.tell(each) for each in message.view_changes)
            proposals = tuple(self.tell(each) for each in message.pre_prepares)
            head = (kind, message.view, 0, self.seals.content(message))
            return reference.NewView(*head, sender, changes, proposals)
        return Vote(kind, message.view, message.sequence, message.digest, sender)

    def prepared(self, certificate: PreparedCertificate) -> Prepared:
        vote = certificate.pre_prepare
        proposer = None if self.tell(vote) is None else vote.sender
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
        return member < self.n and self.verifier(self.keys[member], covered, signature)


class Reference(Observer):
    """One model for each honest replica of a run; `calls` counts what was compared."""

    def __init__(self, faulty: set[int]) -> None:
        self.faulty = faulty
        self.followed: dict[int, tuple[Replica, Reader]] = {}  # by address
        self.duties: dict[int, Duties] = {}
        self.pasts: dict[int, Past] = {}
        self.readers: dict[int, Reader] = {}
        self.steps = 0

    # -- what the simulator calls ---------------------------------------------------------------

    def born(self, node: Machine, config: ReplicaConfig) -> None:
        if node.member in self.faulty:
            return
        epoch, parameters = config.epoch, config.parameters
        past = self.pasts.setdefault(node.address, Past(node.member))
        read = self._reader(config, node.cluster.seals)
        entries = [entry for entry in config.journal if entry.epoch == epoch]
        past.synced[epoch] = {}
        _note_synced(past, entries)
        place = Place(
            -1 if config.me is None else config.me,
            config.validators.n,
            config.epoch,
            config.base,
            parameters.watermark_window,
            parameters.execute_ahead_max,
            null,
        )
        floors = [entry.sequence for entry in entries if entry.kind == JOURNAL_FLOOR]
        if floors:
            past.begins_at(epoch, max(floors))
        may_vote = config.me is not None and past.may_vote(epoch)
        model = Replica(place, _disk(config, entries, read, may_vote))
        worker = cast("Worker", node)
        past.restarts(
            epoch,
            model,
            # Null is a constant and never stored (S11). Looking at its bytes would touch the disk.
            lambda at, digest: (at, digest) in worker.bodies._stored or digest == null(at),
        )
        self.followed[node.address] = (model, read)
        self.duties[node.address] = Duties(model, past.ran)

    def _reader(self, config: ReplicaConfig, seals: Seals) -> Reader:
        """One for all who are in this epoch."""
        read = self.readers.get(config.epoch)
        if read is None:
            read = self.readers[config.epoch] = Reader(config, seals)
        return read

    def lost_disk(self, node: Machine) -> None:
        if node.address in self.pasts:
            self.pasts[node.address].loses_journal()

    def synced(self, node: Machine, effects: Effects) -> None:
        past = self.pasts.get(node.address)
        if past is not None:
            _note_synced(past, effects.persist)

    def leaves(self, node: Machine, message: Message) -> None:
        past = self.pasts.get(node.address)
        if past is None or type(message) not in _KINDS:
            return
        model, read = self.followed[node.address]
        if message.epoch == read.epoch and message.sender == model.me:
            said = read.tell(message)
            past.leaves(message.epoch, said[:3], said.digest)

    def stepped(self, node: Machine, event: Event, effects: Effects) -> None:
        followed = self.followed.get(node.address)
        if followed is None:
            return
        self.steps += 1
        model, read = followed
        began: Any = None  # the PREPARE, or the NEW-VIEW, that the step began with
        kind = type(event)
        if kind is Received:
            message: Any = event.message  # type: ignore[union-attr]
            if type(message) not in _VOTES:  # nearly all are votes, and nobody owes an answer
                _owes(self.duties[node.address], read, cast("Worker", node), event, effects)
            began = _hear(model, read, message)
        else:
            if kind in _OWING:
                _owes(self.duties[node.address], read, cast("Worker", node), event, effects)
            happening = _HAPPENINGS.get(kind)
            if happening is not None:
                happening(model, event)
        if effects.persist or effects.send or effects.deliver:
            _compare(model, read, effects, began)
            for action in effects.deliver:
                if type(action) is BuildProposal:
                    self.duties[node.address].asks_for_proposal(action.sequence, action.fill)
        heard = began if type(began) is Vote else None
        if heard is not None or model.surely_committed:
            model.must(heard)


def _owes(duties: Duties, read: Reader, node: Worker, event: Any, effects: Effects) -> None:
    """What is due in this very step; before the model itself hears of it."""
    kind = type(event)
    if kind is Received:
        message = event.message
        about = type(message)
        if about is Fetch:
            if message.epoch == read.epoch and message.sender < duties.model.n:
                body = (message.sequence, message.digest)
                served = [(s.sequence, s.digest) for s in effects.send if type(s) is SendBody]
                duties.fetched(message.sender, body, body in served)
        elif about is Status:
            if message.epoch < read.epoch and message.sender < VALIDATORS_MAX:
                offered = [s.to for s in effects.send if type(s) is SendBlocks]
                duties.stranger(message.sender, message.sender in offered)
            elif message.signature != NO_SIGNATURE and read.tell(message) is not None:
                duties.claims_height(message.sender, message.certified)
        elif about is ViewChange or about is NewView:
            said = read.tell(message)
            changes = () if said is None else (said,) if about is ViewChange else said.changes
            duties.shown(each.low for each in changes if each is not None)
    elif kind is Tick:
        duties.ticks()
        for action in effects.deliver:
            if type(action) is CatchUp:
                duties.looks_for(action.height)
    elif kind is Executed:
        executed = node.executor.executed(event.sequence)
        if executed is not None and duties.model.executed + 1 == event.sequence:
            ran = {one.tx_id for one in executed.receipts if one.code != DUPLICATE}
            duties.executed(event.sequence, event.epoch_end, sorted(ran))
    elif kind is CaughtUp:
        duties.caught_up(event.height, read.certified(event.certificate))


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
        new_view = read.tell(_decoded(max(installed, key=lambda entry: entry.view)))
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
    reach = max((entry.sequence for entry in entries), default=0)
    return Disk(votes, prepared, new_view, certified, floor, reach, end, may_vote)


def _hear(model: Replica, read: Reader, message: Message) -> Any:
    """Tells the model; returns what may have consequences in this very step."""
    kind: type = type(message)
    if kind in _KINDS:
        if kind is NewView:
            return message
        said = read.tell(message)
        if said is not None:
            model.hear(said)
            if kind is Prepare:
                return said
    elif kind is Status and read.tell(message) is not None:
        model.reaches(message.sender, message.wish)  # type: ignore[union-attr]
    return None


def _built(model: Replica, event: ProposalBuilt) -> None:
    model.holds(event.sequence, event.digest)
    model.checked(event.view, event.sequence, event.digest, reference.VALID)


# Everything else that happens to a replica changes nothing of what it may say.
_HAPPENINGS: dict[type, Callable[[Replica, Any], None]] = {
    ProposalBuilt: _built,
    ProposalChecked: lambda model, e: model.checked(e.view, e.sequence, e.digest, e.verdict.name),
    BodyArrived: lambda model, e: model.holds(e.sequence, e.digest),
    BodyDropped: lambda model, e: model.bodies.discard((e.sequence, e.digest)),
    Executed: lambda model, e: model.was_executed(e.sequence, e.header_hash, e.epoch_end),
    BlockWritten: lambda model, e: model.was_certified(e.height),
    CaughtUp: lambda model, e: model.was_certified(e.height, e.epoch_end),
}


def _compare(model: Replica, read: Reader, effects: Effects, began: Any) -> None:
    """What the replica did, in the order in which one thing follows from the other."""
    if type(began) is NewView:
        entered = [action.view for action in effects.deliver if type(action) is ViewEntered]
        if entered and entered[0] == began.view and began.sender != model.me:
            made = read.tell(began)
            if made is None:
                raise Disagreement(
                    f"reference model: n{model.me} enters view {began.view} by a NEW-VIEW that "
                    "its primary did not sign (S1)"
                )
            model.enters(made)
    for item in effects.persist:
        if type(item) is PersistBody:
            model.stored.add((item.sequence, item.digest))
        elif item.kind == JOURNAL_PREPARED:  # type: ignore[union-attr]
            found = read.prepared(decode(item.payload, PreparedCertificate))  # type: ignore[union-attr]
            model.proofs[found[:3]] = found
    if model.n == 1:
        _compare_alone(model, read, effects)
    for sending in effects.send:
        if type(sending) is Send and sending.message.sender == model.me:
            message = sending.message
            if type(message) in _KINDS:
                model.says(read.tell(message))
            elif type(message) is Status and message.signature != NO_SIGNATURE:
                _claims(model, message)
    action: Any
    for action in effects.deliver:
        kind = type(action)
        if kind is Execute:
            model.executes(action.sequence, action.digest)
        elif kind is WriteBlock:
            model.writes(read.certified(action.certificate))
        elif kind is CheckProposal:
            model.asks(action.view, action.sequence, action.digest, action.first)
        elif kind is Evidence:
            _accuses(model, read.tell(action.first), read.tell(action.second))


def _compare_alone(model: Replica, read: Reader, effects: Effects) -> None:
    """A member without others sends nothing; its votes are what it journals."""
    for item in effects.persist:
        if not isinstance(item, JournalEntry):
            continue
        kind = _JOURNALLED.get(item.kind)
        if item.kind in (VoteType.VIEW_CHANGE, JOURNAL_NEW_VIEW):
            model.says(read.tell(decode_message(item.payload)))
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
