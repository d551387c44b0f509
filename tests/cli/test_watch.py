"""`record watch` without a node: cut off at every step, nothing is anchored twice."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cli.output import Output
from cli.watch import LOOKS_ONCE_MAX, Watch
from cli.watch_folder import OLD_S, Folder
from cli.watch_import import AT_ONCE_BATCHED, ChainImporter, DryImporter, Outcome
from cli.watch_journal import Entry, Journal
from salus.client import Client, Committed
from salus.client_errors import (
    ClientError,
    NotFoundError,
    NotReadyError,
    PendingError,
    RejectedError,
    RequestError,
    UnreachableError,
)
from salus.forms import TransactionForm, TransactionState
from salus.forms_records import RecordForm, Staged, UnsignedOperation, VersionForm
from tests.cli.conftest import Salus

PATIENT = {"resourceType": "Patient", "name": [{"family": "Zacharias"}]}


class Killed(BaseException):
    """The process ends here."""


class Transaction:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw


class Node(Client):
    """Vault and chain of one node. `cut` ends the process before or after the n-th step;
    `answers` are errors that the next steps of a kind raise."""

    def __init__(self) -> None:
        self.vault: dict[str, bytes] = {}  # record id → document
        self.anchored: dict[str, tuple[bytes, int]] = {}  # record id → transaction, height
        self.attempts = 0  # of anchoring: transactions that reached a block
        self.steps, self.cut, self.after = 0, 0, False
        self.answers: dict[str, list[BaseException]] = {}
        self.built = 0
        # As `after`, but the node has not yet done what it was asked: it does in the next life.
        self.slow = False
        self.under_way: list[Callable[[], Any]] = []

    def _step(self, name: str, act: Callable[[], Any]) -> Any:
        self.steps += 1
        if self.steps == self.cut and not self.after:
            raise Killed
        if self.answers.get(name):
            raise self.answers[name].pop(0)
        if self.steps == self.cut and self.slow:
            self.under_way.append(act)
            raise Killed
        told = act()
        while not self.cut and self.under_way:
            self.under_way.pop()()
        if self.steps == self.cut:
            raise Killed
        return told

    async def record_stage(
        self,
        document: bytes,
        media_type: str,
        *,
        previous: str | None = None,
        handle: str | None = None,
        record_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Staged:
        assert record_id is not None, "else the answer that is lost is a second record"

        def act() -> Staged:
            if b"birthDate" in document:
                raise RequestError("not valid FHIR R4: birthDate: rule", code="BAD_FHIR")
            if record_id in self.anchored:
                raise NotFoundError("anchored")
            assert self.vault.setdefault(record_id, document) == document
            return self._staged(record_id)

        return self._step("stage", act)  # type: ignore[no-any-return]

    def _staged(self, record_id: str) -> Staged:
        return Staged(record_id, 1, "11" * 32, "22" * 32, (), resources=2)

    async def record_staged(self, record_id: str) -> Staged:
        if record_id in self.anchored:
            raise NotFoundError("anchored")
        return self._staged(record_id)

    async def staged_transaction(self, staged: Staged) -> Any:
        self.built += 1
        return Transaction(f"{staged.record_id}/{self.built}".encode())

    async def commit(self, transaction: Any, timeout_s: float | None = None) -> Committed:
        assert isinstance(transaction, bytes)

        def act() -> Committed:
            record_id = transaction.partition(b"/")[0].decode()
            if record_id not in self.anchored:
                self.attempts += 1
                self.anchored[record_id] = transaction, self.attempts
            elif self.anchored[record_id][0] != transaction:
                raise RejectedError("anchored before", code="DUPLICATE_ROOT")
            height = self.anchored[record_id][1]
            form = TransactionForm(tx_id=transaction.hex(), state=TransactionState.COMMITTED)
            return Committed(transaction.hex(), height, form, self)

        return self._step("commit", act)  # type: ignore[no-any-return]

    def _form(self, record_id: str) -> RecordForm:
        known = self.anchored.get(record_id)
        version = VersionForm(
            version=1,
            commitment="11" * 32,
            root="22" * 32,
            state="staged" if known is None else "anchored",
            tx_id=None if known is None else known[0].hex(),
            height=None if known is None else known[1],
        )
        return RecordForm(record_id=record_id, media_type="x", versions=(version,))

    async def record(self, record_id: str) -> RecordForm:
        return self._form(record_id)


class BatchNode(Node):
    """Puts all that waits under one root; `busy`: ids of which an earlier life's call waits still."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: dict[str, str] = {}  # record id → root
        self.waiting: list[str] = []
        self.busy: set[str] = set()
        self.sent: list[str] = []  # roots in transactions, the refused counted too
        self.silent = False  # who was given the operations, another process, sends nothing

    async def record_stage(self, document: bytes, media_type: str, **more: Any) -> Staged:
        assert more["batched"]
        record_id = more["record_id"]
        known = record_id in self.roots
        if record_id in self.busy:
            self.busy.discard(record_id)
            self.roots[record_id] = f"{len(self.sent):064x}"
            self.vault[record_id] = document
            raise NotReadyError("the same has come by another call", code="NODE_BUSY")
        staged = await super().record_stage(document, media_type, record_id=record_id)
        if not known:
            self.waiting.append(record_id)
            for _ in range(20):  # the others come meanwhile
                await asyncio.sleep(0)
        here, self.waiting = self.waiting, []
        for one in here:
            self.roots[one] = f"{len(self.sent):064x}"
        given = not self.silent and (known or bool(here))
        operations = (UnsignedOperation("records", "anchor", 1, "aa"),) if given else ()
        return replace(staged, root=self.roots[record_id], operations=operations)

    async def record_anchored(self, staged: Staged, timeout_s: float | None = None) -> Committed:
        def act() -> None:
            self.sent.append(staged.root)
            for one, root in self.roots.items():
                if root == staged.root and one not in self.anchored:
                    self.anchored[one] = root.encode(), len(self.sent)

        if staged.operations:
            self._step("commit", act)
        for _ in range(100):
            if staged.record_id in self.anchored:
                tx, height = self.anchored[staged.record_id]
                form = TransactionForm(tx_id=tx.hex(), state=TransactionState.COMMITTED)
                return Committed(tx.hex(), height, form, self)
            await asyncio.sleep(0)
        raise NotReadyError("not anchored yet", code="NOT_ANCHORED")


