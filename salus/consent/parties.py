"""Whom a reference in a Consent means: Organizations, Practitioners and the like, by identifier."""

from collections.abc import Sequence
from typing import Any

from salus.consent import fhir_forms as forms
from salus.consent.actor_map import Actor
from salus.consent.terms import Code
from salus.errors import BadMessage

PARTIES_MAX = 256  # as many as 64 Consents of four actors each


class Parties:
    """The resources that were given; each is known by «Type/id».

    One without an id stands for the one reference of its type that no other resource answers.
    """

    def __init__(self, resources: Sequence[bytes], references: Sequence[forms.Reference]) -> None:
        if len(resources) > PARTIES_MAX:
            raise BadMessage(f"at most {PARTIES_MAX} parties at once", code="TOO_LARGE")
        self.notes: list[str] = []
        self._known: dict[str, list[Code]] = {}
        self._kinds: dict[str, str] = {}  # of those that a Consent contains, by «#id»
        nameless: dict[str, list[forms.Party]] = {}
        for number, data in enumerate(resources, 1):
            with forms.placed(f"party {number}"):
                party = _party(forms.read_json(data, "BAD_PARTY"))
            if party.id is None:
                nameless.setdefault(party.resource_type, []).append(party)
                continue
            named = f"{party.resource_type}/{party.id}"
            if named in self._known:
                raise BadMessage("two parties have the same type and id", code="BAD_PARTY")
            self._known[named] = _identifiers(party)
        self._adopt(nameless, {name for ref in references if (name := _name(ref))})

    def _adopt(self, nameless: dict[str, list[forms.Party]], named: set[str]) -> None:
        for kind, parties in sorted(nameless.items()):
            open_names = [
                name
                for name in sorted(named)
                if name.startswith(f"{kind}/") and name not in self._known
            ]
            if len(parties) == len(open_names) == 1:
                self._known[open_names[0]] = _identifiers(parties[0])
                self.notes.append(f"the one {kind} without an id is taken for the one named")

    def within(self, contained: Sequence[dict[str, Any]]) -> "Parties":
        """With those that one Consent contains; they are known by «#id»."""
        inner = Parties((), ())
        inner.notes = list(self.notes)
        inner._known = dict(self._known)
        for document in contained:
            party = _party(document)
            if party.id is not None:
                inner._known[f"#{party.id}"] = _identifiers(party)
                inner._kinds[f"#{party.id}"] = party.resource_type
        return inner

    def actor(self, reference: forms.Reference) -> Actor:
        """Whom it means, as far as it is said: for whoever maps actors to members."""
        name = _name(reference)
        found = list(self._known.get(name or "", ()))
        if reference.identifier is not None:
            own = forms.code_of(reference.identifier.system, reference.identifier.value)
            found += () if own is None else (own,)
        kind = self._kinds.get(name or "") or reference.type
        if kind is None and name is not None and "/" in name:
            kind = name.split("/", 1)[0]
        return Actor(name, kind, tuple(dict.fromkeys(found)))

    def identities(self, reference: forms.Reference, where: str) -> list[Code]:
        """All identifiers of the party; raises `BadMessage` (UNRESOLVED_ACTOR) if there is none:
        a denial of somebody unknown would deny nobody."""
        found = self.actor(reference).identifiers
        if not found:
            raise BadMessage(
                f"{where}.reference: no resource with an identifier was given for it",
                code="UNRESOLVED_ACTOR",
            )
        return list(found)


def _party(document: Any) -> forms.Party:
    return forms.read_form(document, forms.Party, "BAD_PARTY")


def _identifiers(party: forms.Party) -> list[Code]:
    codes = (forms.code_of(each.system, each.value) for each in party.identifier)
    return [code for code in codes if code is not None]


def _name(reference: forms.Reference) -> str | None:
    """«Type/id» or «#id», without a version; absolute addresses name resources of others."""
    name = reference.reference
    if name is None or "://" in name or name.startswith("urn:"):
        return None
    return name.split("/_history/", 1)[0]
