"""`record watch` without a node: cut off at every step, nothing is anchored twice."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.output import Output
from cli.watch import LOOKS_ONCE_MAX, Watch
from cli.watch_folder import OLD_S, Folder
from cli.watch_import import ChainImporter, DryImporter, Outcome
from cli.watch_journal import Journal
from salus.client import Client, Committed
from salus.client_errors import (
    ClientError,
    NotFoundError,
    PendingError,
    RejectedError,
    RequestError,
    UnreachableError,
)
from salus.forms import (
    RecordForm,
    RecordPage,
    Staged,
    TransactionForm,
    TransactionState,
    VersionForm,
)
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

    def _step(self, name: str, act: Callable[[], Any]) -> Any:
        self.steps += 1
        if self.steps == self.cut and not self.after:
            raise Killed
        if self.answers.get(name):
            raise self.answers[name].pop(0)
        told = act()
        if self.steps == self.cut:
            raise Killed
        return told

    async def record_stage(
        self,
        document: bytes,
        media_type: str,
        *,
        previous: str | None = None,
        timeout_s: float | None = None,
    ) -> Staged:
        def act() -> Staged:
            if b"birthDate" in document:
                raise RequestError("not valid FHIR R4: birthDate: rule", code="BAD_FHIR")
            record_id = f"{len(self.vault):032x}"
            self.vault[record_id] = document
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

    async def records(self, *, after: str | None = None, limit: int = 50) -> RecordPage:
        ids = sorted(self.vault, reverse=True)
        rest = [one for one in ids if after is None or one < after]
        return RecordPage(tuple(map(self._form, rest[:2])), rest[1] if len(rest) > 2 else None)

    async def record_document(
        self, record_id: str, version: int | None = None
    ) -> tuple[str, bytes]:
        return "x", self.vault[record_id]


class Place:
    """A folder, a node and the state; `run` is one life of `record watch --once`."""

    def __init__(self, root: Path) -> None:
        self.folder, self.state = root / "in", root / "watch.journal"
        self.folder.mkdir()
        self.node = Node()
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
            importer = ChainImporter(self.node, journal, timeout_s=1)
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


async def test_a_staging_whose_answer_was_lost_is_taken_up_and_no_other(place: Place) -> None:
    place.node.vault = {"f" * 32: b"of somebody else", "e" * 32: json.dumps(PATIENT).encode()}
    place.write("a.json", PATIENT)
    with Journal.open(place.state) as journal:
        from cli.watch_journal import Entry

        journal.note(Entry(journal.id_of(json.dumps(PATIENT).encode()), "sending"))
    assert (await place.run())[0] == 0
    assert list(place.node.anchored) == ["e" * 32]


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
            ChainImporter(place.node, journal, timeout_s=1),
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
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", "record", "watch", place.folder, "--dry-run"],
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        timeout=60,
        check=False,
    )
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 65536):
            shown += piece
    except OSError:  # its other end is closed
        pass
    os.close(leader)
    assert done.returncode == 65
    assert b"6/6" in shown
    assert b"(1 refused)" in shown
    assert b"Zacharias" not in shown + done.stdout
    assert done.stdout.decode().startswith("✗ 5 imported")


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
