"""An operation before it is signed: its arguments by name, and the co-signatures that it has so far.

The table says in which order a contract's method reads its arguments; a test holds it to the
contracts' own declarations, which this package does not know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salus import relation as forms
from salus.codec import encode
from salus.keys import Signer
from salus.transaction import Operation

VERSION = 1  # of every contract below

_RELATION = ("org", "handle")
_COSIGNED = ("cosigner", "cosignature")
_NEW_KEY = (*_RELATION, "new_key", "new_box_key", "possession")
_ABOUT_KEY = (*_RELATION, "new_key")
_OPT = (*_RELATION, "generation", *_COSIGNED)

FIELDS: Mapping[str, tuple[str, ...]] = {
    "consent.grant": (
        *_RELATION,
        "permit",
        "grantee",
        "effect",
        "reach",
        "purpose",
        "classes",
        "from_day",
        "until_day",
        "terms",
        "opening",
        *_COSIGNED,
    ),
    "consent.revoke": (*_RELATION, "permit", *_COSIGNED),
    "emergency.open": (*_RELATION, "nonce", "details"),
    "emergency.cosign": ("case",),
    "emergency.justify": ("case", "justification"),
    "emergency.review": ("case", "verdict", "grounds"),
    "emergency.dispute": ("case", "statement"),
    "emergency.deposit": (*_RELATION, "summary", "holders", "threshold", "generation", *_COSIGNED),
    "emergency.opt_out": _OPT,
    "emergency.opt_in": _OPT,
    "erasure.request": (*_RELATION, "case", "records", "reason", *_COSIGNED),
    "erasure.begin": ("org", "case"),
    "erasure.cancel": ("org", "case"),
    "erasure.receipt": ("org", "case", "reply", "reason"),
    "identity.register": (
        "handle",
        "owner_key",
        "box_key",
        "custodial",
        "guardians",
        "threshold",
        "possessions",
        "tag",
        "owner_signature",
    ),
    "identity.delegate_add": (*_RELATION, "key", "rights", "until_day", "possession", *_COSIGNED),
    "identity.delegate_remove": (*_RELATION, "key", *_COSIGNED),
    "identity.publish_terms": ("version", "document"),
    "identity.accept_terms": (*_RELATION, "version"),
    "identity.enrol_biometric": ("handle", "template", "method", "device", "owner_signature"),
    "identity.compare_biometric": ("template", "number", "session", "matched", "device_signature"),
    "identity.withdraw_biometric": ("org", "template"),
    "identity.issue_card": (*_RELATION, "card", "possession"),
    "identity.end_card": (*_RELATION, "card"),
    "identity.rotate_key": _NEW_KEY,
    "identity.veto": _ABOUT_KEY,
    "identity.set_guardians": (
        *_RELATION,
        "guardians",
        "threshold",
        "possessions",
        "generation",
        "cosigners",
        "cosignatures",
    ),
    "identity.claim": (*_NEW_KEY, *_COSIGNED),
    "identity.recover_propose": _NEW_KEY,
    "identity.recover_approve": _ABOUT_KEY,
    "identity.recover_cancel": _ABOUT_KEY,
    "identity.recover_finish": _RELATION,
    "members.staff_register": (
        "org",
        "handle",
        "key",
        "roles",
        "qualification",
        "from_ms",
        "until_ms",
        "possession",
    ),
    "members.staff_revoke": ("handle",),
    "members.offer": ("services", "sites", "surfaces"),
}

_NONE_YET: Mapping[str, Any] = {
    "cosigner": None,
    "cosignature": None,
    "cosigners": (),
    "cosignatures": (),
}


@dataclass(frozen=True, slots=True)
class Act:
    """`args`: by name, in the order of the method."""

    contract: str
    method: str
    args: Mapping[str, Any]

    @property
    def operation(self) -> Operation:
        values = tuple(self.args.values())
        return Operation(self.contract, self.method, VERSION, encode(values))

    @property
    def takes_cosignatures(self) -> bool:
        return "cosigner" in self.args or "cosigners" in self.args

    def cosigned(self, chain_id: str, signer: Signer) -> "Act":
        """With one co-signature more, or in the place of the only one that there can be (rule I-6)."""
        assert self.takes_cosignatures, f"{self.contract}.{self.method} takes none"
        bare = {name: _NONE_YET.get(name, value) for name, value in self.args.items()}
        payload = forms.cosigned(
            chain_id, self.contract, self.method, VERSION, encode(tuple(bare.values()))
        )
        key, signature = signer.public_key, signer.sign(payload)
        if "cosigner" in bare:
            changed: dict[str, Any] = {"cosigner": key, "cosignature": signature}
        else:
            known = zip(self.args["cosigners"], self.args["cosignatures"], strict=True)
            both = sorted((dict(known) | {key: signature}).items())
            changed = {
                "cosigners": tuple(one for one, _ in both),
                "cosignatures": tuple(one for _, one in both),
            }
        return Act(self.contract, self.method, {**bare, **changed})


def act(contract: str, method: str, /, **args: Any) -> Act:
    """All arguments of the method by name; co-signatures may be left out, for they come later."""
    fields = FIELDS[f"{contract}.{method}"]
    given = {**{name: _NONE_YET[name] for name in fields if name in _NONE_YET}, **args}
    assert set(given) == set(fields), f"{contract}.{method} has {', '.join(fields)}"
    return Act(contract, method, {name: given[name] for name in fields})
