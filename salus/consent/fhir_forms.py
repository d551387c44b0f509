"""The FHIR R4 resources that a decision reads, as they stand in JSON.

Law of the file: nothing is overlooked. A name that R4 does not know is refused, since a misspelt
restriction would be none; so is one that stands twice, and whatever changes the meaning of the
rest (`modifierExtension`, `implicitRules`). Errors name places, never what stands there.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType, field

from salus.consent.terms import Code
from salus.errors import BadMessage

RESOURCE_BYTES_MAX = 2**20  # a Consent with its narrative; a scanned form belongs into a document

F = TypeVar("F")


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of R4's elements: `extension` may be ignored, by R4's own word."""

    id: str | UnsetType = UNSET
    extension: tuple[Any, ...] = ()


class Coding(Form, frozen=True):
    system: str | None = None
    version: str | None = None
    code: str | None = None
    display: str | None = None
    user_selected: bool | None = field(name="userSelected", default=None)


class Concept(Form, frozen=True):
    coding: tuple[Coding, ...] = ()
    text: str | None = None


class Identifier(Form, frozen=True):
    use: str | None = None
    type: Any = None
    system: str | None = None
    value: str | None = None
    period: Any = None
    assigner: Any = None


class Reference(Form, frozen=True):
    reference: str | None = None
    type: str | None = None
    identifier: Identifier | None = None
    display: str | None = None


class Period(Form, frozen=True):
    start: str | None = None
    end: str | None = None


class Actor(Form, frozen=True, kw_only=True):
    role: Concept
    reference: Reference
    modifier_extension: tuple[Any, ...] = field(name="modifierExtension", default=())


class Provision(Form, frozen=True):
    modifier_extension: tuple[Any, ...] = field(name="modifierExtension", default=())
    type: str | None = None
    period: Period | None = None
    actor: tuple[Actor, ...] = ()
    action: tuple[Concept, ...] = ()
    security_label: tuple[Coding, ...] = field(name="securityLabel", default=())
    purpose: tuple[Coding, ...] = ()
    class_: tuple[Coding, ...] = field(name="class", default=())
    code: tuple[Concept, ...] = ()
    data_period: Any = field(name="dataPeriod", default=None)
    data: tuple[Any, ...] = ()
    provision: tuple["Provision", ...] = ()


class Consent(Form, frozen=True, kw_only=True):
    resource_type: str = field(name="resourceType")
    meta: Any = None
    implicit_rules: str | None = field(name="implicitRules", default=None)
    language: str | None = None
    text: Any = None
    contained: tuple[dict[str, Any], ...] = ()
    modifier_extension: tuple[Any, ...] = field(name="modifierExtension", default=())
    identifier: tuple[Identifier, ...] = ()
    status: str
    scope: Concept | None = None
    category: tuple[Concept, ...] = ()
    patient: Reference | None = None
    date_time: str | None = field(name="dateTime", default=None)
    performer: tuple[Any, ...] = ()
    organization: tuple[Any, ...] = ()
    source_attachment: Any = field(name="sourceAttachment", default=None)
    source_reference: Any = field(name="sourceReference", default=None)
    policy: tuple[Any, ...] = ()
    policy_rule: Concept | None = field(name="policyRule", default=None)
    verification: tuple[Any, ...] = ()
    provision: Provision | None = None


class Party(msgspec.Struct, frozen=True):
    """An Organization, Practitioner and the like: of it only the identifiers are read."""

    resource_type: str = field(name="resourceType")
    id: str | None = None
    identifier: tuple[Identifier, ...] = ()


def read_json(data: bytes, code: str) -> Any:
    """Strict JSON: UTF-8, each name once; raises `BadMessage` of this code."""
    if len(data) > RESOURCE_BYTES_MAX:
        raise BadMessage(f"more than {RESOURCE_BYTES_MAX} bytes", code="TOO_LARGE")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise BadMessage("a name stands twice in one object", code=code)
        return found

    def number(text: str) -> str:
        return text  # nothing that is read here is a number

    try:
        document = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=once,
            parse_int=number,
            parse_float=number,
            parse_constant=number,
        )
        msgspec.json.encode(document)  # half a surrogate pair is no text, and fails here
        return document
    except (ValueError, RecursionError):
        raise BadMessage("not JSON in UTF-8", code=code) from None


def read_form(document: Any, kind: type[F], code: str) -> F:
    """The struct that the document says; raises `BadMessage` of this code, naming the place."""
    try:
        return msgspec.convert(document, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise BadMessage(said.split("\n", 1)[0][:200], code=code) from None


def code_of(system: str | None, code: str | None) -> Code | None:
    """As terms hold it; None for what they cannot hold."""
    try:
        return msgspec.convert([system, code], Code)
    except msgspec.ValidationError:
        return None


@contextmanager
def placed(what: str) -> Iterator[None]:
    """What is refused inside says of which of several files it speaks."""
    try:
        yield
    except BadMessage as error:
        raise BadMessage(f"{what}: {error.message}", code=error.code) from None
