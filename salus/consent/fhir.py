"""FHIR R4 Consents, and the parties that they refer to → consents that can be decided.

Law of the file: what the terms cannot express is refused, or read more narrowly and said so in
`notes`; never more widely (docs/consent.md has the list). Errors name places, never what stands
there.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from salus.codec import UINT_MAX
from salus.consent import fhir_forms as forms
from salus.consent.actor_map import ActorMap
from salus.consent.decide import Consent, Standing
from salus.consent.instant import Span, parse_span
from salus.consent.parties import Parties
from salus.consent.terms import (
    FOR_EVER_MS,
    RULES_MAX,
    Code,
    Codes,
    Effect,
    Rule,
    Terms,
    ascending,
    encode_terms,
)
from salus.consent.vocabulary import ACT_REASON, CONDITION_URL, same_system
from salus.errors import BadMessage

CONSENTS_MAX = 64  # of one patient at once, as in a docket on the chain

_CONSENT_ACTION = "http://terminology.hl7.org/CodeSystem/consentaction"
_READING = frozenset(("access", "use", "disclose"))
_NOT_READING = frozenset(("collect", "correct"))
# Who gets the data. Other roles speak of its author, custodian or subject.
_RECIPIENTS = frozenset(("IRCP", "PRCP", "GRANTEE"))

_STANDINGS = {
    "active": Standing.ACTIVE,
    "inactive": Standing.ENDED,
    "draft": Standing.VOID,
    "proposed": Standing.VOID,
    "rejected": Standing.VOID,
    "entered-in-error": Standing.VOID,
}
_NAME = re.compile(r"[A-Za-z0-9.-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Imported:
    consent: Consent
    notes: tuple[str, ...]  # where it was read more narrowly than it says
    named: bool = True  # by an id or identifier, and not by its place in the list


def import_consents(
    consents: Sequence[bytes], parties: Sequence[bytes], actors: ActorMap | None = None
) -> list[Imported]:
    """Consents of one patient, and the Organizations, Practitioners … that they name. `actors`: whom
    they are in a consortium; without it they are known by their identifiers alone.

    Raises `BadMessage`: BAD_CONSENT, CONSENT_UNSUPPORTED, UNRESOLVED_ACTOR, BAD_PARTY, TOO_LARGE; with
    a map UNMAPPED_ACTOR, BAD_MAP.
    """
    if len(consents) > CONSENTS_MAX:
        raise BadMessage(f"at most {CONSENTS_MAX} Consents at once", code="TOO_LARGE")
    read = []
    for number, data in enumerate(consents, 1):
        with forms.placed(f"Consent {number}"):
            read.append(_read(data))
    patients = {form.patient.reference for form in read if form.patient is not None}
    if len(patients) > 1:
        raise BadMessage("the Consents are of different patients", code="BAD_CONSENT")
    known = Parties(parties, [actor.reference for form in read for actor in _actors(form)])
    imported = []
    for number, form in enumerate(read, 1):
        with forms.placed(f"Consent {number}"):
            imported.append(_Import(form, known, number, actors).done())
    return imported


def _read(data: bytes) -> forms.Consent:
    document = forms.read_json(data, "BAD_CONSENT")
    form = forms.read_form(document, forms.Consent, "BAD_CONSENT")
    if form.resource_type != "Consent":
        raise BadMessage("the resource is no Consent", code="BAD_CONSENT")
    if form.modifier_extension or form.implicit_rules:
        raise _unsupported("Consent", "modifierExtension and implicitRules change what it means")
    if form.status not in _STANDINGS:
        raise BadMessage("status: no status of a Consent in R4", code="BAD_CONSENT")
    return form


def _actors(form: forms.Consent) -> Iterator[forms.Actor]:
    waiting = [] if form.provision is None else [form.provision]
    while waiting:
        provision = waiting.pop()
        yield from provision.actor
        waiting += provision.provision


class _Import:
    """One Consent on its way to terms."""

    def __init__(
        self, form: forms.Consent, parties: Parties, number: int, actors: ActorMap | None
    ) -> None:
        self.form, self.parties, self.number = form, parties.within(form.contained), number
        self.actors = actors
        self.notes: list[str] = []
        self.rules: list[Rule] = []

    def done(self) -> Imported:
        form = self.form
        concepts = (*form.category, *(() if form.scope is None else (form.scope,)))
        categories = [code for concept in concepts for code in _plain_codes(concept.coding)]
        if not categories:
            raise BadMessage("category, scope: no code", code="BAD_CONSENT")
        self._rules()
        terms = Terms(categories=ascending(categories), rules=tuple(self.rules))
        try:
            encode_terms(terms)
        except BadMessage as error:
            raise _unsupported("Consent", error.message) from None
        span = Span(0, UINT_MAX) if form.date_time is None else _span(form.date_time, "dateTime")
        if form.date_time is None:
            self.notes.append("dateTime: missing, so it may be the newest of all")
        self.notes += self.parties.notes
        consent = Consent(
            self._name() or f"consent-{self.number}",
            terms,
            _STANDINGS[form.status],
            span.first_ms,
            span.end_ms - 1,
        )
        return Imported(consent, tuple(self.notes), self._name() is not None)

    def _name(self) -> str | None:
        """Its id, or its first identifier that can be one."""
        form = self.form
        candidates = [form.id, *(identifier.value for identifier in form.identifier)]
        for name in candidates:
            if isinstance(name, str) and _NAME.fullmatch(name):
                return name
        return None

    def _rules(self) -> None:
        """Breadth first: a rule stands after the one that it excepts."""
        root = self.form.provision or forms.Provision()
        effect = self._base(root)
        if not _speaks_of_reading(root, effect):
            raise _unsupported("provision.action", "it says nothing about reading")
        self._append(root, effect, 0, "provision")
        waiting = [(root, 0, "provision")]
        while waiting:
            above, index, where = waiting.pop(0)
            for place, inner in enumerate(above.provision):
                here = f"{where}.provision[{place}]"
                if inner.type not in ("permit", "deny"):
                    raise BadMessage(f"{here}.type: permit or deny", code="BAD_CONSENT")
                effect = Effect(inner.type)
                # What is permitted above stays permitted without this one; what it denies would not
                # stay denied.
                needed = self.rules[index].effect is effect is Effect.PERMIT and _has(
                    inner, Effect.DENY
                )
                if not _speaks_of_reading(inner, effect):
                    if needed and _speaks_of_reading(inner, Effect.DENY):
                        raise _unsupported(
                            here, "a denial within a permission that is not of access"
                        )
                    self.notes.append(f"{here}: left out, it says nothing about reading")
                    continue
                waiting.append((inner, len(self.rules), here))
                self._append(inner, effect, index, here, needed=needed)

    def _base(self, root: forms.Provision) -> Effect:
        """What holds without exceptions: permit only where it is said and nothing contradicts."""
        if root.type not in (None, "permit", "deny"):
            raise BadMessage("provision.type: permit or deny", code="BAD_CONSENT")
        rule = self.form.policy_rule
        policies = set() if rule is None else {coding.code for coding in rule.coding}
        if root.type is not None:
            if root.type == "permit" and "OPTOUT" in policies:
                self.notes.append("provision.type: permit under OPTOUT, read as deny")
                return Effect.DENY
            return Effect(root.type)
        if "OPTIN" not in policies or "OPTOUT" in policies:
            self.notes.append("provision.type: missing without OPTIN, read as deny")
            return Effect.DENY
        if any(inner.type == "permit" for inner in root.provision):
            self.notes.append("provision.type: missing, and exceptions permit; read as deny")
            return Effect.DENY
        return Effect.PERMIT

    def _append(
        self,
        form: forms.Provision,
        effect: Effect,
        above: int,
        where: str,
        *,
        needed: bool = False,
    ) -> None:
        """`needed`: more would be permitted if it held for nobody."""
        if len(self.rules) >= RULES_MAX:
            raise _unsupported(where, f"more than {RULES_MAX} provisions")
        if any(actor.modifier_extension for actor in form.actor):
            raise _unsupported(where, "modifierExtension changes what it means")
        conditions = _conditions(form.modifier_extension, where)
        if form.data or form.data_period is not None:
            raise _unsupported(where, "data and dataPeriod: single data cannot be named in terms")
        start, end = _period(form.period, where)
        classes = _codes(form.class_, f"{where}.class")
        labels = _codes(form.security_label, f"{where}.securityLabel")
        codes = _concepts(form.code, f"{where}.code")
        if self.rules and sum(map(bool, (classes, labels, codes))) > 1:
            if effect is Effect.PERMIT:
                raise _unsupported(where, "a permission has one of class, securityLabel, code")
            if _has(form, Effect.PERMIT):
                raise _unsupported(
                    where, "of class, securityLabel and code one, where it is excepted from"
                )
            # Each alone denies at least what all together deny.
            kept = "securityLabel" if labels else "code"
            self.notes.append(f"{where}: of class, securityLabel and code only {kept} is read")
            classes, codes = (), () if labels else codes
        self.rules.append(
            Rule(
                exception_to=above,
                effect=effect,
                from_ms=start,
                until_ms=end,
                actors=self._identities(form.actor, Effect.DENY if needed else effect, where),
                roles=conditions["roles"],
                sites=conditions["sites"],
                purposes=_purposes(form.purpose, where),
                classes=classes,
                labels=labels,
                codes=codes,
            )
        )

    def _identities(self, actors: Sequence[forms.Actor], effect: Effect, where: str) -> Codes:
        found: list[Code] = []
        for place, actor in enumerate(actors):
            here = f"{where}.actor[{place}]"
            roles = {coding.code for coding in actor.role.coding}
            if not roles & _RECIPIENTS:
                raise _unsupported(f"{here}.role", "only who receives (IRCP, PRCP) can be named")
            if self.actors is None:
                found += self.parties.identities(actor.reference, here)
                continue
            codes, note = self.actors.codes(self.parties.actor(actor.reference), effect, here)
            found += codes
            self.notes += () if note is None else (note,)
        return ascending(found)


def _conditions(extensions: Sequence[Any], where: str) -> dict[str, Codes]:
    """Roles and sites as our own export writes them; any other modifierExtension is refused."""
    found: dict[str, list[Code]] = {"roles": [], "sites": []}
    for each in extensions:
        code = None
        if isinstance(each, dict) and set(each) == {"url", "valueCoding"}:
            coding = forms.read_form(each["valueCoding"], forms.Coding, "BAD_CONSENT")
            code = forms.code_of(coding.system, coding.code)
        kind = str(each["url"]).removeprefix(CONDITION_URL) if code is not None else ""
        if code is None or each["url"] != f"{CONDITION_URL}{kind}" or kind not in found:
            raise _unsupported(where, "modifierExtension changes what it means")
        found[kind].append(code)
    return {kind: ascending(codes) for kind, codes in found.items()}


def _speaks_of_reading(form: forms.Provision, effect: Effect) -> bool:
    """A denial of one way of reading denies reading; a permission must say access."""
    codings = [coding for action in form.action for coding in action.coding]
    if not form.action:
        return True
    known = {coding.code for coding in codings if coding.system == _CONSENT_ACTION}
    if effect is Effect.PERMIT:
        return "access" in known
    foreign = len(codings) == 0 or any(coding.system != _CONSENT_ACTION for coding in codings)
    return foreign or bool(known & _READING) or not known <= _NOT_READING


def _has(form: forms.Provision, effect: Effect) -> bool:
    """Does anything within it permit, or deny?"""
    waiting = list(form.provision)
    while waiting:
        inner = waiting.pop()
        if inner.type == effect.value:
            return True
        waiting += inner.provision
    return False


def _period(period: forms.Period | None, where: str) -> tuple[int, int]:
    """Both ends are included, to the precision that they have; before 1970 it begins in 1970."""
    if period is None:
        return 0, FOR_EVER_MS
    start, end = 0, FOR_EVER_MS
    if period.start is not None:
        start = max(0, _span(period.start, f"{where}.period.start").first_ms)
    if period.end is not None:
        end = max(1, _span(period.end, f"{where}.period.end").end_ms)
    if start >= end:
        raise BadMessage(f"{where}.period: ends before it begins", code="BAD_CONSENT")
    return start, end


def _span(text: str, where: str) -> Span:
    try:
        return parse_span(text)
    except BadMessage:
        raise BadMessage(f"{where}: no dateTime of R4", code="BAD_CONSENT") from None


def _purposes(codings: Sequence[forms.Coding], where: str) -> tuple[str, ...]:
    found = set()
    for code in _codes(codings, f"{where}.purpose"):
        if same_system(code.system) != ACT_REASON:
            raise _unsupported(f"{where}.purpose", "only purposes of v3-ActReason are known")
        found.add(code.code)
    return tuple(sorted(found))


def _concepts(concepts: Sequence[forms.Concept], where: str) -> Codes:
    for place, concept in enumerate(concepts):
        if not concept.coding:
            raise _unsupported(f"{where}[{place}]", "text without a code")
    return _codes([coding for concept in concepts for coding in concept.coding], where)


def _codes(codings: Sequence[forms.Coding], where: str) -> Codes:
    """Every coding must be readable: leaving one out would change what the rule speaks of."""
    found = _plain_codes(codings)
    if len(found) != len(codings):
        raise _unsupported(where, "each coding has system and code, printable and without blanks")
    return ascending(found)


def _plain_codes(codings: Iterable[forms.Coding]) -> list[Code]:
    """Those that have a system and a code that terms can hold."""
    return [
        code
        for coding in codings
        if (code := forms.code_of(coding.system, coding.code)) is not None
    ]


def _unsupported(where: str, why: str) -> BadMessage:
    return BadMessage(f"{where}: {why}", code="CONSENT_UNSUPPORTED")
