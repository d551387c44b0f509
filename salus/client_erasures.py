"""Erasures: asked for, answered, looked at: `client.erasures` (decision 0015).

An answer is a holder's own signed claim. Nobody can prove that a copy is gone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from salus.acts import erasures
from salus.answers import AskedAnswer, AskedPage, CaseAnswer
from salus.client_errors import ClientError, NotFoundError
from salus.client_patients import cosigned
from salus.codec import Wire
from salus.erasure import (
    LEAVES_MAX,
    SALT_BYTES,
    ErasureHead,
    Reply,
    reason_commitment,
    records_commitment,
)
from salus.errors import BadMessage
from salus.forms_records import CaseRequest, ErasureAnswer, ErasureRequest
from salus.keys import Signer
from salus.relation import Whose
from salus.wire_json import from_json

if TYPE_CHECKING:
    from salus.client import Client
    from salus.client_transactions import Committed

W = TypeVar("W", bound=Wire)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is certified. `leaves` and `salt` open its commitment, should somebody doubt it."""

    case: bytes
    leaves: tuple[str, ...]
    salt: bytes
    committed: "Committed"


class ErasuresClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def request(
        self,
        whose: Whose,
        records: Sequence[str],
        reason: str = "",
        cosigners: Sequence[Signer] = (),
    ) -> Asked:
        """Have these records (ids as hex) erased by all who hold copies, for ever. The first node is the
        custodian's; the owner's key signs, or a regulator's operator. With a co-signature it begins at
        once, else after a waiting time in which `cancel` stops it."""
        ids = sorted(set(records))
        case, salt, reason_salt = (os.urandom(SALT_BYTES) for _ in range(3))
        # First: a request that the custodian cannot read is one that nobody answers.
        leaves = await self._open(case, whose, ids, salt, reason, reason_salt)
        if not len(ids) <= len(leaves) <= LEAVES_MAX:
            raise ClientError("the node names fewer versions than records")
        act = erasures.request(
            whose,
            case,
            records_commitment(salt, [bytes.fromhex(leaf) for leaf in leaves]),
            reason_commitment(reason_salt, reason),
        )
        return Asked(case, leaves, salt, await cosigned(self._client, act, cosigners))

    async def answer(
        self, custodian: str, case: bytes, reply: Reply, reason: str | None = None
    ) -> tuple["Committed", bytes | None]:
        """For one's own organisation; `reason`: of `retained`, and of nothing else. Also the salt that
        opens the reason's commitment."""
        assert (reply is Reply.RETAINED) == (reason is not None), "only what is kept has a reason"
        salt = None if reason is None else os.urandom(SALT_BYTES)
        commitment = None
        if reason is not None and salt is not None:
            commitment = reason_commitment(salt, reason)
        act = erasures.answer(custodian, case, reply, commitment)
        return await self._client.send(act), salt

    async def cancel(self, custodian: str, case: bytes) -> "Committed":
        """Stop a case that has not begun (rule X-9): by the owner's key, a guardian's, or the regulator's."""
        return await self._client.send(erasures.cancel(custodian, case))

    async def carry_out(self, case: bytes) -> None:
        """Have one's own node erase what a certified request names, where it waits for that."""
        body = msgspec.json.encode(CaseRequest(case.hex()))
        await self._client.at_home("POST", "/v1/erasures/carry-out", body)

    # -- looking ---------------------------------------------------------------------------------

    async def case(self, custodian: str, case: bytes) -> CaseAnswer:
        """Who must answer, and who has. Raises `NotFoundError` (UNKNOWN_CASE)."""
        answer = await self._client.query("erasure", "case_of", org=custodian, case=case.hex())
        if answer is None:
            raise NotFoundError(f"{custodian} has no such case", code="UNKNOWN_CASE")
        return _read(CaseAnswer, answer)

    async def cases(self, whose: Whose) -> list[tuple[bytes, CaseAnswer]]:
        """All cases of a relation with their ids, newest first: each names the one before."""
        where = {"org": whose.org, "handle": whose.handle.hex()}
        answer = await self._client.query("erasure", "newest", **where)
        if answer is None:
            return []
        head = _read(ErasureHead, answer)
        found: list[tuple[bytes, CaseAnswer]] = []
        at: bytes | None = head.newest
        while at is not None and len(found) < head.count:
            one = await self.case(whose.org, at)
            found.append((at, one))
            at = one.case.before
        return found

    async def asked_of(self, member: str) -> list[AskedAnswer]:
        """What an organisation is asked to erase, newest first; what has no reply it owes."""
        found: list[AskedAnswer] = []
        where: dict[str, Any] = {"org": None, "case": None}
        while True:
            answer = await self._client.query("erasure", "asked_of", member=member, **where)
            page = _read(AskedPage, answer)
            found += page.items
            if page.next is None or not page.items or len(found) >= page.count:
                return found
            where = {"org": page.next.org, "case": page.next.case.hex()}

    async def _open(
        self,
        case: bytes,
        whose: Whose,
        records: Sequence[str],
        records_salt: bytes,
        reason: str,
        reason_salt: bytes,
    ) -> tuple[str, ...]:
        """Tell the custodian what the request will be about; the leaves (hex) that it commits to
        (salus/erasure.py). Nothing is erased before that is certified."""
        body = ErasureRequest(
            case.hex(),
            whose.handle.hex(),
            tuple(records),
            records_salt.hex(),
            reason,
            reason_salt.hex(),
        )
        answer = await self._client.at_home("POST", "/v1/erasures", msgspec.json.encode(body))
        return answer.decode(ErasureAnswer).leaves


def _read(kind: type[W], answer: Any) -> W:
    try:
        return from_json(kind, answer)
    except BadMessage as error:
        raise ClientError(f"the node's answer about erasures: {error.message}") from None