class Place:
    """A folder, a node and the state; `run` is one life of `record watch --once`."""

    def __init__(self, root: Path, node: Node | None = None) -> None:
        """Anchored in batches by a `BatchNode`, alone by any other."""
        self.folder, self.state = root / "in", root / "watch.journal"
        self.folder.mkdir()
        self.node = node or Node()
        self.watch: Watch | None = None

    def write(self, name: str, content: bytes | dict[str, Any], age_s: float = OLD_S) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(json.dumps(content).encode() if isinstance(content, dict) else content)
        old = path.stat().st_mtime - age_s
        os.utime(path, (old, old))

    async def run(self, sleep: Callable[[float], Any] | None = None) -> tuple[int, dict[str, Any]]:
        out = Output(as_json=True, verbosity=0, color=False)
        report = self.folder.parent / "report.json"

        async def no_time(_: float) -> None:
            pass

        with Journal.open(self.state) as journal:
            alone = not isinstance(self.node, BatchNode)
            importer = ChainImporter(self.node, journal, timeout_s=1, now=alone)
            watch = Watch(Folder(self.folder), importer, out, report=report, sleep=sleep or no_time)
            self.watch = watch
            code = await watch.once()
        return code, json.loads(report.read_text())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def printed(capsys: pytest.CaptureFixture[str]) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_each_content_becomes_one_record(place: Place) -> None:
    place.write("a.json", PATIENT)
    place.write("sub/copy of a.json", PATIENT)
    place.write("b.pdf", b"%PDF")
    code, report = await place.run()
    assert (code, len(place.node.anchored)) == (0, 2)
    assert (report["imported"], report["known"], report["resources"]) == (2, 1, 4)
    code, report = await place.run()
    assert (code, report["imported"], report["known"]) == (0, 0, 3)
    place.write("a.json", {**PATIENT, "gender": "female"})  # changed: another record
    place.write("renamed.pdf", b"%PDF")
    assert (await place.run())[0] == 0
    assert (len(place.node.anchored), place.node.attempts) == (3, 3)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 3, 4])
