"""Everything that goes wrong in a request, as an RFC 9457 problem with a code word.

Law of the file: the code decides status, title, hint and retry (salus/codes.py); the detail is
ours and never echoes input, names a path of the program or shows a stack trace. What we did not
foresee becomes INTERNAL with an incident id; the cause stands in the log under that id.
"""

import logging
import secrets
from typing import Any

import msgspec
from aiohttp import web

from salus.codes import CODES, Code, lookup
from salus.errors import SalusError
from salus.forms import Problem

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1  # blocks come many times a second: what can heal, heals within that


class ApiError(SalusError):
    """Raised by handlers; carries what a problem needs beyond a code and a detail."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        tx_id: bytes | None = None,
        status: int | None = None,
        retry_after_s: int | None = None,
        headers: dict[str, str] | None = None,
        **facts: int | str,
    ) -> None:
        super().__init__(detail or lookup(code).title, code=code, **facts)
        self.tx_id = tx_id
        self.status = status
        self.retry_after_s = retry_after_s
        self.headers = headers or {}


def problem_response(error: SalusError, path: str) -> web.Response:
    """The answer for a refusal. `path`: the route's template, which names no id."""
    row = lookup(error.code)
    tx_id = getattr(error, "tx_id", None)
    if row.word not in CODES and tx_id is None:  # a contract refuses transactions in its own words
        log.error("a code word is not registered: %s", error.code)
    status = (error.status if isinstance(error, ApiError) else None) or row.status
    if not 400 <= status < 600:
        status = 422  # words that are no HTTP error by themselves (PENDING)
    problem = Problem(
        type=f"/errors/{error.code}",
        title=row.title,
        status=status,
        detail=error.message,
        instance=path,
        code=error.code,
        retryable=row.retryable,
        tx_id=tx_id.hex() if isinstance(tx_id, bytes) else None,
        hint=row.hint,
        facts=dict[str, Any](error.facts),
    )
    headers = dict(error.headers) if isinstance(error, ApiError) else {}
    if row.retryable and status in (408, 429, 503):
        after = error.retry_after_s if isinstance(error, ApiError) else None
        headers["Retry-After"] = str(after or RETRY_AFTER_S)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="salus"'
    response = web.Response(
        status=status,
        body=msgspec.json.encode(problem),
        content_type=MEDIA_TYPE,
        headers=headers,
    )
    if status in (408, 413):
        response.force_close()  # the rest of the body is not worth reading
    return response


def from_http(error: web.HTTPException) -> ApiError:
    """What aiohttp itself refuses: unknown paths, methods, oversized bodies."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return ApiError("METHOD_NOT_ALLOWED", headers={"Allow": error.headers.get("Allow", "")})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return ApiError("TOO_LARGE", "the request body exceeds the limit of this path")
    if error.status == 404:
        return ApiError("NO_ROUTE")
    return ApiError("BAD_REQUEST", status=error.status if error.status >= 400 else None)


def incident(error: BaseException, route: str) -> ApiError:
    """Our own mistake: the log has everything, the client an id to report."""
    number = secrets.token_hex(6)
    log.error("incident %s in %s", number, route, exc_info=error)
    return ApiError("INTERNAL", "the node failed to answer", incident=number)


def error_page(row: Code) -> str:
    """GET /errors/{CODE}, for whoever follows the `type` of a problem."""
    retry = (
        "The very same request may succeed later."
        if row.retryable
        else "Sending the very same request again does not help."
    )
    return (
        f"{row.word}: {row.title}\n\n{row.hint}\n{retry}\n\n"
        f"family {row.family.value}, HTTP {row.status}, exit code {int(row.exit_code)} "
        f"({row.exit_code.name.lower().replace('_', ' ')})\n"
    )
