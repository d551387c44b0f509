"""Duplicate cases and searches for people: what a hospital keeps of them, sealed in its own vault.

    44 ‖ case id              a case: which relation met which others, and what came of it
    53 ‖ time ms ‖ 8 random   a search: who looked for somebody, why, and what was found

Nothing of it leaves the vault but to a signed ask (node/identity_desk.py), and no identifier stands in
it (rules D-5, D-7 of decision 0017). Law of the file: methods are called in threads, one at a time.
"""

from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.desk_asks import NOTE_CHARS_MAX, REASON_CHARS_MAX, CaseState, case_id
from salus.errors import BadMessage, SalusError
from salus.validators import MemberId
from storage.errors import VaultDamaged
from storage.vault import Vault

CASE_VERSION = SEARCH_VERSION = 1
MET_MAX = 1_024  # four identifiers at 256 organisations
STEPS_MAX = 64  # of a case; who argues longer should not do it here

W = TypeVar("W", bound=Wire)

_CASE, _SEARCH = b"D", b"S"
CASE_NAME_BYTES, SEARCH_NAME_BYTES = 33, 17


class Met(Wire, frozen=True, order=True):
    """A relation with the same identifier."""

    org: MemberId
    handle: Bytes32


class Step(Wire, frozen=True):
    """Who said what of a case, and when."""

    time_ms: Uint
    key: Bytes32
    staff: Bytes32 | None  # the handle; None: the operator
    state: CaseState
    note: Annotated[str, msgspec.Meta(max_length=NOTE_CHARS_MAX)]


class DuplicateCase(Wire, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=CASE_VERSION, le=CASE_VERSION)]
    handle: Bytes32  # the relation at whose registration the others were met
    met: Annotated[tuple[Met, ...], msgspec.Meta(min_length=1, max_length=MET_MAX)]
    steps: Annotated[tuple[Step, ...], msgspec.Meta(min_length=1, max_length=STEPS_MAX)]

    @property
    def state(self) -> CaseState:
        return self.steps[-1].state


class Search(Wire, frozen=True):
    version: Annotated[int, msgspec.Meta(ge=SEARCH_VERSION, le=SEARCH_VERSION)]
    time_ms: Uint
    key: Bytes32
    staff: Bytes32
    reason: Annotated[str, msgspec.Meta(max_length=REASON_CHARS_MAX)]
    found: Annotated[tuple[Met, ...], msgspec.Meta(max_length=MET_MAX)]


class DuplicateCases:
    """Of one organisation, over its vault."""

    def __init__(self, vault: Vault, org: str, random: Callable[[int], bytes]) -> None:
        self._vault, self._org, self._random = vault, org, random
        self._names: set[bytes] | None = None  # of the vault's records those that are ours

    # -- cases ----------------------------------------------------------------------------------

    def case(self, case: bytes) -> DuplicateCase:
        """Raises `SalusError` (UNKNOWN_CASE), `VaultDamaged`."""
        found = self._case(case)
        if found is None:
            raise SalusError(
                "this hospital has no duplicate case with this id", code="UNKNOWN_CASE"
            )
        return found

    def meet(self, handle: bytes, met: tuple[Met, ...], step: Step) -> DuplicateCase | None:
        """The case of this registration with `met` in it; opened, or open again, if one is new.
        None: it has met nobody, now or before."""
        found = self._case(case_id(self._org, handle))
        before = () if found is None else found.met
        together = tuple(sorted({*before, *met}))[:MET_MAX]
        if together == before:
            return found
        # A full history makes room: whoever is registered is never refused for it (rule D-6).
        steps = () if found is None else found.steps[: STEPS_MAX - 1]
        return self._put(DuplicateCase(CASE_VERSION, handle, together, (*steps, step)))

    def say(self, case: bytes, step: Step) -> DuplicateCase:
        """Raises `SalusError` (UNKNOWN_CASE, TOO_LARGE)."""
        found = self.case(case)
        return self._put(msgspec.structs.replace(found, steps=(*found.steps, step)))

    def cases(self, state: CaseState | None) -> list[DuplicateCase]:
        """The newest first."""
        found = [self._read(name, DuplicateCase) for name in self._of(_CASE)]
        chosen = [one for one in found if state in (None, one.state)]
        return sorted(chosen, key=lambda one: -one.steps[0].time_ms)

    def _case(self, case: bytes) -> DuplicateCase | None:
        name = _CASE + case
        if name not in self._known():
            return None
        found = self._read(name, DuplicateCase)
        if case_id(self._org, found.handle) != case:
            raise VaultDamaged("a duplicate case of the vault stands under another's name")
        return found

    def _put(self, case: DuplicateCase) -> DuplicateCase:
        if len(case.steps) > STEPS_MAX:
            raise SalusError(f"a case has at most {STEPS_MAX} steps", code="TOO_LARGE")
        self._keep(_CASE + case_id(self._org, case.handle), encode(case))
        return case

    # -- searches -------------------------------------------------------------------------------

    def searched(self, search: Search) -> None:
        """Durable on return: nobody is found unseen."""
        self._keep(_SEARCH + search.time_ms.to_bytes(8) + self._random(8), encode(search))

    def searches(
        self, count: int, before: bytes | None = None
    ) -> tuple[list[Search], bytes | None]:
        """The newest first, from behind that place on; and the place of the last if there are more."""
        names = sorted(
            (name for name in self._of(_SEARCH) if before is None or name < _SEARCH + before),
            reverse=True,
        )
        more = names[count - 1].removeprefix(_SEARCH) if len(names) > count else None
        return [self._read(name, Search) for name in names[:count]], more

    def searches_of(self, key: bytes, since_ms: int, until_ms: int) -> list[Search]:
        """Of one key from then until then, the oldest first. A clock that was ahead wrote later ones."""
        least, end = (_SEARCH + ms.to_bytes(8) for ms in (since_ms, until_ms + 1))
        names = sorted(name for name in self._of(_SEARCH) if least <= name < end)
        return [one for name in names if (one := self._read(name, Search)).key == key]

    # -- the vault ------------------------------------------------------------------------------

    def _of(self, kind: bytes) -> list[bytes]:
        return [name for name in self._known() if name.startswith(kind)]

    def _known(self) -> set[bytes]:
        if self._names is None:
            lengths = {_CASE: CASE_NAME_BYTES, _SEARCH: SEARCH_NAME_BYTES}
            self._names = {
                name for name in self._vault.records() if lengths.get(name[:1]) == len(name)
            }
        return self._names

    def _keep(self, name: bytes, content: bytes) -> None:
        known = self._known()
        self._vault.put_record(name, content)
        known.add(name)

    def _read(self, name: bytes, kind: type[W]) -> W:
        stored = self._vault.record(name)
        if stored is None:
            raise VaultDamaged("a duplicate case or search of the vault is gone")
        try:
            return decode(stored, kind)
        except BadMessage:
            raise VaultDamaged("a duplicate case or search is not what was written") from None
