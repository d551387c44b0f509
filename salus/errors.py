"""The exception tree of the library: what can be wrong with bytes that came from outside.

    SalusError                 code, message, facts
    ├── BadMessage             the bytes are not what the format says
    ├── BadSignature           well-formed, but not signed by whom it says
    ├── VerificationError      a proof or certificate does not prove its claim
    └── ClientError            salus/client.py draws its own branch

We are wrong: `assert`. Somebody else is wrong: one of these, never an `assert`.
"""

from salus.codes import lookup


class SalusError(Exception):
    """Base of all errors that speak about input; `code` is a word of `salus.codes`."""

    code = "BAD_INPUT"

    def __init__(self, message: str, *, code: str | None = None, **facts: int | str) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.message = message
        self.facts = facts

    @property
    def retryable(self) -> bool:
        """Whether the very same request may succeed later, unchanged."""
        return lookup(self.code).retryable


class BadMessage(SalusError):
    """Not the canonical encoding of a value of the expected type, or outside its limits."""

    code = "NOT_CANONICAL"


class BadSignature(SalusError):
    """The signature does not verify under the key that the message names."""

    code = "BAD_SIGNATURE"


class VerificationError(SalusError):
    """A proof, a certificate or a chain of validator sets does not hold."""

    code = "NOT_PROVED"
