"""Messages: signed by their author for one relation, and nothing else passes for one."""

from typing import Any

import msgspec
import pytest

from salus import message
from salus.errors import BadMessage
from tests import factories

KEY = factories.key("a patient's")
HANDLE = factories.seed("handle")
PLACE = (factories.CHAIN_ID, "hosp-a", HANDLE)


def written(**other: Any) -> message.Message:
    fields: dict[str, Any] = {
        "chain_id": factories.CHAIN_ID,
        "custodian": "hosp-a",
        "handle": HANDLE,
        "sent_ms": 1,
        "subject": "a question",
        "text": "May I eat before? 可以吗",
        "reply_to": None,
    }
    return message.write(KEY, message.Author.PATIENT, **(fields | other))


def test_what_was_written_is_read() -> None:
    for letter in (written(), written(reply_to="ab" * 16), written(text="x" * 20_000)):
        assert message.read(letter.document(), *PLACE) == letter


@pytest.mark.parametrize(
    "other", [{"text": ""}, {"text": "x" * 20_001}, {"subject": "x" * 201}, {"reply_to": "ab"}]
)
def test_what_is_empty_or_too_long_is_not_written(other: dict[str, Any]) -> None:
    with pytest.raises(BadMessage) as caught:
        written(**other)
    assert caught.value.code == "BAD_LETTER"


@pytest.mark.parametrize("field", [f for f in message.Message.__struct_fields__ if f != "version"])
def test_no_field_can_be_exchanged(field: str) -> None:
    letter = written(reply_to="ab" * 16)
    value = getattr(letter, field)
    changed: Any = value + 1 if isinstance(value, int) else value
    if field == "author":
        changed = message.Author.STAFF
    elif isinstance(value, str):
        changed = ("1" if value[0] == "0" else "0") + value[1:]
    other = msgspec.structs.replace(letter, **{field: changed})
    with pytest.raises(BadMessage) as caught:
        message.read(other.document(), *PLACE)
    assert caught.value.code == "BAD_LETTER"


@pytest.mark.parametrize(
    "place",
    [("other-chain", *PLACE[1:]), (PLACE[0], "hosp-b", HANDLE), (*PLACE[:2], bytes(32))],
    ids=["chain", "custodian", "patient"],
)
def test_a_message_of_another_relation_is_none_of_this(place: tuple[str, str, bytes]) -> None:
    with pytest.raises(BadMessage):
        message.read(written().document(), *place)


def test_any_other_document_is_no_message() -> None:
    letter = written().document()
    for document in (b"", b"{}", b"[" * 100_000, letter[:-1], letter + b" " * 130_000, b"\xff"):
        with pytest.raises(BadMessage):
            message.read(document, *PLACE)
