"""How much a node takes from its clients: what becomes of it in the next seconds, and no more.

A full pool is twenty thousand transactions, five to ten seconds of everybody's patience; and before the
pool stand the signatures that nobody has checked yet. What a node has taken and not seen committed is
held to what it saw committed of its own in the last `BACKLOG_S`. The rest is refused at once, for a
client knows better what to do with a refusal than with a promise that is kept late.

Only its own clients' transactions count, taken and served: a hospital that floods its node keeps no
other node from serving its own. Pure: time is told.
"""

from collections import deque

from node.later import LATER_SHARE

BACKLOG_S = 2.0  # whoever is taken is served in about so long, and an overload is over as soon
# Whatever was served lately: an idle node has served nothing, and takes a burst. A quarter of a second of
# the fastest chain.
FLOOR_TRANSACTIONS = 1_000
# Of them, what is valid from a later height only: an idle chain makes no block, so nothing ever serves
# it; if it could take all the room, what would move the height had none (B25, node/later.py).
LATER_TRANSACTIONS_MAX = FLOOR_TRANSACTIONS // LATER_SHARE
# What arrays leave to whoever sends one: an import that takes all room as it comes free would keep a
# revocation or an emergency out for as long as it lasts.
SINGLE_TRANSACTIONS = FLOOR_TRANSACTIONS // 10
WINDOW_MS = 2_000  # over which the rate is seen: some ten blocks of a slow chain
MARK_MS = 100


class Drain:
    def __init__(self) -> None:
        self._marks: deque[tuple[int, int]] = deque()  # (ms, served in all by then)

    def room(self, taken: int, served_total: int, now_ms: int) -> int:
        """How many more may be taken. `taken`: and not yet served, those whose signature is being
        checked included; `served_total`: since the start; `now_ms`: of a clock that never goes back."""
        marks = self._marks
        if not marks or now_ms - marks[-1][0] >= MARK_MS:
            marks.append((now_ms, served_total))
        # One mark older than the window stays: the rate is seen over all of it.
        while len(marks) > 1 and marks[1][0] <= now_ms - WINDOW_MS:
            marks.popleft()
        then_ms, then = marks[0]
        rate = (served_total - then) * 1000 / max(WINDOW_MS, now_ms - then_ms)
        return max(0, max(FLOOR_TRANSACTIONS, int(rate * BACKLOG_S)) - taken)
