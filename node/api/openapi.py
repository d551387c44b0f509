"""OpenAPI 3.1 and docs/api.md, generated from the route table; nothing is written by hand."""

import re
from collections.abc import Iterable
from typing import Any, get_args, get_origin

import msgspec

from node.api.problems import MEDIA_TYPE
from node.api.route import JSON, Access, Route
from node.api.sessions import COOKIE
from salus.codes import lookup
from salus.forms import Problem

COMMON_ERRORS = ("BAD_ARGUMENT", "BAD_REQUEST", "FOREIGN_HOST", "RATE_LIMITED", "BUSY", "INTERNAL")
READ_ERRORS = ("HEIGHT_NOT_REACHED",)
_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.MEMBER: [{}, {"token": []}, {"session": []}],
    Access.PATIENT: [{"session": []}, {"token": []}],
}
_REF = "#/components/schemas/{name}"


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The OpenAPI document of a route table."""
    rows = list(routes)
    kinds = [kind for route in rows for kind in _structs(route)]
    schemas, components = msgspec.json.schema_components([*kinds, Problem], ref_template=_REF)
    by_kind = {_key(kind): schema for kind, schema in zip([*kinds, Problem], schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in rows:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Salus node",
            "version": version,
            "description": "Certified blocks, transactions, proofs, records and events of one "
            "node. Bytes are lowercase hex, times RFC 3339 in UTC; errors are RFC 9457 problems "
            "whose `code` is a word of docs/errors.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            },
        },
    }


def _structs(route: Route) -> list[Any]:
    answers = [kind for answer in route.answers.values() for kind in _alternatives(answer)]
    bodies = [kind for kind in (route.body.media.values() if route.body else ()) if kind]
    arguments = [field.type for field in msgspec.structs.fields(route.arguments)]
    return [*answers, *bodies, *arguments]


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The structs of an answer; none for media types and empty answers."""
    if kind is None or isinstance(kind, str):
        return ()
    return kind if isinstance(kind, tuple) else (kind,)


def _key(kind: Any) -> str:
    return repr(kind)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = route.doc.partition("\n")
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": summary,
        "tags": [_tag(route)],
        "x-access": route.access.value,
        "security": _SECURITY.get(route.access, [{}, {"token": []}]),
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if description:
        operation["description"] = description
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "description": route.body.doc,
            "content": {
                media: {"schema": _bytes() if kind is None else schemas[_key(kind)]}
                for media, kind in route.body.media.items()
            },
        }
    return {key: value for key, value in operation.items() if value != []} | {
        "security": operation["security"]
    }


