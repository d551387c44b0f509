"""`salus verify FILE`: an independent check that needs a trust anchor and nothing else.

No node, no network, no configuration is read: the file, the genesis hash, and this program.
"""

import json
from pathlib import Path
from typing import Any

import click

from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session
from salus.codes import Exit

TRUST_BYTES_MAX = 64 * 1024


@command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--genesis", metavar="HASH", help="The genesis hash, from a source you believe.")
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help='A file with it: {"genesis": HASH, "checkpoint": "HEIGHT:HASH"}, or a genesis.json.',
)
@click.option("--checkpoint", metavar="HEIGHT:HASH", help="A later block that you know as well.")
@pass_session
def verify(
    session: Session,
    file: Path,
    genesis: str | None,
    trust: Path | None,
    checkpoint: str | None,
) -> None:
    """Check a proof file: no node, no network."""
    from salus.proof import PROOF_BYTES_MAX
    from salus.report import ProofRefused
    from salus.verifier import verify_file

    if genesis is None and trust is not None:
        genesis, trusted_checkpoint = read_trust(trust)
        checkpoint = checkpoint or trusted_checkpoint
    if genesis is None:
        raise CliError("NO_ANCHOR", "a proof is checked against something you trust already")
    anchor = hash_of(genesis, "--genesis")
    pinned = _checkpoint(checkpoint)
    with file.open("rb") as stream:
        data = stream.read(PROOF_BYTES_MAX + 1)
    try:
        report = verify_file(data, anchor, checkpoint=pinned)
    except ProofRefused as refused:
        _show(session, refused.checks)
        session.out.result(
            {
                "verified": False,
                "reason": refused.message,
                "checks": [_check(check) for check in refused.checks],
            },
            f"NOT VERIFIED: {refused.message}",
        )
        click.get_current_context().exit(Exit.NEGATIVE)
    _show(session, report.checks)
    document = {
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
        "checks": [_check(check) for check in report.checks],
    }
    lines = [f"  {report.claim}", f"  {report.limit}"]
    if pinned is None:
        lines.append(
            "  Without --checkpoint: assumes that no quorum of former validator keys was stolen."
        )
    session.out.result(document, "\n".join([*lines, "VERIFIED offline (no network used)"]))


def read_trust(path: Path) -> tuple[str, str | None]:
    """(genesis hash, checkpoint) of a trust file; a genesis document is one too."""
    with path.open("rb") as stream:
        data = stream.read(TRUST_BYTES_MAX + 1)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and "members" in document:
        from salus.genesis import from_json

        return from_json(data).hash().hex(), None
    if not isinstance(document, dict) or not isinstance(document.get("genesis"), str):
        raise CliError("NO_ANCHOR", f'{path}: expected {{"genesis": HASH}}')
    checkpoint = document.get("checkpoint")
    return document["genesis"], checkpoint if isinstance(checkpoint, str) else None


def hash_of(text: str, what: str) -> bytes:
    """32 bytes of hex; a wrong one is a usage error, never «not verified»."""
    try:
        raw = bytes.fromhex(text.strip())
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise CliError("USAGE", f"{what}: expected a hash of 64 hex digits")
    return raw


def _checkpoint(text: str | None) -> tuple[int, bytes] | None:
    if text is None:
        return None
    height, _, digest = text.partition(":")
    if not (height.isascii() and height.isdigit() and len(height) <= 16):
        raise CliError("USAGE", "--checkpoint: expected HEIGHT:HASH")
    return int(height), hash_of(digest, "--checkpoint")


def _check(check: Any) -> dict[str, Any]:
    return {"name": check.name, "ok": check.passed, "detail": check.detail}


def _show(session: Session, checks: tuple[Any, ...]) -> None:
    if not session.out.json:
        for check in checks:
            click.echo(f"  {session.out.mark(check.passed)} {check.name}: {check.detail}")
