"""Whose summary an emergency opens, where a number leads to more than one relation."""

from types import SimpleNamespace
from typing import Any

import pytest

from cli import emergencies
from cli.errors import CliError
from salus.desk_asks import Typed
from salus.desk_json import FindAnswer, MetForm
from salus.relation import Whose

NUMBER = (Typed("urn:oid:1.2.3", "943-476 5919"),)


class Notes:
    def __init__(self) -> None:
        self.out, self.lines = self, list[str]()

    def note(self, text: str) -> None:
        self.lines.append(text)


def client(*found: str, summary: str | None) -> Any:
    async def find(reason: str, typed: tuple[Typed, ...]) -> FindAnswer:
        return FindAnswer(tuple(MetForm(org, f"{org[-1]}a" * 32) for org in found))

    async def summaries(whose: Whose) -> Any:
        return SimpleNamespace(commitment=bytes(32) if whose.org == summary else None)

    return SimpleNamespace(
        desk=SimpleNamespace(find=find), emergencies=SimpleNamespace(summary=summaries)
    )


async def test_of_several_relations_the_others_are_named_before_one_is_opened() -> None:
    """The same number is no proof of the same person (rule D-6): a clinician must see the choice."""
    notes: Any = Notes()
    asked = client("hosp-a", "hosp-b", "hosp-c", summary="hosp-b")
    chosen = await emergencies.identified(notes, asked, NUMBER, "unconscious", None)
    assert chosen == ("hosp-b", bytes.fromhex("ba" * 32))
    (line,) = notes.lines
    assert "hosp-b" in line
    assert f"hosp-a handle {'aa' * 32}" in line
    assert f"hosp-c handle {'ca' * 32}" in line
    assert NUMBER[0].value not in line


async def test_one_relation_needs_no_word() -> None:
    notes: Any = Notes()
    asked = client("hosp-a", summary=None)
    chosen = await emergencies.identified(notes, asked, NUMBER, "unconscious", None)
    assert chosen == ("hosp-a", bytes.fromhex("aa" * 32))
    with pytest.raises(CliError) as caught:
        await emergencies.identified(notes, asked, NUMBER, "unconscious", "hosp-b")
    assert caught.value.code == "UNKNOWN_RELATION"
    assert notes.lines == []
