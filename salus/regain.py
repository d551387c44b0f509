"""The terms of permits, come back from the custodian to a device that has lost them.

    found = await regain(client, await MyClient.log_in(client, key, handle), whose)

A seed gives handles and keys, the chain says which permits stand; what they say in full only the
patient's device and the custodian know. Law of the file: the custodian is not believed. Which permits
stand is proved by a certified state, by the client's trust; what the custodian shows counts only if it
opens the commitment of that very permit, and what it leaves out is named.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from salus.client_errors import ClientError
from salus.client_me import MyClient
from salus.consent.terms import SALT_BYTES, decode_terms, terms_commitment
from salus.errors import BadMessage, VerificationError
from salus.forms_me import OpeningForm
from salus.forms_records import PermitListRequest
from salus.permit_list import PermitList, Stands, complete, permits_of
from salus.relation import RelationEntry, Whose
from salus.state_file import verify_state_file
from salus.wallet import GrantOpening

if TYPE_CHECKING:
    from salus.client import Client

FILES_MAX = 256  # of one list: 32,000 permits, eight times what a wallet keeps


@dataclass(frozen=True, slots=True)
class Regained:
    openings: tuple[GrantOpening, ...]
    missing: tuple[bytes, ...]  # permits that nobody opens
    relation: RelationEntry  # as proved
    height: int  # of the state that says which permits stand


async def regain(client: "Client", mine: MyClient, whose: Whose) -> Regained:
    """All of a relation, newest first. `client` and `mine`: at its custodian. Raises `ClientError`
    (NO_ANCHOR for a client without a trust), `VerificationError`."""
    lists = await _proved(client, whose)
    relation, height = lists[0].relation, lists[0].height
    if relation is None:
        raise VerificationError("the chain knows no such relation")
    shown: dict[str, OpeningForm] = {}
    after, pages = None, 0
    while True:
        page = await mine.openings(after)
        shown |= {one.consent_id: one for one in page.items}
        after, pages = page.next, pages + 1
        if after is None:
            break
        if pages > page.count:  # one permit a page, at the very least
            raise ClientError("the node's list of openings has no end", code="BAD_ANSWER")
    stands = [one for each in lists for one in each.stands]
    found = {one.id: opened(whose, one, shown.get(one.id.hex())) for one in stands}
    return Regained(
        tuple(one for one in found.values() if one is not None),
        tuple(permit for permit, one in found.items() if one is None),
        relation,
        height,
    )


def opened(whose: Whose, permit: Stands, form: OpeningForm | None) -> GrantOpening | None:
    """The opening, if it is that of this permit."""
    if form is None:
        return None
    try:
        salt, terms = bytes.fromhex(form.salt), bytes.fromhex(form.terms)
        if len(salt) != SALT_BYTES or terms_commitment(salt, decode_terms(terms)) != permit.terms:
            return None
    except (ValueError, BadMessage):
        return None
    return GrantOpening(
        whose.org, whose.handle, permit.id, permit.grantee, permit.purpose, salt, terms
    )


async def proved_relation(client: "Client", whose: Whose) -> tuple[RelationEntry | None, int]:
    """The relation in a certified state, or that it is none, and the height of that state; any node can
    show it. Raises `ClientError` (NO_ANCHOR for a client without a trust), `VerificationError`."""
    first = await _file(client, whose, None)
    return first.relation, first.height


async def _proved(client: "Client", whose: Whose) -> list[PermitList]:
    """The files of the whole list, each verified."""
    lists: list[PermitList] = []
    start: bytes | None = None
    while not lists or start is not None:
        if len(lists) >= FILES_MAX:
            raise ClientError(f"a list of more than {FILES_MAX} files", code="TOO_LARGE")
        lists.append(await _file(client, whose, start))
        start = lists[-1].next
    if not complete(lists):
        raise VerificationError("the list of permits does not hold as many as its head counts")
    return lists


async def _file(client: "Client", whose: Whose, start: bytes | None) -> PermitList:
    """One file of the list, verified."""
    if client.trust is None:
        raise ClientError("this client has no trust to verify by", code="NO_ANCHOR")
    at = None if start is None else start.hex()
    wanted = PermitListRequest(whose.org, whose.handle.hex(), at)
    answer = await client.api("POST", "/v1/audit/permits", msgspec.json.encode(wanted))
    state = verify_state_file(answer.body, bytes.fromhex(client.trust.genesis))
    return permits_of(whose.org, whose.handle, state, start)
