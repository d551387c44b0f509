"""Resources out of several documents, each once, and what refers to what.

Law of the file: a reference is looked up in its own document first, for two hospitals may give one
id to two things. Nothing is repaired: a resource goes out as it came, but for its references.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from salus.consent.redact import read_json
from salus.errors import BadMessage

RESOURCES_MAX = 100_000  # in one view: ten times the longest history of the public samples

_UUID_BYTES = 16
_NOT_CONTENT = ("meta", "text")  # of the exchange and of the reader, not of what is said


@dataclass(frozen=True, slots=True)
class Source:
    """Where a document was read from: enough to find it on the chain."""

    custodian: str
    record_id: str
    version: int
    commitment: str  # hex
    height: int | None  # at which it is anchored


@dataclass(slots=True)
class Held:
    """A resource and the documents that hold it."""

    content: dict[str, Any]
    url: str  # urn:uuid of its content
    document: int  # in which its references are looked up
    sources: list[Source] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.content["resourceType"])


class JoinedView:
    """The resources of a patient out of several documents, in the order of their arrival."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}  # by url
        self._latest: dict[tuple[str, str, str], str] = {}  # type, system, value → url
        self._names: list[dict[str, str]] = []  # per document: fullUrl or Type/id → url
        self._replaced: dict[str, str] = {}  # an older state of a thing → the newer one

    def add(self, document: bytes, source: Source) -> int:
        """Take in a resource, a Bundle or NDJSON; how many resources were new. Documents of one
        thing come oldest first: the later state of what has the same identifier stays.

        Raises `BadMessage` (BAD_DOCUMENT)."""
        number, added = len(self._names), 0
        names: dict[str, str] = {}
        self._names.append(names)
        for full_url, content in _resources(document):
            url = _url(content)
            for name in _own_names(full_url, content):
                names.setdefault(name, url)
            held = self._held.get(url)
            if held is None:
                if len(self._held) >= RESOURCES_MAX:
                    raise BadMessage(
                        f"a view has at most {RESOURCES_MAX} resources", code="TOO_LARGE"
                    )
                held = self._held[url] = Held(content, url, number)
                self._supersede(held)
                added += 1
            if source not in held.sources:
                held.sources.append(source)
        return added

    def of_kinds(self, *kinds: str) -> Iterator[Held]:
        for held in self._held.values():
            if held.kind in kinds and held.url not in self._replaced:
                yield held

    def all(self) -> Iterator[Held]:
        for held in self._held.values():
            if held.url not in self._replaced:
                yield held

    def target(self, held: Held, reference: str) -> Held | None:
        """What a reference of this resource leads to; None for what is not in the view."""
        for names in (self._names[held.document], *self._names):
            url = names.get(reference) or names.get("/".join(reference.split("/")[-2:]))
            if url is not None:
                while url in self._replaced:
                    url = self._replaced[url]
                return self._held[url]
        return None

    def _supersede(self, held: Held) -> None:
        for key in _identifiers(held.content):
            before = self._latest.get(key)
            if before is not None and before != held.url and before not in self._replaced:
                self._replaced[before] = held.url
            self._latest[key] = held.url


def references(content: Any) -> Iterator[dict[str, Any]]:
    """The Reference objects in a resource, those of what it contains too."""
    waiting: list[Any] = [content]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, dict):
            if isinstance(inner.get("reference"), str):
                yield inner
            waiting.extend(inner.values())
        elif isinstance(inner, list):
            waiting.extend(inner)


def _resources(document: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """(fullUrl or "", resource) of all entries."""
    content = read_json(document)
    if content is None:
        lines = [line for line in document.splitlines() if line.strip()]
        contents = [read_json(line) for line in lines]
        if not contents or not all(_is_resource(one) for one in contents):
            raise BadMessage("only FHIR R4 in JSON can be joined", code="BAD_DOCUMENT")
        yield from (("", one) for one in contents)
    elif not _is_resource(content):
        raise BadMessage("only FHIR R4 in JSON can be joined", code="BAD_DOCUMENT")
    elif content["resourceType"] != "Bundle":
        yield "", content
    else:
        entries = content.get("entry", [])
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and _is_resource(entry.get("resource")):
                yield str(entry.get("fullUrl", "")), entry["resource"]


def _is_resource(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("resourceType"), str)


def _own_names(full_url: str, content: dict[str, Any]) -> Iterable[str]:
    if full_url:
        yield full_url
    if isinstance(content.get("id"), str):
        yield f"{content['resourceType']}/{content['id']}"


def _identifiers(content: dict[str, Any]) -> Sequence[tuple[str, str, str]]:
    """Business identifiers: the same one in two documents is one thing."""
    values = content.get("identifier", [])
    values = values if isinstance(values, list) else [values]
    return [
        (str(content["resourceType"]), one["system"], one["value"])
        for one in values
        if isinstance(one, dict)
        and isinstance(one.get("system"), str)
        and isinstance(one.get("value"), str)
    ]


def _url(content: dict[str, Any]) -> str:
    """A name made of what the resource says (RFC 9562, version 8): the same everywhere."""
    said = {name: value for name, value in content.items() if name not in _NOT_CONTENT}
    plain = json.dumps(said, sort_keys=True, default=_text)
    digest = bytearray(sha256(plain.encode()).digest()[:_UUID_BYTES])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest)).urn


def _text(value: Any) -> str:
    return bytes(value).decode()  # a number, with the letters that it came with
