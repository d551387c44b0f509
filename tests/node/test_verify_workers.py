"""Signatures are checked in processes of their own: the same verdicts, none refused for a process that
fails, none believed that is not an answer, and no process left behind."""

import asyncio
import io
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from node import child
from node.verify import AWAY_SLICE_MAX, SLICES_PER_PLACE, VerifyPool
from node.verify_worker import ANSWER, framed, serve
from node.verify_workers import PROGRAM, VerifyWorker, VerifyWorkers
from salus.transaction import ParsedTransaction
from tests.node.test_verify import BAD, GOOD
from tests.salus import data

ROOT = Path(__file__).parents[2]
MANY = [BAD if number % 7 == 3 else GOOD[number % 40] for number in range(3 * AWAY_SLICE_MAX + 5)]
WANTED = [tx is not BAD for tx in MANY]


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[VerifyWorkers]:
    made = VerifyWorkers(1, pause_s=0)
    yield made
    await made.close()


async def ready(workers: VerifyWorkers) -> VerifyWorkers:
    """The first to ask is not kept waiting for the start: nobody has checked it."""
    assert await workers.check(GOOD[:1]) is None
    await workers.started()
    assert workers.pids
    return workers


def gone(pid: int) -> bool:
    """Waits for it."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 60)[0])
    finally:
        os.close(fd)


# -- what a process says ----------------------------------------------------------------------------


async def test_verdicts_are_those_of_the_one_rule(workers: VerifyWorkers) -> None:
    """Wycheproof, among others: all that libsodium refuses is refused there."""
    await ready(workers)
    cases: list[ParsedTransaction] = []
    wanted: list[bool] = []
    for group in data.load("wycheproof/ed25519_test.json")["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            body = replace(GOOD[0].body, sender=key, signature=bytes.fromhex(case["sig"]))
            cases.append(replace(GOOD[0], body=body, signed=bytes.fromhex(case["msg"])))
            wanted.append(case["result"] == "valid")
    assert len(cases) > 70
    checked = await workers.check(cases)
    assert checked is not None
    assert checked[0] == wanted
    assert 0 < checked[1] < 60


async def test_slices_wait_in_its_pipe_and_are_answered_in_order() -> None:
    """More than a pipe holds, from many at once, beside a proposal."""
    slices: list[float] = []
    workers = await ready(VerifyWorkers(2))
    pool = VerifyPool(2, workers=workers, observe=slices.append)
    try:
        callers = [pool.verify(MANY[number:]) for number in range(8)]
        *answers, proposal = await asyncio.gather(*callers, pool.verify(MANY, urgent=True))
        assert answers == [WANTED[number:] for number in range(8)]
        assert proposal == WANTED
        assert pool.verified_total == sum(len(answer) for answer in (*answers, proposal))
        assert pool.waiting == 0
        assert all(seconds > 0 for seconds in slices)
        assert len(workers.pids) == 2
    finally:
        await pool.close()


async def test_few_are_checked_here_and_no_process_is_started() -> None:
    workers = VerifyWorkers(1)
    pool = VerifyPool(1, workers=workers)
    assert await pool.verify(GOOD[:5]) == [True] * 5
    await workers.started()
    assert workers.pids == []
    await pool.close()


async def test_another_rule_goes_into_no_process() -> None:
    """A process knows the real one only."""
    with pytest.raises(AssertionError):
        VerifyPool(1, workers=VerifyWorkers(1), verifier=lambda *_: True)


def test_the_worker_answers_each_question_until_its_input_ends() -> None:
    outgoing = io.BytesIO()
    fields = [GOOD[0].body.sender, GOOD[0].signed, GOOD[0].body.signature]
    serve(io.BytesIO(framed(1, fields) + framed(2, []) + framed(3, fields * 2)), outgoing)
    raw = outgoing.getvalue()
    assert len(raw) == 3 * ANSWER.size + 3
    assert ANSWER.unpack_from(raw)[:2] == (1, 1)
    assert raw[ANSWER.size] == 1


# -- what may fail ----------------------------------------------------------------------------------


async def test_a_worker_that_dies_costs_nobody_his_transaction(
    workers: VerifyWorkers, caplog: pytest.LogCaptureFixture
) -> None:
    pool = VerifyPool(1, workers=await ready(workers))
    (pid,) = workers.pids
    os.kill(pid, signal.SIGKILL)
    assert await pool.verify(MANY) == WANTED
    assert [r.fields for r in caplog.records if r.getMessage() == "verify_worker_lost"] == [  # type: ignore[attr-defined]
        {"reason": "ended"}
    ]
    await pool.verify(MANY)
    await workers.started()
    assert workers.pids not in ([], [pid])
    assert await pool.verify(MANY) == WANTED


async def test_after_a_loss_another_process_is_not_tried_at_once() -> None:
    workers = await ready(VerifyWorkers(1))
    os.kill(workers.pids[0], signal.SIGKILL)
    while await workers.check(GOOD) is not None:
        pass
    assert await workers.check(GOOD) is None
    await workers.started()
    assert workers.pids == []
    await workers.close()


async def test_a_worker_that_hangs_is_waited_for_no_longer_than_its_time() -> None:
    workers = await ready(VerifyWorkers(1, hung_s=0.02))
    (pid,) = workers.pids
    pool = VerifyPool(1, workers=workers)
    os.kill(pid, signal.SIGSTOP)
    assert await pool.verify(MANY) == WANTED
    assert workers.pids == []
    await pool.close()
    assert gone(pid)


async def test_where_no_process_can_be_started_threads_check(
    workers: VerifyWorkers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    pool = VerifyPool(1, workers=workers)
    assert await pool.verify(MANY) == WANTED
    await workers.started()
    assert workers.pids == []
    assert "verify_worker_lost" in {r.getMessage() for r in caplog.records}
    await pool.close()


# As setuptools does it; so the test is the same whatever this interpreter has installed.
HOOK = f"""
import importlib.machinery, importlib.util, sys
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("node", "salus", "consensus", "storage", "contracts", "cli"):
            place = f"{ROOT}/{{name}}"
            return importlib.util.spec_from_file_location(
                name, f"{{place}}/__init__.py", submodule_search_locations=[place]
            )
