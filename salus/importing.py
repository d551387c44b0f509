"""An imported Consent → the permits that stand for it: for each organisation and purpose that it speaks
of, an outer permit or denial, and the same inner terms behind all of them.

    terms of a FHIR Consent, who is a member, whom the actors are → Plan

Law of the file: the outer permit is the smallest box around what the terms may permit to that
organisation, and the terms behind it decide; so nothing is permitted that the Consent does not permit.
What a box cannot hold is told in the plan's notes. Pure. docs/consent.md has the rules.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from salus.consent.actor_map import ActorMap
from salus.consent.decide import Consent, Standing
from salus.consent.fhir import import_consents
from salus.consent.terms import Code, Effect, Rule, Terms
from salus.consent.vocabulary import RESOURCE_TYPES, with_broader
from salus.consent.weighing import OWN_PURPOSES
from salus.errors import BadMessage
from salus.granting import CATEGORY, ORGANISATION, STAFF, Said
from salus.permit import Purpose, Reach, RecordClass
from salus.relation import DAY_MAX, DAY_MS
from salus.scope import CLASS_OF, PURPOSES, types_of

PERMITS_MAX = 500  # of one Consent: a consortium of 100 for five purposes; the wallet keeps 4,096

# Purposes that a permit can name, by the word that a gate asks for.
_WORDS = {
    word: purpose for word, purpose in PURPOSES.items() if purpose is not Purpose.PATIENT_REQUEST
}
_ALL = frozenset(RecordClass)


@dataclass(frozen=True, slots=True)
class Planned:
    """One permit, or denial (`effect`)."""

    grantee: str
    purpose: Purpose
    effect: Effect
    said: Said

    @property
    def denies(self) -> bool:
        return self.effect is Effect.DENY


@dataclass(frozen=True, slots=True)
class Plan:
    """`name`: of the Consent; `permits`: denials first, so that what breaks off permits less; empty if
    it grants nothing. `notes`: what it says and is not carried."""

    name: str
    in_force: bool
    permits: tuple[Planned, ...]
    notes: tuple[str, ...]


def plan_fhir(
    consent: bytes,
    parties: Collection[bytes],
    custodian: str,
    members: Collection[str],
    entries: Iterable[tuple[str, str]],
    now_ms: int,
) -> Plan:
    """What becomes of a FHIR R4 Consent at this custodian. `members`: ids of the active
    organisations; `entries`: of an `ActorMap`. Raises `BadMessage` as `import_consents` and `plan`."""
    actors = ActorMap.of(members, entries)
    (imported,) = import_consents([consent], list(parties), actors)
    made = plan(imported.consent, custodian, members, actors.employers, now_ms)
    # Without a name no newer version of it can be known as one.
    name = made.name if imported.named else f"unnamed-{sha256(consent).hexdigest()[:32]}"
    return Plan(name, made.in_force, made.permits, imported.notes + made.notes)


def _silence_escapes(terms: Terms) -> bool:
    """Whoever reads says from where, or nothing; a permission by place then does not hold, and what is
    denied within it is not come to (decision 0013, G-19)."""
    rules = terms.rules
    by_place = [False] * len(
        rules
    )  # the rule, or one above it, is an exception that permits by place
    for index in range(1, len(rules)):
        rule = rules[index]
        above = by_place[rule.exception_to]
        if above and rule.effect is Effect.DENY:
            return True
        by_place[index] = above or (rule.effect is Effect.PERMIT and bool(rule.sites))
    return False


def plan(
    consent: Consent,
    custodian: str,
    members: Collection[str],
    employers: Mapping[str, str],
    now_ms: int,
) -> Plan:
    """`employers`: by staff handle, of all staff that the terms name. Raises `BadMessage`
    (CONSENT_UNSUPPORTED, TOO_LARGE)."""
    root = consent.terms.root
    if consent.standing is not Standing.ACTIVE:
        return Plan(consent.name, False, (), ("status: it is not active, and grants nothing",))
    if root.until_ms <= now_ms:
        return Plan(consent.name, False, (), ("provision.period: it is over, and grants nothing",))
    if CATEGORY not in consent.terms.categories:
        raise BadMessage(
            f"category, scope: a gate asks for consents of {CATEGORY.code} alone",
            code="CONSENT_UNSUPPORTED",
        )
    if _silence_escapes(consent.terms):
        raise BadMessage(
            "a denial within a permission by place: who says no place would escape it",
            code="CONSENT_UNSUPPORTED",
        )
    permits: list[Planned] = []
    notes = list(_unheard(consent.terms))
    for org in sorted(members):
        for word, purpose in _WORDS.items():
            house = _House(consent.terms, org, word, employers, now_ms)
            if not house.concerned:
                continue
            if org == custodian and purpose in OWN_PURPOSES:
                found = house.own_staff(purpose)
            else:
                found = house.others(purpose)
            permits += () if found is None else (found,)
    if any(one.grantee == custodian and one.effect is Effect.DENY for one in permits):
        notes.append(f"{custodian}: its own staff need no permit; what is denied is denied to them")
    if not permits:
        notes.append("it speaks of nobody in this consortium: nothing is granted")
    if len(permits) > PERMITS_MAX:
        raise BadMessage(f"a Consent becomes at most {PERMITS_MAX} permits", code="TOO_LARGE")
    permits.sort(key=lambda one: one.effect is Effect.PERMIT)
    return Plan(consent.name, True, tuple(permits), tuple(notes))


def _unheard(terms: Terms) -> Iterable[str]:
    """What it permits, but no gate is ever asked for."""
    for index, rule in enumerate(terms.rules):
        if rule.effect is Effect.PERMIT:
            for word in rule.purposes:
                if word not in _WORDS:
                    why = "emergencies are cases" if word == "ETREAT" else "nobody asks for it here"
                    yield f"rule {index}: {word} is permitted in words only, {why}"


class _House:
    """What the terms say to one organisation for one purpose, from now on.

    `_meets`: by rule, may it hold for somebody there?"""

    def __init__(
        self, terms: Terms, org: str, word: str, employers: Mapping[str, str], now_ms: int
    ) -> None:
        self.terms, self.org, self.word, self.now_ms = terms, org, word, now_ms
        self.employers = employers
        self.whole = Code(ORGANISATION, org)
        self._meets: list[bool] = []
        for index, rule in enumerate(terms.rules):
            above = index == 0 or self._meets[rule.exception_to]
            self._meets.append(above and self._may_hold(rule))

    @property
    def concerned(self) -> bool:
        return self._meets[0]

    def others(self, purpose: Purpose) -> Planned:
        """Who needs a permit."""
        box = frozenset() if self._denied_whole() else self._box()
        if box:
            reach = Reach.ORGANISATION if self._names_whole(self.terms.root) else Reach.PART
            return self._planned(purpose, Effect.PERMIT, reach, box, self.terms)
        return self._denial(purpose, self.terms)

    def own_staff(self, purpose: Purpose) -> Planned | None:
        """Of the custodian, for what needs no permit (rule C-6): only what is denied says anything.
        What a permission leaves out is none."""
        root, *exceptions = self.terms.rules
        if root.effect is Effect.PERMIT:
            root = msgspec.structs.replace(root, classes=(), labels=(), codes=())
        denies = any(
            rule.effect is Effect.DENY and met
            for rule, met in zip(self.terms.rules, self._meets, strict=True)
        )
        if not denies:
            return None
        return self._denial(purpose, msgspec.structs.replace(self.terms, rules=(root, *exceptions)))

    def _denial(self, purpose: Purpose, terms: Terms) -> Planned:
        classes, exact = _coarse(terms.root.classes)
        whole = exact and self._names_whole(terms.root) and self._denied_whole()
        reach = Reach.ORGANISATION if whole else Reach.PART
        return self._planned(purpose, Effect.DENY, reach, classes, terms)

    def _planned(
        self,
        purpose: Purpose,
        effect: Effect,
        reach: Reach,
        classes: Collection[RecordClass],
        terms: Terms,
    ) -> Planned:
        # Days that are over are the inner terms' to know: the chain need not.
        first = max(terms.root.from_ms, self.now_ms) // DAY_MS
        last = min((terms.root.until_ms - 1) // DAY_MS, DAY_MAX)
        said = Said(reach, tuple(sorted(classes)), min(first, last), last, terms)
        return Planned(self.org, purpose, effect, said)

    def _box(self) -> frozenset[RecordClass]:
        """The coarse classes of which anything may be permitted."""
        found: frozenset[RecordClass] = frozenset()
        within: list[frozenset[RecordClass]] = []
        for index, rule in enumerate(self.terms.rules):
            above = _ALL if index == 0 else within[rule.exception_to]
            within.append(above & _coarse(rule.classes)[0])
            if self._meets[index] and rule.effect is Effect.PERMIT:
                found |= within[index]
        return found

    def _denied_whole(self) -> bool:
        """Is nobody there ever permitted anything? Said only where it is plain."""
        if self.terms.root.effect is Effect.DENY and not self._box():
            return not (self.terms.root.labels or self.terms.root.codes)
        return any(
            index > 0 and rule.exception_to == 0 and self._denies_whole(index)
            for index, rule in enumerate(self.terms.rules)
        )

    def _denies_whole(self, index: int) -> bool:
        """An exception to the root that always denies: of several that disagree, a denial counts."""
        rule, root = self.terms.rules[index], self.terms.root
        return (
            rule.effect is Effect.DENY
            and self._meets[index]
            and self._names_whole(rule)
            and not (rule.classes or rule.labels or rule.codes)
            and rule.from_ms <= max(root.from_ms, self.now_ms)
            and rule.until_ms >= root.until_ms
            and not any(
                self._meets[later] and one.effect is Effect.PERMIT and self._below(later, index)
                for later, one in enumerate(self.terms.rules)
            )
        )

    def _below(self, index: int, above: int) -> bool:
        while index > above:
            index = self.terms.rules[index].exception_to
        return index == above

    def _may_hold(self, rule: Rule) -> bool:
        """For somebody there, in some role, at some place, some day?"""
        if rule.until_ms <= self.now_ms:
            return False
        if rule.actors and not any(self._of_house(code) for code in rule.actors):
            return False
        words = with_broader(self.word) if rule.effect is Effect.DENY else (self.word,)
        return not rule.purposes or any(word in rule.purposes for word in words)

    def _of_house(self, code: Code) -> bool:
        staff = code.system == STAFF and self.employers.get(code.code) == self.org
        return staff or code == self.whole

    def _names_whole(self, rule: Rule) -> bool:
        """Does it speak of everybody there, wherever he is?"""
        return not (rule.roles or rule.sites) and (not rule.actors or self.whole in rule.actors)


def _coarse(classes: Collection[Code]) -> tuple[frozenset[RecordClass], bool]:
    """The coarse classes of some classes, and whether these are just all types of them."""
    if not classes:
        return _ALL, True
    if any(code.system != RESOURCE_TYPES for code in classes):
        return _ALL, False  # an Observation may well be a discharge letter
    found = frozenset(CLASS_OF.get(code.code, RecordClass.OTHER) for code in classes)
    if RecordClass.OTHER in found:
        return found, False
    whole = types_of(tuple(sorted(one.value for one in found)))
    return found, set(whole) == {code.code for code in classes}
