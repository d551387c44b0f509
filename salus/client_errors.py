"""The client's branch of the exception tree: what a call to a node can come to.

    SalusError
    └── ClientError            problem: the node's RFC 9457 answer, if it gave one
        ├── RejectedError      the transaction was refused and never commits; tx_id
        ├── PendingError       the outcome is unknown when the time is up; tx_id; do NOT rebuild
        ├── NotFoundError      no such thing at this node
        ├── RequestError       the request itself is wrong
        ├── AuthError          no token, or one that does not cover the call
        ├── NotReadyError      starting, catching up, too busy or without a quorum
        └── UnreachableError   no node of the list could be reached

`retryable` says whether the very same call may succeed later (salus/codes.py).
"""

from salus.codes import CODES, Exit, Family, lookup
from salus.errors import SalusError
from salus.forms import Problem


class ClientError(SalusError):
    """Base; also what an answer becomes that this version does not understand."""

    code = "BAD_ANSWER"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        problem: Problem | None = None,
        tx_id: str | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.problem = problem
        self.tx_id = tx_id

    @property
    def hint(self) -> str:
        return lookup(self.code).hint


class RejectedError(ClientError):
    code = "BAD_SIGNATURE"


class PendingError(ClientError):
    code = "PENDING"


class NotFoundError(ClientError):
    code = "NOT_FOUND"


class RequestError(ClientError):
    code = "BAD_REQUEST"


class AuthError(ClientError):
    code = "UNAUTHENTICATED"


class NotReadyError(ClientError):
    code = "NOT_READY"


class UnreachableError(ClientError):
    code = "UNREACHABLE"


def from_problem(problem: Problem, *, sent_transaction: bool) -> ClientError:
    """The typed error for a node's answer."""
    return _kind(problem, sent_transaction)(
        problem.detail or problem.title, code=problem.code, problem=problem, tx_id=problem.tx_id
    )


def _about_the_caller(problem: Problem) -> bool:
    """403 also says that a transaction's key may not do what it asks for: no token changes that."""
    known = CODES.get(problem.code)
    return problem.tx_id is None if known is None else known.exit_code is Exit.NOT_AUTHORISED


def _kind(problem: Problem, sent_transaction: bool) -> type[ClientError]:
    row = lookup(problem.code)
    if problem.status == 401 or (problem.status == 403 and _about_the_caller(problem)):
        return AuthError
    if problem.retryable or problem.status == 503:
        return NotReadyError
    if sent_transaction and row.family in (Family.TRANSACTION, Family.RECEIPT):
        return RejectedError
    if sent_transaction and problem.tx_id is not None and problem.code not in CODES:
        return RejectedError  # A contract's own word, which this version does not know.
    if row.exit_code is Exit.NOT_FOUND or problem.status in (404, 410):
        return NotFoundError
    if 400 <= problem.status < 500:
        return RequestError
    return ClientError
