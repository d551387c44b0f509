"""`salus tx`: the commands of a contract come from its declaration and nothing else."""

import json
from pathlib import Path

import click
import pytest

from cli.commands.tx import tx
from cli.transactions import raw_transaction
from contracts.catalogue import registry
from salus.genesis import GENESIS_VERSION, NO_PEPPER, Genesis, Member, Role, to_json
from salus.keys import SigningKey
from salus.keystore import Kdf, write
from salus.parameters import Parameters
from tests.cli.conftest import PASSWORD, Salus

ACTIVE = registry().activate(Parameters().contracts)
CHEAP = Kdf(passes=1, memory_bytes=8192)


@pytest.mark.parametrize("method", ACTIVE.methods(), ids=lambda m: f"{m.contract}.{m.name}")
def test_every_declared_method_has_a_command_with_its_fields(method: object) -> None:
    from contracts.framework import Method

    assert isinstance(method, Method)
    context = click.Context(tx)
    contract = tx.get_command(context, method.contract)
    assert isinstance(contract, click.Group)
    command = contract.get_command(context, method.name)
    assert command is not None
    options = {name for parameter in command.params for name in parameter.opts}
    assert {"--" + field.name.replace("_", "-") for field in method.fields} <= options
    assert command.help == method.doc


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--root", "00"], "missing"),
        (["--root", "zz" * 32, "--leaves", "1", "--author", "0", "--context", "0"], "root"),
        (["--leaves", "many"], "--leaves: expected an integer"),
        (["--args", "[1]"], "a JSON object"),
        (["--args", "{"], "not JSON"),
        (["--args", '{"patient": "x"}'], "unknown field"),
    ],
)
def test_bad_fields_are_named_and_their_content_is_not(
    salus: Salus, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = salus("tx", "records", "anchor", *arguments, "--home", tmp_path)
    assert result.code == 65
    assert words in result.err
    assert "zz" not in result.err


@pytest.fixture
def offline(tmp_path: Path) -> tuple[Path, Path]:
    """A key file with its password beside it, and a genesis file."""
    keys = tmp_path / "home" / "keys"
    write(keys / "operator.json", b"\1" * 32, PASSWORD, kind="operator", kdf=CHEAP)
    (keys / "password").write_text(PASSWORD + "\n")
    (keys / "password").chmod(0o600)
    member = Member(
        "hosp-a", "A", (Role.HOSPITAL,), True,
        SigningKey.from_seed(b"\2" * 32).public_key,
        SigningKey.from_seed(b"\1" * 32).public_key,
        b"\3" * 32,
    )  # fmt: skip
    genesis = tmp_path / "genesis.json"
    founding = Genesis(GENESIS_VERSION, "test-net", 1, (member,), Parameters(), NO_PEPPER)
    genesis.write_text(to_json(founding))
    return keys / "operator.json", genesis


def test_a_transaction_is_signed_without_a_network_and_decoded_again(
    salus: Salus, tmp_path: Path, offline: tuple[Path, Path]
) -> None:
    key, genesis = offline
    arguments = {"root": "11" * 32, "leaves": 1, "author": "22" * 32, "context": "33" * 32}
    operations = tmp_path / "operations.json"
    operations.write_text(
        json.dumps({"contract": "records", "method": "anchor", "args": arguments})
    )
    target = tmp_path / "tx.bin"
    signed = salus(
        "tx", "sign", operations, "-o", target, "--genesis", genesis,
        "--expiry-height", "100", "--as", key, "--home", tmp_path, "--json",
    )  # fmt: skip
    assert signed.code == 0, signed.out
    decoded = salus("tx", "decode", target, "--json").document
    assert decoded["chain_id"] == "test-net"
    assert decoded["expiry_height"] == 100
    assert decoded["operations"][0]["decoded"] == arguments
    again = salus(
        "tx", "sign", operations, "-o", target, "--genesis", genesis,
        "--expiry-height", "100", "--as", key, "--home", tmp_path,
    )  # fmt: skip
    assert again.code == 73


def test_a_signed_transaction_is_taken_as_bytes_and_as_hex() -> None:
    raw = bytes([0x99, 0x01, 0xFF])
    assert raw_transaction(raw) == raw
    assert raw_transaction(raw.hex().encode() + b"\n") == raw


def test_bytes_that_are_no_transaction_are_bad_input(salus: Salus, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x93garbage")
    result = salus("tx", "decode", path, "--json")
    assert result.code == 65
    assert result.document["error"]["code"] == "NOT_CANONICAL"
