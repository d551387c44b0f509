"""What a keeper has learned of epochs: the newest end of one that it has verified (rule K-3).

A quorum of validators that were voted out long ago could certify a ticket of their own making, with
today's time in it: from genesis alone nobody can tell. So a keeper remembers which block ended an
epoch, and believes no proof that leads elsewhere, or that ends in an epoch which was over before the
ticket's time. Law of the file: what was learned is on disk before anything is opened by it.
"""

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import msgspec

from salus.certificate import EpochStep
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage, SalusError
from salus.files import replace
from salus.proof import ProofBundle
from salus.state_file import StateBundle

EPOCHS_VERSION = 1
# The newest end, those within a ticket's life before it, and the one before these. With epochs of eight
# blocks, twenty blocks a second and six minutes there are 900.
ENDS_MAX = 1_024
FILE_BYTES_MAX = 64 * ENDS_MAX


class EpochEnd(Wire, frozen=True):
    """The last block of an epoch."""

    epoch: Uint
    height: Uint
    time_ms: Uint
    hash: Bytes32


class EpochsFile(Wire, frozen=True):
    """`epochs` in the keeper's folder; ascending, without gaps."""

    version: Annotated[int, msgspec.Meta(ge=EPOCHS_VERSION, le=EPOCHS_VERSION)]
    ends: Annotated[tuple[EpochEnd, ...], msgspec.Meta(min_length=1, max_length=ENDS_MAX)]


class KeeperEpochs:
    """`life_ms`: so long a ticket is good; `write`: has the ends on disk when it returns."""

    def __init__(
        self,
        life_ms: int,
        ends: Sequence[EpochEnd] = (),
        write: Callable[[tuple[EpochEnd, ...]], None] = lambda ends: None,
    ) -> None:
        self._life_ms, self._write = life_ms, write
        self.ends = tuple(ends)
        self._one = threading.Lock()  # a question that timed out may still be on its way here

    @property
    def newest(self) -> EpochEnd | None:
        return self.ends[-1] if self.ends else None

    def accept(self, bundle: ProofBundle | StateBundle) -> None:
        """Of a bundle that the verifier accepted; remembers what is new in it. Raises `SalusError`
        (KEEPER_REFUSED, TICKET_OLD)."""
        with self._one:
            self._accept(bundle)

    def _accept(self, bundle: ProofBundle | StateBundle) -> None:
        newest = self.newest
        if newest is None:
            self._learn(bundle.epochs)
            return
        for end in self.ends:
            if (
                end.epoch < len(bundle.epochs)
                and bundle.epochs[end.epoch].header.hash() != end.hash
            ):
                raise _refused(f"epoch {end.epoch} ended with another block than this one says")
        if len(bundle.epochs) > newest.epoch:
            self._learn(bundle.epochs)
        else:
            self._of_an_ended_epoch(bundle)

    def _of_an_ended_epoch(self, bundle: ProofBundle | StateBundle) -> None:
        """It was over before this keeper's newest: true only of a block that came before its end."""
        header = bundle.header
        known = {end.epoch: end for end in self.ends}
        end = known.get(header.epoch)
        # The end before it fixes who its validators were.
        if end is None or (header.epoch > 0 and header.epoch - 1 not in known):
            raise SalusError("the ticket is of an epoch that ended long ago", code="TICKET_OLD")
        if header.height > end.height or header.time_ms > end.time_ms:
            raise _refused(f"epoch {header.epoch} was over before the ticket's block")
        if header.height == end.height and header.hash() != end.hash:
            raise _refused(f"epoch {header.epoch} ended with another block than this one")

    def _learn(self, steps: Sequence[EpochStep]) -> None:
        """The ends of all epochs before the newest proved block."""
        if not steps or (self.newest is not None and len(steps) <= self.newest.epoch + 1):
            return
        first = self.ends[0].epoch if self.ends else 0
        ends = tuple(
            EpochEnd(number, step.header.height, step.header.time_ms, step.header.hash())
            for number, step in enumerate(steps[first:], first)
        )
        kept = self._kept(ends)
        self._write(kept)
        self.ends = kept

    def _kept(self, ends: tuple[EpochEnd, ...]) -> tuple[EpochEnd, ...]:
        """Those that a ticket which is still good may be of."""
        since_ms = ends[-1].time_ms - self._life_ms
        young = sum(end.time_ms >= since_ms for end in ends)  # their times ascend
        return ends[-min(young + 1, ENDS_MAX) :]


def opened(path: Path, life_ms: int) -> KeeperEpochs:
    """With what `path` says; with nothing if there is no such file. Raises `SalusError`
    (CONFIG_INVALID)."""

    def write(ends: tuple[EpochEnd, ...]) -> None:
        replace(path, encode(EpochsFile(EPOCHS_VERSION, ends)))

    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return KeeperEpochs(life_ms, (), write)
    return KeeperEpochs(life_ms, read_epochs(raw), write)


def read_epochs(raw: bytes) -> tuple[EpochEnd, ...]:
    """What the file says. Raises `SalusError` (CONFIG_INVALID)."""
    try:
        if len(raw) > FILE_BYTES_MAX:
            raise BadMessage("it is too long", code="TOO_LARGE")
        ends = decode(raw, EpochsFile).ends
    except BadMessage as error:
        raise _damaged(error.message) from None
    if any(later.epoch != end.epoch + 1 for end, later in pairwise(ends)):
        raise _damaged("its epochs do not follow each other")
    return ends


def _damaged(why: str) -> SalusError:
    return SalusError(
        f"the keeper's file «epochs» is not what was written ({why}); without it the keeper believes"
        " any validators of old once more, until it sees its first ticket: restore it, or move it away",
        code="CONFIG_INVALID",
    )


def _refused(why: str) -> SalusError:
    return SalusError(f"the keeper refuses: {why}", code="KEEPER_REFUSED")
