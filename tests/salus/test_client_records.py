"""What was handed in with a batch is anchored once, whoever of those who waited sends the operations."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from salus.client_errors import NotReadyError, RejectedError
from salus.client_http import Transport
from salus.client_records import Records
from salus.client_transactions import Committed
from salus.forms import TransactionForm
from salus.forms_records import RecordForm, Staged, UnsignedOperation, VersionForm
from salus.transaction import ParsedTransaction
from tests.steps import stepped

RECORD = "ab" * 16
OPERATION = UnsignedOperation("records", "anchor", 1, "aa")
TX = "cd" * 32


@dataclass
class Clock:
    """As much of a transport as is asked: its clock, which goes on by itself."""

    now_s: float = 0.0

    def clock(self) -> float:
        self.now_s += 0.5
        return self.now_s


@dataclass
class Node(Records):
    """A client whose node anchors when `anchored_after` questions were asked."""

    anchored_after: int = 2
    refuses: str | None = None
    said: list[str] = field(default_factory=list)
    took_over_s: float = 0.0

    def __post_init__(self) -> None:
        super().__init__(cast(Transport, Clock()), None, 10.0, None)

    async def staged_transaction(self, staged: Staged) -> ParsedTransaction:
        return cast(ParsedTransaction, staged)

    async def commit(self, transaction: Any, timeout_s: float | None = None) -> Committed:
        self.said.append("commit")
        if self.refuses is not None:
            raise RejectedError("refused", code=self.refuses)
        return self._done()

    async def wait(self, tx_id: str | bytes, timeout_s: float | None = None) -> Committed:
        self.said.append("wait")
        assert tx_id == TX
        return self._done()

    async def record(self, record_id: str) -> RecordForm:
        self.said.append("record")
        self.anchored_after -= 1
        here = self.anchored_after < 0
        version = VersionForm(
            version=1,
            commitment="11" * 32,
            root="22" * 32,
            state="anchored" if here else "staged",
            height=7 if here else None,
            tx_id=TX if here else None,
        )
        return RecordForm(record_id=record_id, media_type="text/plain", versions=(version,))

    async def record_staged(self, record_id: str) -> Staged:
        self.said.append("operations")
        self.took_over_s = cast(Clock, self._http).now_s
        return staged(OPERATION)

    def _done(self) -> Committed:
        return Committed(TX, 7, cast(TransactionForm, None), self)


def staged(*operations: UnsignedOperation) -> Staged:
    return Staged(RECORD, 1, "11" * 32, "22" * 32, operations)


@stepped
async def test_who_has_the_operations_sends_them() -> None:
    node = Node()
    assert (await node.record_anchored(staged(OPERATION))).height == 7
    assert node.said == ["commit"]


@stepped
async def test_who_has_none_waits_for_the_others_transaction() -> None:
    node = Node()
    assert (await node.record_anchored(staged())).tx_id == TX
    assert node.said == ["record", "record", "record", "wait"]


@stepped
async def test_if_nobody_sends_them_this_client_does() -> None:
    node = Node(anchored_after=1_000)
    assert (await node.record_anchored(staged())).height == 7
    assert node.said[-2:] == ["operations", "commit"]
    assert node.said.count("commit") == 1


@stepped
async def test_those_who_wait_for_one_that_has_gone_do_not_all_send_at_once() -> None:
    """Each that is refused is counted on the chain, and padding hides how many they were."""
    nodes = [Node(anchored_after=1_000) for _ in range(40)]
    for node in nodes:
        await node.record_anchored(staged())
    moments = {node.took_over_s for node in nodes}
    assert len(moments) > 3
    assert 5.0 < min(moments) <= max(moments) <= 10.5  # of ten seconds, by a clock of half seconds


@stepped
async def test_whoever_was_faster_anchored_it_too() -> None:
    node = Node(refuses="DUPLICATE_ROOT")
    assert (await node.record_anchored(staged(OPERATION))).tx_id == TX
    assert node.said == ["commit", "record", "record", "record", "wait"]


@stepped
async def test_another_refusal_is_the_callers() -> None:
    with pytest.raises(RejectedError):
        await Node(refuses="TAG_SPENT").record_anchored(staged(OPERATION))


@stepped
async def test_the_time_is_up_at_last() -> None:
    node = Node(anchored_after=1_000, refuses="DUPLICATE_ROOT")
    with pytest.raises(NotReadyError) as caught:
        await node.record_anchored(staged())
    assert caught.value.code == "NOT_ANCHORED"
