"""What a FHIR resource carries, as obligations see it, and whether it passes them.

A denial is read widely: whatever stands anywhere in the resource counts, contained ones included.
A permission is read narrowly: only what the resource says of itself counts, and every resource
inside must pass too. Without recursion, since documents come from outside.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from salus.consent.decision import Obligation, Redact
from salus.consent.terms import Code
from salus.consent.vocabulary import RESOURCE_TYPES, level, same_system

_Pair = tuple[str | None, str]  # system, None: not said; code


@dataclass(slots=True)
class Carried:
    """Of one resource, or of a document whose content nobody can read."""

    anywhere: set[_Pair] = field(default_factory=set)
    itself: list[set[_Pair]] = field(default_factory=list)  # of each resource, the outer one first

    def passes(self, obligations: Sequence[Obligation], classes: Sequence[Code]) -> bool:
        """May it be shown to one who asked for these classes (none: for everything)?

        What says nothing of itself cannot be judged, and may not."""
        if not self.itself:
            return False
        for obligation in obligations:
            if obligation.redact is Redact.CARRYING:
                if any(_denied(code, self.anywhere) for code in obligation.codes):
                    return False
            elif not self._each_has(obligation.codes):
                return False
        asked = {(same_system(code.system), code.code) for code in classes}
        return not asked or bool(asked & self.itself[0])

    def _each_has(self, codes: Sequence[Code]) -> bool:
        """Does each resource carry one of the codes itself?"""
        return all(any(_permitted(code, own) for code in codes) for own in self.itself)

    def add_known(self, known: "Carried") -> None:
        """Codes of the document as a whole are those of its parts; its type is not theirs."""
        self.anywhere |= known.anywhere
        spoken = {pair for own in known.itself for pair in own if pair[0] != RESOURCE_TYPES}
        self.itself = [own | spoken for own in self.itself]


def of_codes(codes: Iterable[Code]) -> Carried:
    """What is known of a document without reading it."""
    pairs: set[_Pair] = {(same_system(code.system), code.code) for code in codes}
    return Carried(pairs, [pairs] if pairs else [])


def of_resource(resource: Any) -> Carried:
    """`resource`: a JSON value; one that is no resource carries nothing itself."""
    found = Carried()
    for inner in objects(resource):
        found.anywhere |= _mentioned(inner)
        if isinstance(inner.get("resourceType"), str):
            found.itself.append(_said_of_itself(inner))
    if found.itself:
        # R4 allows no labels on contained resources: those of the outer one are theirs.
        labels = found.itself[0] & labels_of(resource)
        found.itself = [own | labels for own in found.itself]
    return found


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All JSON objects in it, outer ones first."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            yield inner
            waiting += inner.values()
        elif isinstance(inner, list):
            waiting += reversed(inner)


def _mentioned(inner: dict[str, Any]) -> set[_Pair]:
    """Codings, and what a resource says of itself as a whole."""
    found: set[_Pair] = set()
    code, system = inner.get("code"), inner.get("system")
    if isinstance(code, str) and isinstance(system, str):
        found.add((same_system(system), code))
    if isinstance(kind := inner.get("resourceType"), str):
        found.add((RESOURCE_TYPES, kind))
    if isinstance(meta := inner.get("meta"), dict):
        profiles = meta.get("profile")
        # Whoever denies by profile may call its system what he likes.
        found |= {(None, name) for name in _list(profiles) if isinstance(name, str)}
        found |= _codings(meta.get("security"), nameless=True)
    return found


def _said_of_itself(resource: dict[str, Any]) -> set[_Pair]:
    """Its type, its labels, and the codes of its own elements: what it is, not what it mentions."""
    found: set[_Pair] = {(RESOURCE_TYPES, resource["resourceType"])}
    if isinstance(meta := resource.get("meta"), dict):
        found |= _codings(meta.get("security"))
    for name, value in resource.items():
        if name != "meta":
            found |= _codings(value)
    return found


def labels_of(resource: Any) -> set[_Pair]:
    """Its security labels; those of a Bundle are those of its entries."""
    meta = resource.get("meta") if isinstance(resource, dict) else None
    return _codings(meta.get("security"), nameless=True) if isinstance(meta, dict) else set()


def _codings(value: Any, *, nameless: bool = False) -> set[_Pair]:
    """Of a Coding, a CodeableConcept, or a list of such."""
    found: set[_Pair] = set()
    for item in _list(value):
        for coding in [item, *_list(item.get("coding"))] if isinstance(item, dict) else []:
            if not isinstance(coding, dict) or not isinstance(code := coding.get("code"), str):
                continue
            if isinstance(system := coding.get("system"), str):
                found.add((same_system(system), code))
            elif nameless:
                found.add((None, code))
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _denied(code: Code, carried: set[_Pair]) -> bool:
    """Who must not see restricted data must not see very restricted ones."""
    if (same_system(code.system), code.code) in carried or (None, code.code) in carried:
        return True
    least = level(code)
    return least is not None and any(each >= least for each in _levels(carried))


def _permitted(code: Code, carried: set[_Pair]) -> bool:
    """R4: a label of confidentiality speaks of that level «or lower»."""
    most = level(code)
    if most is None:
        return (same_system(code.system), code.code) in carried
    levels = _levels(carried)
    return bool(levels) and max(levels) <= most


def _levels(carried: set[_Pair]) -> list[int]:
    codes = (Code(system, code) for system, code in carried if system is not None)
    return [found for code in codes if (found := level(code)) is not None]
