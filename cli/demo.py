"""The demonstration: four hospitals, one record, a crash and a proof; every step is checked.

Law of the file: nothing is told that was not checked, by asking the nodes or by the exit code of
a process; the nodes are real processes and are gone when this ends, however it ends.
"""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cli import offline, processes
from cli import testnet as network
from cli.demo_care import Care
from cli.home import NodeHome, TestnetDescription
from cli.keyfiles import password_for
from cli.output import Output
from cli.story import Story, signed_block
from salus.client import Client, Committed
from salus.forms_records import Staged
from salus.keystore import Keystore

MEDIA_TYPE = "application/fhir+json"
CATCH_UP_S = 60.0
ANSWER_S = 60.0  # of a node, on a machine that plays four hospitals
POLL_S = 0.05
TELLING_CHARS = 12  # shorter texts may stand in any file
WORDS_MAX = 200


class Demo:
    """The cast and the acts; `run` is the table of contents."""

    def __init__(
        self, out: Output, home: Path, first: bytes, second: bytes, *, fast: bool, stories: str
    ) -> None:
        """`stories`: ledger, consent, or all."""
        self.out, self.home, self.fast, self.stories = out, home, fast, stories
        self.documents = first, second
        self.story = Story(out, home)
        self.net: TestnetDescription

    async def run(self) -> str:
        """Returns the last line; raises `Unproved` at the first step that does not hold."""
        await self._raise_the_network()
        last = ""
        patients = None
        if self.stories != "ledger":
            patients = await Care(self.story, self.home, self.documents[0]).run()
        if self.stories != "consent":
            record, height = await self._store_and_anchor()
            await self._all_agree(height)
            await self._nothing_readable_leaves()
            newest = await self._amend(record)
            victim = await self._kill_the_primary()
            await self._go_on_without(victim)
            await self._return(victim)
            last = await self._prove(record, newest)
        return last if patients is None else await self._prove_what_was_read(patients)

    def clean_up(self) -> None:
        """End every process that was started; from here on nothing of it runs."""
        if network.exists(self.home):
            network.stop(self.home)

    # ── act 1: four hospitals ────────────────────────────────────────────────

    async def _raise_the_network(self) -> None:
        network.create(self.home, 4, "health-demo", network.PARAMETERS)
        self.net = network.start(self.home)
        await network.wait_ready(self.home, self.net)
        pids = [processes.running(Path(node.home)) for node in self.net.nodes]
        self.story.expect(len(set(pids)) == 4 and None not in pids, "four processes")
        self.story.tell(
            "Four hospitals run a node each: four processes, TLS between them, LevelDB on disk",
            "Nobody owns the ledger; one of the four may lie or die, three must agree",
        )

    async def _store_and_anchor(self) -> tuple[Staged, int]:
        async with self._operator("hosp-a") as client:
            staged, done = await client.record_add(self.documents[0], MEDIA_TYPE)
            block, signers = await signed_block(client, done.height)
            kind, back = await client.record_document(staged.record_id)
        self.story.expect(back == self.documents[0], "the vault gives back the very same bytes")
        self.story.expect(kind.startswith(MEDIA_TYPE), "and their type")
        self.story.tell(
            f"Hospital A stored a FHIR bundle of {len(back)} bytes in its vault and anchored "
            f"commitment {staged.commitment[:12]}…",
            "From now on nobody can change the document unnoticed, not even hospital A",
            block=block,
            signers=signers,
        )
        return staged, done.height

    async def _all_agree(self, height: int) -> None:
        hashes, roots = set(), set()
        for node in self.net.nodes:
            async with self._plain(node.name) as client:
                await self._reach(client, height, node.name)
                block = await client.block(height)
                hashes.add(block.header.hash)
                roots.add(block.header.state_root)
        self.story.expect(len(hashes) == len(roots) == 1, "one block hash and one state root")
        self.story.tell(
            f"All four nodes hold the same block {hashes.pop()[:12]}… and the same state root",
            "Each executed the contract itself; agreement is on the result, not on trust",
        )

    async def _nothing_readable_leaves(self) -> None:
        """No word of the document stands readable on any disk, the vault's included."""
        genesis = (self.home / "genesis.json").read_bytes()
        words = _telling_words(self.documents[0], genesis)
        roots = [Path(node.home) / "data" for node in self.net.nodes]
        count, found = await asyncio.to_thread(_files_with, roots, words)
        self.story.expect(not found, "no readable piece of the document on any disk")
        self.story.tell(
            f"None of {len(words)} telling texts of the document is readable in {count} files "
            "of all four nodes",
            "The chain carries salted commitments only; the document stays with hospital A, "
            "encrypted",
        )

    async def _amend(self, record: Staged) -> Staged:
        async with self._operator("hosp-a") as client:
            staged, done = await client.record_amend(
                self.documents[1], MEDIA_TYPE, record.record_id
            )
            block, signers = await signed_block(client, done.height)
            form = await client.record(record.record_id)
        states = [version.state for version in form.versions]
        self.story.expect(states == ["superseded", "anchored"], "version 1 superseded by version 2")
        self.story.tell(
            "Hospital A amended the record: version 2 is anchored, version 1 superseded",
            "A correction adds and never overwrites; both versions stay provable",
            block=block,
            signers=signers,
        )
        return staged

    # ── act 2: the primary dies ──────────────────────────────────────────────

    async def _kill_the_primary(self) -> str:
        """SIGKILL while transactions are on their way; the chain goes on with a new primary."""
        async with self._plain("hosp-b") as client:
            before = await client.status()
        victim = before.primary
        helper = next(node.name for node in self.net.nodes if node.name != victim)
        victim_home = Path(self.net.node(victim).home)
        async with self._operator(helper) as client:
            await client.chain()  # what signing needs, before the clock runs
            # Three transactions at once: at the moment of the kill some are being agreed on.
            waiting = [
                asyncio.create_task(self._another_record(client, number)) for number in range(3)
            ]
            await asyncio.sleep(0.005)
            killed_at = time.monotonic()
            processes.stop([victim_home], kill_at_once=True)
            done = await asyncio.gather(*waiting)
            # One more, so that something was surely begun after the death.
            last = await self._another_record(client, 3)
            gap = time.monotonic() - killed_at
            status = await client.status()
            block, signers = await signed_block(client, last.height)
        self.story.expect(processes.running(victim_home) is None, f"{victim} is dead")
        self.story.expect(status.view > before.view, "a higher view")
        self.story.expect(status.primary != victim, "another primary")
        self.story.expect(len({item.tx_id for item in done}) == 3, "none of the three was lost")
        self.story.tell(
            f"The primary {victim} was killed (SIGKILL) in the middle; {status.primary} took over "
            f"in view {status.view}, all four transactions were certified {gap:.1f} s later",
            "No switch was thrown by hand, nothing was lost and nothing was done twice",
            block=block,
            signers=signers,
        )
        return victim

    async def _go_on_without(self, victim: str) -> None:
        living = [node.name for node in self.net.nodes if node.name != victim]
        count = 1 if self.fast else 2
        for name in living:
            async with self._operator(name) as client:
                for number in range(count):
                    done = await self._another_record(client, number)
                block, signers = await signed_block(client, done.height)
                self.story.expect(victim not in signers, f"no signature of the dead {victim}")
        self.story.tell(
            f"{', '.join(living)} anchored {count * len(living)} more records while {victim} "
            "was away",
            "Three of four are a quorum: work goes on, and a dead hospital stops nobody",
            block=block,
            signers=signers,
        )

    async def _return(self, victim: str) -> None:
        """The killed node comes back, catches up by certificates, and signs again."""
        started = time.monotonic()
        self.net = network.start(self.home, [victim])
        await network.wait_ready(self.home, self.net, [victim])
        helper = next(node.name for node in self.net.nodes if node.name != victim)
        async with self._operator(helper) as other, self._plain(victim) as client:
            tip = await other.block("latest")
            await self._reach(client, tip.header.height, victim)
            seconds = time.monotonic() - started
            mine = await client.block(tip.header.height)
            self.story.expect(mine.header.hash == tip.header.hash, "the same chain as the others")
            deadline = time.monotonic() + CATCH_UP_S
            signed = 0
            while signed <= tip.header.height and time.monotonic() < deadline:
                done = await self._another_record(other, 0)
                await asyncio.sleep(POLL_S)
                items = (await other.validators()).items
                signed = next(v.last_signed_height or 0 for v in items if v.member == victim)
            self.story.expect(signed > tip.header.height, f"{victim} signs new blocks again")
            block, signers = await signed_block(other, done.height)
        self.story.tell(
            f"{victim} returned after its crash, caught up to block {tip.header.height} in "
            f"{seconds:.1f} s and signs again",
            "It believed no peer: every missed block came with the signatures of a quorum",
            block=block,
            signers=signers,
        )

    # ── act 3: the proof ─────────────────────────────────────────────────────

    async def _prove(self, record: Staged, newest: Staged) -> str:
        async with self._operator("hosp-a") as client:
            current = await client.record_proof(record.record_id, newest.version, as_of=True)
            old = await client.record_proof(record.record_id, record.version, as_of=True)
        elsewhere = self.home / "auditor"  # another place: the proof alone, no node, no keys
        elsewhere.mkdir()
        (elsewhere / "record.proof").write_bytes(current)
        (elsewhere / "old.proof").write_bytes(old)
        damaged = bytearray(current)
        damaged[len(damaged) // 2] ^= 1
        (elsewhere / "damaged.proof").write_bytes(damaged)
        self.clean_up()
        alive = [n.name for n in self.net.nodes if processes.running(Path(n.home)) is not None]
        self.story.expect(not alive, "all nodes stopped")
        self.story.tell(
            f"A proof file of {len(current)} bytes was copied away and all four nodes were stopped",
            "Whoever holds it needs no hospital any more",
        )
        prefix, how = await asyncio.to_thread(offline.isolation)
        anchor = ["--genesis", self.net.genesis_hash]
        good = await self._verify(prefix, ["record.proof", *anchor, "--json"], elsewhere)
        report = _json(good.stdout)
        self.story.expect(good.returncode == 0 and report.get("verified") is True, "exit 0")
        self.story.expect(report["status"] == "current", "version 2 is the current one")
        self.story.expect(report["commitment"] == newest.commitment, "the commitment of version 2")
        signers = report["signers"]
        self.story.tell(
            f"salus verify accepts it offline, in {how}: {report['claim']}, "
            f"{len(signers)} of 4 signed ({' '.join(signers)})",
            "Only the genesis hash is trusted; the rest follows from signatures and hashes",
        )
        earlier = await self._verify(prefix, ["old.proof", *anchor, "--json"], elsewhere)
        self.story.expect(
            earlier.returncode == 0 and _json(earlier.stdout)["status"] == "superseded",
            "version 1 proved as superseded",
        )
        refused = await self._verify(prefix, ["damaged.proof", *anchor], elsewhere)
        self.story.expect(refused.returncode == 1, "exit 1 for the damaged file")
        self.story.expect("VERIFIED offline" not in refused.stdout, "no word of VERIFIED")
        blind = await self._verify(prefix, ["record.proof"], elsewhere)
        self.story.expect(blind.returncode == 2, "exit 2 without a trust anchor")
        self.story.tell(
            "With one bit flipped it is refused (exit 1), without a trust anchor nothing is "
            "verified (exit 2), and version 1 is proved as superseded",
            "A forger gains nothing, and an old version cannot be passed off as the current one",
        )
        if not self.fast:
            await self._disks_hold()
        height = report["as_of_height"]
        return (
            f"VERIFIED offline: the record is current as of block {height}, "
            f"{len(signers)} of 4 signatures; {self.story.steps} steps, {self.story.checks} checks, "
            f"{self.story.seconds:.1f} s"
        )

    async def _prove_what_was_read(self, proof: Path) -> str:
        """What the patient's doctor got stays provable: by one file, also after the erasure."""
        self.clean_up()
        elsewhere = self.home / "court"
        elsewhere.mkdir()
        await asyncio.to_thread(shutil.copy, proof, elsewhere / "history.proof")
        prefix, how = await asyncio.to_thread(offline.isolation)
        anchor = ["--genesis", self.net.genesis_hash]
        done = await self._verify(prefix, ["history.proof", *anchor, "--json"], elsewhere)
        report = _json(done.stdout)
        self.story.expect(done.returncode == 0 and report.get("verified") is True, "exit 0")
        signers = report["signers"]
        self.story.tell(
            f"A court checked what the doctor at B had read, in {how}: {report['claim']}",
            "Whoever was given a document lawfully can prove it, whatever was erased since",
        )
        return (
            f"VERIFIED offline: what was read is what stands anchored in block {report['height']}, "
            f"{len(signers)} of 4 signatures; {self.story.steps} steps, {self.story.checks} checks, "
            f"{self.story.seconds:.1f} s"
        )

    async def _disks_hold(self) -> None:
        """`salus db check` on every home, the killed one's included."""
        codes = await asyncio.gather(
            *(_exit_code("db", "check", "--home", node.home) for node in self.net.nodes)
        )
        self.story.expect(codes == [0, 0, 0, 0], "db check finds nothing wrong on the four disks")
        self.story.tell(
            "salus db check derived every root again from the blocks on all four disks",
            "What was certified is what lies there, after a SIGKILL too",
        )

    # ── the tools ────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _operator(self, name: str) -> AsyncIterator[Client]:
        """A client of one hospital that signs with its operator's key."""
        node = self.net.node(name)
        home = NodeHome(Path(node.home))
        signer = await asyncio.to_thread(Keystore, home.keys / "operator.json", password_for(home))
        async with Client(
            node.api, signer=signer, token=home.token(), timeout_s=ANSWER_S
        ) as client:
            yield client

    @asynccontextmanager
    async def _plain(self, name: str) -> AsyncIterator[Client]:
        node = self.net.node(name)
        async with Client(node.api, token=node.node_home.token(), timeout_s=ANSWER_S) as client:
            yield client

    async def _another_record(self, client: Client, number: int) -> Committed:
        note = {"resourceType": "Basic", "code": {"text": f"demo note {number}"}}
        # Alone: those of one batch would share one transaction, and the story wants several on their way.
        _, done = await client.record_add(json.dumps(note).encode(), MEDIA_TYPE, now=True)
        return done

    async def _reach(self, client: Client, height: int, name: str) -> None:
        deadline = time.monotonic() + CATCH_UP_S
        while await client.height() < height:
            self.story.expect(time.monotonic() < deadline, f"{name} reaches block {height}")
            await asyncio.sleep(POLL_S)

    async def _verify(self, prefix: list[str], arguments: list[str], folder: Path) -> Any:
        return await asyncio.to_thread(offline.verify, prefix, arguments, folder)


def amended(document: bytes) -> bytes:
    """A second version of somebody's own resource: the next `meta.versionId`, all else as it is."""
    content = json.loads(document)
    meta = content.get("meta") if isinstance(content.get("meta"), dict) else {}
    content["meta"] = {**meta, "versionId": "2" if meta.get("versionId") != "2" else "3"}
    return json.dumps(content, ensure_ascii=False, indent=2).encode()


def _telling_words(document: bytes, known: bytes) -> list[bytes]:
    """Longer texts of the document, which would give it away; not those that are `known`."""
    texts: set[str] = set()

    def collect(value: Any) -> None:
        match value:
            case dict():
                for item in value.values():
                    collect(item)
            case list():
                for item in value:
                    collect(item)
            case str() if len(value) >= TELLING_CHARS:
                texts.add(value)

    collect(json.loads(document))
    words = [text.encode() for text in sorted(texts) if text.encode() not in known]
    # Every n-th of very many: the search reads all files for each.
    return words[:: 1 + len(words) // WORDS_MAX] or [document[:64]]


def _files_with(roots: list[Path], words: list[bytes]) -> tuple[int, list[Path]]:
    """How many files lie under the roots, and those that contain one of the words."""
    count, found = 0, []
    for path in (path for root in roots for path in root.rglob("*")):
        try:
            content = path.read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            continue  # LevelDB has just replaced it
        count += 1
        if any(word in content for word in words):
            found.append(path)
    return count, found


async def _exit_code(*arguments: str) -> int:
    import sys

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "cli.main",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


def _json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
