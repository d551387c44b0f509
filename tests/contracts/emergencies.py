"""Clinicians and cases, as the contract sees them: operations by the factories' keys."""

from typing import Any

import msgspec

from contracts.emergency_summary import DepositArgs, OptArgs
from contracts.members import StaffRegisterArgs
from salus.emergency import (
    NEW,
    NOBODY,
    Case,
    Clinician,
    Standing,
    Summary,
    case_id,
    case_key,
    clinician_key,
    standing_key,
    summary_key,
)
from salus.emergency_forms import EmergencyRequest
from salus.staff import StaffRole
from salus.transaction import Operation
from tests import factories
from tests.contracts.lab import Lab, h, parameters, possession_of
from tests.contracts.patients import Patient, cosign, enter

ALL = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")
FOREVER_MS = 2**53 - 1


class Ward:
    """A chain with a patient at hosp-a who deposited a summary, and one clinician anywhere else:
    `doc hosp-b` with the role emergency, and so on."""

    def __init__(self, members: tuple[str, ...] = ALL, **patient: Any) -> None:
        self.chain = Lab(factories.genesis(len(members), parameters=parameters()))
        self.ada = Patient(self.chain, **patient)
        enter(self.chain, self.ada)
        for org in members:
            self.employ(f"doc {org}", org, StaffRole.CLINICIAN, StaffRole.EMERGENCY)
        assert self.run(self.deposit(members), by="ada") == "OK"

    def run(self, operation: Operation, by: str) -> str:
        (code,) = self.chain.codes(operation, by=by)
        return code

    def employ(self, name: str, org: str, *roles: StaffRole) -> None:
        args = StaffRegisterArgs(
            org,
            h(name),
            factories.key(name).public_key,
            roles,
            h("licence"),
            0,
            FOREVER_MS,
            possession_of(name, org, h(name)),
        )
        operation = self.chain.op("members", "staff_register", args)
        assert self.run(operation, by=f"operator {org}") == "OK"

    def deposit(
        self, holders: tuple[str, ...] = ALL, threshold: int = 2, by: str | None = None
    ) -> Operation:
        ada = self.ada
        args = DepositArgs(
            ada.org, ada.handle, h("summary"), holders, threshold, self.next(), None, None
        )
        return self.chain.op("emergency", "deposit", cosign(args, "emergency", "deposit", by))

    def opt(self, method: str, by: str | None = None) -> Operation:
        args = OptArgs(self.ada.org, self.ada.handle, self.next(), None, None)
        return self.chain.op("emergency", method, cosign(args, "emergency", method, by))

    def next(self) -> int:
        """The generation after the newest of the summary."""
        found = self.chain.value(summary_key(self.ada.org, self.ada.handle), Summary)
        return 1 if found is None else found.generation + 1

    def opening(self, name: str) -> Operation:
        return self.chain.op(
            "emergency",
            "open",
            org=self.ada.org,
            handle=self.ada.handle,
            nonce=h(f"nonce {name}"),
            details=h("details"),
        )

    def open(self, name: str, by: str = "doc hosp-b") -> str:
        """In a block of its own; the code."""
        return self.run(self.opening(name), by)

    def id(self, name: str, doctor: str = "doc hosp-b") -> bytes:
        patient = self.ada.org, self.ada.handle
        return case_id(patient, doctor.split()[1], h(doctor), h(f"nonce {name}"))

    def case(self, name: str, doctor: str = "doc hosp-b") -> Case:
        found = self.chain.value(case_key(self.id(name, doctor)), Case)
        assert isinstance(found, Case)
        return found

    def act(self, method: str, name: str, by: str, doctor: str = "doc hosp-b", **named: Any) -> str:
        """`cosign`, `justify`, `review`, `dispute`."""
        fields = {"case": self.id(name, doctor)}
        match method:
            case "justify":
                fields["justification"] = h("justification")
            case "review":
                named = {"grounds": h("grounds")} | named
            case "dispute":
                fields["statement"] = h("statement")
        return self.run(self.chain.op("emergency", method, **fields, **named), by)

    def request(self, name: str, doctor: str = "doc hosp-b") -> EmergencyRequest:
        return EmergencyRequest(
            factories.CHAIN_ID,
            self.ada.org,
            self.ada.handle,
            doctor.split()[1],
            h(doctor),
            h(f"nonce {name}"),
            h("details"),
            h("release key"),
        )

    def defer(self, name: str, by: str, doctor: str = "doc hosp-b", **changes: Any) -> str:
        request, key = self.request(name, doctor), factories.key(doctor)
        operation = self.chain.op(
            "emergency",
            "deferred",
            **{
                "org": request.org,
                "handle": request.handle,
                "opener": request.opener,
                "key": key.public_key,
                "nonce": request.nonce,
                "details": request.details,
                "release_key": request.release_key,
                "signature": key.sign(request.payload()),
                "released_ms": factories.TIME_MS,
            }
            | changes,
        )
        return self.run(operation, by)

    def pass_block(self) -> None:
        self.chain.null()
        self.chain.certify()

    def later(self, ms: int) -> None:
        """So long after the first block."""
        self.chain.later_ms = ms
        self.pass_block()

    def standing(self, org: str) -> Standing:
        found = self.chain.value(standing_key(org), Standing)
        assert found is None or isinstance(found, Standing)
        return found or NEW

    def clinician(self, doctor: str) -> Clinician:
        found = self.chain.value(clinician_key(doctor.split()[1], h(doctor)), Clinician)
        assert found is None or isinstance(found, Clinician)
        return found or NOBODY

    def ask(self, query: str, **arguments: Any) -> Any:
        executor = self.chain.executor
        return executor.active.query(executor.read, "emergency", query, arguments)


def changed(of: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(of, **fields)
