"""A read-only picture of a replica, for `status`, `doctor` and /v1/consensus (rules L24, B29)."""

from dataclasses import dataclass

from consensus.log import Slot
from consensus.state import State


@dataclass(frozen=True, slots=True)
class SlotView:
    """One sequence on its way; voters are indexes in the epoch's set, of the current view."""

    sequence: int
    phase: str  # see `_phase`
    digest: bytes | None
    prepares: tuple[int, ...]
    commits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HeaderGroups:
    """Who signed which header at a height that is not certified here yet."""

    height: int
    groups: tuple[tuple[bytes, tuple[int, ...]], ...]
    stuck: bool  # no header can reach a quorum any more (L24)


@dataclass(frozen=True, slots=True)
class Snapshot:
    epoch: int
    n: int
    f: int  # 0: no fault is tolerated (B29)
    quorum: int
    me: int | None
    voting: bool
    view: int
    wish: int
    in_view_change: bool
    primary: int
    low: int
    high: int
    committed: int
    executed: int
    certified: int
    proved: int  # highest height with a certificate seen
    claimed: int  # highest certified height that f+1 members claim
    epoch_end: int
    doublings: int
    views: tuple[int, ...]  # highest view each member is known to be at or to wish
    heard_ticks_ago: tuple[int | None, ...]  # None: never; mine is 0
    slots: tuple[SlotView, ...]
    header_groups: tuple[HeaderGroups, ...]
    halted: str | None
    quarantined: str | None


def take_snapshot(s: State) -> Snapshot:
    return Snapshot(
        epoch=s.epoch,
        n=s.n,
        f=s.validators.f,
        quorum=s.quorum,
        me=s.me,
        voting=s.voter.active,
        view=s.view,
        wish=s.wish,
        in_view_change=s.in_view_change,
        primary=s.primary,
        low=s.log.low,
        high=s.log.high,
        committed=s.log.committed,
        executed=s.log.executed,
        certified=s.log.certified,
        proved=s.proved,
        claimed=s.weak_claim,
        epoch_end=s.log.epoch_end,
        doublings=s.doublings,
        views=tuple(s.reached),
        heard_ticks_ago=tuple(_heard(s, index) for index in range(s.n)),
        slots=tuple(_slot_view(s, s.log.slots[key]) for key in sorted(s.log.slots)),
        header_groups=tuple(_groups(s, height) for height in sorted(s.checkpoints)),
        halted=None if s.halted is None else s.halted.reason,
        quarantined=None if s.quarantined is None else s.quarantined.reason,
    )


def _heard(s: State, index: int) -> int | None:
    if index == s.me:
        return 0
    return None if s.heard_tick[index] < 0 else s.tick - s.heard_tick[index]


def _slot_view(s: State, slot: Slot) -> SlotView:
    digest = slot.wanted
    commits = slot.commits.get(slot.committed_view if slot.committed is not None else s.view)
    return SlotView(
        slot.sequence,
        _phase(s, slot),
        digest,
        () if digest is None else tuple(slot.prepares.senders(digest)),
        () if digest is None or commits is None else tuple(commits.senders(digest)),
    )


def _phase(s: State, slot: Slot) -> str:
    """How far it is: empty, proposed, judged, prepared, committed, executed."""
    if slot.sequence <= s.log.executed:
        return "executed"
    if slot.committed is not None:
        return "committed"
    if slot.prepared is not None and slot.prepared_view == s.view:
        return "prepared"
    if slot.pre_prepare is None:
        return "empty"
    return "proposed" if slot.verdict is None else "judged"


def _groups(s: State, height: int) -> HeaderGroups:
    ballot = s.checkpoints[height]
    groups = tuple((digest, tuple(ballot.senders(digest))) for digest in ballot.digests())
    return HeaderGroups(height, groups, height <= s.split_height)
