"""A finer cut: the document without what may not be shown, and without what would tell of it.

Withholding whole parts hides a Composition together with one of its entries. A derivative keeps it
and takes out the references and the prose. It is another document: nothing of it is proved by the
version's commitment, so each changed resource is marked as redacted, and whoever makes it signs it
(health.md §4.3). Numbers keep their letters; all else is FHIR JSON of the same meaning.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from salus.consent.carried import Carried, labels_of, of_codes, of_resource
from salus.consent.redact import TELLERS, Entry, Wanted, read_json, refers
from salus.consent.terms import Code
from salus.errors import BadMessage

REDACTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "REDACTED",
}

# What of an entry is still true in another document; the rest belongs to the exchange it came by.
_ENTRY_FIELDS = ("fullUrl", "resource", "search")
_FIRST_OF_DOCUMENT = {"document": "Composition", "message": "MessageHeader"}


def derive(document: bytes, wanted: Wanted, known: Sequence[Code] = ()) -> bytes | None:
    """`document`: one FHIR resource or Bundle in JSON; `known` as for `redact.withheld`.

    The very document if nothing had to go, None if nothing may stay. Raises `BadMessage`
    (BAD_DOCUMENT) for anything else: it has no elements that could go.
    """
    content = read_json(document)
    if not isinstance(content, dict) or not isinstance(content.get("resourceType"), str):
        raise _bad()
    if wanted.everything:
        return document
    outer = of_codes(known)
    if content["resourceType"] == "Bundle":
        outer.anywhere |= labels_of(content)
        kept, changed = _bundle(content, wanted, outer)
    else:
        kept = _stays(content, wanted, outer)
        changed = kept and _strip(content, wanted, outer)
    if not kept:
        return None
    try:
        return msgspec.json.encode(content) if changed else document
    except (ValueError, RecursionError):  # half a surrogate pair, or nested too deeply
        raise _bad() from None


def _bundle(bundle: dict[str, Any], wanted: Wanted, outer: Carried) -> tuple[bool, bool]:
    """(anything stays, anything has changed)."""
    values = bundle.get("entry", [])
    if not isinstance(values, list):
        raise _bad()
    entries = [Entry.of(value) for value in values]
    stays = [_stays(entry.resource, wanted, outer) for entry in entries]
    kept = [entry for entry, stay in zip(entries, stays, strict=True) if stay]
    gone = [entry for entry, stay in zip(entries, stays, strict=True) if not stay]
    secrets = [entry for entry in gone if entry.secret]
    names = frozenset(name for entry in secrets for name in entry.names)
    changed = bool(gone)
    for entry in kept:
        tells = bool(secrets) and entry.kind in TELLERS
        changed |= _strip(entry.resource, wanted, outer, names, tells=tells)
    if not changed:
        return bool(kept), False
    bundle["entry"] = [_entry(entry) for entry in kept]
    bundle.pop("total", None)
    bundle.pop("signature", None)
    first = kept[0].kind if kept else ""
    if _FIRST_OF_DOCUMENT.get(str(bundle.get("type")), first) != first:
        bundle["type"] = "collection"
    _mark(bundle)
    return bool(kept), True


def _entry(entry: Entry) -> dict[str, Any]:
    if entry.value is entry.resource:
        return {"resource": entry.resource}
    return {name: entry.value[name] for name in _ENTRY_FIELDS if name in entry.value}


def _stays(resource: Any, wanted: Wanted, outer: Carried, *, whole: bool = False) -> bool:
    """May it be shown, without what it contains? `whole`: with it, as what is contained itself: FHIR
    nests no deeper (dom-2), so nothing is taken out of it."""
    if not isinstance(resource, dict):
        return False
    out = () if whole else ("contained",)
    carried = of_resource({name: value for name, value in resource.items() if name not in out})
    carried.add_known(outer)
    return wanted.passes(carried)


def _strip(
    resource: dict[str, Any],
    wanted: Wanted,
    outer: Carried,
    names: frozenset[str] = frozenset(),
    *,
    tells: bool = False,
) -> bool:
    """Take out what it contains and may not be shown, and what tells of that or of `names`;
    `tells`: by its prose, whatever it refers to. True if it has changed."""
    contained = resource.get("contained", [])
    if not isinstance(contained, list):
        raise _bad()
    inside = Wanted(wanted.obligations)  # it is part of what was asked for
    around = Carried(outer.anywhere | labels_of(resource), outer.itself)
    stays = [_stays(inner, inside, around, whole=True) for inner in contained]
    kept = [inner for inner, stay in zip(contained, stays, strict=True) if stay]
    gone = [inner for inner, stay in zip(contained, stays, strict=True) if not stay]
    names |= {
        f"#{inner['id']}"
        for inner in gone
        if isinstance(inner, dict) and isinstance(inner.get("id"), str)
    }
    if gone:
        resource["contained"] = kept
        if not kept:
            del resource["contained"]
    told = _prune(resource, lambda inner: _refers(inner, names), sections=True)
    if not (gone or told or tells):
        return False
    _prune(resource, _is_narrative, sections=False)
    _mark(resource)
    return True


def _refers(inner: dict[str, Any], names: frozenset[str]) -> bool:
    reference = inner.get("reference")
    return isinstance(reference, str) and refers(reference, names)


def _is_narrative(inner: dict[str, Any]) -> bool:
    return "div" in inner


def _prune(root: dict[str, Any], drop: Callable[[dict[str, Any]], bool], *, sections: bool) -> bool:
    """Remove objects, and what is empty without them. `sections`: also what had entries and has
    none any more, for its title tells what they were."""
    places: list[tuple[Any, Any, Any]] = []  # container, name or index, what stands there
    waiting: list[Any] = [root]
    while waiting:
        container = waiting.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for place, inner in items:
            if isinstance(inner, dict | list):
                places.append((container, place, inner))
                waiting.append(inner)
    shrunk: dict[int, set[Any]] = {}  # of a container, which of its names went
    for container, place, inner in reversed(places):  # inner ones first, later indexes first
        went = shrunk.get(id(inner), set())
        hollow = bool(went) and (not inner or (sections and _without_entries(inner, went)))
        if hollow or (isinstance(inner, dict) and drop(inner)):
            del container[place]
            shrunk.setdefault(id(container), set()).add(place)
    return bool(shrunk)


def _without_entries(inner: Any, went: set[Any]) -> bool:
    """A section of a Composition, or an item of a List, without its content."""
    names = {"entry", "section", "item"}
    return isinstance(inner, dict) and bool(went & names) and not names & inner.keys()


def _mark(resource: dict[str, Any]) -> None:
    meta = resource.setdefault("meta", {})
    if not isinstance(meta, dict):
        raise _bad()
    labels = meta.setdefault("security", [])
    if not isinstance(labels, list):
        raise _bad()
    if REDACTED not in labels:
        labels.append(dict(REDACTED))


def _bad() -> BadMessage:
    return BadMessage(
        "only a FHIR resource or Bundle in JSON can be redacted by elements", code="BAD_DOCUMENT"
    )
