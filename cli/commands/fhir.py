"""`salus fhir …`: what may be read of a patient, for systems that speak FHIR R4."""

import secrets
import time
from pathlib import Path

import click

from cli.connect import waits
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session
from salus.permit import Purpose

TOKEN_BYTES = 32

_patient = click.option(
    "--patient", metavar="NAME|HANDLE", required=True, help="Whose records; a wallet, or a handle."
)
_purpose = click.option(
    "--purpose", metavar="CODE", help="Default: PATRQT for the patient, TREAT for staff."
)


@group()
def fhir() -> None:
    """A patient's records from all hospitals, as FHIR R4."""


@fhir.command()
@_patient
@_purpose
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True,
    help="Where the document goes.",
)  # fmt: skip
@pass_session
@waits
async def summary(session: Session, patient: str, purpose: str | None, output: Path) -> None:
    """The joined view of all that --as may read, as an International Patient Summary."""
    from cli.holdings import GateHoldings
    from salus.files import write_new
    from salus.ips.document import summary as made_of
    from salus.report import utc

    refuse_existing(output)
    holdings = GateHoldings(session, patient, _why(session, purpose), session.out.note)
    made = made_of(await holdings.view(), utc(time.time_ns() // 1_000_000))
    write_new(output, made.document)
    document = {
        "file": str(output),
        "entries": made.entries,
        "sources": [
            {"custodian": one.custodian, "record_id": one.record_id, "version": one.version,
             "commitment": one.commitment, "height": one.height}
            for one in made.sources
        ],
    }  # fmt: skip
    session.out.result(
        document,
        f"{session.out.mark(True)} {made.entries} entries out of {len(made.sources)} records"
        f"  →  {output}",
    )


@fhir.command()
@_patient
@_purpose
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Default: a free one.")
@click.option(
    "--token-file", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the bearer token there, mode 600, instead of to the terminal.",
)  # fmt: skip
@pass_session
@waits
async def serve(
    session: Session, patient: str, purpose: str | None, port: int, token_file: Path | None
) -> None:
    """A read-only FHIR R4 server on this machine, through the custodians' gates; until Ctrl-C.

    GET /fhir/metadata, /fhir/Patient/me, /fhir/Patient/me/$everything, /fhir/Patient/me/$summary,
    /fhir/TYPE?code=…, /fhir/Consent, /fhir/AuditEvent, /fhir/Provenance."""
    import asyncio
    import signal

    from aiohttp import web

    from cli.fhir_bridge import Bridge
    from cli.holdings import GateHoldings
    from cli.keyfiles import write_secret
    from node import VERSION

    token = secrets.token_urlsafe(TOKEN_BYTES)
    if token_file is not None:
        write_secret(token_file, token + "\n")
    holdings = GateHoldings(session, patient, _why(session, purpose), session.out.note)
    runner = web.AppRunner(Bridge(holdings, token, VERSION).application(), access_log=None)
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError:
            raise CliError("PORT_TAKEN", f"port {port} is taken") from None
        host, bound = runner.addresses[0][:2]
        document = {"url": f"http://{host}:{bound}/fhir"}
        document |= {"token": token} if token_file is None else {"token_file": str(token_file)}
        text = f"serving {document['url']}\n  Authorization: Bearer "
        session.out.line(document, text + (token if token_file is None else f"(in {token_file})"))
        await stop.wait()
    finally:
        await runner.cleanup()


def refuse_existing(path: Path) -> None:
    """Before anything is asked for. Raises `CliError` (REFUSES_OVERWRITE)."""
    if path.exists():
        raise CliError("REFUSES_OVERWRITE", f"{path} exists")


def _why(session: Session, purpose: str | None) -> Purpose:
    from cli import wallets
    from salus.scope import purpose_of

    own = session.key is not None and wallets.has_wallet(session, session.key)
    return purpose_of(purpose or ("PATRQT" if own else "TREAT"))
