"""Identifiers at a hospital's desk: tags for a registration, duplicate cases, finding a person.

Law of the file (decision 0017): only a signed ask of this organisation's own staff is answered; what an
identifier meets is kept in the vault before it is said; no identifier is kept, logged or passed on.
"""

import asyncio
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from hashlib import sha256
from typing import TypeVar

from contracts.context import Capacity, Identity
from contracts.identity import TagArgs, by_tag, identity
from contracts.members import all_members, identify, members
from contracts.state import ReadState
from node.duplicate_cases import (
    SEARCH_VERSION,
    DuplicateCase,
    DuplicateCases,
    Met,
    Search,
    Step,
)
from node.pepper import PepperKeep
from node.seen_asks import SeenAsks
from salus.desk_asks import (
    ASK_AHEAD_MS_MAX,
    CASES_PER_ANSWER_MAX,
    SEARCHES_PER_ANSWER_MAX,
    CasesAsk,
    CaseState,
    CheckAsk,
    CloseAsk,
    DeskAsk,
    FindAsk,
    SearchesAsk,
    Typed,
    case_id,
    opened,
)
from salus.desk_json import (
    CaseForm,
    CasesAnswer,
    CaseStepForm,
    CheckAnswer,
    FindAnswer,
    MetForm,
    SearchesAnswer,
    SearchForm,
)
from salus.errors import SalusError
from salus.identity_tag import TAG_BYTES, identity_tag, normalise
from salus.patient_keys import Relation
from salus.relation import relation_key
from salus.report import utc
from salus.staff import StaffRole
from storage.state import StateStore
from storage.vault import Vault

HOUR_MS = 3_600_000
# A busy emergency room meets fewer people without a card or a handle; who tries numbers needs millions.
SEARCHES_PER_HOUR_MAX = 20
# Five a minute: of one desk, or of some behind one key. A check tells whether somebody is known too.
CHECKS_PER_HOUR_MAX = 300
KEYS_MAX = 1_024  # whose checks are counted; the least recent is forgotten

_REGISTRARS = frozenset({StaffRole.ADMINISTRATION, StaffRole.GATEWAY})
_AUDITORS = frozenset({StaffRole.ADMINISTRATION})
_FINDERS = frozenset({StaffRole.EMERGENCY})

A = TypeVar("A", CheckAsk, FindAsk, CasesAsk, CloseAsk, SearchesAsk)


