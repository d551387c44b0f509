"""Arguments are read strictly, and the same short query is read once."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from node.api import request as reading
from node.api.problems import ApiError
from node.api.request import KNOWN_CHARS_MAX, KNOWN_MAX, Brief, NoArguments, Read, arguments
from node.api.routes import ROUTES
from node.api.transactions import SubmitArguments, TransactionArguments

ID = "ab" * 32


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[type, str], Any]:
    """What is kept, of this test alone."""
    kept: dict[tuple[type, str], Any] = {}
    monkeypatch.setattr(reading, "_known", kept)
    return kept


def get(query: str = "", **path: str) -> web.Request:
    request = make_mocked_request("GET", f"/v1/some?{query}")
    request._match_info = path  # type: ignore[assignment]
    return request


def test_the_same_query_gives_the_same_arguments_to_each_kind(known: dict[Any, Any]) -> None:
    query = "wait=commit&timeout=2s"
    first, again = (arguments(get(query), SubmitArguments) for _ in range(2))
    assert first is again
    assert (first.wait, first.timeout) == ("commit", "2s")
    assert arguments(get(), SubmitArguments) == SubmitArguments()
    assert arguments(get(), NoArguments) == NoArguments()
    assert len(known) == 3


def test_what_is_refused_once_is_refused_again() -> None:
    arguments(get("wait=commit"), SubmitArguments)
    for query, kind in (
        ("wait=commit", NoArguments),  # known to another path
        ("wait=later", SubmitArguments),
        ("wait=commit&wait=commit", SubmitArguments),
        ("wait=commit&more=1", SubmitArguments),
    ):
        for _ in range(2):
            with pytest.raises(ApiError) as caught:
                arguments(get(query), kind)
            assert caught.value.code == "BAD_ARGUMENT"


def test_neither_what_a_path_names_nor_a_long_query_is_kept(known: dict[Any, Any]) -> None:
    assert arguments(get("wait=commit", id=ID), TransactionArguments).id == ID
    assert arguments(get(f"id={ID}&timeout=10s"), TransactionArguments).id == ID
    assert len(f"id={ID}") > KNOWN_CHARS_MAX
    assert known == {}
    with pytest.raises(ApiError):
        arguments(get(f"id={ID}", id=ID), TransactionArguments)


def test_nothing_is_kept_that_can_name_anybody(known: dict[Any, Any]) -> None:
    kinds = {route.arguments for route in ROUTES if issubclass(route.arguments, Brief)}
    names = {name for kind in kinds for name in kind.__struct_fields__}
    assert names == {"wait", "timeout"}
    arguments(get("min_height=3"), Read)
    assert known == {}


def test_so_many_are_kept_and_no_more(known: dict[Any, Any]) -> None:
    for number in range(3 * KNOWN_MAX):
        assert arguments(get(f"timeout={number}s"), SubmitArguments).timeout == f"{number}s"
        assert len(known) <= KNOWN_MAX
