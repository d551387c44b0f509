"""A hospital's desk: identifiers, duplicate cases, finding a person: `client.desk`.

Only the hospital's own node is asked, by a key of its own staff or operator (decision 0017).
"""

import os
import time
from typing import TYPE_CHECKING, TypeVar

from salus.client_errors import ClientError
from salus.desk_asks import (
    ASK_LIVES_MS,
    NONCE_BYTES,
    CasesAsk,
    CaseState,
    CheckAsk,
    CloseAsk,
    DeskAsk,
    FindAsk,
    SearchesAsk,
    Typed,
    signed,
)
from salus.desk_json import CaseForm, CasesAnswer, CheckAnswer, FindAnswer, SearchesAnswer
from salus.keys import Signer

if TYPE_CHECKING:
    from salus.client import Client

T = TypeVar("T")


class DeskClient:
    """Calls of `/v1/identity/…` of one's own node; the client's signer signs each ask."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def check(self, handle: bytes, identifiers: tuple[Typed, ...]) -> CheckAnswer:
        """Our tags, in the order of the identifiers, for who registers the handle; and the case, if
        they have met somebody. Ask again once it is registered: two may register at one moment."""
        ask = CheckAsk(*await self._asked(), handle, identifiers)
        return await self._call("checks", ask, CheckAnswer)

    async def find(self, reason: str, identifiers: tuple[Typed, ...]) -> FindAnswer:
        """Raises `ClientError` (NOBODY_FOUND, TOO_MANY_SEARCHES, DESK_REFUSED)."""
        return await self._call(
            "finds", FindAsk(*await self._asked(), reason, identifiers), FindAnswer
        )

    async def cases(self, case: bytes | None = None, state: CaseState | None = None) -> CasesAnswer:
        return await self._call("cases", CasesAsk(*await self._asked(), case, state), CasesAnswer)

    async def close(self, case: bytes, state: CaseState, note: str) -> CaseForm:
        ask = CloseAsk(*await self._asked(), case, state, note)
        return await self._call("cases/close", ask, CaseForm)

    async def searches(self, before: bytes | None = None) -> SearchesAnswer:
        """A page, newest first. `before`: the `next` of the page before, as bytes."""
        ask = SearchesAsk(*await self._asked(), before)
        return await self._call("searches", ask, SearchesAnswer)

    async def _asked(self) -> tuple[str, str, bytes, int, bytes]:
        """What every ask begins with. Raises `ClientError` (NO_SIGNER, NOT_ENABLED)."""
        status = await self._client.status()
        if status.member is None:
            raise ClientError("this node is no member's", code="NOT_ENABLED")
        expires_ms = time.time_ns() // 1_000_000 + ASK_LIVES_MS
        nonce = os.urandom(NONCE_BYTES)
        return status.chain_id, status.member, self._signer.public_key, expires_ms, nonce

    @property
    def _signer(self) -> Signer:
        if self._client.signer is None:
            raise ClientError("this client has no signer", code="NO_SIGNER")
        return self._client.signer

    async def _call(self, what: str, ask: DeskAsk, kind: type[T]) -> T:
        answer = await self._client._http.request(
            "POST",
            f"/v1/identity/{what}",
            body=signed(ask, self._signer),
            content_type="application/octet-stream",
            timeout_s=self._client.timeout_s,
            repeatable=False,  # a search that is made twice is counted twice
            home=True,
        )
        return answer.decode(kind)
