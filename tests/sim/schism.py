"""More than f that compute wrongly, each in its own way: nobody can go on, and everybody must say so.

Rule L24. Safety is judged as in every run; in place of liveness a clear stop is asked for: who is wrong
has halted, who is right has not, keeps its view, and shows the height with what each member signed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.sim.choices import quorum

if TYPE_CHECKING:
    from consensus.state import State
    from tests.sim.cluster import Cluster


def split_height(s: State) -> int:
    """The highest uncertified height of which this node has heard so many headers that no one can
    reach a quorum any more; 0 if there is none. By numbers of our own."""
    split = 0
    for height, ballot in s.checkpoints.items():
        digests = [vote.digest for vote in ballot.votes.values()]
        most = max(map(digests.count, digests), default=0)
        if height > s.log.certified and most + s.n - len(digests) < quorum(s.n):
            split = max(split, height)
    return split


def unclear(cluster: Cluster) -> Iterator[str]:
    """Who has not come to its clear stop yet."""
    for node in cluster.nodes:
        if node not in cluster.upright:
            if node.vitals.halted is None:
                yield f"n{node.member} computes wrongly and goes on (L24)"
            continue
        assert node.replica is not None, f"n{node.member} has halted, and is right (L24)"
        s = node.replica.state
        shown = [groups for groups in node.replica.snapshot().header_groups if groups.stuck]
        if not split_height(s) or not shown:
            yield f"n{node.member} does not say that {s.log.certified + 1} is split (L24)"
        elif sorted(i for _, who in shown[0].groups for i in who) != list(range(s.n)):
            yield f"n{node.member} does not show who signed what at {shown[0].height} (L24)"
        elif s.in_view_change:
            yield f"n{node.member} looks for another primary (L24)"
        else:
            cluster.cover("L24 a height that no header can win stops the chain, and shows why")
