"""What a replica is told at its birth; one replica object lives for one epoch (rule S13)."""

from dataclasses import dataclass

from salus.certificate import Certificate
from salus.keys import Signer, Verifier, verify
from salus.parameters import Parameters
from salus.validators import ValidatorSet
from salus.vote import JournalEntry, VoteDomain


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """The epoch, who I am in it, and what my disks say at the start.

    `base` is the last height of the epoch before (0 in epoch 0): certified, executed, and older
    than every message of this epoch. `certified` is the height on disk, ≥ base, with its
    certificate (None when it is the base). `journal` holds my own entries; those of other epochs
    are ignored. `voting` is False for a quarantined validator, which signs nothing (rule S4).
    """

    vote_domain: VoteDomain
    parameters: Parameters
    epoch: int
    base: int
    validators: ValidatorSet
    me: int | None  # index in the set; None = observer
    signer: Signer | None
    verifier: Verifier = verify
    journal: tuple[JournalEntry, ...] = ()
    certified: int = 0
    certificate: Certificate | None = None
    epoch_end: int = 0  # the epoch's last height once it is fixed, 0 before
    voting: bool = True

    def __post_init__(self) -> None:
        assert self.validators.n >= 1
        assert self.validators.epoch == self.epoch
        assert self.certified >= self.base
        assert (self.certificate is None) == (self.certified == self.base)
        if self.certificate is not None:
            assert self.certificate.height == self.certified
            assert self.certificate.epoch == self.epoch
        assert self.me is None or 0 <= self.me < self.validators.n

    @property
    def progress_ticks(self) -> int:
        """Rule L17: so long may pending work wait for a commit."""
        return _ticks(self.parameters.progress_timeout_ms, self.parameters.tick_ms)

    @property
    def view_change_ticks(self) -> int:
        """Rule L18: so long may a primary that q members elected take for its NEW-VIEW."""
        return _ticks(self.parameters.view_change_timeout_ms, self.parameters.tick_ms)

    @property
    def retry_ticks(self) -> int:
        """Rule L20: what may have been lost is said again four times per progress timeout, so
        that one lost message does not cost a view."""
        return max(1, self.progress_ticks // 4)


def _ticks(duration_ms: int, tick_ms: int) -> int:
    return -(-duration_ms // tick_ms)
