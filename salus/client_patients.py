"""Relations and their keys: `client.patients`.

    own = OwnRelation.begin(seed, chain_id, "hosp-a")
    await operator.patients.register(own)                     # the hospital's key sends it
    await owner.patients.rotate(own)                          # an owner key in force sends the rest
    await owner.patients.add_guardians(own.whose, [request], 1, cosigners=[other_hospital])

Who signs is the client's signer. Where the rules want a second word (I-6), `cosigners` give it: keys
of guardians, or of other organisations' operators.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from salus.acts import relations
from salus.acts.act import Act
from salus.client_errors import ClientError, NotFoundError
from salus.errors import BadMessage
from salus.key_request import KeyRequest
from salus.keys import Signer
from salus.own_relation import OwnRelation
from salus.relation import RelationEntry, Right, Whose
from salus.wire_json import from_json

if TYPE_CHECKING:
    from salus.client import Client
    from salus.client_transactions import Committed


class PatientsClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def find(self, whose: Whose) -> RelationEntry | None:
        """The relation as the chain has it; what waits in it is shown as waiting."""
        answer = await self._client.query(
            "identity", "relation_of", org=whose.org, handle=whose.handle.hex()
        )
        return relation_of(answer)

    async def get(self, whose: Whose) -> RelationEntry:
        """As `find`. Raises `NotFoundError` (UNKNOWN_RELATION)."""
        found = await self.find(whose)
        if found is None:
            raise NotFoundError(f"{whose.org} knows no such relation", code="UNKNOWN_RELATION")
        return found

    # -- keys ------------------------------------------------------------------------------------

    async def register(self, own: OwnRelation, *, tag: bytes | None = None) -> "Committed":
        """At the signer's organisation: its operator, or staff. `tag`: an identity tag, if the
        consortium finds patients by one."""
        return await self._client.send(
            relations.register(
                own.chain_id, own.whose, own.keys(), custodial=own.known.custodial, tag=tag
            )
        )

    async def rotate(self, own: OwnRelation) -> "Committed":
        """Name the next owner key, in force after the consortium's waiting time. Keep `own.next()`
        before the call."""
        new = own.next().keys()
        return await self._client.send(relations.rotate(own.chain_id, own.whose, new))

    async def claim(self, request: KeyRequest, cosigners: Sequence[Signer] = ()) -> "Committed":
        """The patient's own key takes the place of the hospital's, which signs."""
        return await self._cosigned(relations.claim(request), cosigners)

    async def veto(self, whose: Whose, new_key: bytes) -> "Committed":
        """A guardian objects to a rotation to this key."""
        return await self._client.send(relations.about("veto", whose, new_key))

    # -- recovery --------------------------------------------------------------------------------

    async def propose_recovery(self, request: KeyRequest) -> "Committed":
        """New keys for an owner who lost his; a guardian or the organisation signs."""
        return await self._client.send(relations.recover(request))

    async def approve_recovery(self, whose: Whose, new_key: bytes) -> "Committed":
        return await self._client.send(relations.about("recover_approve", whose, new_key))

    async def cancel_recovery(self, whose: Whose, new_key: bytes) -> "Committed":
        """The owner's key objects."""
        return await self._client.send(relations.about("recover_cancel", whose, new_key))

    async def finish_recovery(self, whose: Whose) -> "Committed":
        """Approved, and the waiting time over: anybody may."""
        return await self._client.send(relations.finish(whose))

    # -- friends ---------------------------------------------------------------------------------

    async def add_guardians(
        self,
        whose: Whose,
        requests: Sequence[KeyRequest],
        threshold: int,
        cosigners: Sequence[Signer] = (),
    ) -> "Committed":
        """Those there are stay; `threshold` of all decide together."""
        entry = await self.get(whose)
        act = relations.set_guardians(whose, entry, entry.guardians, requests, threshold)
        return await self._cosigned(act, cosigners)

    async def remove_guardian(
        self, whose: Whose, key: bytes, threshold: int, cosigners: Sequence[Signer] = ()
    ) -> "Committed":
        """Raises `BadMessage` (UNKNOWN_GUARDIAN)."""
        entry = await self.get(whose)
        kept = relations.without(entry, key)
        act = relations.set_guardians(whose, entry, kept, (), threshold)
        return await self._cosigned(act, cosigners)

    async def add_delegate(
        self,
        request: KeyRequest,
        rights: Collection[Right],
        until_day: int,
        cosigners: Sequence[Signer] = (),
    ) -> "Committed":
        """`until_day`: the last one, UTC days since 1970."""
        return await self._cosigned(relations.add_delegate(request, rights, until_day), cosigners)

    async def remove_delegate(
        self, whose: Whose, key: bytes, cosigners: Sequence[Signer] = ()
    ) -> "Committed":
        return await self._cosigned(relations.remove_delegate(whose, key), cosigners)

    async def _cosigned(self, act: Act, cosigners: Sequence[Signer]) -> "Committed":
        return await cosigned(self._client, act, cosigners)


async def cosigned(client: "Client", act: Act, cosigners: Sequence[Signer]) -> "Committed":
    """Send an operation with the co-signatures of these keys."""
    chain_id = (await client.chain()).genesis.chain_id
    for one in cosigners:
        act = act.cosigned(chain_id, one)
    return await client.send(act)


def relation_of(answer: Any) -> RelationEntry | None:
    """A relation as the query's JSON says it. Raises `ClientError` (BAD_ANSWER)."""
    try:
        return None if answer is None else from_json(RelationEntry, answer)
    except BadMessage as error:
        raise ClientError(f"the node's relation: {error.message}") from None