sys.meta_path.insert(0, Finder)
"""
ELSEWHERE = """
import asyncio, uvloop
from node.verify_workers import VerifyWorkers
async def main():
    workers = VerifyWorkers(1)
    assert await workers.check(()) is None
    await workers.started()
    print(len(workers.pids))
    await workers.close()
uvloop.run(main())
"""


def test_a_worker_finds_its_modules_as_an_editable_installation_leaves_them(tmp_path: Path) -> None:
    """Found by a hook of `site`, they are in no place of `sys.path`; and the worker has no site."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", HOOK + ELSEWHERE],
        capture_output=True,
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == (b"1\n", b"", 0)


def test_what_is_installed_beside_the_node_hides_nothing_of_the_interpreter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A backport named like a module of the interpreter, which comes first for the node itself."""
    monkeypatch.setattr(sys, "path", ["", "/interpreter", str(ROOT), "/elsewhere"])
    assert child.environment()["PYTHONPATH"].split(os.pathsep) == [
        "/interpreter",
        str(ROOT),
        "/elsewhere",
    ]
    monkeypatch.setattr(sys, "path", ["/interpreter"])
    assert child.environment()["PYTHONPATH"].split(os.pathsep) == ["/interpreter", str(ROOT)]


async def test_a_process_that_ended_before_it_was_asked_is_only_lost() -> None:
    """uvloop refuses to write to a pipe that is closed; the event of its end may still be to come."""
    told = Told()
    told.transport.closed = True
    assert await told.worker.ask(GOOD) is None
    assert told.lost == ["ended"]


async def test_a_process_that_is_no_worker_is_never_asked() -> None:
    workers = VerifyWorkers(1, program=("-c", "print('hello ' * 9)"))
    assert await workers.check(GOOD) is None
    await workers.started()
    assert workers.pids == []
    await workers.close()


SAYS_MORE = """
import sys
from node.verify_worker import ANSWER, ASK
number, length = ASK.unpack(sys.stdin.buffer.read(ASK.size))
sys.stdin.buffer.read(length)
sys.stdout.buffer.write(2 * ANSWER.pack(number, 0, 0))
sys.stdout.buffer.flush()
sys.stdin.read()
"""


async def test_a_process_that_ends_with_its_first_answer_is_replaced() -> None:
    workers = VerifyWorkers(1, pause_s=0, program=("-c", SAYS_MORE))
    assert await workers.check(GOOD) is None
    await workers.started()
    assert workers.pids == []
    workers._program = PROGRAM
    await ready(workers)
    assert await workers.check(GOOD[:1]) is not None
    await workers.close()


async def test_who_leaves_does_not_make_room_for_more_while_his_slices_are_in_the_pipe() -> None:
    """A proposal waits for two slices of clients at most, also when those come and go."""
    workers = await ready(VerifyWorkers(1, hung_s=60))
    (worker,) = workers._ready
    pool = VerifyPool(1, workers=workers)
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        for _ in range(5):
            client = asyncio.ensure_future(pool.verify(MANY))
            for _ in range(9):
                await asyncio.sleep(0)
            client.cancel()
            with pytest.raises(asyncio.CancelledError):
                await client
        assert pool.waiting == 0
        assert worker.owes() == SLICES_PER_PLACE * AWAY_SLICE_MAX
        proposal = asyncio.ensure_future(pool.verify(MANY, urgent=True))
        stays = asyncio.ensure_future(pool.verify(MANY))
        await asyncio.sleep(0)
        os.kill(worker.pid, signal.SIGCONT)
        assert await proposal == WANTED
        assert await stays == WANTED
        assert pool.verified_total == SLICES_PER_PLACE * AWAY_SLICE_MAX + 2 * len(MANY)
    finally:
        await pool.close()  # Nothing else would end a process that is stopped.


class _Transport(asyncio.SubprocessTransport):
    """Of a process that says what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.killed = self.closed = False

    def get_pid(self) -> int:
        return 1

    def get_returncode(self) -> int | None:
        return None

    def get_pipe_transport(self, fd: int) -> "_Transport":  # type: ignore[override]
        return self

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("unable to perform operation on it; the handler is closed")
        self.written.append(data)

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        pass