async def test_a_kill_at_any_step_anchors_nothing_twice_and_loses_nothing(
    place: Place, cut: int, after: bool
) -> None:
    """The journal's file is all that the next life has."""
    place.write("a.json", PATIENT)
    place.write("b.json", {**PATIENT, "gender": "male"})
    place.node.cut, place.node.after = cut, after
    with pytest.raises(Killed):
        await place.run()
    place.node.cut = 0
    code, report = await place.run()
    assert (code, report["imported"] + report["known"]) == (0, 2)
    assert len(place.node.vault) == len(place.node.anchored) == place.node.attempts == 2


@pytest.mark.parametrize("cut", [1, 3])
async def test_a_staging_that_is_still_under_way_when_the_next_life_begins_is_the_same_record(
    place: Place, cut: int
) -> None:
    """A node that is busy takes a document whose sender was killed long ago, and the next life's too."""
    place.write("a.json", PATIENT)
    place.write("b.json", {**PATIENT, "gender": "male"})
    place.node.cut, place.node.after, place.node.slow = cut, True, True
    with pytest.raises(Killed):
        await place.run()
    assert len(place.node.under_way) == 1
    place.node.cut = 0
    assert (await place.run())[0] == 0
    assert place.node.under_way == []
    assert len(place.node.vault) == len(place.node.anchored) == 2


async def test_what_many_calls_were_cut_off_from_is_taken_up_by_all_of_them(place: Place) -> None:
    """AT_ONCE of them have the same past: none must begin before what was staged is known."""
    documents = [json.dumps(PATIENT | {"id": str(number)}).encode() for number in range(6)]
    with Journal.open(place.state) as journal:
        for number, document in enumerate(documents):
            record_id = f"{number:032x}"
            journal.note(Entry(journal.id_of(document), "sending", record_id=record_id))
            place.node.vault[record_id] = document
            place.write(f"{number}.json", document)
    assert (await place.run())[0] == 0
    assert sorted(place.node.anchored) == sorted(place.node.vault)
    assert len(place.node.vault) == len(documents)


async def test_what_somebody_has_anchored_meanwhile_is_done(place: Place) -> None:
    place.write("a.json", PATIENT)
    place.node.cut, place.node.after = 1, True
    with pytest.raises(Killed):
        await place.run()
    (record_id,) = place.node.vault
    place.node.cut, place.node.anchored[record_id] = 0, (b"another", 7)
    code, report = await place.run()
    assert (code, report["imported"], len(place.node.vault)) == (0, 1, 1)
    assert (await place.run())[1]["known"] == 1


