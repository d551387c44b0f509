"""A small world of consents: three people, four purposes, some data, and what is plainly meant.

`permitted` says by brute force, record by record, what a consent permits. It follows
docs/consent.md and shares nothing with salus/consent/decide.py.
"""

from collections.abc import Sequence
from itertools import chain, combinations
from random import Random

from hypothesis import strategies as st

from salus.consent.decide import Consent, Standing
from salus.consent.decision import Decision, Redact, Verdict
from salus.consent.request import Request
from salus.consent.terms import (
    DEPTH_MAX,
    FOR_EVER_MS,
    Code,
    Effect,
    Rule,
    Terms,
    ascending,
    check_terms,
    data_conditions,
)
from salus.consent.vocabulary import RESOURCE_TYPES

NOW = 1_700_000_000_000
CATEGORY = Code("urn:test:category", "privacy")
RESEARCH = Code("urn:test:category", "research")
ACTORS = tuple(Code("urn:test:actor", name) for name in ("clinic", "ann", "bob"))
ROLES = tuple(Code("urn:test:role", name) for name in ("nurse", "surgeon"))
SITES = tuple(Code("urn:test:site", name) for name in ("north", "south"))
PURPOSES = ("ETREAT", "HMARKT", "HRESCH", "TREAT")
TYPES = tuple(Code(RESOURCE_TYPES, name) for name in ("Condition", "Observation"))
LETTERS = (Code("urn:test:letter", "discharge"), Code("urn:test:letter", "referral"))
LABELS = (Code("urn:test:label", "HIV"), Code("urn:test:label", "R"))
FINDINGS = (Code("urn:test:code", "glucose"),)

# A record is what it carries: one resource type, and any of the others.
RECORDS = tuple(
    frozenset((kind, *others))
    for kind in TYPES
    for others in chain.from_iterable(
        combinations((*LETTERS, *LABELS, *FINDINGS), size) for size in range(6)
    )
)

ASK = Request(categories=(CATEGORY,), purpose="TREAT", actors=(ACTORS[0],))
PERMIT_ALL = Rule(effect=Effect.PERMIT)
DENY_ALL = Rule(effect=Effect.DENY)


def terms_of(root: Rule, *exceptions: Rule) -> Terms:
    terms = Terms(categories=(CATEGORY,), rules=(root, *exceptions))
    check_terms(terms)
    return terms


def consent_of(root: Rule, *exceptions: Rule, name: str = "c", at: int = 0) -> Consent:
    return Consent(name, terms_of(root, *exceptions), earliest=at, latest=at)


# -- what is plainly meant -------------------------------------------------------------------


def permitted(terms: Terms, request: Request, record: frozenset[Code]) -> bool:
    """Of a consent that concerns the request, for one record that is asked for."""
    below: list[list[int]] = [[] for _ in terms.rules]
    for index, rule in enumerate(terms.rules[1:], 1):
        below[rule.exception_to].append(index)

    def applies(rule: Rule) -> bool:
        return request_fits(rule, request) and data_fits(rule, record)

    def permits(index: int) -> bool:
        speaking = [permits(each) for each in below[index] if applies(terms.rules[each])]
        if speaking:
            return all(speaking)  # tie = deny
        return terms.rules[index].effect is Effect.PERMIT

    return data_fits(terms.root, record) and permits(0)


def data_fits(rule: Rule, record: frozenset[Code]) -> bool:
    return all(record & set(codes) for codes in data_conditions(rule))


def request_fits(rule: Rule, request: Request) -> bool:
    deny = rule.effect is Effect.DENY
    purposes = {request.purpose}
    if deny and request.purpose == "ETREAT":
        purposes.add("TREAT")
    return (
        rule.from_ms <= NOW < rule.until_ms
        and (not rule.actors or bool(set(rule.actors) & set(request.actors)))
        and (not rule.roles or bool(set(rule.roles) & set(request.roles)))
        and (not rule.purposes or bool(set(rule.purposes) & purposes))
        and (
            not rule.sites
            or bool(set(rule.sites) & set(request.sites))
            or (deny and not request.sites)
        )
    )


