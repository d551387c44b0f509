"""An organisation's terms, and look-up cards: `client.terms`, `client.cards`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from salus import card as cards
from salus.acts import relations
from salus.answers import Terms
from salus.client_errors import ClientError, NotFoundError, RejectedError
from salus.errors import BadMessage
from salus.own_relation import OwnRelation
from salus.patient_keys import card_key, card_tag
from salus.relation import Whose, terms_hash
from salus.wire_json import from_json

if TYPE_CHECKING:
    from salus.client import Client
    from salus.client_transactions import Committed


class TermsClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def newest(self, org: str) -> Terms | None:
        """The newest version that an organisation published: of the document the hash."""
        answer = await self._client.query("identity", "terms", org=org)
        try:
            return None if answer is None else from_json(Terms, answer)
        except BadMessage as error:
            raise ClientError(f"the node's terms: {error.message}") from None

    async def publish(self, document: bytes) -> tuple[int, "Committed"]:
        """The next version of the terms of the organisation whose operator signs; its number."""
        signer = self._client.signer
        if signer is None:
            raise ClientError("this client has no signer", code="NO_SIGNER")
        found = await self._client.query("members", "key", public_key=signer.public_key.hex())
        if found is None:
            raise ClientError("this key is of no organisation", code="NOT_AUTHORISED")
        newest = await self.newest(found["member"])
        version = 1 + (0 if newest is None else newest.version)
        return version, await self._client.send(relations.publish_terms(version, document))

    async def accept(self, whose: Whose, document: bytes) -> tuple[int, "Committed"]:
        """Accept the terms that were read, if they are the newest; their version. Raises `ClientError`
        (UNKNOWN_TERMS, OLD_TERMS)."""
        newest = await self.newest(whose.org)
        if newest is None:
            raise NotFoundError(f"{whose.org} published no terms", code="UNKNOWN_TERMS")
        if newest.document != terms_hash(document):
            raise RejectedError(
                f"the document is not version {newest.version}, the newest of {whose.org}",
                code="OLD_TERMS",
            )
        done = await self._client.send(relations.accept_terms(whose, newest.version))
        return newest.version, done


@dataclass(frozen=True, slots=True)
class Found:
    """Whose card it is, and since which block."""

    whose: Whose
    height: int


class CardsClient:
    """Cards by which a clinician finds the relation of somebody who cannot speak (rule I-9)."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def issue(self, own: OwnRelation, number: int) -> tuple[str, "Committed"]:
        """What to print on card `number`, which is secret. Raises `RejectedError` (DUPLICATE_CARD)."""
        secret = own.card(number)
        done = await self._client.send(relations.issue_card(own.chain_id, own.whose, secret))
        return cards.payload(secret), done

    async def end(self, whose: Whose, printed: str) -> "Committed":
        """The card with this line was lost: it finds nobody any more. Raises `BadMessage` (BAD_CARD)."""
        return await self.end_tag(whose, card_tag(cards.parse(printed)))

    async def end_tag(self, whose: Whose, tag: bytes) -> "Committed":
        """The same by what stands on the chain, if the line is lost too."""
        return await self._client.send(relations.end_card(whose, tag))

    async def find(self, printed: str) -> Found:
        """Whose card it is. Raises `BadMessage` (BAD_CARD), `NotFoundError` (UNKNOWN_CARD)."""
        key = card_key(cards.parse(printed)).public_key
        found = await self._client.query("identity", "card", card=key.hex())
        if found is None:
            raise NotFoundError("no such card, or it was ended", code="UNKNOWN_CARD")
        return Found(Whose(found["org"], bytes.fromhex(found["handle"])), found["height"])
