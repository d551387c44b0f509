"""Permits, as a patient's key signs them: given, denied, ended."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from salus.acts.act import Act, act
from salus.consent.terms import encode_terms, terms_commitment
from salus.grant_notice import NOTICE_VERSION, GrantNotice
from salus.granting import Grantee, Said
from salus.importing import Planned
from salus.keys import Signer
from salus.permit import Effect, Purpose
from salus.relation import Whose
from salus.wallet import GrantOpening


@dataclass(frozen=True, slots=True)
class Grant:
    """The operation, and the opening of its terms: whoever gave the permit keeps that."""

    act: Act
    opening: GrantOpening


def grant(
    whose: Whose,
    grantee: Grantee,
    purpose: Purpose,
    said: Said,
    *,
    deny: bool,
    seal: Callable[[bytes], bytes] | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> Grant:
    """`seal`: the notice for the grantee of the permit with this id; who is denied gets none."""
    permit, salt = random(32), random(32)
    args = act(
        "consent",
        "grant",
        org=whose.org,
        handle=whose.handle,
        permit=permit,
        grantee=grantee.org,
        effect=Effect.DENY if deny else Effect.PERMIT,
        reach=said.reach,
        purpose=purpose,
        classes=said.classes,
        from_day=said.from_day,
        until_day=said.until_day,
        terms=terms_commitment(salt, said.terms),
        opening=b"" if seal is None or deny else seal(permit),
    )
    terms = encode_terms(said.terms)
    opening = GrantOpening(whose.org, whose.handle, permit, grantee.org, purpose, salt, terms)
    return Grant(args, opening)


def planned(whose: Whose, one: Planned, seal: Callable[[bytes], bytes] | None) -> Grant:
    """One permit of a FHIR Consent that is imported; `seal` as above."""
    to = Grantee(one.grantee)
    return grant(whose, to, one.purpose, one.said, deny=one.denies, seal=seal)


def revoke(whose: Whose, permit: bytes) -> Act:
    return act("consent", "revoke", org=whose.org, handle=whose.handle, permit=permit)


def notice(
    chain_id: str,
    grantee: str,
    whose: Whose,
    purpose: Purpose,
    permit: bytes,
    here: tuple[bytes, Signer] | None,
) -> GrantNotice:
    """What the grantee's node is told. `here`: the patient's handle at the grantee and its owner key, if
    both are known; it goes along only for the treatment."""
    told = GrantNotice(NOTICE_VERSION, whose.org, whose.handle, permit, None)
    if here is None or purpose is not Purpose.TREATMENT:
        return told
    return told.said_here(chain_id, grantee, *here)
