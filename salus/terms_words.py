"""The terms of a permit as a form for people and apps: what the patient's page and `consent list` show."""

from datetime import UTC, datetime, timedelta

from salus.consent.terms import FOR_EVER_MS, Code, Rule, Terms
from salus.consent.vocabulary import RESOURCE_TYPES
from salus.forms_me import RuleForm
from salus.granting import ORGANISATION, STAFF
from salus.relation import DAY_MAX, DAY_MS

_LAST_MS = (DAY_MAX + 1) * DAY_MS - 1  # of the year 9999, which FHIR has for «for ever»
_PLAIN = (ORGANISATION, STAFF, RESOURCE_TYPES)  # systems that go without saying


def rules(terms: Terms) -> tuple[RuleForm, ...]:
    return tuple(_rule(rule) for rule in terms.rules)


def _rule(rule: Rule) -> RuleForm:
    return RuleForm(
        effect=rule.effect.value,
        exception_to=rule.exception_to,
        begins=_time(rule.from_ms) if rule.from_ms else None,
        ends=_time(rule.until_ms) if rule.until_ms != FOR_EVER_MS else None,
        actors=_texts(rule.actors),
        roles=_texts(rule.roles),
        sites=_texts(rule.sites),
        purposes=rule.purposes,
        classes=_texts(rule.classes),
        labels=_texts(rule.labels),
        codes=_texts(rule.codes),
    )


def _texts(codes: tuple[Code, ...]) -> tuple[str, ...]:
    return tuple(
        one.code if one.system in _PLAIN else f"{one.code} ({one.system})" for one in codes
    )


def _time(time_ms: int) -> str:
    """The year 10000 and what comes later as the last moment that can be written."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=min(time_ms, _LAST_MS))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
