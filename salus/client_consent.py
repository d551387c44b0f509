"""A patient's permissions through a node: `client.consent`, with the owner key as the client's signer.

    mine = Whose("hosp-a", handle)
    given = await client.consent.grant(mine, "hosp-b", ("Observation",), "TREAT", until_ms)
    found = await client.consent.check(mine, "hosp-b", ("Observation",), "TREAT")
    await client.consent.revoke(mine, given.permit)

Law of the file: what the inner terms say goes to the custodian before the permit is sent, and comes
back to the caller, who keeps it: nobody else can say later what was permitted.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from salus.acts import permits
from salus.acts.act import Act
from salus.client_errors import ClientError
from salus.consent.actor_map import staff_named, unknown_staff
from salus.forms_me import CheckAnswer, HandleCheckRequest
from salus.grant_notice import seal_notice
from salus.granting import Grantee, say
from salus.importing import Plan, plan_fhir
from salus.permit import Purpose
from salus.relation import Whose
from salus.scope import purpose_of
from salus.site import parse_sites

if TYPE_CHECKING:
    from salus.client import Client, Committed

__all__ = ["ConsentClient", "Granted", "Whose"]

GRANTS_PER_TRANSACTION = 48  # of 1 kB at most, in a transaction of 64 KiB


@dataclass(frozen=True, slots=True)
class Granted:
    """A permit in force. Keep `salt` and `terms`: they open what the chain has a commitment of."""

    permit: bytes
    salt: bytes
    terms: bytes
    committed: "Committed"


class ConsentClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def grant(
        self,
        whose: Whose,
        to: str,
        scopes: tuple[str, ...],
        purpose: str,
        until_ms: int,
        *,
        deny: bool = False,
        sites: Sequence[str] = (),
    ) -> Granted:
        """Permit `to` (ORG or ORG/STAFF-HANDLE) to read, or deny it, from now on. Raises `BadMessage`
        (BAD_GRANTEE, BAD_SCOPE, BAD_PURPOSE, BAD_PERIOD, BAD_SITE), `ClientError`. `sites`: SYSTEM|VALUE,
        from where alone."""
        grantee, why = Grantee.parse(to), purpose_of(purpose)
        now_ms = time.time_ns() // 1_000_000
        where = parse_sites(sites)
        said = say(grantee, scopes, why, now_ms, until_ms, deny=deny, sites=where)
        seal = None if deny else await self._sealer(whose, grantee.org, why)
        made = permits.grant(whose, grantee, why, said, deny=deny, seal=seal)
        opening = made.opening
        salt, terms = opening.salt, opening.terms
        await self._client.keep_opening(whose.handle.hex(), salt.hex(), terms.hex())
        return Granted(opening.permit, salt, terms, await self._send(made.act))

    async def plan_fhir(
        self,
        whose: Whose,
        consent: bytes,
        parties: Sequence[bytes] = (),
        actors: Sequence[tuple[str, str]] = (),
    ) -> Plan:
        """What would become of a FHIR R4 Consent; sends nothing. `parties`: the Organizations and
        Practitioners that it names; `actors`: whom they are here, as («Organization/54», "hosp-b") or
        («Practitioner/1», "hosp-b/STAFF-HANDLE"). Raises `BadMessage` as `salus.importing.plan_fhir`."""
        found = await self._client.query("members", "list_members")
        active = [one["id"] for one in found["members"] if one["status"] == "active"]
        await self.require_staff(active, actors)
        now_ms = time.time_ns() // 1_000_000
        return plan_fhir(consent, parties, whose.org, active, actors, now_ms)

    async def require_staff(
        self, members: Collection[str], actors: Sequence[tuple[str, str]]
    ) -> None:
        """Whom a map names the chain must know, at that organisation; others' are left to the plan.
        Raises `BadMessage` (UNKNOWN_STAFF, BAD_GRANTEE)."""
        for number, one in staff_named(actors):
            if one.org not in members:
                continue
            where = {"org": one.org, "handle": one.staff}
            if await self._client.query("members", "staff", **where) is None:
                raise unknown_staff(number, one)

    async def import_fhir(self, whose: Whose, plan: Plan) -> tuple[Granted, ...]:
        """Grant what was planned: the denials first, so that what breaks off permits less. Revoking each
        of the permits revokes the Consent. Raises `ClientError`."""
        granted: list[Granted] = []
        for start in range(0, len(plan.permits), GRANTS_PER_TRANSACTION):
            made = []
            for one in plan.permits[start : start + GRANTS_PER_TRANSACTION]:
                seal = None if one.denies else await self._sealer(whose, one.grantee, one.purpose)
                made.append(permits.planned(whose, one, seal))
                opening = made[-1].opening
                await self._client.keep_opening(
                    whose.handle.hex(), opening.salt.hex(), opening.terms.hex()
                )
            operations = [one.act.operation for one in made]
            done = await self._client.commit(await self._client.build(operations))
            granted += [
                Granted(one.opening.permit, one.opening.salt, one.opening.terms, done)
                for one in made
            ]
        return tuple(granted)

    async def revoke(self, whose: Whose, permit: bytes) -> "Committed":
        """End a permit, at once and for ever. Raises `ClientError`."""
        return await self._send(permits.revoke(whose, permit))

    async def check(
        self,
        whose: Whose,
        actor: str,
        scopes: tuple[str, ...],
        purpose: str,
        site: str | None = None,
    ) -> CheckAnswer:
        """What the custodian's gate would say now; a denial is an answer. Raises `ClientError`."""
        form = HandleCheckRequest(actor, scopes, purpose, site, handle=whose.handle.hex())
        # To the custodian's node and no other: handle, reader and classes together are the patient's secret.
        answer = await self._client.at_home("POST", "/v1/consents/check", msgspec.json.encode(form))
        return answer.decode(CheckAnswer)

    async def _sealer(self, whose: Whose, grantee: str, why: Purpose) -> Callable[[bytes], bytes]:
        """What the grantee's node must know to ask, sealed to it. Of the patient's handle there it says
        nothing: this client knows one relation."""
        member = await self._client.query("members", "member", id=grantee)
        if member is None:
            raise ClientError(f"there is no organisation «{grantee}»", code="UNKNOWN_GRANTEE")
        chain_id = (await self._client.chain()).genesis.chain_id
        box_key = bytes.fromhex(member["box_key"])

        def seal(permit: bytes) -> bytes:
            told = permits.notice(chain_id, grantee, whose, why, permit, None)
            return seal_notice(chain_id, grantee, told, box_key)

        return seal

    async def _send(self, act: Act) -> "Committed":
        return await self._client.commit(await self._client.build([act.operation]))
