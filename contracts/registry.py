"""Which contracts there are, and which of them are in force in an epoch (S13).

Law of the file: what software knows (`Registry`) and what the consortium has chosen (`Active`) are
two things; a node that lacks what was chosen stops, and never guesses.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from contracts import fields
from contracts.context import Identity
from contracts.errors import (
    BAD_ARGUMENTS,
    BAD_OPERATION,
    UNKNOWN_CONTRACT,
    UNKNOWN_METHOD,
    UNKNOWN_QUERY,
    WRONG_VERSION,
    BadDeclaration,
)
from contracts.framework import Contract, Method
from contracts.state import Read, ReadState
from salus import wire_json
from salus.codec import Uint, Wire, decode, decode_all
from salus.errors import BadMessage
from salus.forms import ContractForm, FieldForm, MethodForm, QueryDeclaration
from salus.parameters import ContractVersion
from salus.transaction import Operation
from salus.validators import ValidatorSet


class Membership(NamedTuple):
    """What the node must know from the contract that keeps the members."""

    contract: str
    identify: Callable[[ReadState, bytes, int], Identity | None]  # key, block time in ms
    validator_set: Callable[[ReadState, int], ValidatorSet]  # epoch


class Registry:
    """All contracts that this software knows, in all versions it can still execute."""

    def __init__(self, contracts: Iterable[Contract], membership: Membership) -> None:
        self.contracts: dict[tuple[str, int], Contract] = {}
        for contract in contracts:
            key = (contract.name, contract.version)
            if key in self.contracts:
                raise BadDeclaration(f"{contract.name} version {contract.version} twice")
            self.contracts[key] = contract
        self.membership = membership

    def activate(self, versions: Iterable[ContractVersion]) -> "Active":
        """The contracts of an epoch; raises `BadMessage` if this software lacks one."""
        active: dict[str, Contract] = {}
        for wanted in versions:
            contract = self.contracts.get((wanted.contract, wanted.version))
            if contract is None:
                raise BadMessage(
                    f"this software has no contract {wanted.contract} version {wanted.version}",
                    code=UNKNOWN_CONTRACT,
                )
            active[wanted.contract] = contract
        return Active(active, self.membership)


class _Call(Wire, frozen=True):
    """`Operation` without the patterns of its words, which cost more than the rest: what names an
    active contract and one of its methods consists of words."""

    contract: str
    method: str
    version: Uint
    args: bytes


class Active:
    """The contracts in force in one epoch: dispatch, descriptions, queries."""

    def __init__(self, contracts: dict[str, Contract], membership: Membership) -> None:
        self.contracts, self.membership = contracts, membership
        self._methods = {
            (contract.name, method.name, contract.version): method
            for contract in contracts.values()
            for method in contract.methods.values()
        }

    def find(self, operation: Operation) -> Method:
        """The method of an operation; raises `BadMessage` with the code of its receipt."""
        contract = self.contracts.get(operation.contract)
        if contract is None:
            raise BadMessage("no such contract is active", code=UNKNOWN_CONTRACT)
        if operation.version != contract.version:
            raise BadMessage(
                f"version {contract.version} of {contract.name} is active",
                code=WRONG_VERSION,
                active=contract.version,
            )
        method = contract.methods.get(operation.method)
        if method is None:
            known = ", ".join(contract.methods)
            raise BadMessage(f"{contract.name} has the methods {known}", code=UNKNOWN_METHOD)
        return method

    def dispatch(self, raw_operation: bytes) -> tuple[Method, bytes]:
        """The method of an operation on the wire, and its encoded arguments; raises `BadMessage`
        with the code of the receipt: BAD_OPERATION, or as `find`."""
        try:
            call = decode(raw_operation, _Call)
        except BadMessage as error:
            raise BadMessage(error.message, code=BAD_OPERATION) from None
        method = self._methods.get((call.contract, call.method, call.version))
        if method is not None:
            return method, call.args
        try:
            operation = decode(raw_operation, Operation)
        except BadMessage as error:
            raise BadMessage(error.message, code=BAD_OPERATION) from None
        return self.find(operation), operation.args

    def method(self, contract: str, name: str) -> Method:
        """By name, for whoever builds an operation; raises `BadMessage`."""
        version = self.contracts[contract].version if contract in self.contracts else 0
        return self.find(Operation(contract, name, version, b""))

    def check(self, raw_operation: bytes) -> tuple[Method, Wire]:
        """All that can be said of an operation without state; raises `BadMessage`."""
        method, args = self.dispatch(raw_operation)
        try:
            return method, method.decode(args)
        except BadMessage as error:
            raise BadMessage(error.message, code=BAD_ARGUMENTS) from None

    def check_all(self, raw_operations: Sequence[bytes]) -> list[tuple[Method, Wire]]:
        """As `check` for each of them; several cost less than half of what they do one by one."""
        if len(raw_operations) == 1:
            return [self.check(raw_operations[0])]
        try:
            calls = decode_all(raw_operations, [_Call] * len(raw_operations))
            found = [self._methods[call.contract, call.method, call.version] for call in calls]
            args = decode_all([call.args for call in calls], [method.args for method in found])
        except (BadMessage, KeyError):
            return [self.check(raw) for raw in raw_operations]  # one by one: which, and why?
        return list(zip(found, args, strict=True))

    def methods(self) -> list[Method]:
        """For the CLI and the SDK: `salus tx CONTRACT METHOD`."""
        return [method for c in self.contracts.values() for method in c.methods.values()]

    def declarations(self) -> tuple[ContractForm, ...]:
        """For `GET /v1/contracts`."""
        return tuple(_form(contract) for contract in self.contracts.values())

    def decoded(self, operation: Operation) -> dict[str, Any] | None:
        """The arguments by field name, JSON-ready; None if they do not decode."""
        try:
            method = self.find(operation)
            document: dict[str, Any] = wire_json.to_json(method.decode(operation.args))
        except BadMessage:
            return None
        return document

    def query(self, read: Read, contract: str, name: str, arguments: Mapping[str, Any]) -> Any:
        """JSON-ready answer from a state; raises `BadMessage` UNKNOWN_QUERY or BAD_ARGUMENTS."""
        found = self.contracts.get(contract)
        query = found.queries.get(name) if found else None
        if query is None:
            raise BadMessage("no such query", code=UNKNOWN_QUERY)
        args = wire_json.from_json(query.args, dict(arguments))
        return wire_json.to_json(query.answer(ReadState(read, contract), args))


def _form(contract: Contract) -> ContractForm:
    return ContractForm(
        contract.name,
        contract.version,
        contract.doc,
        tuple(
            MethodForm(
                m.name,
                m.version,
                m.doc,
                tuple(capacity.value for capacity in m.senders) or ("anyone",),
                tuple(
                    FieldForm(f.name, wire_json.words(f.shape), f.publication.value, f.doc)
                    for f in m.fields
                ),
            )
            for m in contract.methods.values()
        ),
        tuple(
            QueryDeclaration(
                q.name,
                q.doc,
                tuple(
                    FieldForm(f.name, wire_json.words(f.type), "public", "")
                    for f in fields.struct_fields(q.args)
                ),
            )
            for q in contract.queries.values()
        ),
    )
