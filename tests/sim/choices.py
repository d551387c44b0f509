"""What a NEW-VIEW must hold, once more (S8, S9): signed throughout, and chosen as it must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.messages import NewView, Prepare, SignedMessage
from salus.vote import VoteDomain, VoteType

if TYPE_CHECKING:
    from consensus.state import State
    from tests.sim.signatures import Seals


def check_new_view(s: State, domain: VoteDomain, seals: Seals, message: NewView) -> None:
    """What is installed is signed throughout, and chosen as it must be (S8, S9)."""
    verifier, validators, n = s.config.verifier, s.validators, s.n
    signed: list[SignedMessage] = [message, *message.view_changes, *message.pre_prepares]
    best: dict[int, tuple[int, bytes]] = {}
    low = lowest(message, s.base)
    for change in message.view_changes:
        if change.low is not None:
            header = domain.payload(
                VoteType.CHECKPOINT, s.epoch, 0, change.low.height, change.low.header_hash
            )
            signers = {
                signature.index
                for signature in change.low.signatures
                if verifier(validators.key(signature.index), header, signature.signature)
            }
            assert len(signers) >= quorum(n), f"the watermark {low} is not proved (S8)"
        for prepared in change.prepared:
            vote = prepared.pre_prepare
            signed.append(vote)
            signed += [
                Prepare(vote.epoch, vote.view, vote.sequence, vote.digest, i.index, i.signature)
                for i in prepared.prepares
            ]
            assert vote.view < message.view, (
                f"view {message.view} begins with what view {vote.view} prepared (S8)"
            )
            prepared_by = {vote.sender, *(i.index for i in prepared.prepares)}
            assert len(prepared_by) >= quorum(n), (
                f"view {message.view} begins with what {len(prepared_by)} members prepared (S6, S8)"
            )
            if vote.sequence > low:
                found = best.get(vote.sequence, (-1, b""))
                best[vote.sequence] = max(found, (vote.view, vote.digest))
    for one in signed:
        assert seals.valid(validators.key(one.sender), one), (
            f"view {message.view} begins with a {type(one).__name__} that is not signed (S8, S9)"
        )
    highest = max(best, default=low)
    made = {vote.sequence: vote.digest for vote in message.pre_prepares}
    assert sorted(made) == list(range(low + 1, highest + 1)), "the choice leaves a gap (S9)"
    for sequence, (_, digest) in best.items():
        assert made[sequence] == digest, f"view {message.view} chose wrongly at {sequence} (S9)"


def lowest(new_view: NewView, base: int) -> int:
    """The watermark that its VIEW-CHANGEs prove (S9)."""
    proved = [vc.low.height for vc in new_view.view_changes if vc.low is not None]
    return max(proved, default=base)


def quorum(n: int) -> int:
    return (n + (n - 1) // 3) // 2 + 1
