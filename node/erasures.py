"""Erasures: what the chain has certified that somebody wants gone goes from this vault
(rules X-2, X-6 and X-7 of decision 0015).

    want        the opening of a request that is about to be sent, kept in the vault
    step        whatever is certified and not done: after the waiting time its beginning (X-9); when that
                is certified, tombstones, the vault's `erase`, the receipt

Law of the file: nothing is erased on anybody's word but the certified state's; each step is
durable before the next and can be repeated, so a crash between two changes nothing.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from contracts.erasure import ReceiptArgs, WaitingArgs
from contracts.members import identify
from contracts.state import ReadState
from node.api.view import Submitted
from node.erasure_openings import WANTED_VERSION, ErasureOpenings, Wanted, erasure_name
from node.errand import Errand
from node.logs import log_event
from node.record_files import RecordFile
from node.record_subject import require_relation
from node.records import RecordService
from salus.codec import decode, encode
from salus.erasure import (
    LEAVES_MAX,
    Basis,
    ErasureCase,
    ErasureHolder,
    Reply,
    Stage,
    case_key,
    holder_key,
    records_commitment,
)
from salus.errors import BadMessage, SalusError
from salus.keys import Signer
from salus.record import record_leaf, tag_hash
from salus.statemap import SALT_BYTES
from salus.transaction import Operation
from storage.errors import StorageError
from storage.state import StateStore
from storage.vault import Vault

log = logging.getLogger("salus.erasures")

RETRY_S = 5.0  # while a receipt is under way
REFUSED_PAUSE_S = 60.0  # after one that the ledger refused, since the reason may last

Submit = Callable[[Sequence[bytes]], Awaitable[Sequence[Submitted]]]


class Trails(Protocol):
    """What tickets have left in the vault (rule X-7); node/audit_desk.py is the real one."""

    def leftovers(
        self, handle: bytes, is_erased: Callable[[bytes], bool]
    ) -> Sequence[tuple[bytes, bytes, bytes]]:
        """(name in the vault, name from now on, what it says from now on), of tickets all of whose
        records are erased."""


class _Errand(Errand):
    """Of one case; sent until the state has it."""

    log = log
    meta = "erasures"
    rest_until_s = 0.0


class _Begin(_Errand):
    word = "erasure_begin_sent"


class _Receipt(_Errand):
    word = "erasure_receipt_sent"


class Erasures:
    def __init__(
        self,
        records: RecordService,
        key: Signer,
        chain_id: str,
        genesis_hash: bytes,
        submit: Submit,
        trails: Trails | None = None,
        *,
        automatic: bool = True,
    ) -> None:
        """`automatic`: else a request waits for the operator (`carry_out`), who may have to keep
        what a law says; it does too where his key answered «retained». `trails`: None where no tickets are kept."""
        self.records, self.trails, self.automatic = records, trails, automatic
        self._sender = (key, chain_id, genesis_hash, submit)
        self._errands: dict[bytes, _Errand] = {}  # under way, by case
        self._due_ms: dict[bytes, int] = {}  # of cases that wait
        self._done: set[bytes] = set()  # erased in this life: the receipt is all that is left
        self._nudged = asyncio.Event()
        self.openings = ErasureOpenings(self.vault, records.files.damaged)

    @property
    def vault(self) -> Vault:
        return self.records.vault

    @property
    def state(self) -> StateStore:
        return self.records.state

    # -- what somebody asks ----------------------------------------------------------------------

    async def want(
        self,
        case: bytes,
        handle: bytes,
        records: Sequence[bytes],
        records_salt: bytes,
        reason: str,
        reason_salt: bytes,
    ) -> tuple[bytes, ...]:
        """Keep the opening of a request; the leaves that it must commit to. Raises `SalusError`
        (UNKNOWN_RECORD, ERASED, DUPLICATE_CASE, TOO_LARGE, BUSY)."""
        leaves = {
            record_leaf(version.commitment, tag_hash(version.tag))
            for record_id in records
            for version in self._of(record_id, handle).versions
        }
        if len(leaves) > LEAVES_MAX:
            raise BadMessage(f"a case has at most {LEAVES_MAX} versions", code="TOO_LARGE")
        wanted = Wanted(
            WANTED_VERSION,
            case,
            handle,
            records_salt,
            reason_salt,
            reason,
            tuple(records),
            tuple(sorted(leaves)),
            # A request that is signed by now expires at this height at the latest.
            self.state.height() + self.state.current_epoch().parameters.expiry_window_blocks,
            None,
        )
        await self.openings.keep(wanted, lambda one: self._certified(one) is not None)
        self.nudge()  # its request may stand on the chain already
        return wanted.leaves

    def _of(self, record_id: bytes, handle: bytes) -> RecordFile:
        """The record, if it is this patient's: of nobody else's is it said that it exists."""
        file = self.records.files.find(record_id.hex())
        if file is None or file.subject is None or file.subject.handle != handle:
            raise SalusError("this relation has no such record here", code="UNKNOWN_RECORD")
        return file

    async def carry_out(self, case: bytes) -> None:
        """The operator agrees, where erasing is not automatic; durable on return. Raises `SalusError`
        (UNKNOWN_CASE)."""
        if case not in self.openings or self._certified(case) is None:
            raise SalusError("nothing waits under this case id", code="UNKNOWN_CASE")
        await self.openings.agree(case, self.state.height())
        self.nudge()

    # -- what is certified -----------------------------------------------------------------------

    def nudge(self) -> None:
        """A block is certified, or something else has changed."""
        if len(self.openings):
            self._nudged.set()

    async def run(self) -> None:
        """For ever: carry out what is certified, when it is."""
        self.nudge()
        while True:
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._nudged.wait()
            except TimeoutError:
                pass
            self._nudged.clear()
            await self.step(time.monotonic())

    def _pause_s(self) -> float | None:
        """So long nothing is to do unless a block comes. What is under way is looked after without
        one: it may have been dropped; and an idle chain makes none when a waiting time is over."""
        if self._errands:
            return RETRY_S
        if not self._due_ms:
            return None
        now_ms = self.records.now_ms()
        left_ms = [due_ms - now_ms for due_ms in self._due_ms.values() if due_ms > now_ms]
        # What is due and cannot begin is looked at now and then; it hides nothing that comes before.
        return min([REFUSED_PAUSE_S, *(one / 1000 for one in left_ms)])

    async def step(self, now_s: float) -> None:
        """Whatever is certified and not done, one by one."""
        for case in self.openings.cases():
            found = self._certified(case)
            try:
                if found is None:
                    if self.openings.is_late(case, self.state.height()):
                        log_event(log, logging.WARNING, "erasure_never_asked")
                        await self._drop(case)
                elif found.stage is Stage.CANCELLED:
                    await self._drop(case)
                elif found.stage is Stage.WAITING:
                    # Whatever this hospital keeps: the others may not erase before it has begun.
                    await self._begin(case, found, now_s)
                else:
                    self._due_ms.pop(case, None)
                    if self._goes(case):
                        await self._carry_out(case, found, now_s)
                    else:
                        self._errands.pop(case, None)
            except StorageError as error:
                # The case shows that nobody has answered; the alarm says why.
                self.records.files.damaged(error)

    def _goes(self, case: bytes) -> bool:
        """By itself, or because the operator agreed: after he said «retained» he has to, anew."""
        agreed, own = self.openings.agreed_height(case), self._own(case)
        if own.reply is not Reply.RETAINED:
            return self.automatic or agreed is not None
        assert own.height is not None, "an answer has a height"
        return agreed is not None and agreed >= own.height

    async def _begin(self, case: bytes, found: ErasureCase, now_s: float) -> None:
        """The waiting time may be over. That nobody stopped it meanwhile is for the chain to say."""
        self._due_ms[case] = found.due_ms
        if self.records.now_ms() < found.due_ms or not self._may_begin(found):
            return
        args = encode(WaitingArgs(self.records.org, case))
        await self._send(case, _Begin, Operation("erasure", "begin", 1, args), now_s)

    def _may_begin(self, found: ErasureCase) -> bool:
        """Else the chain would refuse it, again and again."""
        time_ms = self.state.head.time_ms
        if found.basis is not Basis.OWNER:
            return identify(ReadState(self._value, "members"), found.asker, time_ms) is not None
        patient = require_relation(self.state, self.records.org, found.handle)
        return not patient.contested(time_ms) and patient.owner_at(time_ms) == found.asker

    async def _send(
        self, case: bytes, kind: type[_Errand], operation: Operation, now_s: float
    ) -> None:
        errand = self._errands.get(case)
        if not isinstance(errand, kind):
            errand = self._errands[case] = kind(*self._sender, None)
        if now_s >= errand.rest_until_s and await errand.send(
            operation, self.state.height(), now_s
        ):
            errand.rest_until_s = now_s + REFUSED_PAUSE_S

    def _forget(self, case: bytes) -> None:
        """It is over: nothing waits for it any more."""
        self.openings.forget(case)
        self._errands.pop(case, None)
        self._due_ms.pop(case, None)

    async def _drop(self, case: bytes) -> None:
        await self.openings.drop(case)
        self._forget(case)

    async def _carry_out(self, case: bytes, found: ErasureCase, now_s: float) -> None:
        if self._own(case).reply is Reply.ERASED:
            await self._again(await asyncio.to_thread(self.openings.read, case), case, found)
            await asyncio.to_thread(self.vault.erase, (), (erasure_name(case),))
            self._forget(case)
            return
        if case not in self._done:
            wanted = await asyncio.to_thread(self.openings.read, case)
            if not self._matches(wanted, found):
                # The case stays unanswered, and shows it; the operator finds this line. What stands
                # there never changes, so it will never fit.
                log_event(log, logging.ERROR, "erasure_opening_differs")
                await self._drop(case)
                return
            await self.records.erase(wanted.records, case, partial(self._leftovers, wanted))
            self._done.add(case)
            log_event(log, logging.WARNING, "erased", records=len(wanted.records))
        args = encode(ReceiptArgs(self.records.org, case, Reply.ERASED, None))
        await self._send(case, _Receipt, Operation("erasure", "receipt", 1, args), now_s)

    async def _again(self, wanted: Wanted, case: bytes, found: ErasureCase) -> None:
        """A ticket that was under way while the records went has written its file since (X-7)."""
        if not self._matches(wanted, found):
            return
        leftovers = partial(self._leftovers, wanted)
        if await asyncio.to_thread(leftovers):
            await self.records.erase(wanted.records, case, leftovers)

    def _matches(self, wanted: Wanted, found: ErasureCase) -> bool:
        """Does the opening say what the certified request commits to?"""
        records = records_commitment(wanted.records_salt, wanted.leaves)
        return (wanted.handle, records) == (found.handle, found.records)

    def _leftovers(self, wanted: Wanted) -> Sequence[tuple[bytes, bytes, bytes]]:
        if self.trails is None:
            return ()
        return self.trails.leftovers(wanted.handle, self.records.files.is_erased)

    def _value(self, key: bytes) -> bytes | None:
        stored = self.state.get(key)
        return None if stored is None else stored[SALT_BYTES:]

    def _certified(self, case: bytes) -> ErasureCase | None:
        stored = self._value(case_key(self.records.org, case))
        return None if stored is None else decode(stored, ErasureCase)

    def _own(self, case: bytes) -> ErasureHolder:
        """This custodian's part of the case."""
        stored = self._value(holder_key(self.records.org, case, self.records.org))
        assert stored is not None, "a custodian is a holder of its own case"
        return decode(stored, ErasureHolder)