def _parameters(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    in_path = set(_path_names(route.path))
    parameters = []
    for field in msgspec.structs.fields(route.arguments):
        schema = _without_null(schemas[_key(field.type)])
        if field.default not in (msgspec.NODEFAULT, None):
            schema = {**schema, "default": field.default}
        parameters.append(
            {
                "name": field.encode_name,
                "in": "path" if field.encode_name in in_path else "query",
                "required": field.encode_name in in_path or field.required,
                "schema": schema,
            }
        )
    for name, doc in route.headers.items():
        parameters.append(
            {
                "name": name,
                "in": "header",
                "required": False,
                "description": doc,
                "schema": {"type": "string"},
            }
        )
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is absent, not null."""
    options = schema.get("anyOf")
    if options is None:
        return schema
    kept = [option for option in options if option.get("type") != "null"]
    return kept[0] if len(kept) == 1 else {**schema, "anyOf": kept}


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, kind in route.answers.items():
        response: dict[str, Any] = {"description": "the answer"}
        if isinstance(kind, str):
            response["content"] = {kind: {"schema": _bytes()}}
        elif kind is not None:
            found = [schemas[_key(one)] for one in _alternatives(kind)]
            schema = found[0] if len(found) == 1 else {"anyOf": found}
            response["content"] = {JSON: {"schema": schema}}
        if status < 400:
            response["headers"] = {
                "X-Height": {
                    "description": "newest certified height of the node",
                    "schema": {"type": "integer", "minimum": 0},
                }
            }
        responses[str(status)] = response
    for status, words in sorted(_errors(route).items()):
        responses[str(status)] = {
            "description": "; ".join(f"{word}: {lookup(word).title}" for word in words),
            "content": {MEDIA_TYPE: {"schema": schemas[_key(Problem)]}},
        }
    return responses


def _errors(route: Route) -> dict[int, list[str]]:
    words = [*COMMON_ERRORS, *route.errors]
    if route.access is not Access.OPEN:
        words.append("NO_SESSION" if route.access is Access.PATIENT else "UNAUTHENTICATED")
    if route.body is not None:
        words += ["SLOW_BODY", "FOREIGN_ORIGIN", "TOO_LARGE"]
    if "min_height" in route.arguments.__struct_fields__:
        words += READ_ERRORS
    by_status: dict[int, list[str]] = {}
    for word in sorted(set(words)):
        by_status.setdefault(lookup(word).status, []).append(word)
    return by_status


def _bytes() -> dict[str, Any]:
    return {"type": "string", "format": "binary"}


def _path_names(path: str) -> list[str]:
    return re.findall(r"{(\w+)}", path)


def _operation_id(route: Route) -> str:
    words = [word for word in re.split(r"[^a-z0-9_]+", route.path.lower()) if word != "v1"]
    page = ["page"] if route.answers.get(200) == "text/html" else []  # /me is not /v1/me
    return "_".join([route.method.lower(), *page, *filter(None, words)])


def _tag(route: Route) -> str:
    first = route.path.split("/")[1:3]
    return first[1] if first[0] == "v1" and len(first) > 1 else "service"


def reference(routes: Iterable[Route]) -> str:
    """docs/api.md."""
    lines = [
        "# HTTP API",
        "",
        "Generated from the route table (`node/api/routes.py`); the machine-readable form is",
        "`GET /v1/openapi.json`. Bytes are lowercase hex, times RFC 3339 in UTC, cursors opaque.",
        "Every answer names the newest certified height in `X-Height`; `?min_height=` on a read",
        "waits for a height, or answers `HEIGHT_NOT_REACHED`. A client of several nodes names in",
        "`Salus-Seen-Height` the newest height that any of them told it: a node that is behind waits",
        "up to two seconds for it (if no more than 256 requests do), and then answers.",
        "Errors are RFC 9457 problems; their `code` is in",
        '[errors.md](errors.md). With `[api] auth = "token"` every path that is not *open* needs',
        "`Authorization: Bearer TOKEN`; what only members may read opens for a session of a member's",
        "key too. *patient* paths need a session of a patient's key (`POST /v1/session`): a cookie,",
        "or `Authorization: Bearer` with the session's token. A token is its node's: clients send it",
        "to that node alone (`salus` for an address that the home names, the SDK for its first URL).",
        "",
        "Any path may answer " + ", ".join(f"`{word}`" for word in COMMON_ERRORS) + ".",
    ]
    section = ""
    for route in routes:
        if _tag(route) != section:
            section = _tag(route)
            lines += ["", f"## {section}"]
        lines += _entry(route)
    return "\n".join(lines) + "\n"


def _entry(route: Route) -> list[str]:
    summary, _, description = route.doc.partition("\n")
    lines = ["", f"### {route.method} {route.path}", "", summary]
    if description:
        lines += ["", description]
    lines += ["", f"- access: {route.access.value}"]
    in_path = set(_path_names(route.path))
    for field in msgspec.structs.fields(route.arguments):
        place = "path" if field.encode_name in in_path else "query"
        default = "" if field.default in (msgspec.NODEFAULT, None) else f", default {field.default}"
        lines.append(f"- `{field.encode_name}` ({place}{default}): {_words(field.type)}")
    if route.body is not None:
        media = ", ".join(
            f"`{name}`" + ("" if kind is None else f" {kind.__name__}")
            for name, kind in route.body.media.items()
        )
        lines.append(f"- body: {media}; {route.body.doc}")
    for status, kind in route.answers.items():
        lines.append(f"- {status}: {_words(kind)}")
    own = [word for word in sorted(set(route.errors)) if word not in COMMON_ERRORS]
    if own:
        lines.append("- errors: " + ", ".join(f"`{word}`" for word in own))
    return lines


def _words(kind: Any) -> str:
    """A type in words: names of structs, patterns and bounds of plain values."""
    if kind is None:
        return "no body"
    if isinstance(kind, str):
        return f"`{kind}`"
    if isinstance(kind, tuple):
        return " or ".join(_words(one) for one in kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"`{kind.__name__}`"
    options = [option for option in get_args(kind) if option is not type(None)]
    if len(options) > 1 and get_origin(kind) is not dict and not hasattr(kind, "__metadata__"):
        return " or ".join(_words(option) for option in options)
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    schema = _without_null(schema)
    text = str(schema.get("type", "any"))
    if "pattern" in schema:
        text += f" `{schema['pattern']}`"
    if "minimum" in schema or "maximum" in schema:
        text += f" {schema.get('minimum', '')}…{schema.get('maximum', '')}"
    return text.replace("|", "\\|") if "`" not in text else text
