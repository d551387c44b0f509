"""What proves what: signatures, prepared certificates, VIEW-CHANGEs, and the choice of a NEW-VIEW.

Pure functions of messages and the epoch (rules S7–S9); nothing here changes a replica. Every
check runs from cheap to dear, signatures last (B25), and raises `VerificationError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from consensus.config import ReplicaConfig
from consensus.messages import (
    NewView,
    PreparedCertificate,
    SignedMessage,
    ViewChange,
    payload,
)
from salus.block import null_proposal, proposal_digest
from salus.certificate import Certificate, check_signatures
from salus.errors import VerificationError
from salus.vote import VoteType


@lru_cache(maxsize=1_024)  # asked for with every proposal: is it the one that nobody has to send?
def null_digest(sequence: int) -> bytes:
    """Rule S11: the constant that fills a gap."""
    return proposal_digest(null_proposal(sequence))


@dataclass(frozen=True, slots=True)
class Choice:
    """What q VIEW-CHANGEs force on their new view: the low watermark with its proof, and one
    digest for each sequence from there to the highest prepared one."""

    low: int
    certificate: Certificate | None
    digests: tuple[tuple[int, bytes], ...]


def choose(view_changes: Sequence[ViewChange], base: int) -> Choice:
    """Rule S9, over all q VIEW-CHANGEs.

    The low watermark is the highest that is proved: whoever proved it has dropped its prepared
    certificates below, so nothing below may be chosen anew. Above it each sequence takes the
    digest prepared in the highest view; where nobody prepared anything nobody can have committed,
    and Null(sequence) fills the gap.
    """
    surest = max(view_changes, key=lambda view_change: low_of(view_change, base))
    low = low_of(surest, base)
    best: dict[int, tuple[int, bytes]] = {}
    for view_change in view_changes:
        for prepared in view_change.prepared:
            vote = prepared.pre_prepare
            # Two digests prepared in one view would take more than f liars; the larger digest
            # is then as good as the other, but must be the same everywhere.
            if vote.sequence > low:
                best[vote.sequence] = max(
                    best.get(vote.sequence, (-1, b"")), (vote.view, vote.digest)
                )
    digests = [
        (sequence, best[sequence][1] if sequence in best else null_digest(sequence))
        for sequence in range(low + 1, max(best, default=low) + 1)
    ]
    return Choice(low, surest.low, tuple(digests))


def low_of(view_change: ViewChange, base: int) -> int:
    return base if view_change.low is None else view_change.low.height


class Proofs:
    """The checks, with what they need to know of the epoch."""

    __slots__ = ("base", "domain", "epoch", "validators", "verifier", "window")

    def __init__(self, config: ReplicaConfig) -> None:
        self.domain, self.validators = config.vote_domain, config.validators
        self.verifier, self.epoch, self.base = config.verifier, config.epoch, config.base
        self.window = config.parameters.watermark_window

    def signed(self, message: SignedMessage) -> bool:
        """The sender is a member (checked before) and this is its signature."""
        key = self.validators.key(message.sender)
        return self.verifier(key, payload(self.domain, message), message.signature)

    def fits(self, message: ViewChange | NewView) -> bool:
        """May a message of this size be true? Asked before anything is hashed or verified: the
        largest that can be signed are a hundred times as dear as the largest true ones (B25)."""
        if isinstance(message, NewView):
            return (
                len(message.view_changes) <= self.validators.quorum
                and len(message.pre_prepares) <= self.window
                and all(map(self.fits, message.view_changes))
            )
        return len(message.prepared) <= self.window and all(
            len(prepared.prepares) < self.validators.quorum for prepared in message.prepared
        )

    def check_view_change(self, view_change: ViewChange) -> None:
        """Rule S8, all but its own signature."""
        self._check_form(view_change)
        self._check_signatures(view_change)

    def _check_form(self, view_change: ViewChange) -> None:
        low = low_of(view_change, self.base)
        if view_change.low is not None:
            _require(low > self.base, "the low certificate must be of this epoch")
        _require(len(view_change.prepared) <= self.window, "more prepared than the window holds")
        last = low
        for prepared in view_change.prepared:
            vote = prepared.pre_prepare
            _require(vote.sequence > last, "prepared sequences ascend above the low watermark")
            _require(vote.sequence <= low + self.window, "prepared beyond the high watermark")
            _require(vote.view < view_change.view, "prepared in a view that is not older")
            self._check_prepared_form(prepared)
            last = vote.sequence

    def _check_signatures(self, view_change: ViewChange) -> None:
        if view_change.low is not None:
            check_signatures(view_change.low, self.validators, self.domain, self.verifier)
        for prepared in view_change.prepared:
            self._check_prepared_signatures(prepared)

    def _check_prepared_form(self, prepared: PreparedCertificate) -> None:
        vote = prepared.pre_prepare
        _require(vote.epoch == self.epoch, "a prepared certificate of another epoch")
        primary = self.validators.primary(vote.view)
        _require(vote.sender == primary, "the PRE-PREPARE is not of its view's primary")
        indexes = [signature.index for signature in prepared.prepares]
        _require(indexes == sorted(set(indexes)), "PREPAREs of distinct members, ascending")
        _require(primary not in indexes, "the primary's PRE-PREPARE is its prepare, once")
        _require(len(indexes) == self.validators.quorum - 1, "q−1 PREPAREs beside the PRE-PREPARE")
        _require(not indexes or indexes[-1] < self.validators.n, "a PREPARE of no member")

    def _check_prepared_signatures(self, prepared: PreparedCertificate) -> None:
        vote = prepared.pre_prepare
        _require(self.signed(vote), "the PRE-PREPARE's signature is not valid")
        signed = self.domain.payload(
            VoteType.PREPARE, vote.epoch, vote.view, vote.sequence, vote.digest
        )
        for signature in prepared.prepares:
            key = self.validators.key(signature.index)
            _require(
                self.verifier(key, signed, signature.signature),
                "a PREPARE's signature is not valid",
            )

    def check_new_view(self, new_view: NewView, known: dict[int, ViewChange]) -> Choice:
        """Rule S9, all but its own signature: the choice is recomputed and compared exactly.

        `known` are VIEW-CHANGEs that I have checked before, by sender.
        """
        view, sender = new_view.view, new_view.sender
        senders = [view_change.sender for view_change in new_view.view_changes]
        _require(senders == sorted(set(senders)), "VIEW-CHANGEs of distinct members, ascending")
        _require(len(senders) == self.validators.quorum, "q VIEW-CHANGEs, no more and no fewer")
        _require(senders[-1] < self.validators.n, "a VIEW-CHANGE of no member")
        for view_change in new_view.view_changes:
            _require(view_change.epoch == self.epoch, "a VIEW-CHANGE of another epoch")
            _require(view_change.view == view, "a VIEW-CHANGE for another view")
            self._check_form(view_change)  # Bounds what `choose` makes of it.
        for pre_prepare in new_view.pre_prepares:
            _require(pre_prepare.epoch == self.epoch, "a PRE-PREPARE of another epoch")
            _require(pre_prepare.view == view, "a PRE-PREPARE of another view")
            _require(pre_prepare.sender == sender, "a PRE-PREPARE of another primary")
        choice = choose(new_view.view_changes, self.base)
        made = tuple((vote.sequence, vote.digest) for vote in new_view.pre_prepares)
        _require(made == choice.digests, "not the choice that its VIEW-CHANGEs force")
        for view_change in new_view.view_changes:
            if known.get(view_change.sender) != view_change:
                _require(self.signed(view_change), "a VIEW-CHANGE's signature is not valid")
                self._check_signatures(view_change)
        for pre_prepare in new_view.pre_prepares:
            _require(self.signed(pre_prepare), "a PRE-PREPARE's signature is not valid")
        return choice


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise VerificationError(what)
