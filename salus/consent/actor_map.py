"""Whom the actors of a FHIR Consent are here: organisations of the consortium, and their staff.

    Organization/54=hosp-b      the Organization that the Consent refers to so
    SYSTEM|VALUE=hosp-b/HANDLE  whoever has this identifier
    Practitioner/001=-          nobody here

Law of the file: a permission to somebody unknown permits nobody, and says so; a denial of somebody
unknown is refused, since under another name he may well be here. Nobody becomes everybody.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from salus.consent.terms import Code, Effect
from salus.errors import BadMessage
from salus.granting import ORGANISATION, STAFF, Grantee

ENTRIES_MAX = 256  # as many as parties at once
KEY_CHARS_MAX = 300  # a system, a bar, a value

NOBODY = Code("urn:salus:nobody", "nobody")  # no reader has it
_OUTSIDE = "-"
_ORGANISATION_TYPE = "Organization"


@dataclass(frozen=True, slots=True)
class Actor:
    """An actor as a Consent names him. `kind`: his resource type, if it is said anywhere."""

    reference: str | None  # «Type/id», «#id»
    kind: str | None
    identifiers: tuple[Code, ...]


@dataclass(slots=True)
class ActorMap:
    """`members`: ids of the active organisations. `employers`: of each member of staff that was named,
    by handle as hex, where he works; grows with the entries."""

    members: frozenset[str]
    entries: dict[str, list[Grantee]] = field(default_factory=dict)
    employers: dict[str, str] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, members: Collection[str], entries: Iterable[tuple[str, str]] = ()) -> "ActorMap":
        """`entries`: a key, and ORG, ORG/STAFF-HANDLE or «-». A key may stand several times: a team.
        Raises `BadMessage` (BAD_MAP, TOO_LARGE, UNKNOWN_GRANTEE, BAD_GRANTEE)."""
        made = cls(frozenset(members))
        for number, (key, target) in enumerate(entries):
            if number >= ENTRIES_MAX:
                raise BadMessage(f"a map has at most {ENTRIES_MAX} entries", code="TOO_LARGE")
            made._enter(key, target)
        return made

    def _enter(self, key: str, target: str) -> None:
        if not 0 < len(key) <= KEY_CHARS_MAX:
            raise _bad("each entry is REFERENCE=ORG, SYSTEM|VALUE=ORG/STAFF or REFERENCE=-")
        if target == _OUTSIDE:
            self.outside.add(key)
        else:
            grantee = Grantee.parse(target)
            if grantee.org not in self.members:
                raise BadMessage(
                    "an entry names an organisation that is not active here", code="UNKNOWN_GRANTEE"
                )
            if grantee.staff is not None:
                employer = self.employers.setdefault(grantee.staff, grantee.org)
                if employer != grantee.org:
                    raise _bad("one staff handle stands for two organisations")
            self.entries.setdefault(key, []).append(grantee)
        if key in self.outside and key in self.entries:
            raise _bad("one key is both somebody here and nobody")

    def codes(self, actor: Actor, effect: Effect, where: str) -> tuple[list[Code], str | None]:
        """His identities for a rule of this effect, at least one, and a note if he is nobody here.
        Raises `BadMessage` (UNMAPPED_ACTOR, BAD_MAP)."""
        keys = [f"{code.system}|{code.code}" for code in actor.identifiers]
        if actor.reference is not None:
            keys.append(actor.reference)
        foreign = [code for code in actor.identifiers if code.system not in (ORGANISATION, STAFF)]
        named = [one for key in keys for one in self.entries.get(key, ())]
        if named:
            return foreign + [self._fits(one, actor, where).named() for one in named], None
        if not self.outside.isdisjoint(keys):
            return foreign or [NOBODY], None
        known = [self._fits(one, actor, where) for one in self._self_evident(actor.identifiers)]
        if known:
            return foreign + [one.named() for one in known], None
        if effect is Effect.DENY:
            raise BadMessage(
                f"{where}: nobody knows who in the consortium this is, so he cannot be denied",
                code="UNMAPPED_ACTOR",
            )
        return foreign or [NOBODY], f"{where}: nobody here, so it permits him nothing"

    def _self_evident(self, identifiers: Sequence[Code]) -> list[Grantee]:
        """Identifiers of our own systems, as an export has them."""
        found = []
        for code in identifiers:
            if code.system == ORGANISATION and code.code in self.members:
                found.append(Grantee(code.code))
            elif code.system == STAFF and code.code in self.employers:
                found.append(Grantee(self.employers[code.code], code.code))
        return found

    @staticmethod
    def _fits(grantee: Grantee, actor: Actor, where: str) -> Grantee:
        """A person is no organisation: else a permission to one doctor would be one to his whole house."""
        if actor.kind is not None and (actor.kind == _ORGANISATION_TYPE) != (grantee.staff is None):
            raise _bad(f"{where}: an Organization is ORG, and anybody else ORG/STAFF")
        return grantee


def staff_named(entries: Iterable[tuple[str, str]]) -> Iterator[tuple[int, Grantee]]:
    """The members of staff that a map names, each with the number of its entry, from 1: whoever plans
    asks the chain for them, since a denial of a handle that nobody has denies nobody. Raises
    `BadMessage` (BAD_GRANTEE)."""
    for number, (_, target) in enumerate(islice(entries, ENTRIES_MAX), start=1):
        grantee = None if target == _OUTSIDE else Grantee.parse(target)
        if grantee is not None and grantee.staff is not None:
            yield number, grantee


def unknown_staff(number: int, grantee: Grantee) -> BadMessage:
    return BadMessage(
        f"entry {number} of the map: {grantee.org} has no member of staff of this handle",
        code="UNKNOWN_STAFF",
    )


def read_entry(text: str) -> tuple[str, str]:
    """«KEY=TARGET»; the key may hold «=». Raises `BadMessage` (BAD_MAP)."""
    key, sign, target = text.rpartition("=")
    if not sign or not key or not target:
        raise _bad("each entry is REFERENCE=ORG, SYSTEM|VALUE=ORG/STAFF or REFERENCE=-")
    return key, target


def _bad(why: str) -> BadMessage:
    return BadMessage(why, code="BAD_MAP")
