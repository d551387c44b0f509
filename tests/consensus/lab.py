"""One replica on the bench: the test speaks for everybody else, with valid signatures."""

from typing import TypeVar

import msgspec

from consensus.config import ReplicaConfig
from consensus.effects import Action, Effects, PersistBody, Send
from consensus.events import (
    BlockWritten,
    BodyArrived,
    Event,
    Executed,
    ProposalBuilt,
    ProposalChecked,
    Received,
    Tick,
    Verdict,
)
from consensus.invariants import check
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    SignedMessage,
    Status,
    ViewChange,
    payload,
)
from consensus.proofs import choose
from consensus.replica import Replica
from consensus.state import State
from salus.certificate import Certificate, IndexedSignature
from salus.parameters import Parameters
from salus.vote import JournalEntry
from tests.consensus.cluster import (
    DOMAIN,
    PARAMETERS,
    FakeSigner,
    fake_verify,
    key,
    validator_set,
)

A, B, C = (bytes([letter]) * 32 for letter in b"ABC")  # digests

V = TypeVar("V", PrePrepare, Prepare, Commit, Checkpoint)
M = TypeVar("M", bound=SignedMessage)
T = TypeVar("T")


def sign(message: M) -> M:
    """As its sender would."""
    signature = FakeSigner(key(message.sender)).sign(payload(DOMAIN, message))
    return msgspec.structs.replace(message, signature=signature)


def vote(kind: type[V], sender: int, view: int, sequence: int, digest: bytes, epoch: int = 0) -> V:
    return sign(kind(epoch, view, sequence, digest, sender, NO_SIGNATURE))


def prepared(
    view: int, sequence: int, digest: bytes, *, without: int = -1, epoch: int = 0
) -> PreparedCertificate:
    """A true prepared certificate of four members; `without` did not take part."""
    validators = validator_set(4)
    primary = validators.primary(view)
    others = [i for i in range(4) if i not in (primary, without)][: validators.quorum - 1]
    return PreparedCertificate(
        vote(PrePrepare, primary, view, sequence, digest, epoch),
        tuple(
            IndexedSignature(i, vote(Prepare, i, view, sequence, digest, epoch).signature)
            for i in others
        ),
    )


def certificate(height: int, header_hash: bytes, *, without: int = 3) -> Certificate:
    """A true block certificate of four members; `without` did not sign."""
    return Certificate(
        0,
        height,
        header_hash,
        tuple(
            IndexedSignature(i, vote(Checkpoint, i, 0, height, header_hash).signature)
            for i in range(4)
            if i != without
        ),
    )


def view_change(
    sender: int, view: int, *certificates: PreparedCertificate, low: Certificate | None = None
) -> ViewChange:
    return sign(ViewChange(0, view, low, certificates, sender, NO_SIGNATURE))


def new_view(view: int, *view_changes: ViewChange, n: int = 4) -> NewView:
    """The NEW-VIEW that these VIEW-CHANGEs force."""
    primary = validator_set(n).primary(view)
    made = tuple(
        vote(PrePrepare, primary, view, sequence, digest)
        for sequence, digest in choose(view_changes, 0).digests
    )
    return sign(NewView(0, view, view_changes, made, primary, NO_SIGNATURE))


def status(sender: int, view: int, wish: int, certified: int, epoch: int = 0) -> Status:
    return sign(Status(epoch, view, wish, certified, sender, NO_SIGNATURE))


class Lab:
    def __init__(
        self,
        me: int | None = 1,
        n: int = 4,
        *,
        journal: tuple[JournalEntry, ...] = (),
        parameters: Parameters = PARAMETERS,
        certified: Certificate | None = None,
        voting: bool = True,
        epoch_end: int = 0,
    ) -> None:
        self.me, self.n = me, n
        self.journal: list[JournalEntry] = list(journal)
        self.bodies: list[bytes] = []
        self.sent: list[Message] = []
        self.actions: list[Action] = []
        self.last = Effects()
        self.replica = Replica(
            ReplicaConfig(
                vote_domain=DOMAIN,
                parameters=parameters,
                epoch=0,
                base=0,
                validators=validator_set(n),
                me=me,
                signer=None if me is None else FakeSigner(key(me)),
                verifier=fake_verify,
                journal=journal,
                certified=0 if certified is None else certified.height,
                certificate=certified,
                epoch_end=epoch_end,
                voting=voting,
            )
        )

    @property
    def state(self) -> State:
        return self.replica.state

    def step(self, event: Event) -> Effects:
        effects = self.last = self.replica.step(event)
        check(self.replica)
        for item in effects.persist:
            if isinstance(item, PersistBody):
                self.bodies.append(item.digest)
            else:
                self.journal.append(item)
        self.sent += [item.message for item in effects.send if isinstance(item, Send)]
        self.actions += effects.deliver
        return effects

    def hear(self, *messages: Message) -> Effects:
        for message in messages:
            effects = self.step(Received(message))
        return effects

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.step(Tick())

    def propose(
        self, sequence: int, digest: bytes, view: int = 0, verdict: Verdict = Verdict.VALID
    ) -> None:
        """The primary's PRE-PREPARE with its body, and my shell's judgement."""
        primary = self.replica.state.validators.primary(view)
        self.hear(vote(PrePrepare, primary, view, sequence, digest))
        self.give_body(sequence, digest, view, verdict)

    def give_body(
        self, sequence: int, digest: bytes, view: int = 0, verdict: Verdict = Verdict.VALID
    ) -> None:
        self.step(BodyArrived(sequence, digest))
        self.step(ProposalChecked(view, sequence, digest, verdict))

    def build(self, sequence: int, digest: bytes, view: int = 0) -> None:
        self.step(ProposalBuilt(view, sequence, digest))

    def votes(self, kind: type[V], senders: list[int], view: int, sequence: int, d: bytes) -> None:
        for sender in senders:
            self.hear(vote(kind, sender, view, sequence, d))

    def commit(self, sequence: int, digest: bytes, view: int = 0) -> None:
        """The whole agreement on one sequence, as seen by a backup."""
        others = [i for i in range(self.n) if i != self.me]
        primary = self.replica.state.validators.primary(view)
        self.propose(sequence, digest, view)
        self.votes(Prepare, [i for i in others if i != primary], view, sequence, digest)
        self.votes(Commit, others, view, sequence, digest)

    def certify(self, sequence: int, header_hash: bytes) -> None:
        others = [i for i in range(self.n) if i != self.me]
        self.step(Executed(sequence, header_hash, 0))
        self.votes(Checkpoint, others, 0, sequence, header_hash)
        self.step(BlockWritten(sequence))

    def said(self, kind: type[T]) -> list[T]:
        """My messages of this kind so far."""
        return [message for message in self.sent if isinstance(message, kind)]

    def did(self, kind: type[T]) -> list[T]:
        """What the core asked the shell to do, of this kind, so far."""
        return [action for action in self.actions if isinstance(action, kind)]

    def crash(self) -> "Lab":
        """The same validator again, with nothing but its journal."""
        return Lab(self.me, self.n, journal=tuple(self.journal))