class Told:
    """One worker without its process."""

    def __init__(self) -> None:
        self.lost: list[str] = []
        self.worker = VerifyWorker(60.0, lambda _, reason: self.lost.append(reason))
        self.transport = _Transport()
        self.worker.connection_made(self.transport)

    async def ask(self, count: int) -> "asyncio.Task[tuple[list[bool], float] | None]":
        task = asyncio.create_task(self.worker.ask(GOOD[:count]))
        await asyncio.sleep(0)
        return task

    def say(self, raw: bytes) -> None:
        self.worker.pipe_data_received(1, raw)


async def test_answers_may_come_in_pieces_and_together() -> None:
    told = Told()
    first, second = await told.ask(2), await told.ask(1)
    raw = ANSWER.pack(1, 2, 5) + b"\x01\x00" + ANSWER.pack(2, 1, 2_000_000) + b"\x01"
    for at in range(len(raw)):
        told.say(raw[at : at + 1])
    assert await first == ([True, False], 5e-6)
    assert await second == ([True], 2.0)
    third, fourth = await told.ask(1), await told.ask(1)
    told.say(ANSWER.pack(3, 1, 0) + b"\x00" + ANSWER.pack(4, 1, 0) + b"\x01")
    assert (await third, await fourth) == (([False], 0), ([True], 0))
    assert told.lost == []
    told.worker.end("closed")


