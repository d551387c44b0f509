"""Terms, request and time → decision: the one function that gate, patient page and auditor use.

Order (health.md §4.2): active, period, category, root purpose; then exceptions by actor, purpose
and class. The consent committed last decides, and revoking it revives no older one; default deny,
tie = deny. docs/consent.md says why each rule is as it is. Total, without recursion; its work is
bounded by the bounds of terms and request.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import msgspec

from salus.codec import UINT_MAX
from salus.consent.decision import Decision, Obligation, Reason, Redact, Verdict
from salus.consent.request import Request
from salus.consent.terms import Code, Effect, Rule, Terms, ascending, data_conditions
from salus.consent.vocabulary import RESOURCE_TYPES, with_broader


class Standing(StrEnum):
    ACTIVE = "active"
    ENDED = "ended"  # revoked or replaced: it decides, but permits nothing any more
    VOID = "void"  # draft, rejected, entered in error: it never was one


class Consent(msgspec.Struct, frozen=True, gc=False):
    """Terms with their place in time. On the chain the place is one number; a FHIR dateTime may be
    a whole year, and then it was committed somewhere from `earliest` to `latest`."""

    name: str  # `ConsentName`
    terms: Terms
    standing: Standing = Standing.ACTIVE
    earliest: int = 0
    latest: int = UINT_MAX


@dataclass(slots=True)
class _Limits:
    """What a rule with its exceptions leaves of the data that it speaks of."""

    met: bool = False  # an exception speaks of all of it: the rule's own effect says nothing
    denied: bool = False  # such an exception denies
    redact: set[Code] = field(default_factory=set)
    keep: list[frozenset[Code]] = field(default_factory=list)
    permitted: set[Code] = field(default_factory=set)  # by exceptions that speak of a part

    def resolve(self, rule: Rule) -> bool:
        """Is anything permitted at all?"""
        if self.denied:
            return False
        if self.met or rule.effect is Effect.PERMIT:
            return True
        if self.permitted:
            self.keep.append(frozenset(self.permitted))
        return bool(self.permitted)


class _Reach(StrEnum):
    NOTHING = "nothing"
    PART = "part"
    ALL = "all"


# By their own names: finding one in its enumeration costs three times as much, and each decision asks
# this of every consent.
_NOTHING, _PART, _ALL = _Reach
_ONLY_TYPES = frozenset((RESOURCE_TYPES,))
_ORDER = {reason: place for place, reason in enumerate(Reason)}
_STRICT = {Verdict.PERMIT: 0, Verdict.NONE: 1, Verdict.DENY: 2}


def decide(consents: Sequence[Consent], request: Request, at_ms: int) -> Decision:
    """`consents`: those of one patient, in any order; `at_ms`: Unix milliseconds.

    A consent that concerns the request competes however it ended: so revoking widens nothing.
    """
    concerned = []
    nearest = Reason.NO_CONSENT
    for consent in consents:
        miss = _miss(consent, request, at_ms)
        if miss is None:
            concerned.append(consent)
        elif _ORDER[miss] > _ORDER[nearest]:
            nearest = miss
    if not concerned:
        return Decision(Verdict.NONE, nearest)
    # Whoever may have been committed last speaks; of several the strictest counts.
    newest = max([consent.earliest for consent in concerned])
    spoken = [(_decide_one(c, request, at_ms), c) for c in concerned if c.latest >= newest]
    heard = spoken if len(spoken) == 1 else _strictest(spoken)
    names = tuple(sorted({consent.name for _, consent in heard}))
    verdict = heard[0][0].verdict
    if verdict is not Verdict.PERMIT:
        reason = max((said.reason for said, _ in heard), key=_ORDER.__getitem__)
        return Decision(verdict, reason, (), names)
    obligations = _joined(request, [said for said, _ in heard])
    if obligations is None:
        return Decision(Verdict.DENY, Reason.NOTHING_LEFT, (), names)
    reason = Reason.PERMITTED_IN_PART if obligations else Reason.PERMITTED
    return Decision(verdict, reason, obligations, names)


def _miss(consent: Consent, request: Request, at_ms: int) -> Reason | None:
    """Why the consent does not concern the request; None if it does."""
    terms = consent.terms
    root = terms.root
    if consent.standing is Standing.VOID:
        return Reason.NOT_ACTIVE
    if terms.category_set.isdisjoint(request.category_set):
        return Reason.OTHER_CATEGORY
    if not _purpose_holds(root, request):
        return Reason.OTHER_PURPOSE
    if root.actors and root.actor_set.isdisjoint(request.actor_set):
        return Reason.OTHER_ACTOR
    if root.roles and not _meet(root.roles, request.roles):
        return Reason.OTHER_ROLE
    if not _site_holds(root, request):
        return Reason.OTHER_SITE
    if root.classes and _reach(root, request) is _NOTHING:
        return Reason.OTHER_CLASS
    # What is agreed today for next month leaves today's consent in force.
    return Reason.NOT_BEGUN if at_ms < root.from_ms else None


class _Said(NamedTuple):
    verdict: Verdict
    reason: Reason
    redact: frozenset[Code] = frozenset()
    keep: tuple[frozenset[Code], ...] = ()


def _decide_one(consent: Consent, request: Request, at_ms: int) -> _Said:
    root = consent.terms.root
    if consent.standing is Standing.ENDED:
        return _Said(Verdict.NONE, Reason.REVOKED)
    if at_ms >= root.until_ms:
        return _Said(Verdict.NONE, Reason.EXPIRED)
    limits = _limits(consent.terms, request, at_ms)
    if limits is None:
        reason = Reason.EXCEPTED if root.effect is Effect.PERMIT else Reason.DENIED
        return _Said(Verdict.DENY, reason)
    return _Said(Verdict.PERMIT, Reason.PERMITTED, frozenset(limits.redact), tuple(limits.keep))


def _strictest(spoken: list[tuple[_Said, Consent]]) -> list[tuple[_Said, Consent]]:
    strictest = max(_STRICT[said.verdict] for said, _ in spoken)
    return [(said, consent) for said, consent in spoken if _STRICT[said.verdict] == strictest]


def _limits(terms: Terms, request: Request, at_ms: int) -> _Limits | None:
    """None: nothing is permitted. Rules stand after those that they except, so from the end each
    exception is settled before the rule above it."""
    rules = terms.rules
    reaches = [_ALL]
    for rule in rules[1:]:
        holds = reaches[rule.exception_to] is not _NOTHING and _holds(rule, request, at_ms)
        reaches.append(_reach_of(rule, request) if holds else _NOTHING)
    limits = [_Limits() for _ in rules]
    for index in range(len(rules) - 1, 0, -1):
        if reaches[index] is _NOTHING:
            continue
        rule, own, above = rules[index], limits[index], limits[rules[index].exception_to]
        permits = own.resolve(rule)
        if reaches[index] is _PART:
            (codes,) = data_conditions(rule)
            (above.permitted if permits else above.redact).update(codes)
        else:
            above.met = True
            if permits:
                above.redact |= own.redact
                above.keep += own.keep
            else:
                above.denied = True
    if not limits[0].resolve(rules[0]):
        return None
    if _reach(rules[0], request) is _PART:
        limits[0].keep.append(rules[0].class_set)
    limits[0].keep += [frozenset(codes) for codes in (rules[0].labels, rules[0].codes) if codes]
    return limits[0]


def _holds(rule: Rule, request: Request, at_ms: int) -> bool:
    """Do the conditions hold that speak of the request and not of the data?"""
    return (
        rule.from_ms <= at_ms < rule.until_ms
        and (not rule.actors or not rule.actor_set.isdisjoint(request.actor_set))
        and (not rule.roles or _meet(rule.roles, request.roles))
        and _site_holds(rule, request)
        and _purpose_holds(rule, request)
    )


def _purpose_holds(rule: Rule, request: Request) -> bool:
    """Who denies treatment denies emergency treatment; who permits the one has not said the other."""
    if not rule.purposes or request.purpose in rule.purposes:
        return True
    if rule.effect is Effect.PERMIT:
        return False
    return any(purpose in rule.purposes for purpose in with_broader(request.purpose))


def _site_holds(rule: Rule, request: Request) -> bool:
    """Who does not say where he is cannot escape a denial by place."""
    if not rule.sites or _meet(rule.sites, request.sites):
        return True
    return not request.sites and rule.effect is Effect.DENY


def _reach_of(rule: Rule, request: Request) -> _Reach:
    if rule.labels or rule.codes:
        return _PART  # what carries them is known only where the data is
    return _reach(rule, request)


def _reach(rule: Rule, request: Request) -> _Reach:
    """How much of what is asked for a rule's condition on classes speaks of.

    Only resource types exclude each other: an Observation may well be a discharge letter too.
    """
    if not rule.classes:
        return _ALL
    named, asked = rule.class_set, request.class_set
    if not asked:
        return _PART
    if asked <= named:
        return _ALL
    if not asked.isdisjoint(named):
        return _PART
    return _NOTHING if rule.class_systems == request.class_systems == _ONLY_TYPES else _PART


def _meet(these: tuple[Code, ...], those: tuple[Code, ...]) -> bool:
    for code in those:  # a generator would cost more than the rest of most decisions
        if code in these:
            return True
    return False


def _joined(request: Request, said: Sequence[_Said]) -> tuple[Obligation, ...] | None:
    """The obligations of all; None when nothing that was asked for could pass them."""
    redact = frozenset().union(*(one.redact for one in said))
    keeps = {clause - redact for one in said for clause in one.keep}
    if frozenset() in keeps:
        return None
    if request.classes and all(code in redact for code in request.classes):
        return None
    obligations = [Obligation(Redact.CARRYING, ascending(redact))] if redact else []
    obligations += [Obligation(Redact.LACKING, ascending(clause)) for clause in keeps]
    return tuple(sorted(obligations, key=_place))


def _place(obligation: Obligation) -> tuple[str, list[tuple[str, str]]]:
    return obligation.redact, [(code.system, code.code) for code in obligation.codes]
