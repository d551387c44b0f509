"""One node's disks: what was synced survives, what was not is lost or torn at a crash (S3).

Bodies are written before the journal entries of the same group, entries in their order; a crash
inside a persist leaves a prefix of the group. A block is one atomic batch.
"""

from random import Random

from consensus.effects import PersistBody
from salus.vote import JOURNAL_FLOOR, JOURNAL_NEW_VIEW, JOURNAL_PREPARED, JournalEntry, VoteType
from tests.sim.model import GENESIS, Block

_VIEW_KINDS = (int(VoteType.VIEW_CHANGE), int(VoteType.NEW_VIEW))
_ENDED_BY_FLOOR = (
    int(VoteType.PRE_PREPARE),
    int(VoteType.PREPARE),
    int(VoteType.COMMIT),
    int(VoteType.CHECKPOINT),
    JOURNAL_PREPARED,
)


class Disk:
    def __init__(self) -> None:
        self.journal: list[JournalEntry] = []
        self.votes: dict[tuple[int, int, int, int], bytes] = {}
        self.bodies: dict[tuple[int, bytes], bytes] = {}
        self.blocks: list[Block] = [GENESIS]
        self.executed: set[bytes] = set()
        self.votes_from_epoch = 0  # a quarantined validator waits for this one (S4)
        self.quarantined = False  # and does not know yet which one it is
        self.wipes = 0
        self._views: dict[tuple[int, int], int] = {}  # (epoch, kind) → highest view
        self._floor = (0, 0)

    # -- journal and bodies ---------------------------------------------------------------------

    def write(self, group: list[PersistBody | JournalEntry], bodies: list[bytes]) -> None:
        """A synced group: all of it stands."""
        index = 0
        for item in group:
            if isinstance(item, PersistBody):
                self.bodies[item.sequence, item.digest] = bodies[index]
                index += 1
        for item in group:
            if not isinstance(item, PersistBody):
                self._append(item)

    def tear(
        self, group: list[PersistBody | JournalEntry], bodies: list[bytes], random: Random
    ) -> int:
        """A crash inside the persist: a prefix stands. Returns its length."""
        ordered = [item for item in group if isinstance(item, PersistBody)]
        ordered += [item for item in group if not isinstance(item, PersistBody)]  # type: ignore[misc]
        kept = int(random.random() * (len(ordered) + 1))
        self.write(ordered[:kept], bodies)  # type: ignore[arg-type]
        return kept

    def _append(self, entry: JournalEntry) -> None:
        key = (entry.kind, entry.epoch, entry.view, entry.sequence)
        if entry.kind <= VoteType.STATUS:
            earlier = self.votes.setdefault(key, entry.digest)
            assert earlier == entry.digest, (
                f"the journal would hold two votes (S4): {VoteType(entry.kind).name}, epoch "
                f"{entry.epoch}, view {entry.view}, sequence {entry.sequence}"
            )
        if entry.kind in _VIEW_KINDS or entry.kind == JOURNAL_NEW_VIEW:
            highest = self._views.get((entry.epoch, entry.kind), -1)
            assert entry.view >= highest, f"views ran backwards on disk: {entry.view} < {highest}"
            self._views[entry.epoch, entry.kind] = entry.view
        if entry.kind == JOURNAL_FLOOR:
            floor = (entry.epoch, entry.sequence)
            assert floor >= self._floor, "the floor ran backwards on disk (S12)"
            self._floor = floor
        self.journal.append(entry)

    def entries(self, epoch: int, *, whole: bool) -> tuple[JournalEntry, ...]:
        """What the journal shows at a restart; entries below the floor may be gone by then."""
        mine = [entry for entry in self.journal if entry.epoch == epoch]
        if whole:
            return tuple(mine)
        floor = max((e.sequence for e in mine if e.kind == JOURNAL_FLOOR), default=0)
        return tuple(e for e in mine if e.kind not in _ENDED_BY_FLOOR or e.sequence > floor)

    # -- blocks ---------------------------------------------------------------------------------

    @property
    def head(self) -> Block:
        return self.blocks[-1]

    def write_block(self, block: Block) -> None:
        assert block.certificate is not None
        assert block.height == self.head.height + 1, "certified heights have no gap"
        self.blocks.append(block)
        self.executed.update(block.transactions)

    # -- losses ---------------------------------------------------------------------------------

    def lose_journal(self) -> None:
        """The node notices at its start: no journal, another instance id or inode (S4)."""
        self.journal, self.votes, self._views = [], {}, {}
        self._floor = (0, 0)
        self.bodies.clear()
        self.quarantine()

    def quarantine(self) -> None:
        self.quarantined = True
        self.wipes += 1

    def cut_back(self, height: int) -> None:
        """State returns to an older height (0: it is gone)."""
        del self.blocks[height + 1 :]
        self.executed = {tx for block in self.blocks for tx in block.transactions}

    def forget_newest(self, random: Random) -> None:
        """A restored image: the newest entries are missing and nothing tells so."""
        kept = int(random.random() * len(self.journal))
        entries, self.journal, self.votes = self.journal[:kept], [], {}
        self._views, self._floor = {}, (0, 0)
        for entry in entries:
            self._append(entry)
