"""A run as lines that a person can read: `time  node  what arrived`."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from consensus.events import (
    BlockWritten,
    BodyArrived,
    CaughtUp,
    Event,
    Executed,
    PendingWork,
    ProposalBuilt,
    ProposalChecked,
    Received,
)
from consensus.messages import Fetch, Message, NewView, Status, ViewChange

if TYPE_CHECKING:
    from tests.sim.shell import Node


def short(digest: bytes) -> str:
    return digest[:3].hex()


def message(m: Message) -> str:
    head = f"{type(m).__name__:<10} from {m.sender} e{m.epoch}"
    if isinstance(m, Fetch):
        return f"{head} s{m.sequence} {short(m.digest)}"
    if isinstance(m, Status):
        return f"{head} v{m.view} wish {m.wish} certified {m.certified}"
    if isinstance(m, ViewChange):
        low = "base" if m.low is None else str(m.low.height)
        prepared = " ".join(
            f"s{p.pre_prepare.sequence}v{p.pre_prepare.view}:{short(p.pre_prepare.digest)}"
            for p in m.prepared
        )
        return f"{head} v{m.view} low {low} prepared [{prepared}]"
    if isinstance(m, NewView):
        chosen = " ".join(f"s{p.sequence}:{short(p.digest)}" for p in m.pre_prepares)
        senders = " ".join(str(v.sender) for v in m.view_changes)
        return f"{head} v{m.view} by [{senders}] chooses [{chosen}]"
    return f"{head} v{m.view} s{m.sequence} {short(m.digest)}"


def event(e: Event) -> str:
    match e:
        case Received(m):
            return f"← {message(m)}"
        case ProposalBuilt(view, sequence, digest):
            return f"built v{view} s{sequence} {short(digest)}"
        case ProposalChecked(view, sequence, digest, verdict):
            return f"checked v{view} s{sequence} {short(digest)}: {verdict.name}"
        case BodyArrived(sequence, digest):
            return f"body s{sequence} {short(digest)}"
        case Executed(sequence, header_hash, end):
            return f"executed s{sequence} header {short(header_hash)} end {end}"
        case BlockWritten(height):
            return f"wrote block {height}"
        case CaughtUp(height, _, end):
            return f"caught up to {height} end {end}"
        case PendingWork(pending):
            return f"pending {pending}"
    return type(e).__name__.lower()


def standing(node: Node) -> str:
    """Where a node stands when the run ends badly."""
    if not node.up or node.replica is None:
        return "is down" if not node.up else "has halted"
    s = node.replica.state
    voice = "votes" if s.voter.active else "has no vote"
    return (
        f"epoch {s.epoch} view {s.view} wish {s.wish}, certified {s.log.certified} executed "
        f"{s.log.executed} committed {s.log.committed} low {s.log.low}, {voice}, "
        f"{node.mempool.pending} in its pool, {'work waits' if s.pending else 'idle'}"
    )


def where(error: BaseException) -> str:
    """The innermost two lines of ours: enough to find it."""
    frames = traceback.extract_tb(error.__traceback__)[-2:]
    return "at " + ", ".join(
        f"{frame.filename.rsplit('/', 2)[-2]}/{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
        f" ({frame.line})"
        for frame in frames
    )
