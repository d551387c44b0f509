"""What a patient's key signs, made from wallet and contract: registration, rotation, permits."""

import os
from typing import Any

from cli.errors import CliError
from cli.wallets import OpenWallet
from contracts.consent import GrantArgs, RevokeArgs, consent
from contracts.fields import from_json
from contracts.identity import RegisterArgs, identity
from contracts.recovery import AboutKeyArgs, RecoverArgs, RelationArgs, RotateArgs
from salus import relation as forms
from salus.codec import Wire, encode
from salus.consent.decide import Consent, Standing, decide
from salus.consent.decision import Decision, Verdict
from salus.consent.decision import Reason as Inner
from salus.consent.terms import decode_terms, encode_terms, terms_commitment
from salus.errors import BadMessage
from salus.granting import Grantee, Said, question
from salus.permit import Docket, Effect, Permit, Purpose
from salus.permit import decide as decide_outer
from salus.relation import DAY_MS, RelationEntry
from salus.scope import classes_of
from salus.transaction import Operation
from salus.wallet import GrantOpening, KnownRelation


def register(wallet: OpenWallet, chain_id: str, relation: KnownRelation) -> Operation:
    """The registration with the owner's signature; the organisation sends it."""
    keys = wallet.keys(chain_id, relation)
    public, tag = keys.public, os.urandom(32)  # no tag: nobody looks this one up
    payload = forms.registration(
        chain_id,
        relation.org,
        relation.handle,
        public.signing,
        public.box,
        relation.custodial,
        (),
        0,
        tag,
    )
    return _operation(
        "identity",
        "register",
        RegisterArgs(
            relation.handle,
            public.signing,
            public.box,
            relation.custodial,
            (),
            0,
            (),
            tag,
            keys.signing.sign(payload),
        ),
    )


def rotate(wallet: OpenWallet, chain_id: str, relation: KnownRelation) -> Operation:
    """The next generation of the owner key, named by the one in force."""
    new = wallet.keys(chain_id, relation, relation.generation + 1)
    public = new.public
    proof = forms.possession(chain_id, relation.org, relation.handle, "rotate", public.box)
    args = RotateArgs(
        relation.org, relation.handle, public.signing, public.box, new.signing.sign(proof)
    )
    return _operation("identity", "rotate_key", args)


def recover(wallet: OpenWallet, chain_id: str, relation: KnownRelation) -> Operation:
    """Propose the next generation; a guardian or the hospital sends it."""
    new = wallet.keys(chain_id, relation, relation.generation + 1)
    public = new.public
    proof = forms.possession(chain_id, relation.org, relation.handle, "recover", public.box)
    args = RecoverArgs(
        relation.org, relation.handle, public.signing, public.box, new.signing.sign(proof)
    )
    return _operation("identity", "recover_propose", args)


def finish(relation: KnownRelation) -> Operation:
    return _operation("identity", "recover_finish", RelationArgs(relation.org, relation.handle))


def about(method: str, relation: KnownRelation, new_key: bytes) -> Operation:
    """`recover_approve`, `recover_cancel`, `veto`: of the very key that is meant."""
    return _operation("identity", method, AboutKeyArgs(relation.org, relation.handle, new_key))


def grant(
    relation: KnownRelation, grantee: Grantee, purpose: Purpose, said: Said, *, deny: bool
) -> tuple[Operation, GrantOpening]:
    """The operation, and the opening of its terms for the wallet."""
    permit, salt = os.urandom(32), os.urandom(32)
    args = GrantArgs(
        org=relation.org,
        handle=relation.handle,
        permit=permit,
        grantee=grantee.org,
        effect=Effect.DENY if deny else Effect.PERMIT,
        reach=said.reach,
        purpose=purpose,
        classes=said.classes,
        from_day=said.from_day,
        until_day=said.until_day,
        terms=terms_commitment(salt, said.terms),
        opening=b"",
        cosigner=None,
        cosignature=None,
    )
    opening = GrantOpening(
        relation.org,
        relation.handle,
        permit,
        grantee.org,
        purpose,
        salt,
        encode_terms(said.terms),
    )
    return _operation("consent", "grant", args), opening


def revoke(relation: KnownRelation, permit: bytes) -> Operation:
    return _operation(
        "consent", "revoke", RevokeArgs(relation.org, relation.handle, permit, None, None)
    )


def decide_both(
    wallet: OpenWallet,
    relation: KnownRelation,
    docket: Docket,
    grantee: Grantee,
    scopes: tuple[str, ...],
    purpose: Purpose,
    now_ms: int,
) -> Decision:
    """Outer permit and inner terms together: what a ticket asked now would get."""
    classes, day = classes_of(scopes), now_ms // DAY_MS
    permitted = [
        one for one in docket.permits if decide_outer(docket, one.id, classes, day).permitted
    ]
    inner = decide(_consents(wallet, docket), question(grantee, scopes, purpose), now_ms)
    if inner.verdict is Verdict.PERMIT and not permitted:
        return Decision(Verdict.DENY, Inner.DENIED, (), inner.consents)
    return inner


def _consents(wallet: OpenWallet, docket: Docket) -> list[Consent]:
    """The docket with its openings, in the order of commitment. Raises `CliError` if one is missing:
    what is not known may deny."""
    openings = {one.permit: one for one in wallet.contents.openings}
    found = []
    for place, permit in enumerate(docket.permits):
        opening = openings.get(permit.id)
        terms = None if opening is None else decode_terms(opening.terms)
        if (
            opening is None
            or terms is None
            or terms_commitment(opening.salt, terms) != permit.terms
        ):
            raise CliError(
                "OPENING_MISSING", f"this device does not know what permit {permit.id.hex()} says"
            )
        found.append(Consent(permit.id.hex(), terms, _standing(permit), place, place))
    return found


def _standing(permit: Permit) -> Standing:
    return Standing.ACTIVE if permit.ended_height is None else Standing.ENDED


def docket_of(answer: Any) -> Docket:
    """A docket as the query's JSON says it. Raises `CliError` (BAD_ANSWER)."""
    try:
        return from_json(Docket, answer)
    except BadMessage as error:
        raise CliError("BAD_ANSWER", f"the node's docket: {error.message}") from None


def relation_of(answer: Any) -> RelationEntry | None:
    """A relation as the query's JSON says it. Raises `CliError` (BAD_ANSWER)."""
    try:
        return None if answer is None else from_json(RelationEntry, answer)
    except BadMessage as error:
        raise CliError("BAD_ANSWER", f"the node's relation: {error.message}") from None


def _operation(contract: str, method: str, args: Wire) -> Operation:
    version = {"identity": identity, "consent": consent}[contract].version
    return Operation(contract, method, version, encode(args))
