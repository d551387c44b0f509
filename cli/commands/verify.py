"""`salus verify FILE`: an independent check that needs a trust anchor and nothing else.

No node, no network, no configuration is read: the file, the genesis hash, and this program.
"""

import json
from pathlib import Path
from typing import Any

import click

from cli.errors import CliError
from cli.group import command
from cli.output import printable
from cli.session import Session, pass_session
from salus.codes import Exit

TRUST_BYTES_MAX = 2**20  # a genesis document of many members
TRUST_NAMES = frozenset(("genesis", "checkpoint"))


@command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--genesis", metavar="HASH", help="The genesis hash, from a source you believe.")
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='A file with it: {"genesis": HASH, "checkpoint": "HEIGHT:HASH"}, or a genesis.json.',
)
@click.option("--checkpoint", metavar="HEIGHT:HASH", help="A later block that you know as well.")
@click.option(
    "--document",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Is this file, byte for byte, the document that was anchored?",
)
@click.option(
    "--extract",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the verified document into this new file.",
)
@pass_session
def verify(
    session: Session,
    file: Path,
    genesis: str | None,
    trust: Path | None,
    checkpoint: str | None,
    document: Path | None,
    extract: Path | None,
) -> None:
    """Check a proof file: no node, no network."""
    from salus.files import write_new
    from salus.proof import PROOF_BYTES_MAX
    from salus.report import Check, ProofRefused
    from salus.verifier import verify_file

    anchor, pinned = trusted(genesis, trust, checkpoint)
    expected = None if document is None else document.read_bytes()
    with file.open("rb") as stream:
        data = stream.read(PROOF_BYTES_MAX + 1)
    try:
        report = verify_file(data, anchor, checkpoint=pinned)
        checks = report.checks
        if expected is not None:
            same = report.document is not None and report.document.content == expected
            detail = (
                "the file is the anchored document, byte for byte"
                if same
                else (
                    "this proof does not show the whole document: there is nothing to compare"
                    if report.document is None
                    else f"the file is another document; the anchored one: {report.document}"
                )
            )
            checks = (*checks, Check("same document", detail, passed=same))
            if not same:
                raise ProofRefused(f"same document: {detail}", checks)
    except ProofRefused as refused:
        _show(session, refused.checks)
        session.out.result(
            {
                "verified": False,
                "reason": refused.message,
                "checks": [_check(check) for check in refused.checks],
            },
            f"NOT VERIFIED: {printable(refused.message)}",
        )
        click.get_current_context().exit(Exit.NEGATIVE)
    if extract is not None:
        if report.document is None:
            raise CliError("USAGE", "--extract: this proof does not show the whole document")
        write_new(extract, report.document.content)
    _show(session, checks)
    answer = {
        "verified": True,
        "claim": report.claim,
        "limit": report.limit,
        "status": report.status,
        "height": report.height,
        "block_hash": report.block_hash.hex(),
        "time_ms": report.time_ms,
        "tx_id": report.tx_id.hex(),
        "operation": report.operation,
        "signers": list(report.signers),
        "as_of_height": report.as_of_height,
        "commitment": None
        if report.version_commitment is None
        else report.version_commitment.hex(),
        "document": None
        if report.document is None
        else {
            "media_type": report.document.media_type,
            "bytes": len(report.document.content),
            "sha256": report.document.sha256.hex(),
        },
        "checks": [_check(check) for check in checks],
    }
    lines = [f"  {report.claim}"]
    if report.document is not None:
        lines.append(f"  the document: {report.document}")
    lines += [f"  {report.limit}", "VERIFIED offline (no network used)"]
    session.out.result(answer, "\n".join(map(printable, lines)))


def trusted(
    genesis: str | None, trust: Path | None, checkpoint: str | None
) -> tuple[bytes, tuple[int, bytes] | None]:
    """Genesis hash and pinned block of all that was named: where two say different things, or
    one cannot be read, nothing is verified, for the caller believes to have pinned it."""
    anchor = None if genesis is None else hash_of(genesis, "--genesis")
    pinned = _checkpoint(checkpoint, "--checkpoint")
    if trust is not None:
        text, pin = read_trust(trust)
        told = hash_of(text, f"{trust}: genesis")
        if anchor not in (None, told):
            raise CliError("USAGE", f"--genesis and {trust} name different genesis hashes")
        anchor = told
        told_pin = _checkpoint(pin, f"{trust}: checkpoint")
        if told_pin is not None and pinned not in (None, told_pin):
            raise CliError("USAGE", f"--checkpoint and {trust} name different blocks")
        pinned = pinned or told_pin
    if anchor is None:
        raise CliError("NO_ANCHOR", "a proof is checked against something you trust already")
    return anchor, pinned


def read_trust(path: Path) -> tuple[str, str | None]:
    """(genesis hash, checkpoint) of a trust file; a genesis document is one too.

    A misspelt name would silently trust more than was meant, so every name must be known.
    """
    with path.open("rb") as stream:
        data = stream.read(TRUST_BYTES_MAX + 1)
    try:
        document = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _bad_trust(path) from None
    if isinstance(document, dict) and "members" in document:
        from salus.genesis import from_json

        return from_json(data).hash().hex(), None
    if not isinstance(document, dict) or not {"genesis"} <= set(document) <= TRUST_NAMES:
        raise _bad_trust(path)
    if not all(isinstance(value, str) for value in document.values()):
        raise _bad_trust(path)
    return document["genesis"], document.get("checkpoint")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _bad_trust(path: Path) -> CliError:
    return CliError(
        "NO_ANCHOR",
        f'{path}: expected {{"genesis": HASH}}, or with "checkpoint": "HEIGHT:HASH", and no more',
    )


def hash_of(text: str, what: str) -> bytes:
    """32 bytes of hex; a wrong one is a usage error, never «not verified»."""
    try:
        raw = bytes.fromhex(text.strip())
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise CliError("USAGE", f"{what}: expected a hash of 64 hex digits")
    return raw


def _checkpoint(text: str | None, what: str) -> tuple[int, bytes] | None:
    if text is None:
        return None
    height, _, digest = text.partition(":")
    if not (height.isascii() and height.isdigit() and len(height) <= 16):
        raise CliError("USAGE", f"{what}: expected HEIGHT:HASH")
    return int(height), hash_of(digest, what)


def _check(check: Any) -> dict[str, Any]:
    return {"name": check.name, "ok": check.passed, "detail": check.detail}


def _show(session: Session, checks: tuple[Any, ...]) -> None:
    if not session.out.json:
        for check in checks:
            detail = printable(check.detail)
            click.echo(f"  {session.out.mark(check.passed)} {check.name}: {detail}")
