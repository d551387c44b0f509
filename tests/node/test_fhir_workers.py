"""Documents are checked in processes of their own: the same verdicts, and no process is left behind."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from node.fhir import BadFhir, check_fhir
from node.fhir_worker import FRAME_BYTES, Question, framed, serve
from node.fhir_workers import FhirWorkers
from salus.errors import SalusError

FHIR, NDJSON = "application/fhir+json", "application/fhir+ndjson"
PATIENT: dict[str, Any] = {"resourceType": "Patient", "birthDate": "1980-01-01"}
DROPPED = {"resourceType": "MedicinalProduct"}
ROOT = Path(__file__).parents[2]

DOCUMENTS = [
    (json.dumps(PATIENT).encode(), FHIR),
    (json.dumps(PATIENT).encode() + b"\n" + json.dumps(DROPPED).encode(), NDJSON),
    (json.dumps({**PATIENT, "gender": 5, "x": 1}).encode(), FHIR),
    (b'{"a": 1}', "application/json"),
    (b"{", FHIR),
    (b"<a/>", "application/fhir+xml"),
    (b"\xff", "text/plain"),
    (json.dumps({**PATIENT, "name": [{"given": [5] * 30}]}).encode(), FHIR),
]


@pytest_asyncio.fixture
async def workers() -> AsyncIterator[FhirWorkers]:
    made = FhirWorkers(1)
    yield made
    await made.close()


async def verdict(checking: Awaitable[Any]) -> object:
    try:
        return await checking
    except BadFhir as error:
        return error.code, error.faults, error.message, error.facts


async def test_verdicts_are_those_of_the_check_itself(workers: FhirWorkers) -> None:
    for document in DOCUMENTS:
        wanted = await verdict(asyncio.to_thread(check_fhir, *document))
        assert await verdict(workers.check(*document)) == wanted


async def test_one_process_serves_many_and_what_is_not_checked_needs_none(
    workers: FhirWorkers,
) -> None:
    await workers.check(b"x", "text/plain")
    assert workers._idle == []
    many = [workers.check(*DOCUMENTS[0]) for _ in range(5)]
    assert len(set(await asyncio.gather(*many))) == 1
    (worker,) = workers._idle
    await workers.check(*DOCUMENTS[0])
    assert workers._idle == [worker]


async def test_a_worker_that_dies_costs_one_document_and_no_more(workers: FhirWorkers) -> None:
    await workers.check(*DOCUMENTS[0])
    (worker,) = workers._idle
    worker.kill()
    with pytest.raises(SalusError) as caught:
        await workers.check(*DOCUMENTS[0])
    assert caught.value.code == "NODE_BUSY"
    assert await workers.check(*DOCUMENTS[0]) is not None


async def test_who_gives_up_waiting_leaves_no_half_question(workers: FhirWorkers) -> None:
    await workers.check(*DOCUMENTS[0])
    (worker,) = workers._idle
    os.kill(worker.pid, signal.SIGSTOP)
    task = asyncio.create_task(workers.check(*DOCUMENTS[0]))
    await asyncio.sleep(0)  # It has taken the worker, which will not answer.
    assert workers._idle == []
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker.returncode is not None
    assert await workers.check(*DOCUMENTS[0]) is not None


async def test_where_no_process_can_be_started_a_thread_checks(
    workers: FhirWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await workers.check(*DOCUMENTS[0]) == check_fhir(*DOCUMENTS[0])


async def test_closing_ends_the_processes_and_later_questions_go_to_a_thread() -> None:
    workers = FhirWorkers(2)
    await asyncio.gather(*(workers.check(*DOCUMENTS[0]) for _ in range(2)))
    ended = list(workers._idle)
    await workers.close()
    assert ended
    assert all(worker.returncode is not None for worker in ended)
    assert await workers.check(*DOCUMENTS[0]) == check_fhir(*DOCUMENTS[0])
    assert workers._idle == []


def test_a_worker_ends_with_its_parent_however_that_ends() -> None:
    """Its input ends; nobody has to tell it. It keeps no file of its parent's open: LevelDB's are open for
    children, too, and uvloop closes none of them."""
    program = (
        "import os, uvloop\n"
        "from node.fhir_workers import FhirWorkers\n"
        "async def main():\n"
        "    workers = FhirWorkers(1)\n"
        f"    await workers.check({DOCUMENTS[0][0]!r}, {FHIR!r})\n"
        "    pid = workers._idle[0].pid\n"
        "    assert sorted(os.listdir(f'/proc/{pid}/fd')) == ['0', '1', '2']\n"
        "    print(pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "os.set_inheritable(os.open('/dev/null', os.O_RDONLY), True)\n"
        "uvloop.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    fd = None
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    try:
        assert select.select([fd], [], [], 60)[0], "the worker outlived its parent"
    finally:
        os.close(fd)


def test_the_worker_answers_each_question_until_its_input_ends() -> None:
    outgoing = io.BytesIO()
    serve(io.BytesIO(framed(Question(FHIR, b"{")) * 3), outgoing)
    raw = outgoing.getvalue()
    length = int.from_bytes(raw[:FRAME_BYTES])
    assert len(raw) == 3 * (FRAME_BYTES + length)
