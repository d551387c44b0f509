"""The journal of `record watch`: what was begun is known after a kill, and whose it is is not."""

import json
from pathlib import Path

import pytest

from cli.errors import CliError
from cli.watch_journal import Entry, Journal


def again(path: Path) -> dict[str, Entry]:
    with Journal.open(path) as journal:
        return dict(journal.entries)


def test_the_last_word_on_each_content_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "watch.journal"
    with Journal.open(path) as journal:
        ids = [journal.id_of(content) for content in (b"1", b"2", b"3")]
        for one in ids:
            journal.note(Entry(one, "sending"))
        journal.note(Entry(ids[0], "signed", record_id="aa", transaction="bb"), sync=True)
        journal.note(Entry(ids[0], "done", record_id="aa", resources=3))
        journal.note(Entry(ids[1], "refused", code="BAD_FHIR", message="x"))
    found = again(path)
    assert [found[one].state for one in ids] == ["done", "refused", "sending"]
    assert found[ids[0]].resources == 3
    with Journal.open(path) as journal:
        assert journal.id_of(b"1") == ids[0]
        journal.forget("refused")
        assert ids[1] not in journal.entries
    assert len(path.read_text().splitlines()) == 4, "opening leaves one line for each"


def test_a_torn_last_line_was_never_acted_upon(tmp_path: Path) -> None:
    path = tmp_path / "watch.journal"
    with Journal.open(path) as journal:
        journal.note(Entry("a", "done"))
        journal.note(Entry("b", "signed", transaction="00" * 300))
    whole = path.read_bytes()
    for cut in range(1, 40):
        path.write_bytes(whole[:-cut])
        assert list(again(path)) == ["a"]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda raw: b"x" + raw, "STORE_DAMAGED"),
        (lambda raw: raw.replace(b'"done"', b'"gone"'), "STORE_DAMAGED"),
        (lambda raw: raw.replace(b'"version":1', b'"version":2'), "STORE_VERSION"),
        (lambda raw: b"", "STORE_DAMAGED"),
    ],
)
def test_a_damaged_one_is_refused_and_left_as_it_is(
    tmp_path: Path, damage: object, code: str
) -> None:
    path = tmp_path / "watch.journal"
    with Journal.open(path) as journal:
        journal.note(Entry("a", "done"))
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    spoiled = path.read_bytes()
    for _ in range(2):  # and it is not left locked
        with pytest.raises(CliError) as caught:
            Journal.open(path)
        assert caught.value.code == code
    assert path.read_bytes() == spoiled


def test_one_process_holds_it(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j"), pytest.raises(CliError) as caught:
        Journal.open(tmp_path / "j")
    assert caught.value.code == "STORE_LOCKED"
    with Journal.open(tmp_path / "j"):
        pass


def test_ids_cannot_be_guessed_from_documents_and_only_the_owner_reads_them(
    tmp_path: Path,
) -> None:
    with Journal.open(tmp_path / "a") as one, Journal.open(tmp_path / "b") as other:
        assert one.id_of(b"x") != other.id_of(b"x")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(json.loads((tmp_path / "a").read_text())["key"])) == 32
