"""Golden transcripts: what each operation says and what it leaves in state, as text.

One block per command. `NAME` is 32 bytes that stand for it; `root(a,b)`, `path(a;a,b)`,
`version(a)`, `tag(a)`, `tag_hash(a)` make batches of versions; `possession(key,org,HANDLE)` and `proved(key,member,capacity)` sign;
`header(N)` is the hash of that header; fields that may be null and are left out are null; `+` joins
operations of one transaction, a leading `independent` lets each stand alone. `pytest --rewrite` writes what the code now says.
"""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.inspect import UnionType

from contracts import fields
from contracts.fields import from_json
from node.executor import Executor
from salus.block import Receipt
from salus.codec import decode
from salus.epoch import EPOCH_STATE_KEY, EpochRecord
from salus.keys import box_public_key
from salus.record import tag_hash
from salus.transaction import Operation
from tests import factories
from tests.contracts.lab import Lab, h, possession_of, proof_of
from tests.contracts.test_records import Batch

FILES = sorted((Path(__file__).parent / "golden").glob("*.txt"))

_CALL = re.compile(r"(\w+)\(([^)]*)\)")


def _known(word: str) -> object:
    """The JSON value that a word of a command stands for."""
    call = _CALL.fullmatch(word)
    if call is None:
        if word.isdigit():
            return int(word)
        if word in ("true", "false"):
            return word == "true"
        return h(word).hex() if word.isupper() else word
    kind, inside = call[1], call[2].replace("_", " ")
    versions = inside.rpartition(";")[2].split(",")
    match kind:
        case "root":
            return Batch(*versions).root.hex()
        case "path":
            path = Batch(*versions)._version(inside.partition(";")[0])["path"]
            return [node.hex() for node in path]
        case "version" | "tag":
            return h(f"{kind} {inside}").hex()
        case "tag_hash":
            return tag_hash(h(f"tag {inside}")).hex()
        case "possession":
            name, org, handle = inside.split(",")
            return possession_of(name, org, h(handle)).hex()
        case "proved":
            name, member, capacity = inside.split(",")
            return proof_of(name, member, capacity).hex()
        case "box":
            return box_public_key(factories.seed(inside)).hex()
        case "key":
            return factories.key(inside).public_key.hex()
        case "time":
            return factories.TIME_MS + int(inside)
        case "list":
            return versions if inside else []
    raise AssertionError(f"{word}: not a word of transcripts")


def operation_of(executor: Executor, text: str) -> Operation:
    """`contract.method name=word …`"""
    name, *words = text.split()
    contract, _, method = name.partition(".")
    declared = executor.active.method(contract, method)
    document: dict[str, object] = {
        field.name: None for field in declared.fields if isinstance(field.shape, UnionType)
    }
    for key, _, value in (word.partition("=") for word in words):
        call = _CALL.fullmatch(value)
        if call is not None and call[1] == "header":
            document[key] = executor.reader.header(int(call[2])).hash().hex()
        else:
            document[key] = _known(value)
    return declared.operation(from_json(declared.args, document))


class Transcript:
    def __init__(self) -> None:
        self.chain = Lab()
        self.transactions: list[str] = []  # ids: they depend on the genesis, their numbers do not

    def run(self, command: str) -> str:
        text = self._run(command)
        for number, tx_id in enumerate(self.transactions, 1):
            text = text.replace(tx_id, f"transaction-{number}")
        return _short(text)

    def _run(self, command: str) -> str:
        """One command: a transaction in a block of its own, `blocks N`, or `query …`."""
        chain = self.chain
        if command.startswith("blocks "):
            for _ in range(int(command.split()[1])):
                chain.null()
                chain.certify()
            return self._standing()
        if command.startswith("query "):
            _, name, *words = command.split()
            contract, _, query = name.partition(".")
            document = {k: _known(v) for k, _, v in (word.partition("=") for word in words)}
            answer = chain.executor.active.query(chain.executor.read, contract, query, document)
            return msgspec.json.encode(answer).decode()
        independent = command.startswith("independent ")
        who, _, rest = command.removeprefix("independent ").partition(": ")
        operations = [operation_of(chain.executor, text) for text in rest.split(" + ")]
        before = chain.dump()
        number = len(self.transactions) + 1
        tx = chain.tx(*operations, by=who, independent=independent, number=number)
        self.transactions.append(tx.id.hex())
        executed = chain.block(tx)
        lines = [self._standing()]
        for receipt in executed.receipts:
            lines += _receipt_lines(receipt)
        after = chain.dump()
        for key in sorted(after):
            if before.get(key) != after[key]:
                lines.append(f"  state {_key(key)} = {_value(key, after[key])}")
        return "\n".join(lines)

    def _standing(self) -> str:
        executor = self.chain.executor
        end = f", ends at {executor.epoch.end}" if executor.epoch.end else ""
        return f"height {executor.head.height}, epoch {executor.epoch.epoch}{end}"


def _receipt_lines(receipt: Receipt) -> list[str]:
    facts = "".join(f" {name}={fact}" for name, fact in receipt.facts.items())
    lines = [f"operation {receipt.operation}: {receipt.code}{facts}"]
    for event in receipt.events:
        data = "".join(f" {name}={fact}" for name, fact in event.data.items())
        lines.append(f"  event {event.kind}{data}")
    return lines


def _key(raw: bytes) -> str:
    """Words of a state key as text, hashes as the head of their hex."""
    head, slash, tail = raw.rpartition(b"/") if len(raw) < 40 else _split(raw)
    text = tail.decode() if tail.isascii() and tail.decode().isprintable() else tail.hex()
    return (head + slash).decode() + text


def _split(raw: bytes) -> tuple[bytes, bytes, bytes]:
    return raw[:-33], b"/", raw[-32:]


def _value(key: bytes, raw: bytes) -> str:
    if key == EPOCH_STATE_KEY:
        record = decode(raw, EpochRecord)
        return f"epoch {record.epoch}, base {record.base}, end {record.end}"
    return msgspec.json.encode(fields.to_json(msgspec.msgpack.decode(raw))).decode()


def _short(text: str) -> str:
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56,}\b", r"\1…", text)


def check(path: Path, handle: Callable[[str], str], *, rewrite: bool) -> None:
    """Blocks of comments, one command, `----`, the answer; a blank line between."""
    blocks = []
    for block in path.read_text().strip().split("\n\n"):
        head, _, _ = block.partition("\n----")
        commands = [line for line in head.splitlines() if not line.startswith("#")]
        assert len(commands) <= 1, f"{path.name}: one command per block, not {commands}"
        blocks.append(f"{head}\n----\n{handle(commands[0])}" if commands else head)
    actual = "\n\n".join(blocks) + "\n"
    if rewrite:
        path.write_text(actual)
    assert actual == path.read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path, rewrite: bool) -> None:
    check(path, Transcript().run, rewrite=rewrite)


def test_every_contract_has_a_transcript() -> None:
    """A new application comes with one (docs/contracts.md)."""
    stems = [path.stem for path in FILES]
    assert [c for c in Lab().executor.active.contracts if c not in stems] == []
