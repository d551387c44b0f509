"""The reader's words: a signed request for one version of a record, and what it must prove later.

The ephemeral secret is made here and never leaves the reader; the request binds it to chain,
custodian, relation, versions and purpose (rule G-1 of decision 0010). Pure: randomness arrives.
"""

from collections.abc import Callable
from dataclasses import dataclass

from salus.codec import encode
from salus.consent.terms import Code
from salus.keys import Signer, box_public_key
from salus.permit import Purpose
from salus.reading import Ask, Asked, Found
from salus.ticket import (
    SALT_BYTES,
    Request,
    own_request,
    records_commitment,
    request_commitment,
)

REQUEST_ID_BYTES = 16
# Of the 20 that a request may live: nodes a few blocks ahead or behind the reader's take it too.
EXPIRY_BLOCKS = 15


@dataclass(frozen=True, slots=True)
class Wish:
    """Who reads and why. `own`: the patient, or his delegate, with his own key."""

    chain_id: str
    requester: str  # the organisation through whose node it is asked
    purpose: Purpose
    care: bytes = b""
    permit: bytes | None = None
    site: Code | None = None  # from where

    @property
    def own(self) -> bool:
        return self.purpose is Purpose.PATIENT_REQUEST


def ask_for(
    wish: Wish,
    found: Found,
    record_id: bytes,
    height: int,
    signer: Signer,
    random: Callable[[int], bytes],
) -> tuple[Ask, bytes]:
    """The request for the version that was found, and the secret that opens its release. `height`:
    the newest certified one that the reader knows of."""
    located, secret = found.located, random(32)
    records_salt, request_salt = random(SALT_BYTES), random(SALT_BYTES)
    request = Request(
        chain_id=wish.chain_id,
        custodian=found.custodian,
        handle=located.handle,
        records=records_commitment(records_salt, (located.commitment,)),
        purpose=wish.purpose,
        classes=located.classes,
        request_id=random(REQUEST_ID_BYTES),
        expiry_height=height + EXPIRY_BLOCKS,
        release_key=box_public_key(secret),
        permit=wish.permit,
        requester=wish.requester,
        key=signer.public_key,
        site=wish.site,
    )
    signature = signer.sign(request.payload())
    ask = Ask(
        request=request,
        signature=signature,
        request_salt=request_salt,
        records_salt=records_salt,
        versions=(Asked(record_id, located.version, located.commitment),),
        care_salt=random(SALT_BYTES),
        care=wish.care,
        owner_signature=_owner(request, request_salt, signature, signer) if wish.own else None,
    )
    return ask, secret


def _owner(request: Request, salt: bytes, signature: bytes, signer: Signer) -> bytes:
    return signer.sign(
        own_request(
            request.chain_id,
            request.custodian,
            request.handle,
            request.request_id,
            request.requester,
            request.classes,
            request.expiry_height,
            request.records,
            request_commitment(salt, request, signature),
        )
    )


def same_wish(ask: Ask, wish: Wish, record_id: bytes) -> bool:
    """Was this asked for just that? What broke off goes on only for the same."""
    request, (asked, *more) = ask.request, ask.versions
    said = (request.chain_id, request.requester, request.purpose, ask.care, request.site)
    wanted = (wish.chain_id, wish.requester, wish.purpose, wish.care, wish.site)
    cited = wish.permit is None or request.permit == wish.permit
    return not more and encode(said) == encode(wanted) and cited and asked.record_id == record_id
