"""Somebody who watches the nodes and touches nothing: what comes in, what goes out, what is synced.

The reference model (reference_adapter.py) is one; this one looks away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.config import ReplicaConfig
from consensus.effects import Effects
from consensus.events import Event
from consensus.messages import Message

if TYPE_CHECKING:
    from tests.sim.machine import Machine


class Observer:
    """Each call comes right after what it names; an AssertionError fails the seed."""

    def born(self, node: Machine, config: ReplicaConfig) -> None:
        """A new replica object: birth, restart or a new epoch; `config` is all that it knows."""

    def stepped(self, node: Machine, event: Event, effects: Effects) -> None:
        """One event into the replica, and what came of it."""

    def synced(self, node: Machine, effects: Effects) -> None:
        """The persist part of a step stands on disk."""

    def leaves(self, node: Machine, message: Message) -> None:
        """A message is about to leave for the network (rule S3)."""

    def lost_disk(self, node: Machine) -> None:
        """The journal is gone, and the node knows it (rule S4)."""
