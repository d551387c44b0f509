"""A small chain, byte for byte: the same proposals have given these roots ever since.

One operation that is answered otherwise, one hash in another order, and two nodes of different
versions or Pythons part ways (L24). The words of a transaction are those of the transcripts of
`tests/contracts`; `again N` repeats the N-th one. `pytest --rewrite` writes what the code now
says: a difference here is a new chain for everybody.
"""

from pathlib import Path

from salus.block import null_proposal
from salus.codec import decode, encode
from salus.genesis import Genesis
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction
from tests import factories, transcript
from tests.contracts.test_transcripts import operation_of
from tests.ledger import Ledger

PATH = Path(__file__).parent / "chain.txt"
LINE_BYTES = 48


class Scribe:
    """Builds what the file says, and writes down every block."""

    def __init__(self) -> None:
        small = Parameters(state_bucket_bits=4, watermark_window=8, in_flight_proposals_max=2)
        self.ledger = Ledger(factories.genesis(4, parameters=small))
        self.sent: list[ParsedTransaction] = []

    def run(self, command: str) -> str:
        if command == "genesis":
            return f"hash {self.ledger.genesis_hash.hex()}\n" + hexed(
                "genesis", encode(self.ledger.genesis)
            )
        if command == "null":
            return self._block(null_proposal(self.ledger.height + 1))
        word, _, rest = command.partition(" ")
        assert word == "block", command
        transactions = [self._transaction(text) for text in rest.split(" | ")]
        return self._block(factories.proposal(self.ledger.height + 1, *transactions))

    def _transaction(self, text: str) -> ParsedTransaction:
        if text.startswith("again "):
            return self.sent[int(text.removeprefix("again ")) - 1]
        independent = text.startswith("independent ")
        who, _, operations = text.removeprefix("independent ").partition(": ")
        tx = factories.transaction(
            self.ledger.genesis,
            *(operation_of(self.ledger.executor, one) for one in operations.split(" + ")),
            signer=factories.key(who),
            number=len(self.sent) + 1,
            independent=independent,
        )
        self.sent.append(tx)
        return tx

    def _block(self, raw: bytes) -> str:
        receipts = self.ledger.propose(raw)
        header = self.ledger.state.header(self.ledger.height)
        lines = [
            f"height {header.height}, epoch {header.epoch}",
            *(f"receipt {receipt.operation}: {receipt.code}" for receipt in receipts),
            f"hash {header.hash().hex()}",
            f"transactions_root {header.transactions_root.hex()}",
            f"receipts_root {header.receipts_root.hex()}",
            f"state_root {header.state_root.hex()}",
            f"next_validators_hash {header.next_validators_hash.hex()}",
            hexed("header", encode(header)),
            hexed("proposal", raw),
        ]
        return "\n".join(lines)


def hexed(name: str, raw: bytes) -> str:
    lines = [f"{name} {len(raw)}"]
    lines += [f"  {raw[i : i + LINE_BYTES].hex()}" for i in range(0, len(raw), LINE_BYTES)]
    return "\n".join(lines)


def kept(name: str) -> list[bytes]:
    """All bytes of that name in the file, in order."""
    found: list[str] = []
    inside = False
    for line in PATH.read_text(encoding="utf-8").splitlines():
        if inside and line.startswith("  "):
            found[-1] += line.strip()
            continue
        inside = line.partition(" ")[0] == name and line.partition(" ")[2].isdigit()
        if inside:
            found.append("")
    return [bytes.fromhex(text) for text in found]


def test_the_chain_is_built_as_it_was(rewrite: bool) -> None:
    transcript.check(PATH, Scribe().run, rewrite=rewrite)


def test_the_kept_proposals_give_the_kept_headers() -> None:
    """A replay that knows nothing but the bytes: genesis and proposals."""
    (founding,) = kept("genesis")
    ledger = Ledger(decode(founding, Genesis))
    proposals, headers = kept("proposal"), kept("header")
    assert len(proposals) == len(headers) > 10
    for raw, header in zip(proposals, headers, strict=True):
        ledger.propose(raw)
        assert encode(ledger.state.header(ledger.height)).hex() == header.hex()
    assert ledger.state.current_epoch().epoch > 0, "an epoch ended on the way"
