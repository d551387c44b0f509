"""Operations and their arguments, of every contract in every version; the JSON forms of them."""

import json
from typing import Any

from hypothesis import strategies as st

from contracts.catalogue import registry
from contracts.errors import CONTRACT_FAULT
from contracts.framework import Method, Query
from salus import wire_json
from salus.codec import Wire, decode, encode
from salus.errors import BadMessage
from salus.transaction import Operation
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.shapes import simplest, values_of

CONTRACTS = [registry().contracts[key] for key in sorted(registry().contracts)]
METHODS = [method for contract in CONTRACTS for method in contract.methods.values()]
QUERIES = [query for contract in CONTRACTS for query in contract.queries.values()]
ACTIVE = samples.ledger().executor.active


def arguments(method: Method) -> Decoder:
    return Decoder(
        f"args-{method.contract}-{method.version}-{method.name}",
        ("contracts.framework:Method.decode",),
        method.decode,
        lambda: [encode(simplest(method.args))],
        values=values_of(method.args).map(encode),
        encode=encode,
    )


def json_arguments(called: Method | Query) -> Decoder:
    """As the API, the CLI and the SDK take them."""

    def read(data: bytes) -> Any:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            raise BadMessage("not JSON", code="BAD_REQUEST") from None
        return wire_json.from_json(called.args, document)

    def written(value: Wire) -> bytes:
        return json.dumps(wire_json.to_json(value)).encode()

    return Decoder(
        f"json-{called.contract}-{called.version}-{called.name}",
        ("salus.wire_json:from_json", "salus.wire_json:_read"),
        read,
        lambda: [written(simplest(called.args))],
        values=values_of(called.args).map(written),
        form="json",
        memory_factor=160,
    )


def operation(data: bytes) -> Any:
    """What admission says of an operation without state, and what the API shows of it."""
    method, args = ACTIVE.check(data)
    assert ACTIVE.decoded(decode(data, Operation)) == wire_json.to_json(args)
    return method.name, args


def executed(data: bytes) -> tuple[str, ...]:
    """One operation, whatever its bytes, in the next block: each has a receipt, and no contract
    fails (rule S16)."""
    _, receipts = samples.ledger().executor.simulate(samples.around(data))
    codes = tuple(receipt.code for receipt in receipts)
    assert len(codes) == 1
    assert CONTRACT_FAULT not in codes, receipts
    return codes


def calls() -> list[bytes]:
    """Each method with the simplest arguments, from an operator: most are refused by state."""
    return [encode(method.operation(simplest(method.args))) for method in METHODS]


DECODERS = (
    *(arguments(method) for method in METHODS),
    *(json_arguments(called) for called in (*METHODS, *QUERIES)),
    Decoder(
        "operation",
        (
            "contracts.registry:Active.dispatch",
            "contracts.registry:Active.check",
            "contracts.registry:Active.decoded",
        ),
        operation,
        lambda: [encode(Operation("records", "anchor", 1, samples.ANCHOR))],
        values=values_of(Operation).map(encode),
    ),
    Decoder(
        "execution",
        ("contracts.runtime:Runtime._operation", "contracts.state:ReadState.get"),
        executed,
        calls,
        values=st.one_of([values_of(method.args).map(method.operation) for method in METHODS]).map(
            encode
        ),
        slow=True,
    ),
)
