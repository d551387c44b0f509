"""A holder of shares: keeps what patients deposit, and gives it against a certified case
(rules E-2, E-3, E-8 of decision 0014).

    keep     a sealed summary and this member's share, as the chain's commitment says
    give     the share to a clinician's ephemeral key: certified first
    late     what was given while nothing could be certified (node/late_entries.py)

Law of the file: on record, synced, then given. While this holder owes the chain an entry and blocks
are certified again, it gives nothing to anybody.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from contracts.emergency import OPENED, OpenArgs, emergency
from contracts.emergency_summary import DEPOSITED, OPTED
from node.emergency_files import kept_of
from node.emergency_state import EmergencyState
from node.late_entries import LateEntries, Submit
from node.logs import log_event
from node.me import Me
from node.metrics import Metrics
from node.waiters import Waiters
from node.window import earliest
from salus.block import Receipt
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.emergency import ALONE_MAX, Case, Summary
from salus.emergency_forms import EmergencyRequest, summary_commitment
from salus.emergency_share import Share, SummaryOwner, give_share, open_share
from salus.emergency_wire import Deposit, SealedSummary, ShareAsk, ShareGiven
from salus.errors import BadMessage, SalusError
from salus.hashing import hasher
from salus.keys import verify
from salus.parameters import Parameters
from salus.transaction import Operation, Transaction
from salus.validators import MemberId
from storage.vault import Vault

HELD_VERSION = 1
LATE_PER_CLINICIAN_MAX = (
    4  # before the chain resumes: a night's work, and 16 holders make 32 of them
)
WATCHED_PER_CLINICIAN_MAX = 2 * LATE_PER_CLINICIAN_MAX
WATCHED_MAX = 256  # cases that wait here for a block; each is a member's question under a signature

_SUMMARY = b"S"  # before names in the vault
_hash_name = hasher("vault-summary")
log = logging.getLogger("salus.emergency")


class HeldSummary(Wire, frozen=True):
    """As it lies in the vault; `share` is still sealed to this member's box key."""

    version: Uint
    org: MemberId
    handle: Bytes32
    generation: Uint
    sealed: SealedSummary
    share: Share


@dataclass(slots=True)
class _Watched:
    """A case that was asked for and is not certified: since when, at which height, and by whom."""

    since_s: float
    height: int
    who: tuple[str, bytes]  # the opener and its clinician


