"""The record of one epoch: who votes, by which parameters, from where to where (rule S13).

◆ Epoch e holds the heights above `base` (the last height of epoch e−1; 0 for epoch 0, whose base
is the genesis block) up to `end`. Everything that may change, changes from one record to the next.
"""

from salus.codec import Uint, Wire
from salus.parameters import Parameters
from salus.validators import ValidatorSet

EPOCH_STATE_KEY = b"system/epoch"  # ◆ where the state map holds the current record


class EpochRecord(Wire, frozen=True):
    """Stored with the last block of the epoch before, and in the state map."""

    epoch: Uint
    base: Uint
    validators: ValidatorSet
    parameters: Parameters
    end: Uint = 0  # the last height once it is fixed; 0 while the epoch is open

    @property
    def first_height(self) -> int:
        return self.base + 1
