"""`salus proof …`: files that prove what a transaction did, to whoever trusts genesis."""

from pathlib import Path

import click

from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session
from salus.files import replace, write_new


@group()
def proof() -> None:
    """Make and show proof files."""


@proof.command()
@click.argument("tx", required=False, metavar="[TX_ID[#OPERATION]]")
@click.option("--record", metavar="RECORD_ID[@VERSION]", help="With the document, from the vault.")
@click.option("--as-of", is_flag=True, help="And what the state now says: current, superseded…")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: TX.proof."
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@pass_session
@waits
async def make(
    session: Session,
    tx: str | None,
    record: str | None,
    as_of: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Ask a node for the proof of a transaction, or of a record with its document."""
    if (tx is None) == (record is None):
        raise CliError("USAGE", "name a transaction, or a record with --record")
    async with connect(session) as client:
        if record is not None:
            record_id, _, number = record.partition("@")
            version = _number(number, "the version") if number else None
            data = await client.record_proof(record_id, version, as_of=as_of)
            stem = record_id[:16]
        else:
            assert tx is not None
            tx_id, _, number = tx.partition("#")
            operation = _number(number, "the operation") if number else 0
            data = await client.proof(tx_id, operation=operation, as_of=as_of)
            stem = tx_id[:16]
    path = output or Path(f"{stem}.proof")
    save(path, data, force=force)
    document = {"file": str(path), "bytes": len(data), "tx_id": tx, "record": record}
    text = f"proof  →  {path}  ({len(data)} bytes)\ncheck it anywhere: salus verify {path} --genesis HASH"
    session.out.result(document, text)


@proof.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_session
def show(session: Session, file: Path) -> None:
    """What a proof file says about itself. NOT verified: that is «salus verify»."""
    from contracts.catalogue import registry
    from salus.codec import decode
    from salus.keys import address
    from salus.proof import PROOF_BYTES_MAX, read_proof
    from salus.transaction import Operation

    with file.open("rb") as stream:
        bundle = read_proof(stream.read(PROOF_BYTES_MAX + 1))
    part = bundle.operation
    operation = decode(part.operation, Operation)
    active = registry().activate(bundle.genesis.parameters.contracts)
    document = {
        "verified": False,
        "chain_id": bundle.genesis.chain_id,
        "genesis_hash": bundle.genesis.hash().hex(),
        "height": bundle.header.height,
        "block_hash": bundle.header.hash().hex(),
        "signers": [signature.index for signature in bundle.certificate.signatures],
        "epochs_followed": len(bundle.epochs),
        "sender": address(part.sender),
        "operation": f"{operation.contract}.{operation.method}",
        "arguments": active.decoded(operation),
        "receipt": part.receipt.code,
        "document": bundle.record is not None,
        "as_of": None if bundle.as_of is None else bundle.as_of.header.height,
    }
    session.out.result(document)
    if not session.out.json:
        session.out.note("Not verified. Verify it: salus verify FILE --genesis HASH")


def save(path: Path, data: bytes, *, force: bool) -> None:
    """All of the file or none of it; a proof may show a document, so it is for its owner."""
    if force:
        replace(path, data)
    else:
        write_new(path, data)


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise CliError("USAGE", f"{what} is a number")
    return int(text)
