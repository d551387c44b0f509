"""From a contract's declaration to a command, and from operations to an outcome."""

import json
import sys
from enum import Enum, auto
from pathlib import Path
from typing import Any

import click
from msgspec import inspect as shapes

from cli.connect import connect, plain, short, waits
from cli.errors import CliError
from cli.group import Command
from cli.session import Session, pass_session
from contracts.framework import Method
from contracts.registry import Active
from salus.client import Client
from salus.errors import BadMessage
from salus.transaction import Operation, ParsedTransaction
from salus.wire_json import words

# A transaction is at most 64 kB by default; hex doubles it. Larger input is a mistake.
INPUT_BYTES_MAX = 4 * 2**20


class Outcome(Enum):
    """How far a command follows its transaction."""

    COMMIT = auto()
    HAND_OVER = auto()
    SIMULATE = auto()

    @classmethod
    def of(cls, *, dry_run: bool, no_wait: bool) -> "Outcome":
        return cls.SIMULATE if dry_run else cls.HAND_OVER if no_wait else cls.COMMIT


async def deliver(
    session: Session, client: Client, transaction: ParsedTransaction | bytes, outcome: Outcome
) -> None:
    """Simulate, hand over or commit, and say what came of it."""
    raw = transaction if isinstance(transaction, bytes) else transaction.raw
    match outcome:
        case Outcome.SIMULATE:
            answer = await client.api("POST", "/v1/txs/simulate", raw, "application/octet-stream")
            document = answer.decode(dict[str, Any])
            code = document.get("code")
            session.out.result(document, f"simulated at height {document.get('height')}: {code}")
            if code != "OK":
                click.get_current_context().exit(3)
        case Outcome.HAND_OVER:
            form = await client.submit(transaction)
            text = f"{form.state.value}  tx {form.tx_id}\nfollow: salus tx wait {form.tx_id}"
            session.out.result(plain(form), text)
        case Outcome.COMMIT:
            done = await client.commit(transaction)
            text = (
                f"{session.out.mark(True)} committed  tx {short(done.tx_id)}  block {done.height}"
                f"   proof: salus proof make {done.tx_id}"
            )
            session.out.result(plain(done.answer), text)


def method_command(method: Method) -> Command:
    """`salus tx CONTRACT METHOD`: one option per declared field."""
    options: list[click.Parameter] = [
        click.Option(
            [_option(field.name), field.name],
            metavar=_metavar(field.shape),
            help=f"{field.doc} ({words(field.shape)}; {field.publication.value}).",
        )
        for field in method.fields
    ]
    options += [
        click.Option(["--args", "arguments_"], metavar="JSON|@FILE", help="All fields at once."),
        click.Option(["--dry-run", "dry_run_"], is_flag=True, help="Simulate; send nothing."),
        click.Option(["--no-wait", "no_wait_"], is_flag=True, help="Do not wait for the outcome."),
    ]

    @pass_session
    @waits
    async def run(
        session: Session,
        arguments_: str | None,
        dry_run_: bool,
        no_wait_: bool,
        **given: str | None,
    ) -> None:
        document = _document(arguments_)
        shape_of = {field.name: field.shape for field in method.fields}
        for name, text in given.items():
            if text is not None:
                document[name] = _value(shape_of[name], text, _option(name))
        operation = method.operation(method.from_json(document))
        async with connect(session, sign=True) as client:
            built = await client.build([operation])
            await deliver(session, client, built, Outcome.of(dry_run=dry_run_, no_wait=no_wait_))

    return Command(method.name, callback=run, params=options, help=method.doc)


def operations_from(data: bytes, active: Active) -> tuple[Operation, ...]:
    """Operations from JSON by their declarations; raises `BadMessage` with the path."""
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError):
        raise BadMessage("operations: not JSON", code="BAD_ARGUMENT") from None
    entries = entries if isinstance(entries, list) else [entries]
    operations = []
    for number, entry in enumerate(entries):
        wanted = {"contract", "method", "args"}
        if not isinstance(entry, dict) or set(entry) != wanted:
            raise BadMessage(
                f"operations[{number}]: an object with contract, method and args",
                code="BAD_ARGUMENT",
            )
        method = active.method(str(entry["contract"]), str(entry["method"]))
        operations.append(method.operation(method.from_json(entry["args"])))
    if not operations:
        raise BadMessage("operations: at least one", code="BAD_ARGUMENT")
    return tuple(operations)


def read_input(file: str) -> bytes:
    """The bytes of a file, or of standard input for «-»; bounded."""
    if file == "-":
        data = sys.stdin.buffer.read(INPUT_BYTES_MAX + 1)
    else:
        with Path(file).open("rb") as stream:
            data = stream.read(INPUT_BYTES_MAX + 1)
    if len(data) > INPUT_BYTES_MAX:
        raise CliError("TOO_LARGE", f"{file}: more than {INPUT_BYTES_MAX} bytes")
    return data


def raw_transaction(data: bytes) -> bytes:
    """The wire bytes, also when they come as hex (which never begins a MessagePack array)."""
    text = data.strip()
    if text and all(byte in b"0123456789abcdefABCDEF" for byte in text) and len(text) % 2 == 0:
        return bytes.fromhex(text.decode())
    return data


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _metavar(shape: shapes.Type) -> str:
    match shape:
        case shapes.IntType():
            return "NUMBER"
        case shapes.BoolType():
            return "true|false"
        case shapes.BytesType():
            return "HEX"
        case shapes.VarTupleType():
            return "A,B,…"
        case shapes.EnumType(cls=cls):
            return "|".join(member.value for member in cls)
        case _:
            return "TEXT"


def _document(arguments: str | None) -> dict[str, Any]:
    if arguments is None:
        return {}
    try:
        given = read_input(arguments[1:]) if arguments.startswith("@") else arguments
        document = json.loads(given)
    except (ValueError, RecursionError):
        raise CliError("BAD_ARGUMENT", "--args: not JSON") from None
    if not isinstance(document, dict):
        raise CliError("BAD_ARGUMENT", "--args: a JSON object names the fields")
    return document


def _value(shape: shapes.Type, text: str, option: str) -> Any:
    """The JSON form of what was typed; the declaration judges it afterwards."""
    match shape:
        case shapes.IntType():
            if not (text.isascii() and text.isdigit() and len(text) <= 16):
                raise CliError("BAD_ARGUMENT", f"{option}: expected {words(shape)}")
            return int(text)
        case shapes.BoolType():
            return {"true": True, "false": False}.get(text, text)
        case shapes.VarTupleType(item_type=item):
            return [_value(item, part, option) for part in text.split(",") if part]
        case shapes.UnionType(types=(some, shapes.NoneType())):
            return None if text == "null" else _value(some, text, option)
        case shapes.BytesType():
            return text.lower()
        case _:
            return text
