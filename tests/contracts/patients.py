"""A patient at one organisation, as the contracts see him: operations with all their signatures."""

from typing import Any

import msgspec

from contracts.access import TicketArgs
from contracts.consent import GrantArgs, RevokeArgs
from contracts.enrolment import CompareArgs, EnrolArgs
from contracts.identity import DelegateAddArgs, DelegateRemoveArgs, RegisterArgs
from contracts.recovery import RecoverArgs
from contracts.rotation import ClaimArgs, GuardiansArgs, RotateArgs
from salus import relation as forms
from salus.biometric import Method
from salus.codec import Wire, encode
from salus.keys import SigningKey, box_public_key
from salus.permit import Effect, Purpose, Reach, RecordClass
from salus.relation import DAY_MS, RelationEntry, relation_key
from salus.ticket import Ticket, own_request, ticket_key
from salus.transaction import Operation
from tests import factories
from tests.contracts.lab import Lab, h

TODAY = factories.TIME_MS // DAY_MS


class Patient:
    """`name` at `org`; the owner key is the factories' key of that name."""

    def __init__(
        self,
        chain: Lab,
        name: str = "ada",
        org: str = "hosp-a",
        guardians: tuple[str, ...] = (),
        threshold: int | None = None,
        custodial: bool = False,
    ) -> None:
        self.chain, self.name, self.org = chain, name, org
        self.handle = h(f"handle {name} {org}")
        self.owner = factories.key(name)
        self.guardians = tuple(sorted(factories.key(one).public_key for one in guardians))
        self.guardian_names = guardians
        self.threshold = len(guardians) if threshold is None else threshold
        self.custodial = custodial

    @property
    def entry(self) -> RelationEntry:
        found = self.chain.value(relation_key(self.org, self.handle), RelationEntry)
        assert isinstance(found, RelationEntry)
        return found

    # -- identity -------------------------------------------------------------------------------

    def register(self, *, with_tag: bytes | None = None, **changes: Any) -> Operation:
        """`with_tag`: another one, signed for; `changes`: what the signature does not know of."""
        args = RegisterArgs(
            handle=self.handle,
            owner_key=self.owner.public_key,
            box_key=box_public_key(factories.seed(f"box {self.name}")),
            custodial=self.custodial,
            guardians=self.guardians,
            threshold=self.threshold,
            possessions=self.guard_words(*self.guardian_names),
            tag=with_tag or h(f"tag {self.name} {self.org}"),
            owner_signature=bytes(64),
        )
        payload = forms.registration(
            factories.CHAIN_ID,
            self.org,
            args.handle,
            args.owner_key,
            args.box_key,
            args.custodial,
            args.guardians,
            args.threshold,
            args.tag,
        )
        signed = {"owner_signature": self.owner.sign(payload)} | changes
        return self.op("identity", "register", msgspec.structs.replace(args, **signed))

    def rotate(self, name: str, **changes: Any) -> Operation:
        key = factories.key(name)
        box = box_public_key(factories.seed(f"box {name}"))
        proof = self.possession(key, "rotate", box)
        args = RotateArgs(self.org, self.handle, key.public_key, box, proof)
        return self.op("identity", "rotate_key", msgspec.structs.replace(args, **changes))

    def claim(self, name: str, by: str | None = None) -> Operation:
        """`by`: who co-signs."""
        key = factories.key(name)
        box = box_public_key(factories.seed(f"box {name}"))
        proof = self.possession(key, "claim", box)
        args = ClaimArgs(self.org, self.handle, key.public_key, box, proof, None, None)
        return self.op("identity", "claim", cosign(args, "identity", "claim", by))

    def recover(self, name: str) -> Operation:
        key = factories.key(name)
        box = box_public_key(factories.seed(f"box {name}"))
        proof = self.possession(key, "recover", box)
        args = RecoverArgs(self.org, self.handle, key.public_key, box, proof)
        return self.op("identity", "recover_propose", args)

    def act(self, method: str, key: str | None = None) -> Operation:
        """`veto`, `recover_approve`, `recover_cancel`, `recover_finish`. `key`: the name of the new
        one that is meant, by default the one that waits."""
        fields: dict[str, Any] = {"org": self.org, "handle": self.handle}
        if method != "recover_finish":
            entry = self.entry
            recoveries = (entry.recovery, *entry.proposals)
            waits = entry.rotation if method == "veto" else next(filter(None, recoveries), None)
            found = h("none") if waits is None else waits.new_key
            fields["new_key"] = factories.key(key).public_key if key else found
        return self.chain.op("identity", method, **fields)

    def guard(
        self, *names: str, threshold: int, by: str | tuple[str, ...] = (), **changes: Any
    ) -> Operation:
        """`by`: who co-signs, one or several."""
        keys = tuple(sorted(factories.key(one).public_key for one in names))
        known = self.entry.guardians
        words = self.guard_words(
            *(one for one in names if factories.key(one).public_key not in known)
        )
        args = GuardiansArgs(
            self.org, self.handle, keys, threshold, words, self.entry.generation, (), ()
        )
        args = msgspec.structs.replace(args, **changes)
        payload = forms.cosigned(factories.CHAIN_ID, "identity", "set_guardians", 1, encode(args))
        friends = sorted(
            (factories.key(one) for one in ((by,) if isinstance(by, str) else by)),
            key=lambda key: key.public_key,
        )
        args = msgspec.structs.replace(
            args,
            cosigners=tuple(one.public_key for one in friends),
            cosignatures=tuple(one.sign(payload) for one in friends),
        )
        return self.op("identity", "set_guardians", args)

    def guard_words(self, *names: str) -> tuple[bytes, ...]:
        """The signatures of guardians, in the order of their keys."""
        keys = sorted((factories.key(one) for one in names), key=lambda key: key.public_key)
        return tuple(self.possession(key, "guardian") for key in keys)

    def delegate(
        self, name: str, *rights: str, until_day: int = TODAY + 30, **more: Any
    ) -> Operation:
        key = factories.key(name)
        args = DelegateAddArgs(
            self.org,
            self.handle,
            key.public_key,
            tuple(forms.Right(right) for right in rights),
            until_day,
            self.possession(key, "delegate"),
            None,
            None,
        )
        by = more.pop("by", None)
        args = msgspec.structs.replace(args, **more)
        return self.op("identity", "delegate_add", cosign(args, "identity", "delegate_add", by))

    def undelegate(self, name: str, by: str | None = None) -> Operation:
        """`by`: who co-signs."""
        key = factories.key(name).public_key
        args = DelegateRemoveArgs(self.org, self.handle, key, None, None)
        return self.op(
            "identity", "delegate_remove", cosign(args, "identity", "delegate_remove", by)
        )

    def enrol(self, template: str = "left thumb", device: str = "reader") -> Operation:
        key = factories.key(device).public_key
        payload = forms.enrolment(
            factories.CHAIN_ID, self.org, self.handle, h(template), "fingerprint", key
        )
        args = EnrolArgs(
            self.handle, h(template), Method.FINGERPRINT, key, self.owner.sign(payload)
        )
        return self.op("identity", "enrol_biometric", args)

    def compare(
        self, matched: bool, template: str = "left thumb", device: str = "reader", number: int = 1
    ) -> Operation:
        payload = forms.match(
            factories.CHAIN_ID, self.org, h(template), number, h("session"), matched
        )
        args = CompareArgs(
            h(template), number, h("session"), matched, factories.key(device).sign(payload)
        )
        return self.op("identity", "compare_biometric", args)

    # -- consent and access ---------------------------------------------------------------------

    def grant(
        self,
        permit: str,
        grantee: str = "hosp-b",
        classes: tuple[str, ...] = ("results",),
        by: str | None = None,
        **changes: Any,
    ) -> Operation:
        """`by`: who co-signs."""
        args = GrantArgs(
            org=self.org,
            handle=self.handle,
            permit=h(permit),
            grantee=grantee,
            effect=Effect.PERMIT,
            reach=Reach.ORGANISATION,
            purpose=Purpose.TREATMENT,
            classes=tuple(RecordClass(one) for one in classes),
            from_day=TODAY,
            until_day=TODAY + 90,
            terms=h(f"terms {permit}"),
            opening=h(f"sealed {permit}") * 16,
            cosigner=None,
            cosignature=None,
        )
        args = msgspec.structs.replace(args, **changes)
        return self.op("consent", "grant", cosign(args, "consent", "grant", by))

    def revoke(self, permit: str, by: str | None = None) -> Operation:
        """`by`: who co-signs."""
        args = RevokeArgs(self.org, self.handle, h(permit), None, None)
        return self.op("consent", "revoke", cosign(args, "consent", "revoke", by))

    def ticket(
        self,
        request: str,
        permit: str | None = None,
        requester: str = "hosp-b",
        classes: tuple[str, ...] = ("results",),
        owner: str | None = None,
        **changes: Any,
    ) -> Operation:
        """`owner`: whose key signs for his own view."""
        key = factories.key(owner) if owner else None
        args = TicketArgs(
            handle=self.handle,
            request_id=request_id(request),
            requester=requester,
            purpose=Purpose.PATIENT_REQUEST if owner else Purpose.TREATMENT,
            classes=tuple(RecordClass(one) for one in classes),
            permit=h(permit) if permit else None,
            narrowed=False,
            expiry_height=self.chain.executor.head.height + 10,
            records=h("records"),
            request=h(f"request {request}"),
            decision=h("decision"),
            care=h("care"),
            owner_key=key.public_key if key else None,
            owner_signature=None,
        )
        if key:
            args = msgspec.structs.replace(args, owner_signature=key.sign(self.asks(args)))
        return self.op("access", "ticket", msgspec.structs.replace(args, **changes))

    def asks(self, args: TicketArgs) -> bytes:
        """What the owner signs for this ticket."""
        return own_request(
            factories.CHAIN_ID,
            self.org,
            args.handle,
            args.request_id,
            args.requester,
            args.classes,
            args.expiry_height,
            args.records,
            args.request,
        )

    def decided(self, request: str) -> str:
        """The reason on the ticket that the state holds."""
        found = self.chain.value(ticket_key(self.org, request_id(request)), Ticket)
        assert isinstance(found, Ticket)
        assert found.permitted == (found.reason.value in ("PERMIT", "OWN_CARE", "OWN_REQUEST"))
        return found.reason.value

    def ask(self, request: str, *args: Any, **kwargs: Any) -> str:
        """A ticket in a block of its own: its reason, or the code of its refusal."""
        (code,) = self.chain.codes(self.ticket(request, *args, **kwargs), by=f"node {self.org}")
        return self.decided(request) if code == "OK" else code

    def possession(self, key: SigningKey, purpose: str, box_key: bytes | None = None) -> bytes:
        return key.sign(
            forms.possession(factories.CHAIN_ID, self.org, self.handle, purpose, box_key)
        )

    def op(self, contract: str, method: str, args: Wire) -> Operation:
        return self.chain.op(contract, method, args)


def request_id(label: str) -> bytes:
    return h(f"request id {label}")[:16]


def cosign(args: Any, contract: str, method: str, by: str | None) -> Any:
    """With the co-signature of the key of that name; None: as it is."""
    if by is None:
        return args
    key = factories.key(by)
    payload = forms.cosigned(factories.CHAIN_ID, contract, method, 1, encode(args))
    return msgspec.structs.replace(args, cosigner=key.public_key, cosignature=key.sign(payload))


def enter(chain: Lab, *patients: Patient) -> None:
    """Register them all."""
    for patient in patients:
        assert chain.codes(patient.register(), by=f"operator {patient.org}") == ["OK"]
