"""Golden transcripts: what each operation says and what it leaves in state, as text.

One block per command. `NAME` is 32 bytes that stand for it; `root(a,b)`, `path(a;a,b)`,
`version(a)`, `tag(a)`, `tag_hash(a)` make batches of versions; `possession(key,org,HANDLE)` and `proved(key,member,capacity)` sign;
`owns(key,org,HANDLE,what)` signs for a relation, `registers(key)` its registration, `asks(key)`
a view of one's own, `defers(key)` a late entry of DOC's case; `case(org,STAFF,NONCE)` is the id of one, `zero()` 32 zeroes; `id(REQUEST)` has 16 bytes; `day(N)` counts from the first block's. `header(N)` is the hash of that header; fields that may be null and are left out are null; `+` joins
operations of one transaction, a leading `independent` lets each stand alone. `pytest --rewrite` writes what the code now says.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.inspect import UnionType
from msgspec.structs import replace

from contracts.access import TicketArgs
from contracts.emergency import DeferredArgs
from contracts.identity import RegisterArgs
from node.executor import Executor
from salus import relation, wire_json
from salus.block import Receipt
from salus.codec import decode
from salus.emergency import case_id
from salus.emergency_forms import EmergencyRequest
from salus.epoch import EPOCH_STATE_KEY, EpochRecord
from salus.keys import box_public_key
from salus.record import tag_hash
from salus.ticket import own_request
from salus.transaction import Operation
from salus.wire_json import from_json
from tests import factories
from tests.contracts.lab import Lab, h, possession_of, proof_of
from tests.contracts.test_records import Batch

FILES = sorted((Path(__file__).parent / "golden").glob("*.txt"))

_WORDS = re.compile(rb"(?:[a-z0-9_.-]+/)*")
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
        case "owns":
            name, org, handle, purpose = inside.split(",")
            takes_over = purpose in ("rotate", "recover", "claim")
            box_key = box_public_key(factories.seed(name)) if takes_over else None
            payload = relation.possession(factories.CHAIN_ID, org, h(handle), purpose, box_key)
            return factories.key(name).sign(payload).hex()
        case "id":
            return h(inside)[:16].hex()
        case "day":
            return factories.TIME_MS // relation.DAY_MS + int(inside)
        case "zero":
            return bytes(32).hex()
        case "case":
            org, handle, opener, staff, nonce = inside.split(",")
            return case_id((org, h(handle)), opener, h(staff), h(nonce)).hex()
        case "registers" | "asks" | "defers":
            return bytes(64).hex()  # until the other words are known
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
    args = from_json(declared.args, document)
    late_words = (("registers", _registered), ("asks", _asked), ("defers", _deferred))
    for late, complete in late_words:
        for word in words:
            if f"={late}(" in word:
                args = complete(args, word.partition(f"{late}(")[2][:-1])
    return declared.operation(args)


def _asked(args: Any, name: str) -> TicketArgs:
    """The ticket at hosp-a for a view of one's own, signed by the key of that name."""
    payload = own_request(
        factories.CHAIN_ID,
        "hosp-a",
        args.handle,
        args.request_id,
        args.requester,
        args.classes,
        args.expiry_height,
        args.records,
        args.request,
    )
    return replace(args, owner_signature=factories.key(name).sign(payload))


def _deferred(args: Any, name: str) -> DeferredArgs:
    """The late entry of a case of the staff member DOC, signed by the key of that name."""
    request = EmergencyRequest(
        factories.CHAIN_ID,
        args.org,
        args.handle,
        args.opener,
        h("DOC"),
        args.nonce,
        args.details,
        args.release_key,
    )
    return replace(args, signature=factories.key(name).sign(request.payload()))


def _registered(args: Any, name: str) -> RegisterArgs:
    """The registration at hosp-a, signed by the owner key of that name."""
    payload = relation.registration(
        factories.CHAIN_ID,
        "hosp-a",
        args.handle,
        args.owner_key,
        args.box_key,
        args.custodial,
        args.guardians,
        args.threshold,
        args.tag,
    )
    return replace(args, owner_signature=factories.key(name).sign(payload))


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
        """One command: a transaction in a block of its own, `blocks N`, `days N`, or `query …`."""
        chain = self.chain
        if command.startswith("blocks "):
            for _ in range(int(command.split()[1])):
                chain.null()
                chain.certify()
            return self._standing()
        if command.startswith("days "):
            chain.later_ms += int(command.split()[1]) * relation.DAY_MS
            return "block time passes"
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
    match = _WORDS.match(raw)
    assert match is not None
    tail = raw[match.end() :]
    hashes = "+".join(tail[at : at + 32].hex() for at in range(0, len(tail), 32))
    text = tail.decode() if tail.isascii() and tail.decode().isprintable() else hashes
    return match[0].decode() + text


def _value(key: bytes, raw: bytes) -> str:
    if key == EPOCH_STATE_KEY:
        record = decode(raw, EpochRecord)
        return f"epoch {record.epoch}, base {record.base}, end {record.end}"
    return msgspec.json.encode(wire_json.to_json(msgspec.msgpack.decode(raw))).decode()


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
