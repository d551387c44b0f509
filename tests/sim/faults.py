"""The words of a plan: crashes, losses, cuts, lies, politics. What each does is written elsewhere."""

from dataclasses import dataclass
from enum import Enum


class CrashMode(Enum):
    """Where in the lawful order persist → send → deliver the power goes."""

    NOW = "between two steps"
    PERSIST = "inside a persist"
    SEND = "between two sends"
    DELIVER = "after the sends, before the deliveries"


class Loss(Enum):
    """What the disk has lost when the node comes back."""

    NOTHING = "nothing that was synced"
    JOURNAL = "the journal"
    EVERYTHING = "everything"
    BACKUP = "everything since an old backup: other files, other inodes"
    STATE = "the state store since an old backup"
    JOURNAL_COPY = "the newest votes: an old copy of the journal was put in its place"
    JOURNAL_OLD = "the newest votes: older bytes stand in the journal's own files"
    JOURNAL_BIT = "a bit of the journal"
    STATE_BIT = "a bit of the state store"
    BODY_BIT = "a bit of the block store"
    UNNOTICED = "the newest votes, unnoticed (an image of the whole disk): it counts as a liar"


LIARS = (
    "silent",
    "selective",
    "equivocator",
    "double-voter",
    "lying-new-view",
    "forged-view-change",
    "forged-view-change",  # twice: it must also meet a new primary that reads it
    "inflated-view",
    "stale-certificate",
    "flooder",
    "wrong-header",
    "slow-primary",
    "lying-status",
    "bad-proposer",
    "replayer",
    "false-blocks",
    "censor",
    "yes-man",
    "garbage",
    "diverged",
    "twins",
)
# Those of a run that has one aim (weather.py, scenes.py).
ALONE = ("dripping", "backdating", "untimely")


class Change(Enum):
    """What the consortium votes on."""

    JOIN = "becomes a validator:"
    REMOVE = "loses its vote:"
    ROTATE = "gets another node key:"
    PARAMETERS = "other parameters, says"
    SUSPEND = "is suspended, and reinstated later:"
    OPERATOR = "gets another operator key:"
    LIMIT = "one operation in a transaction, says"
    ACTIVATE = "another version of a contract, says"


# Those that are drawn with the plan; the others came later (traps.py).
CHANGES = [Change.JOIN, Change.REMOVE, Change.ROTATE, Change.PARAMETERS]


@dataclass(slots=True)
class Politics:
    time: float
    change: Change
    target: int


@dataclass(slots=True)
class Crash:
    time: float
    node: int
    mode: CrashMode
    down_ms: float
    loss: Loss = Loss.NOTHING


@dataclass(slots=True)
class Cut:
    """From `start` to `end` the directed links in `blocked` carry nothing."""

    start: float
    end: float
    blocked: frozenset[tuple[int, int]]
    name: str
