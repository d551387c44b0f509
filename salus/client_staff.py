"""People of an organisation: `client.staff`; the organisation's operator signs."""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from salus.acts import people
from salus.client_errors import ClientError
from salus.keys import Signer
from salus.staff import SALT_BYTES, StaffRole

if TYPE_CHECKING:
    from salus.client import Client
    from salus.client_transactions import Committed


@dataclass(frozen=True, slots=True)
class Person:
    """Who a handle is stands nowhere on the chain: keep it, and `salt`, which opens the commitment to
    `qualification`."""

    handle: bytes
    qualification: str
    salt: bytes

    @classmethod
    def new(cls, qualification: str = "") -> "Person":
        return cls(os.urandom(32), qualification, os.urandom(SALT_BYTES))


class StaffClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def add(
        self,
        org: str,
        person: Person,
        key: Signer,
        roles: Collection[StaffRole],
        period_ms: tuple[int, int],
    ) -> "Committed":
        """Enter a person's key, which signs that it belongs there. `period_ms`: from, until."""
        chain_id = (await self._client.chain()).genesis.chain_id
        return await self._client.send(
            people.register(
                chain_id,
                org,
                person.handle,
                key,
                roles,
                period_ms,
                person.qualification,
                person.salt,
            )
        )

    async def revoke(self, handle: bytes) -> "Committed":
        """At once; what the key signed before stays valid."""
        return await self._client.send(people.revoke(handle))

    async def standing(self, keys: Iterable[bytes]) -> Mapping[bytes, str | None]:
        """How the chain sees these keys: active, expired, revoked …; None: it knows them not. The chain
        has no list of an organisation's people."""
        found: dict[bytes, str | None] = {}
        for key in keys:
            known = await self._client.query("members", "key", public_key=key.hex())
            if known is not None and not isinstance(known.get("status"), str):
                raise ClientError("the node's answer about a key names no status")
            found[key] = None if known is None else known["status"]
        return found