class IdentityDesk:
    """Implements `node.api.view.IdentityView`."""

    def __init__(
        self,
        vault: Vault,
        state: StateStore,
        org: str,
        chain_id: str,
        keep: PepperKeep,
        now_ms: Callable[[], int],
        asks: SeenAsks,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.org, self._state, self._chain_id = org, state, chain_id
        self._keep, self._now_ms, self._asks = keep, now_ms, asks
        self._cases, self._random = DuplicateCases(vault, org, random), random
        self._one = threading.Lock()  # a case is read, changed and written by one at a time
        self._checks: OrderedDict[bytes, deque[tuple[int, bytes]]] = OrderedDict()

    async def check(self, body: bytes) -> CheckAnswer:
        """Raises `SalusError` (DESK_REFUSED, DESK_LATE, BAD_IDENTIFIER, NO_PEPPER, …)."""
        return await asyncio.to_thread(self._check, body)

    async def find(self, body: bytes) -> FindAnswer:
        """Raises `SalusError` (… NOBODY_FOUND, TOO_MANY_SEARCHES)."""
        return await asyncio.to_thread(self._find, body)

    async def cases(self, body: bytes) -> CasesAnswer:
        """Raises `SalusError` (DESK_REFUSED, DESK_LATE, UNKNOWN_CASE)."""
        return await asyncio.to_thread(self._listed, body)

    async def close(self, body: bytes) -> CaseForm:
        """Raises `SalusError` (DESK_REFUSED, DESK_LATE, UNKNOWN_CASE, TOO_LARGE)."""
        return await asyncio.to_thread(self._close, body)

    async def searches(self, body: bytes) -> SearchesAnswer:
        """Raises `SalusError` (DESK_REFUSED, DESK_LATE)."""
        return await asyncio.to_thread(self._searches, body)

    # -- registering ----------------------------------------------------------------------------

    def _check(self, body: bytes) -> CheckAnswer:
        ask, who = self._admitted(body, CheckAsk, _REGISTRARS, operator=True)
        roots = self._roots(ask.identifiers)
        with self._one:
            now_ms = self._now_ms()
            self._count(ask.key, ask.handle + b"".join(roots), now_ms)
            met = [one for one in self._met(roots) if one != Met(self.org, ask.handle)]
            step = Step(now_ms, ask.key, who.staff, CaseState.OPEN, "")
            case = self._cases.meet(ask.handle, tuple(met), step)
        suspect = case is not None and case.state in (CaseState.OPEN, CaseState.THEFT)
        return CheckAnswer(
            tuple(self._tag(root, ask.handle).hex() for root in roots),
            case_id(self.org, ask.handle).hex() if suspect else None,
        )

    def _tag(self, root: bytes, handle: bytes) -> bytes:
        """Our tag for this registration. Where another relation here has it, random bytes: the chain
        finds the first only, and the same beside both would tell everybody that they are one person's."""
        tag = identity_tag(root, Relation(self._chain_id, self.org))
        first = by_tag(ReadState(self._state.value, identity.name), TagArgs(self.org, tag))
        return tag if first is None or first.handle == handle else self._random(TAG_BYTES)

    def _count(self, key: bytes, content: bytes, now_ms: int) -> None:
        """The same question once more, as after each registration, tells nothing new and is free."""
        asked = sha256(content).digest()
        times = self._checks.pop(key, None) or deque(maxlen=CHECKS_PER_HOUR_MAX)
        self._checks[key] = times
        if len(self._checks) > KEYS_MAX:
            self._checks.popitem(last=False)
        if any(question == asked for _, question in times):
            return
        # The clock may have been ahead: what it says was later is of no hour that is over.
        if len(times) == CHECKS_PER_HOUR_MAX and times[0][0] <= now_ms < times[0][0] + HOUR_MS:
            raise _too_many(times[0][0], now_ms)
        times.append((now_ms, asked))

    # -- finding --------------------------------------------------------------------------------

    def _find(self, body: bytes) -> FindAnswer:
        ask, who = self._admitted(body, FindAsk, _FINDERS, operator=False)
        assert who.staff is not None, "a role is of staff"
        roots = self._roots(ask.identifiers)
        with self._one:
            now_ms = self._now_ms()
            before = self._cases.searches_of(ask.key, max(0, now_ms - HOUR_MS + 1), now_ms)
            if len(before) >= SEARCHES_PER_HOUR_MAX:
                raise _too_many(before[-SEARCHES_PER_HOUR_MAX].time_ms, now_ms)
            found = tuple(sorted(set(self._met(roots))))
            # First kept, then said; one that finds nobody counts too: it may be somebody's trying.
            self._cases.searched(
                Search(SEARCH_VERSION, now_ms, ask.key, who.staff, ask.reason, found)
            )
        if not found:
            raise SalusError("no organisation knows it", code="NOBODY_FOUND")
        return FindAnswer(_met_forms(found))

    def _searches(self, body: bytes) -> SearchesAnswer:
        ask, _ = self._admitted(body, SearchesAsk, _AUDITORS, operator=True)
        with self._one:
            found, more = self._cases.searches(SEARCHES_PER_ANSWER_MAX, ask.before)
        return SearchesAnswer(
            tuple(
                SearchForm(
                    utc(one.time_ms),
                    one.key.hex(),
                    one.staff.hex(),
                    one.reason,
                    _met_forms(one.found),
                )
                for one in found
            ),
            None if more is None else more.hex(),
        )

    # -- cases ----------------------------------------------------------------------------------

    def _listed(self, body: bytes) -> CasesAnswer:
        ask, _ = self._admitted(body, CasesAsk, _AUDITORS, operator=True)
        with self._one:
            if ask.case is not None:
                found = [self._cases.case(ask.case)]
            else:
                found = self._cases.cases(ask.state)
        shown = tuple(self._form(one) for one in found[:CASES_PER_ANSWER_MAX])
        return CasesAnswer(shown, len(found) > CASES_PER_ANSWER_MAX)

    def _close(self, body: bytes) -> CaseForm:
        ask, who = self._admitted(body, CloseAsk, _AUDITORS, operator=True)
        step = Step(self._now_ms(), ask.key, who.staff, ask.state, ask.note)
        with self._one:
            return self._form(self._cases.say(ask.case, step))

    def _form(self, case: DuplicateCase) -> CaseForm:
        return CaseForm(
            case_id(self.org, case.handle).hex(),
            case.handle.hex(),
            self._state.value(relation_key(self.org, case.handle)) is not None,
            _met_forms(case.met),
            case.state.value,
            tuple(
                CaseStepForm(
                    utc(one.time_ms),
                    one.key.hex(),
                    None if one.staff is None else one.staff.hex(),
                    one.state.value,
                    one.note,
                )
                for one in case.steps
            ),
        )

    # -- who asks, and what an identifier meets -------------------------------------------------

    def _admitted(
        self, body: bytes, kind: type[A], roles: Collection[StaffRole], *, operator: bool
    ) -> tuple[A, Identity]:
        """Raises `SalusError` (DESK_REFUSED, DESK_LATE, NOT_CANONICAL)."""
        ask = opened(body, kind)
        self._require_fresh(ask)
        who = identify(ReadState(self._state.value, members.name), ask.key, self._now_ms())
        if who is None or who.member != self.org:
            raise SalusError("the key is of nobody in force here", code="DESK_REFUSED")
        staff = who.capacity is Capacity.STAFF and bool(set(roles) & set(who.staff_roles))
        if not staff and not (operator and who.capacity is Capacity.OPERATOR):
            raise SalusError("the key lacks the role for it", code="DESK_REFUSED")
        # Last: only who may ask fills the list of what was asked.
        if not self._asks.use("desk", ask.key, ask.nonce, ask.expires_ms, self._now_ms()):
            raise SalusError("this ask was answered before", code="DESK_LATE")
        return ask, who

    def _require_fresh(self, ask: DeskAsk) -> None:
        if (ask.chain_id, ask.org) != (self._chain_id, self.org):
            raise SalusError("the ask is for another hospital's desk", code="DESK_REFUSED")
        now_ms = self._now_ms()
        if not now_ms < ask.expires_ms <= now_ms + ASK_AHEAD_MS_MAX:
            raise SalusError("the ask has expired, or expires too late", code="DESK_LATE")

    def _roots(self, identifiers: Iterable[Typed]) -> list[bytes]:
        """Each once. Raises `SalusError` (BAD_IDENTIFIER, NO_PEPPER, WRONG_PEPPER)."""
        scheme = self._keep.scheme()
        normal = (normalise(one.system, one.value) for one in identifiers)
        return list(dict.fromkeys(scheme.start(one).finish(()) for one in normal))

    def _met(self, roots: Iterable[bytes]) -> list[Met]:
        """The relations with these identifiers at all organisations, this one included."""
        tags, found = ReadState(self._state.value, identity.name), []
        orgs = [one.id for one in all_members(ReadState(self._state.value, members.name))]
        for root in roots:
            for org in orgs:
                tag = identity_tag(root, Relation(self._chain_id, org))
                entry = by_tag(tags, TagArgs(org, tag))
                if entry is not None:
                    found.append(Met(org, entry.handle))
        return found


def _met_forms(met: Iterable[Met]) -> tuple[MetForm, ...]:
    return tuple(MetForm(one.org, one.handle.hex()) for one in met)


def _too_many(oldest_ms: int, now_ms: int) -> SalusError:
    wait_s = max(1, -(-(oldest_ms + HOUR_MS - now_ms) // 1_000))
    return SalusError("too many within an hour", code="TOO_MANY_SEARCHES", retry_after_s=wait_s)
