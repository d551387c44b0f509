"""Was it examined already? What a search may call whole (health.md §4.15)."""

from typing import Any, cast

import pytest

from salus.asking import Wish
from salus.client import Client
from salus.client_results import Listed, ResultsClient, left_out, read_list
from salus.ips.results import ResultCode
from salus.keys import SigningKey
from salus.permit import Classes, Purpose, RecordClass
from salus.relation import Whose

HERE = Whose("hosp-a", bytes(32))
WISH = Wish("chain", "hosp-b", Purpose.TREATMENT, b"")
CODE = ResultCode(None, "4548-4")


class Listing(ResultsClient):
    """A custodian that answers with an empty list of the classes that the permit has."""

    def __init__(self, classes: Classes) -> None:
        super().__init__(cast(Client, None))
        self._asked = classes

    async def lists(self, *_: Any, **__: Any) -> list[Listed]:
        said = left_out(self._asked, read_list(b'{"complete": true, "left_out": []}'))
        return [Listed(HERE, self._asked, True, "permitted", left_out=said)]


@pytest.mark.parametrize(
    ("classes", "whole"),
    [
        (tuple(RecordClass), True),
        # Nothing of results was asked for.
        ((RecordClass.MEDICATIONS,), False),
        # A record with results and conditions stands in no list of results alone.
        ((RecordClass.RESULTS,), False),
    ],
)
async def test_a_search_is_whole_only_if_all_classes_were_asked_for(
    classes: Classes, whole: bool
) -> None:
    key = SigningKey.from_seed(bytes(32))
    done = await Listing(classes).find([HERE], WISH, lambda _: key, CODE)
    assert (done.found, done.whole) == ((), whole)


@pytest.mark.parametrize(
    ("classes", "raw", "expected"),
    [
        (tuple(RecordClass), b'{"complete": true, "left_out": []}', ()),
        ((RecordClass.RESULTS,), b'{"complete": true, "left_out": []}', ("OTHER_CLASSES",)),
        # A custodian of an older version, whose «complete» was of the classes alone.
        ((RecordClass.RESULTS,), b'{"complete": true}', ("OTHER_CLASSES",)),
        (tuple(RecordClass), b'{"complete": false}', ("UNSAID",)),
        (tuple(RecordClass), b'{"complete": true, "left_out": ["NEW_WORD"]}', ("NEW_WORD",)),
    ],
)
def test_what_a_list_leaves_out_follows_from_what_was_asked_for(
    classes: Classes, raw: bytes, expected: tuple[str, ...]
) -> None:
    """A reader need not believe a custodian that a list of some classes is whole."""
    listed = Listed(HERE, classes, True, "PERMIT", left_out=left_out(classes, read_list(raw)))
    assert (listed.left_out, listed.complete) == (expected, not expected)


def test_what_did_not_answer_is_not_complete() -> None:
    assert not Listed(HERE, (), None, "UNREACHABLE").complete
    assert not Listed(HERE, (), False, "NO_PERMIT").complete
