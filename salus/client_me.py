"""A patient's own paths of a node, by a session of the owner's key or a delegate's: `MyClient`.

    mine = await MyClient.log_in(client, key, handle)
    for record in (await mine.records()).items: …

Without a handle the session is a member's, by its operator's or a staff key: of use to a regulator.

The login is signed for the node's URL, so a node that relays it elsewhere gets nothing.
"""

import os
import time
from typing import TYPE_CHECKING, TypeVar

import msgspec

from salus.client_errors import ClientError
from salus.forms_me import EmergencyPage, LookPage, Me, MyRecords, OpeningPage, PermitPage
from salus.forms_node import Status
from salus.forms_public import Oversight
from salus.keys import Signer
from salus.login import LOGIN_AHEAD_MS_MAX, Login

if TYPE_CHECKING:
    from salus.client import Client

T = TypeVar("T")


class MyClient:
    """One session at a client's first node; it lasts a quarter of an hour."""

    def __init__(self, client: "Client", token: str) -> None:
        self._client, self._token = client, token

    @classmethod
    async def log_in(cls, client: "Client", signer: Signer, handle: bytes | None) -> "MyClient":
        """Raises `ClientError` (LOGIN_REFUSED and the like)."""
        status: Status = await client.status()
        if status.member is None:
            raise ClientError("this node is no member's", code="NOT_ENABLED")
        login = Login(
            status.chain_id,
            status.member,
            client.origin,
            handle,
            signer.public_key,
            os.urandom(16),
            time.time_ns() // 1_000_000 + LOGIN_AHEAD_MS_MAX // 2,  # clocks differ either way
        )
        body = {
            "key": login.key.hex(),
            "handle": None if handle is None else handle.hex(),
            "origin": login.origin,
            "nonce": login.nonce.hex(),
            "expires_ms": login.expires_ms,
            "signature": signer.sign(login.payload()).hex(),
        }
        answer = await client.at_home("POST", "/v1/session", msgspec.json.encode(body))
        return cls(client, str(answer.json()["token"]))

    async def me(self) -> Me:
        return await self._get("/v1/me", Me)

    async def consents(self, after: str | None = None) -> PermitPage:
        return await self._get(_page("/v1/me/consents", after), PermitPage)

    async def openings(self, after: str | None = None) -> OpeningPage:
        """As the custodian says; `salus.regain` holds them to the chain."""
        return await self._get(_page("/v1/me/openings", after), OpeningPage)

    async def access_log(self, after: str | None = None) -> LookPage:
        return await self._get(_page("/v1/me/access-log", after), LookPage)

    async def emergencies(self, after: str | None = None) -> EmergencyPage:
        return await self._get(_page("/v1/me/emergencies", after), EmergencyPage)

    async def records(self) -> MyRecords:
        return await self._get("/v1/me/records", MyRecords)

    async def oversight(self) -> Oversight:
        """Numbers per organisation: exact, and with open emergency cases, for a regulator's key."""
        return await self._get("/v1/oversight", Oversight)

    async def _get(self, path: str, kind: type[T]) -> T:
        answer = await self._client.at_home("GET", path, bearer=self._token)
        return answer.decode(kind)


def _page(path: str, after: str | None) -> str:
    return path if after is None else f"{path}?after={after}"