def asked_for(request: Request, record: frozenset[Code]) -> bool:
    return not request.classes or bool(record & set(request.classes))


def shown(decision: Decision, request: Request) -> set[frozenset[Code]]:
    """The records that a decision lets through."""
    if decision.verdict is not Verdict.PERMIT:
        return set()
    return {
        record
        for record in RECORDS
        if asked_for(request, record)
        and all(
            bool(record & set(obligation.codes)) is (obligation.redact is Redact.LACKING)
            for obligation in decision.obligations
        )
    }


# -- everything that can be said in it -------------------------------------------------------
# Each thing follows from one drawn number: hypothesis needs a tenth of a second for what it draws
# piece by piece.


def some(random: Random, codes: Sequence[Code], often: float = 0.5) -> tuple[Code, ...]:
    """Often no condition at all, or few would ever hold."""
    if random.random() >= often:
        return ()
    return ascending(random.sample(codes, random.randint(1, len(codes))))


def a_rule(random: Random, above: int, kinds: int) -> Rule:
    """With at most so many kinds of conditions on data."""
    data = {"classes": TYPES + LETTERS, "labels": LABELS, "codes": FINDINGS}
    chosen = random.sample(sorted(data), random.randint(0, kinds))
    spans = [(0, NOW + 1), (NOW, FOR_EVER_MS), (0, NOW), (NOW + 1, NOW + 2)]
    start, end = random.choice([(0, FOR_EVER_MS)] * 8 + spans)
    purposes = random.sample(PURPOSES, random.randint(1, 4)) if random.random() < 0.3 else ()
    return Rule(
        exception_to=above,
        effect=random.choice(list(Effect)),
        from_ms=start,
        until_ms=end,
        actors=some(random, ACTORS, 0.4),
        roles=some(random, ROLES, 0.15),
        sites=some(random, SITES, 0.15),
        purposes=tuple(sorted(purposes)),
        **{kind: some(random, data[kind], 0.9) for kind in chosen},
    )


def an_exception(random: Random, found: Sequence[Rule]) -> Rule:
    """One more that may stand at the end of these."""
    depths, limited = [0], [False]
    for rule in found[1:]:
        depths.append(depths[rule.exception_to] + 1)
        limited.append(bool(data_conditions(rule)) or limited[rule.exception_to])
    above = random.choice([i for i, depth in enumerate(depths) if depth < DEPTH_MAX - 1])
    return a_rule(random, above, 0 if limited[above] else 1)


def some_terms(random: Random) -> Terms:
    found = [a_rule(random, 0, random.choice((0, 0, 3)))]
    for _ in range(random.randint(0, 7)):
        found.append(an_exception(random, found))
    categories = random.choice([(CATEGORY,)] * 8 + [(RESEARCH,), (CATEGORY, RESEARCH)])
    made = Terms(categories=categories, rules=tuple(found))
    check_terms(made)
    return made


def a_request(random: Random) -> Request:
    return Request(
        categories=(CATEGORY,),
        purpose=random.choice(PURPOSES),
        actors=some(random, ACTORS, 1),
        roles=some(random, ROLES),
        sites=some(random, SITES),
        classes=some(random, TYPES + LETTERS),
    )


def some_consents(random: Random) -> list[Consent]:
    found = []
    for number in range(random.randint(1, 4)):
        earliest = random.randint(0, 3)
        standing = random.choice([*Standing, *[Standing.ACTIVE] * 6])
        latest = earliest + random.choice([0, 0, 0, 1])
        found.append(Consent(f"c{number}", some_terms(random), standing, earliest, latest))
    return found


numbers = st.integers(0, 2**63)
terms = numbers.map(lambda number: some_terms(Random(number)))
requests = numbers.map(lambda number: a_request(Random(number)))
consents = numbers.map(lambda number: some_consents(Random(number)))
