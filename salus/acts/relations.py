"""What is done to a relation, as its keys sign it: registration, keys, friends, terms, templates, cards."""

import os
from collections.abc import Collection, Sequence

from salus import relation as forms
from salus.acts.act import Act, act
from salus.biometric import Method
from salus.errors import BadMessage
from salus.key_request import KeyRequest
from salus.keys import Signer
from salus.patient_keys import KeyPair, card_key
from salus.relation import RelationEntry, Right, Whose

TAG_BYTES = 32

# -- keys ------------------------------------------------------------------------------------


def register(
    chain_id: str, whose: Whose, keys: KeyPair, *, custodial: bool = False, tag: bytes | None = None
) -> Act:
    """The registration with the owner's signature; the organisation sends it. `tag`: an identity tag;
    without one nobody looks this relation up by an identifier."""
    public, tag = keys.public, os.urandom(TAG_BYTES) if tag is None else tag
    payload = forms.registration(
        chain_id, whose.org, whose.handle, public.signing, public.box, custodial, (), 0, tag
    )
    return act(
        "identity",
        "register",
        handle=whose.handle,
        owner_key=public.signing,
        box_key=public.box,
        custodial=custodial,
        guardians=(),
        threshold=0,
        possessions=(),
        tag=tag,
        owner_signature=keys.signing.sign(payload),
    )


def rotate(chain_id: str, whose: Whose, new: KeyPair) -> Act:
    """New owner keys, named by those in force."""
    public = new.public
    proof = forms.possession(chain_id, whose.org, whose.handle, "rotate", public.box)
    return act(
        "identity",
        "rotate_key",
        org=whose.org,
        handle=whose.handle,
        new_key=public.signing,
        new_box_key=public.box,
        possession=new.signing.sign(proof),
    )


def claim(request: KeyRequest) -> Act:
    """The key that asks takes the place of the hospital's."""
    return _new_key("claim", request)


def recover(request: KeyRequest) -> Act:
    """Propose the key that asks."""
    return _new_key("recover_propose", request)


def about(method: str, whose: Whose, new_key: bytes) -> Act:
    """`recover_approve`, `recover_cancel`, `veto`: of the very key that is meant."""
    return act("identity", method, org=whose.org, handle=whose.handle, new_key=new_key)


def finish(whose: Whose) -> Act:
    return act("identity", "recover_finish", org=whose.org, handle=whose.handle)


def _new_key(method: str, request: KeyRequest) -> Act:
    assert request.box_key is not None, "a request for an owner key has one"
    return act(
        "identity",
        method,
        org=request.whose.org,
        handle=request.whose.handle,
        new_key=request.key,
        new_box_key=request.box_key,
        possession=request.possession,
    )


# -- friends ---------------------------------------------------------------------------------


def set_guardians(
    whose: Whose,
    entry: RelationEntry,
    kept: Collection[bytes],
    new: Sequence[KeyRequest],
    threshold: int,
) -> Act:
    """These guardians and no others; `new` have signed that they are."""
    words = {one.key: one.possession for one in new}
    keys = tuple(sorted({*kept, *words}))
    return act(
        "identity",
        "set_guardians",
        org=whose.org,
        handle=whose.handle,
        guardians=keys,
        threshold=threshold,
        possessions=tuple(words[key] for key in keys if key not in entry.guardians),
        generation=entry.generation,
    )


def without(entry: RelationEntry, key: bytes) -> tuple[bytes, ...]:
    """The guardians but this one. Raises `BadMessage` (UNKNOWN_GUARDIAN)."""
    if key not in entry.guardians:
        raise BadMessage(f"{key.hex()} is no guardian of this relation", code="UNKNOWN_GUARDIAN")
    return tuple(one for one in entry.guardians if one != key)


def add_delegate(request: KeyRequest, rights: Collection[Right], until_day: int) -> Act:
    """For the key that asks; only a custodial relation's needs a co-signature."""
    return act(
        "identity",
        "delegate_add",
        org=request.whose.org,
        handle=request.whose.handle,
        key=request.key,
        rights=tuple(sorted(set(rights))),
        until_day=until_day,
        possession=request.possession,
    )


def remove_delegate(whose: Whose, key: bytes) -> Act:
    return act("identity", "delegate_remove", org=whose.org, handle=whose.handle, key=key)


# -- terms -----------------------------------------------------------------------------------


def publish_terms(version: int, document: bytes) -> Act:
    """The next version of the sender's terms: of a public document only the hash."""
    return act("identity", "publish_terms", version=version, document=forms.terms_hash(document))


def accept_terms(whose: Whose, version: int) -> Act:
    return act("identity", "accept_terms", org=whose.org, handle=whose.handle, version=version)


# -- templates and cards ---------------------------------------------------------------------


def enrol(
    chain_id: str, whose: Whose, template: bytes, method: Method, device: bytes, owner: Signer
) -> Act:
    """`template`: its commitment. The owner signs that it is his; the hospital sends it."""
    payload = forms.enrolment(chain_id, whose.org, whose.handle, template, method.value, device)
    return act(
        "identity",
        "enrol_biometric",
        handle=whose.handle,
        template=template,
        method=method,
        device=device,
        owner_signature=owner.sign(payload),
    )


def compare(
    chain_id: str,
    org: str,
    template: bytes,
    number: int,
    session: bytes,
    device: Signer,
    *,
    matched: bool,
) -> Act:
    """The result of the device's comparison `number`, which the device signs."""
    payload = forms.match(chain_id, org, template, number, session, matched)
    return act(
        "identity",
        "compare_biometric",
        template=template,
        number=number,
        session=session,
        matched=matched,
        device_signature=device.sign(payload),
    )


def issue_card(chain_id: str, whose: Whose, secret: bytes) -> Act:
    key = card_key(secret)
    payload = forms.possession(chain_id, whose.org, whose.handle, "card")
    return act(
        "identity",
        "issue_card",
        org=whose.org,
        handle=whose.handle,
        card=key.public_key,
        possession=key.sign(payload),
    )


def end_card(whose: Whose, card: bytes) -> Act:
    """`card`: its public key."""
    return act("identity", "end_card", org=whose.org, handle=whose.handle, card=card)