@pytest.mark.parametrize(
    "raw",
    [
        ANSWER.pack(2, 2, 5) + b"\x01\x01",  # to a later question
        ANSWER.pack(0, 2, 5) + b"\x01\x01",
        ANSWER.pack(1, 1, 5) + b"\x01",  # too few
        ANSWER.pack(1, 3, 5) + b"\x01\x01\x01",
        ANSWER.pack(1, 2, 5) + b"\x01\x02",  # no verdict
        ANSWER.pack(1, 2, 5) + b"\xff\x01",
        b"Traceback (most recent call last):",
    ],
)
async def test_a_broken_answer_is_not_believed(raw: bytes) -> None:
    """Neither to this question nor to the ones behind it."""
    told = Told()
    questions = [await told.ask(2), await told.ask(2)]
    told.say(raw)
    told.say(ANSWER.pack(2, 2, 5) + b"\x01\x01")
    assert [await question for question in questions] == [None, None]
    assert len(told.lost) == 1
    assert told.transport.killed
    assert await told.worker.ask(GOOD) is None


async def test_an_answer_to_nothing_ends_the_worker() -> None:
    told = Told()
    question = await told.ask(1)
    told.say(ANSWER.pack(1, 1, 5) + b"\x01" + ANSWER.pack(2, 1, 5) + b"\x01")
    assert await question == ([True], 5e-6)
    assert told.lost == ["unasked"]


async def test_who_gives_up_waiting_shifts_no_answer() -> None:
    told = Told()
    first, second = await told.ask(1), await told.ask(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    told.say(ANSWER.pack(1, 1, 5) + b"\x00" + ANSWER.pack(2, 1, 5) + b"\x01")
    assert await second == ([True], 5e-6)
    assert told.lost == []


async def test_a_question_is_key_content_and_signature_of_each() -> None:
    told = Told()
    question = await told.ask(2)
    (raw,) = told.transport.written
    flat = [field for tx in GOOD[:2] for field in (tx.body.sender, tx.signed, tx.body.signature)]
    assert msgspec.msgpack.decode(raw[8:]) == flat
    told.worker.end("closed")
    assert await question is None


# -- how it ends ------------------------------------------------------------------------------------


async def test_closing_ends_the_processes_also_those_that_start() -> None:
    workers = await ready(VerifyWorkers(2))
    pids = workers.pids
    await workers.close()
    assert workers.pids == []
    assert all(gone(pid) for pid in pids)
    assert await workers.check(GOOD) is None
    starting = VerifyWorkers(1)
    assert await starting.check(GOOD) is None
    await starting.close()
    assert starting.pids == []
    assert not starting._alive


PARENT = """
import asyncio, os, signal, sys, uvloop
from node import child
from node.verify import VerifyPool
from node.verify_workers import VerifyWorkers
from storage.kv import LevelKV
from tests.node.test_verify_workers import MANY, WANTED
async def main():
    kv = LevelKV(sys.argv[2])
    workers = VerifyWorkers(2)
    pool = VerifyPool(2, workers=workers)
    assert await pool.verify(MANY) == WANTED
    await workers.started()
    assert await pool.verify(MANY) == WANTED
    print(*workers.pids, flush=True)
    for pid in workers.pids:
        os.kill(pid, 0)
        assert os.getsid(pid) == pid != os.getsid(0)
        assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    if sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os.kill(workers.pids[0], signal.SIGKILL)
    assert await pool.verify(MANY) == WANTED
    await pool.close()
    kv.close()
uvloop.run(main())
"""


@pytest.mark.parametrize("end", ["kill", "close"])
def test_on_the_node_s_own_loop_no_worker_outlives_its_parent_however_that_ends(
    end: str, tmp_path: Path
) -> None:
    """Its input ends; nobody has to tell it. Its session is its own: Ctrl-C does not reach it. Nor does it
    keep files of LevelDB open, which would stay on the disk when they are deleted."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PARENT, end, str(tmp_path)],
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if end == "kill" else 0), done.stderr.decode()
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
