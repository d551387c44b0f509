"""Files and arguments that a person gives to the command line: cli/."""

import json
from dataclasses import asdict
from typing import Any

from cli.ceremony import read_cards
from cli.commands.verify import _checkpoint, hash_of, read_trust
from cli.errors import CliError
from cli.home import NodeHome, TestnetNode, read_testnet
from cli.keyfiles import public_key_of, read_password
from cli.transactions import _document, operations_from, raw_transaction
from salus.errors import SalusError
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.decoders.disk import key_files
from tests.fuzz.decoders.edge import CONFIG, written
from tests.fuzz.decoders.execution import ACTIVE
from tests.fuzz.decoders.ledger import text
from tests.salus.test_join import TEXT

ERRORS = (CliError, SalusError)
HASH = samples.GENESIS.hash().hex()
NODE = TestnetNode("node-0", 1, "http://127.0.0.1:1", "/a", "sal1", "127.0.0.1:2")


def home(data: bytes, name: str) -> NodeHome:
    return NodeHome(written(data, name).parent)


def settings(data: bytes) -> Any:
    found = home(data, "node.toml")
    return found.settings(), found.setting("api", "listen", "x"), found.api_url()


def member(data: bytes) -> Any:
    return home(data, "join.json").member()


def testnet(data: bytes) -> Any:
    return read_testnet(written(data, "testnet.json").parent)


def trust(data: bytes) -> Any:
    digest, pin = read_trust(written(data, "trust.json"))
    return hash_of(digest, "genesis"), _checkpoint(pin, "checkpoint")


def cards(data: bytes) -> Any:
    ((card, _),) = read_cards([written(data, "join.json")])
    return card


def described() -> bytes:
    nodes = [asdict(NODE)]
    return json.dumps({"chain_id": "a-chain", "genesis_hash": HASH, "nodes": nodes}).encode()


def arguments(data: bytes) -> Any:
    """«@FILE» names a file: which one there is, and what the system says of it, is not at stake."""
    if data.startswith(b"@"):
        raise CliError("BAD_ARGUMENT", "a file")
    return _document(text(data))


OPERATION = {
    "contract": "records",
    "method": "anchor",
    "args": {"root": "00" * 32, "leaves": 1, "author": "00" * 32, "context": "00" * 32},
}

DECODERS = (
    Decoder(
        "cli-settings",
        (),
        settings,
        lambda: [CONFIG.read_bytes(), b'[api]\nlisten = "127.0.0.1:7480"\n'],
        errors=ERRORS,
        form="text",
        memory_factor=400,
        slow=True,
    ),
    Decoder(
        "cli-member",
        ("cli.home:NodeHome.member",),
        member,
        lambda: [TEXT.encode(), b""],
        errors=ERRORS,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "cli-testnet",
        ("cli.home:read_testnet",),
        testnet,
        lambda: [described()],
        errors=ERRORS,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "cli-trust",
        ("cli.commands.verify:read_trust", "cli.commands.verify:hash_of"),
        trust,
        lambda: [json.dumps({"genesis": HASH, "checkpoint": f"3:{HASH}"}).encode()],
        errors=ERRORS,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "cli-cards",
        (),
        cards,
        lambda: [TEXT.encode()],
        errors=ERRORS,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "cli-operations",
        ("cli.transactions:operations_from",),
        lambda data: operations_from(data, ACTIVE),
        lambda: [json.dumps(OPERATION).encode(), json.dumps([OPERATION, OPERATION]).encode()],
        errors=ERRORS,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "cli-arguments",
        ("cli.transactions:_document",),
        arguments,
        lambda: [json.dumps(OPERATION["args"]).encode(), b"{}"],
        errors=ERRORS,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "cli-transaction",
        ("cli.transactions:raw_transaction",),
        raw_transaction,
        lambda: [samples.transactions()[0].raw, samples.transactions()[0].raw.hex().encode()],
        errors=ERRORS,
        form="bytes",
    ),
    Decoder(
        "cli-password",
        ("cli.keyfiles:read_password",),
        lambda data: read_password(written(data, "password")),
        lambda: [b"a password\n", b"a password"],
        errors=ERRORS,
        form="text",
    ),
    Decoder(
        "cli-public-key",
        ("cli.keyfiles:public_key_of",),
        lambda data: public_key_of(written(data, "public.json")),
        key_files,
        errors=ERRORS,
        form="json",
        memory_factor=160,
    ),
)
