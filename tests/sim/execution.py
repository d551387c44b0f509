"""Execution that honest nodes of one run share: a block follows from what it stands on.

What one node derived another takes, if it stands on the very same header, in the same epoch, and
executes the same bytes. Its own stay the index of what was executed before and the tree: what they
say otherwise shows in its header, and the checkers see it. On every eighth seed, and wherever
a disk has lost something, everybody executes everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import msgspec

from node.executor import Executed, Executor
from salus.block import Header, ParsedProposal
from salus.epoch import EpochRecord


class Outcome(NamedTuple):
    epoch: EpochRecord
    executed: Executed
    new: list[tuple[bytes, int]]  # id and expiry of what ran for the first time


Outcomes = dict[tuple[Header, bytes], Outcome]  # by the header below and the proposal's bytes


class SharingExecutor(Executor):
    outcomes: Outcomes | None = None  # None: it executes by itself
    depth = 0  # so many frames deeper than others it stands when it executes (S16)

    def execute(self, proposal: ParsedProposal) -> Executed:
        return _deeper(self.depth, super().execute, proposal)

    def _run(self, proposal: ParsedProposal) -> tuple[Executed, list[tuple[bytes, int]]]:
        if self.outcomes is None:
            return super()._run(proposal)
        place = (self.head, proposal.raw)
        known = self.outcomes.get(place)
        if known is None or known.epoch != self.epoch or not self._runs(known.new, proposal):
            executed, new = super()._run(proposal)
            self.outcomes[place] = Outcome(self.epoch, executed, new)
            return executed, new
        executed, new = known.executed, known.new
        root = self.tree.update(executed.header.height, executed.buckets)
        if root != executed.header.state_root:
            header = msgspec.structs.replace(executed.header, state_root=root)
            executed = replace(executed, header=header)
        return executed, new

    def _runs(self, new: list[tuple[bytes, int]], proposal: ParsedProposal) -> bool:
        """Would these run here, and no others?"""
        ids = [(tx.id, tx.body.expiry_height) for tx in proposal.transactions]
        ran = self._ran_before(ids)
        return new == [one for one in ids if one[0] not in ran]


def _deeper(
    frames: int, execute: Callable[[ParsedProposal], Executed], proposal: ParsedProposal
) -> Executed:
    return _deeper(frames - 1, execute, proposal) if frames else execute(proposal)