async def test_refused_files_are_told_with_code_and_next_step_and_not_sent_again(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write("Zacharias.json", {**PATIENT, "birthDate": "x"})
    place.write("empty.txt", b"")
    place.write("good.txt", b"x")
    code, report = await place.run()
    assert (code, report["imported"], report["refused"]) == (65, 1, 2)
    first, second = report["files"]
    assert (first["file"], first["code"]) == ("Zacharias.json", "BAD_FHIR")
    assert first["next"]
    assert (second["file"], second["code"]) == ("empty.txt", "BAD_DOCUMENT")
    steps = place.node.steps
    code, again = await place.run()
    assert (code, place.node.steps) == (65, steps)
    assert again["files"] == report["files"]
    (place.folder / "Zacharias.json").unlink()
    (place.folder / "empty.txt").unlink()
    code, report = await place.run()
    assert (code, report["files"]) == (0, [])
    assert "Zacharias" not in capsys.readouterr().out
    assert "Zacharias" not in place.state.read_text()


async def test_what_is_not_the_files_fault_is_tried_again(place: Place) -> None:
    place.write("a.txt", b"x")
    for error, code in (
        (ClientError("a bug of the node", code="INTERNAL"), 75),
        (RejectedError("suspended", code="MEMBER_SUSPENDED"), 75),
        (RequestError("no such method", code="BAD_REQUEST"), 75),
        (PendingError("not in time", tx_id="aa"), 4),
    ):
        place.node.answers["commit"] = [error] * LOOKS_ONCE_MAX
        assert (await place.run())[0] == code
        place.node.answers.clear()
    assert (await place.run())[0] == 0
    assert len(place.node.vault) == place.node.attempts == 1


async def test_an_expired_transaction_is_made_anew_for_the_same_record(place: Place) -> None:
    place.write("a.txt", b"x")
    place.node.answers["commit"] = [RejectedError("too late", code="EXPIRED")] * 2
    assert (await place.run())[0] == 0
    assert (place.node.built, len(place.node.vault), place.node.attempts) == (3, 1, 1)


async def test_a_transaction_of_ours_that_came_through_after_all_is_no_failure(
    place: Place,
) -> None:
    """The first one was thought lost, a second one was sent, and then the first was certified."""
    place.write("a.txt", b"x")
    place.node.cut, place.node.after = 2, True
    with pytest.raises(Killed):
        await place.run()
    place.node.cut = 0
    place.node.answers["commit"] = [RejectedError("anchored", code="DUPLICATE_ROOT")]
    code, report = await place.run()
    assert (code, report["imported"], place.node.attempts) == (0, 1, 1)


async def test_once_waits_for_files_that_are_being_written_and_says_when_they_stay_so(
    place: Place,
) -> None:
    place.write("whole.txt", b"x")
    place.write("growing.txt", b"x", age_s=0)
    looks = 0

    async def growing(_: float) -> None:
        nonlocal looks
        looks += 1
        place.write("growing.txt", b"x" * (looks + 1), age_s=0)

    code, report = await place.run(growing)
    assert (code, report["changing"], report["imported"]) == (75, 1, 1)
    assert looks == LOOKS_ONCE_MAX


async def test_a_node_that_is_away_ends_once_and_is_waited_for_when_serving(place: Place) -> None:
    place.write("a.txt", b"x")
    place.node.answers["stage"] = [UnreachableError("gone")]
    with pytest.raises(UnreachableError):
        await place.run()
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        assert serving.tally is not None
        if serving.tally.imported:
            serving.stopping.set()

    place.node.answers["stage"] = [UnreachableError("gone")] * 3
    with Journal.open(place.state) as journal:
        serving = Watch(
            Folder(place.folder),
            ChainImporter(place.node, journal, timeout_s=1, now=True),
            Output(as_json=True, verbosity=-1, color=False),
            report=None,
            sleep=sleep,
        )
        assert await serving.serve() == 0
    assert pauses == [1.0, 2.0, 4.0, 2.0]
    assert len(place.node.anchored) == 1


async def test_a_wish_to_stop_lets_what_is_on_its_way_arrive(place: Place) -> None:
    for number in range(20):
        place.write(f"{number}.txt", f"{number}".encode())

    class Stopping(Node):
        async def commit(self, transaction: Any, timeout_s: float | None = None) -> Committed:
            assert place.watch is not None
            place.watch.stopping.set()
            return await super().commit(transaction, timeout_s)

    place.node = Stopping()
    await place.run()
    assert 0 < len(place.node.anchored) < 20
    assert len(place.node.vault) == len(place.node.anchored)


async def test_dry_run_checks_as_the_node_does(place: Place) -> None:
    importer = DryImporter()
    good = await importer.take(json.dumps(PATIENT).encode(), "application/fhir+json")
    assert (good.kind, good.resources) == ("imported", 1)
    bad = await importer.take(b"{", "application/json")
    assert bad.error is not None
    assert (bad.kind, bad.error.code) == ("refused", "BAD_JSON")
    assert await importer.take(b"x", "text/plain") == Outcome(
        "imported", (await importer.take(b"x", "text/plain")).id
    )


def test_on_a_terminal_there_is_a_bar_and_no_line_for_each_file(place: Place) -> None:
    for number in range(5):
        place.write(f"{number}.txt", b"%d" % number)
    place.write("Zacharias.json", b"{")
    leader, follower = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.main", "record", "watch", place.folder, "--dry-run"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(follower)
    shown = b""
    try:
        # While it writes: a terminal holds 4 kB, and a bar that takes long has more to say.
        while piece := os.read(leader, 65536):
            shown += piece
    except OSError:  # its other end is closed
        pass
    os.close(leader)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 65
    assert b"6/6" in shown
    assert b"(1 refused)" in shown
    assert b"Zacharias" not in shown + told
    assert told.decode().startswith("✗ 5 imported")


def test_the_command_checks_a_folder_without_a_node(
    place: Place, tmp_path: Path, salus: Salus
) -> None:
    place.write("good.json", PATIENT)
    place.write("plain.json", {"a": 1})
    place.write("lines.ndjson", json.dumps(PATIENT).encode() + b"\n" + json.dumps(PATIENT).encode())
    place.write("Zacharias.json", {**PATIENT, "birthDate": "x"})
    report = tmp_path / "report.json"
    done = salus("record", "watch", place.folder, "--dry-run", "--json", "--report", report)
    assert done.code == 65
    *lines, summary = [json.loads(line) for line in done.out.splitlines()]
    assert (summary["imported"], summary["refused"], summary["resources"]) == (3, 1, 3)
    assert len(lines) == 4
    assert "Zacharias" not in done.out + done.err
    (refused,) = json.loads(report.read_text())["files"]
    assert refused["file"] == "Zacharias.json"
    assert report.stat().st_mode & 0o777 == 0o600
    done = salus("record", "watch", place.folder, "--dry-run")
    assert done.code == 65
    assert len(done.err.splitlines()) == 4, "without a terminal a line for each file"
    assert done.out.startswith("✗ 3 imported (3 resources")


# -- with the node's batches (decision 0019, B-6) -------------------------------------------------


@pytest.fixture
def batches(tmp_path: Path) -> Place:
    return Place(tmp_path, BatchNode())


def batch_node(place: Place) -> BatchNode:
    assert isinstance(place.node, BatchNode)
    return place.node


def write_some(place: Place, count: int) -> None:
    for number in range(count):
        place.write(f"{number}.json", PATIENT | {"id": str(number)})


async def test_the_files_of_a_batch_are_anchored_by_one_transaction(batches: Place) -> None:
    write_some(batches, AT_ONCE_BATCHED)
    code, report = await batches.run()
    assert (code, report["imported"]) == (0, AT_ONCE_BATCHED)
    node = batch_node(batches)
    assert len(node.anchored) == AT_ONCE_BATCHED
    assert len(node.sent) == len(set(node.sent)) == 1
    assert (await batches.run())[1]["known"] == AT_ONCE_BATCHED


@pytest.mark.parametrize("how", ["before", "after", "slow"])
@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_a_kill_at_any_step_of_a_batch_anchors_nothing_twice_and_loses_nothing(
    batches: Place, cut: int, how: str
) -> None:
    write_some(batches, 2)
    node = batch_node(batches)
    node.cut, node.after, node.slow = cut, how != "before", how == "slow"
    with pytest.raises(Killed):
        await batches.run()
    node.cut = 0
    code, report = await batches.run()
    assert (code, report["imported"] + report["known"]) == (0, 2)
    assert len(node.vault) == len(node.anchored) == 2
    assert (await batches.run())[1]["known"] == 2


async def test_a_call_of_an_earlier_life_that_waits_still_is_waited_for(batches: Place) -> None:
    write_some(batches, 1)
    node = batch_node(batches)
    (content,) = (path.read_bytes() for path in batches.folder.iterdir())
    with Journal.open(batches.state) as journal:
        journal.note(Entry(journal.id_of(content), "sending", record_id="5a" * 16))
    node.busy.add("5a" * 16)
    assert (await batches.run())[1]["imported"] == 1
    assert list(node.anchored) == ["5a" * 16]


async def test_what_another_process_does_not_send_stays_pending(batches: Place) -> None:
    write_some(batches, 2)
    node = batch_node(batches)
    node.silent = True
    code, report = await batches.run()
    assert (code, report["pending"]) == (4, 2)
    node.silent = False
    code, report = await batches.run()
    assert (code, report["imported"], len(node.vault), len(node.sent)) == (0, 2, 2, 1)


async def test_documents_on_their_way_have_a_bound_in_bytes_and_one_may_be_larger(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 wait for a batch: of eight megabytes each they would fill the machine."""
    monkeypatch.setattr("cli.watch.ON_THE_WAY_BYTES_MAX", 100)
    for number, size in enumerate((10,) * 30 + (101, 99)):
        place.write(f"{number}.txt", bytes([65 + number]) * size)
    on_the_way: list[int] = []
    seen: list[int] = []

    class Slow:
        at_once = 64

        async def take(self, content: bytes, media_type: str) -> Outcome:
            on_the_way.append(len(content))
            seen.append(sum(on_the_way))
            for _ in range(5):
                await asyncio.sleep(0)
            on_the_way.remove(len(content))
            return Outcome("imported", "")

    out = Output(as_json=True, verbosity=-1, color=False)
    watch = Watch(Folder(place.folder), Slow(), out, report=None)
    assert await watch.once() == 0
    assert len(seen) == 32
    assert max(seen) == 101
