"""What a command can end with: one exit code and one line of what, why and what next.

    CliError                   code, message, next step, facts

Exit codes and hints come from the registry `salus.codes`, so that a word means the same in a
receipt, a problem and the shell; a script can tell «never retry» from «ask again» without
reading English.
"""

from typing import Any

from salus.codes import CODES, Exit, lookup
from salus.errors import SalusError


class CliError(Exception):
    """A command cannot do what was asked; prints «error[CODE] what. why. next»."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        next_step: str = "",
        exit_code: int | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message)
        row = lookup(code)
        self.code, self.message, self.facts = code, message, facts
        self.next_step = next_step or (row.hint if code in CODES else "")
        self.exit_code = int(row.exit_code if exit_code is None else exit_code)

    def document(self) -> dict[str, Any]:
        """The one JSON object that --json prints instead of a result."""
        fields: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "exit": self.exit_code,
            "retryable": lookup(self.code).retryable,
        }
        if self.next_step:
            fields["next"] = self.next_step
        return {"error": fields | self.facts}

    def lines(self) -> str:
        word = "pending" if self.exit_code == Exit.PENDING else "error"
        text = f"{word}[{self.code}] {self.message}"
        return f"{text}\n  next: {self.next_step}" if self.next_step else text


# Where the class of a library error says more than its code word does.
_BY_CLASS = {
    "RejectedError": Exit.REJECTED,
    "PendingError": Exit.PENDING,
    "UnreachableError": Exit.UNREACHABLE,
    "AuthError": Exit.NOT_AUTHORISED,
    "NotReadyError": Exit.NOT_READY,
    "ConfigError": Exit.CONFIG,
    "VerificationError": Exit.NEGATIVE,
}


def from_library(error: SalusError) -> CliError:
    """The same fault in the words of the command line."""
    names = [kind.__name__ for kind in type(error).__mro__]
    by_class = next((_BY_CLASS[name] for name in names if name in _BY_CLASS), None)
    exit_code = by_class
    if error.code in CODES and by_class not in {Exit.REJECTED, Exit.PENDING, Exit.CONFIG}:
        exit_code = CODES[error.code].exit_code
    if exit_code is None or (exit_code == Exit.REJECTED and "ClientError" not in names):
        # Found wrong here, before anything was sent: bad input, and no verdict of the ledger.
        exit_code = Exit.BAD_DATA
    facts = {name: _plain(value) for name, value in error.facts.items()}
    next_step = str(getattr(error, "hint", "") or "")
    tx_id = _plain(getattr(error, "tx_id", None))
    if tx_id:
        facts["tx_id"] = tx_id
        if exit_code == Exit.PENDING:
            next_step = f"salus tx wait {tx_id}   (do NOT build it again; why: salus doctor)"
    if exit_code == Exit.CONFIG:
        next_step = next_step or "salus config check"
    return CliError(error.code, error.message, next_step=next_step, exit_code=exit_code, **facts)


def from_os(error: OSError) -> CliError:
    """I/O trouble; the path is a fact, the content of no file is ever echoed."""
    import errno

    where = f"{error.filename}: " if isinstance(error.filename, str) else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return CliError("DISK_FULL", f"{where}no space left on the disk")
    if error.errno == errno.EADDRINUSE:
        return CliError("PORT_TAKEN", f"{where}the port is in use")
    if isinstance(error, FileNotFoundError):
        return CliError("FILE_NOT_FOUND", f"{where}no such file")
    if isinstance(error, FileExistsError):
        return CliError("REFUSES_OVERWRITE", f"{where}exists already, not overwritten")
    return CliError("IO", f"{where}{error.strerror or 'input/output error'}")


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