class Holder:
    """`state`, `height`: certified and on disk; `behind`: do others have blocks that we lack?"""

    def __init__(
        self,
        me: Me,
        vault: Vault,
        state: EmergencyState,
        waiters: Waiters,
        submit: Submit,
        parameters: Callable[[], Parameters],
        behind: Callable[[], bool],
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
        random: Callable[[int], bytes],
        metrics: Metrics,
    ) -> None:
        self.me, self.vault, self.state, self.waiters = me, vault, state, waiters
        self.submit, self.parameters, self.behind = submit, parameters, behind
        self.now_ms, self.monotonic_s = now_ms, monotonic_s
        self.metrics = metrics
        self.late = LateEntries(me, vault, state, waiters, submit, random)
        metrics.on_scrape(lambda: metrics.emergency_owed.set(len(self.late.owed)))
        self._watched: dict[bytes, _Watched] = {}  # by case, oldest first
        self._woken = asyncio.Event()
        self._giving = asyncio.Lock()  # one at a time: caps are counted before the disk is written
        self._doubted: set[tuple[str, bytes]] = set()  # relations whose deposit may be void
        self._load()

    # -- keeping --------------------------------------------------------------------------------

    async def keep(self, deposit: Deposit) -> None:
        """Durable on return. Raises `SalusError`: NO_SUMMARY, NO_HOLDER, REQUEST_UNFIT (not what
        the chain commits to), BAD_SHARE_SET (the share is not for this member)."""
        summary = self._mine(deposit.org, deposit.handle)
        digest = sha256(deposit.sealed).digest()
        if (summary.generation, summary.commitment) != (
            deposit.generation,
            summary_commitment(deposit.salt, digest),
        ):
            raise SalusError("the chain commits to another summary", code="REQUEST_UNFIT")
        owner = self._owner(deposit.org, deposit.handle, deposit.generation)
        try:
            open_share(owner, self.me.org, deposit.share, self.me.box_secret)
        except SalusError as error:
            raise SalusError(error.message, code="BAD_SHARE_SET") from None
        held = HeldSummary(
            HELD_VERSION,
            deposit.org,
            deposit.handle,
            deposit.generation,
            deposit.sealed,
            deposit.share,
        )
        async with self._giving:
            await asyncio.to_thread(self._put, _name(held.org, held.handle), held)

    def _put(self, name: bytes, held: HeldSummary) -> None:
        """No signature says that a share is the patient's: whoever has seen the ciphertext and its
        salt can seal another one. So the first stands. Raises `SalusError` (BAD_SHARE_SET)."""
        raw = self.vault.record(name)
        known = None if not raw else decode(raw, HeldSummary)
        if known is None or known.generation != held.generation:
            self.vault.put_record(name, encode(held))
        elif known != held:
            raise SalusError("another share of this deposit is kept", code="BAD_SHARE_SET")

    async def forget(self, org: str, handle: bytes) -> bool:
        """Destroy what is held of a relation; True if anything was."""
        name = _name(org, handle)
        if self.vault.record(name) is None:
            return False
        await asyncio.to_thread(self.vault.erase, (), (name,))
        return True

    def see(self, receipts: Sequence[Receipt]) -> None:
        """Of a block that was certified: cases, for the alarm, and whose deposits may be void now."""
        for receipt in receipts:
            for event in receipt.events:
                if event.kind == OPENED.name:
                    self.metrics.emergency_access_total.labels(str(event.data["opener"])).inc()
                if event.kind in (OPTED.name, DEPOSITED.name):
                    org, handle = str(event.data["org"]), bytes.fromhex(str(event.data["handle"]))
                    self._doubted.add((org, handle))
                    self._woken.set()

    async def _sweep(self) -> None:
        """Destroy what the patient, or a new set of holders, has taken from this member."""
        while self._doubted:
            org, handle = self._doubted.pop()
            kept = self.state.kept(org, handle)
            mine = kept is not None and not kept.opted_out and self.me.org in kept.holders
            if not mine and await self.forget(org, handle):
                log_event(log, logging.INFO, "summary_destroyed")

    def holds(self, org: str, handle: bytes) -> bool:
        return self.vault.record(_name(org, handle)) is not None

    # -- giving ---------------------------------------------------------------------------------

    async def give(self, member: str, ask: ShareAsk) -> ShareGiven:
        """`member`: who asks, for its own clinician. Raises `SalusError` with a code of decision
        0014; EMERGENCY_WAIT and LATE_OWED pass by themselves."""
        request = ask.request
        self._check(member, ask)
        summary = self._mine(request.org, request.handle)
        held = await self._held(request, summary)
        async with self._giving:
            if self.late.owes:
                raise SalusError("first what was given without a quorum", code="LATE_OWED")
            late = await self._weigh(ask)
            owner = self._owner(request.org, request.handle, summary.generation)
            share = open_share(owner, self.me.org, held.share, self.me.box_secret)
            given = give_share(owner, request.case, self.me.org, share, request.release_key)
            log_event(log, logging.WARNING, "share_given", case=request.case.hex(), late=late)
        sealed = held.sealed if ask.summary else b""
        return ShareGiven(summary.generation, summary.threshold, late, given, sealed)

    async def _weigh(self, ask: ShareAsk) -> bool:
        """Is there a certified case that opens (False), or has nothing been certified for so long
        that it is given late (True)? Raises `SalusError` otherwise."""
        request = ask.request
        case = self.state.case(request.case)
        if case is not None:
            self._watched.pop(request.case, None)
            self._opens(case, request)
            return False
        await self._pass_on(ask)
        if not self._silent(request):
            raise SalusError("no block has certified this case yet", code="EMERGENCY_WAIT")
        await self._journal(ask)
        return True

    def _opens(self, case: Case, request: EmergencyRequest) -> None:
        if (case.org, case.handle, case.opener) != (request.org, request.handle, request.opener):
            raise _unfit("the case is of another patient")
        if case.opens(self.now_ms()):
            return
        waits = case.disputed_ms is None and case.decided is None and case.cosign is None
        if waits and not case.alone and self.now_ms() < case.cosign_until_ms:
            raise SalusError("another organisation must agree first", code="COSIGN_FIRST")
        raise SalusError("the case opens nothing any more", code="CASE_CLOSED")

    def _check(self, member: str, ask: ShareAsk) -> None:
        """The request is of a clinician in force of the asking member."""
        request, now_ms = ask.request, self.now_ms()
        found = self.state.emergency_key(ask.key, now_ms)
        if found is None or (found.member, found.staff) != (request.opener, request.staff):
            raise _unfit("the key opens no emergencies for this organisation")
        if request.opener != member or request.chain_id != self.me.chain_id:
            raise _unfit("the request is of another organisation, or for another chain")
        if not verify(ask.key, request.payload(), ask.signature):
            raise _unfit("the signature is not of this clinician")

    def _mine(self, org: str, handle: bytes) -> Summary:
        summary = self.state.summary(org, handle)
        if self.me.org not in summary.holders:
            raise SalusError("this organisation keeps no share of it", code="NO_HOLDER")
        return summary

    async def _held(self, request: EmergencyRequest, summary: Summary) -> HeldSummary:
        raw = await asyncio.to_thread(self.vault.record, _name(request.org, request.handle))
        held = None if not raw else decode(raw, HeldSummary)
        if held is None or held.generation != summary.generation:
            raise SalusError("the deposit has not come here", code="NO_SUMMARY")
        return held

    # -- without a quorum (E-8) -----------------------------------------------------------------

    async def _pass_on(self, ask: ShareAsk) -> None:
        """The transaction goes into this node's own pool: who only says that nothing is certified
        could have kept it to himself. Nor is it silence if no block may hold it, or one has refused
        it, and an idle chain makes none."""
        request = ask.request
        if request.case in self.late.owed:
            return
        try:
            tx = decode(ask.opening, Transaction)
            (raw,) = tx.operations
            operation = decode(raw, Operation)
            args = decode(operation.args, OpenArgs)
        except (BadMessage, ValueError):
            raise _unfit("it comes without the transaction that opens the case") from None
        named = (operation.contract, operation.method, tx.sender)
        said = (args.org, args.handle, args.nonce, args.details)
        wanted = (request.org, request.handle, request.nonce, request.details)
        if named != (emergency.name, "open", ask.key) or said != wanted:
            raise _unfit("the transaction opens another case")
        (answer,) = await self.submit([ask.opening])
        if answer.code is not None:
            raise SalusError(answer.detail or "the transaction was refused", code=answer.code)
        if answer.height is not None or earliest(tx, self.parameters()) > self.waiters.height + 1:
            raise SalusError("no block has certified this case yet", code="EMERGENCY_WAIT")

    def _silent(self, request: EmergencyRequest) -> bool:
        """Has no block been certified for long enough since this case was first asked for here?"""
        height, now_s = self.waiters.height, self.monotonic_s()
        case, who = request.case, (request.opener, request.staff)
        watched = self._watched.get(case)
        if watched is None or watched.height != height or self.behind():
            self._watched.pop(case, None)
            theirs = [name for name, one in self._watched.items() if one.who == who]
            if len(theirs) >= WATCHED_PER_CLINICIAN_MAX:  # nobody's questions drive out another's
                self._watched.pop(theirs[0])
            while len(self._watched) >= WATCHED_MAX:
                self._watched.pop(next(iter(self._watched)))
            self._watched[case] = _Watched(now_s, height, who)
            return False
        return (now_s - watched.since_s) * 1000 >= self.parameters().emergency_silence_ms

    async def _journal(self, ask: ShareAsk) -> None:
        """On disk when it returns. Raises `SalusError`: COSIGN_FIRST, TOO_MANY_CASES."""
        request, now_ms = ask.request, self.now_ms()
        if request.case in self.late.owed:
            return
        clinician = self.state.clinician(request.opener, request.staff)
        restricted = self.state.standing(request.opener).restricted(now_ms)
        if restricted or clinician.restricted(now_ms):
            raise SalusError("this clinician opens nothing alone now", code="COSIGN_FIRST")
        theirs = self.late.of(request.opener, request.staff)
        known = len(clinician.waiting) + len(clinician.late)
        if theirs >= LATE_PER_CLINICIAN_MAX or known + theirs >= ALONE_MAX:
            raise SalusError("too many late cases of this clinician", code="TOO_MANY_CASES")
        await self.late.journal(ask, now_ms)
        self._woken.set()

    # -- afterwards -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled: what is owed is offered until the certified state has it."""
        while True:
            self._woken.clear()
            await self._sweep()
            await self.late.enter()
            if not self.late.owed and not self._doubted:
                await self._woken.wait()

    def _load(self) -> None:
        """Which deposits to look at again: the patient may have opted out while this node was down,
        or in its last moment."""
        for held in kept_of(self.vault, _SUMMARY, HeldSummary):
            self._doubted.add((held.org, held.handle))

    def _owner(self, org: str, handle: bytes, generation: int) -> SummaryOwner:
        return SummaryOwner(self.me.chain_id, org, handle, generation)


def _unfit(why: str) -> SalusError:
    return SalusError(why, code="REQUEST_UNFIT")


def _name(org: str, handle: bytes) -> bytes:
    return _SUMMARY + _hash_name(encode((org, handle)))
