"""`salus bench --measure import`: how fast a folder of FHIR documents is checked, sealed and anchored.

Four processes, a synced vault, and the very importer of `salus record watch`: a resource counts when
the block that anchors its document is certified.
"""

import gzip
import time
from dataclasses import dataclass
from pathlib import Path

from cli import testnet
from cli.bench.network import Say
from cli.bench.usage import usage
from cli.errors import CliError
from cli.home import read_testnet
from cli.keyfiles import password_for
from cli.output import Output
from cli.watch import Watch
from cli.watch import run as watch_run
from cli.watch_folder import Folder
from cli.watch_import import ChainImporter
from cli.watch_journal import Journal
from salus.client import Client
from salus.keystore import Keystore
from salus.parameters import Parameters

COMMIT_TIMEOUT_S = 60.0
CHAIN_ID = "bench-import"

_QUIET = Output(as_json=False, verbosity=-1, color=False)


@dataclass(frozen=True, slots=True)
class Summary:
    """`resources_per_s` until the last certificate, all processes on this machine."""

    mode: str
    validators: int
    documents: int
    resources: int
    megabytes: float
    seconds: float
    resources_per_s: int
    cpu_s_custodian: float  # its own process; the workers that check FHIR are not in it
    cpu_s_others: float
    refused: int


async def run(root: Path, folder: Path, validators: int, say: Say) -> Summary:
    """Raises `CliError` if one document is not imported."""
    documents = root / "documents"
    count, size = _unpacked(folder, documents)
    net = root / "net"
    testnet.create(net, validators, CHAIN_ID, Parameters())
    try:
        say(f"starting {validators} validators")
        testnet.start(net)
        nodes = read_testnet(net).nodes
        await testnet.wait_ready(net, read_testnet(net))
        say(f"importing {count} documents, {size / 2**20:.1f} MiB")
        home = nodes[0].node_home
        signer = Keystore(home.keys / "operator.json", password_for(home))
        before = [usage(node) for node in nodes]
        with Journal.open(root / "watch.journal") as journal:
            async with Client(
                nodes[0].api, signer=signer, token=home.token(), timeout_s=COMMIT_TIMEOUT_S
            ) as client:
                await client.chain()  # what signing needs, before the clock runs
                importer = ChainImporter(client, journal, timeout_s=COMMIT_TIMEOUT_S)
                watch = Watch(Folder(documents), importer, _QUIET, report=None, progress=None)
                began = time.perf_counter()
                code = await watch_run(watch, once=True)
                seconds = time.perf_counter() - began
        after = [usage(node) for node in nodes]
    finally:
        testnet.stop(net)
    told = watch.tally.document(watch.folder)
    if code or told["imported"] != count:
        raise CliError("BENCH_FAILED", f"of {count} documents {told['imported']} were imported")
    cpu = [b.cpu_s - a.cpu_s for a, b in zip(before, after, strict=True)]
    return Summary(
        "import",
        validators,
        count,
        told["resources"],
        round(size / 1e6, 1),
        round(seconds, 2),
        int(told["resources"] / seconds),
        round(cpu[0], 2),
        round(sum(cpu[1:]), 2),
        told["refused"],
    )


def _unpacked(folder: Path, place: Path) -> tuple[int, int]:
    """The JSON documents of a folder, `.gz` ones unpacked; how many, and how many bytes."""
    place.mkdir()
    count = size = 0
    for path in sorted(folder.iterdir()):
        if path.name.endswith((".json", ".json.gz")):
            raw = path.read_bytes()
            content = gzip.decompress(raw) if path.suffix == ".gz" else raw
            (place / f"{count:05d}.json").write_bytes(content)
            count, size = count + 1, size + len(content)
    if not count:
        raise CliError("USAGE", f"{folder} holds no .json or .json.gz files")
    return count, size
