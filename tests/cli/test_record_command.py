"""`salus record get` and `list`: what is meant wrongly is told before anybody is asked."""

from pathlib import Path

import pytest

from salus.codes import Exit
from tests.cli.conftest import Salus

ID = "ab" * 16
GET = ("record", "get", ID)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((*GET, "--purpose", "TREAT"), "USAGE"),  # where to?
        ((*GET, "--care", "referral 7"), "USAGE"),
        ((*GET, "--proof", "FILE"), "USAGE"),
        ((*GET, "--purpose", "TREAT", "-o", "OUT"), "USAGE"),  # who reads?
        ((*GET, "--purpose", "PLEASURE", "-o", "OUT", "--as", "x"), "BAD_PURPOSE"),
        (("record", "get", "abc", "--purpose", "TREAT", "-o", "OUT", "--as", "x"), "USAGE"),
        ((*GET, "--purpose", "TREAT", "-o", "OUT", "--as", "x", "--permit", "00"), "USAGE"),
        ((*GET, "--purpose", "TREAT", "-o", "OUT", "--as", "x", "--care", "é" * 501), "USAGE"),
        (("record", "list", "--scope", "results"), "USAGE"),
        (("record", "list", "--patient", "nobody", "--scope", "Every thing"), "BAD_SCOPE"),
        (("record", "list", "--patient", "nobody", "--purpose", "PLEASURE"), "BAD_PURPOSE"),
    ],
)
def test_what_is_meant_wrongly(
    salus: Salus, tmp_path: Path, words: tuple[str, ...], code: str
) -> None:
    placed = [str(tmp_path / word) if word in ("OUT", "FILE") else word for word in words]
    done = salus(*placed, "--json", "--home", tmp_path / "net")
    assert done.code not in (0, Exit.BUG)
    assert done.document["error"]["code"] == code
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_not_replaced(salus: Salus, tmp_path: Path) -> None:
    taken = tmp_path / "finding"
    taken.write_bytes(b"mine")
    words = (*GET, "--purpose", "TREAT", "-o", taken, "--as", "x")
    done = salus(*words, "--json", "--home", tmp_path / "net")
    assert (done.code, done.document["error"]["code"]) == (
        Exit.REFUSES_OVERWRITE,
        "REFUSES_OVERWRITE",
    )
    assert taken.read_bytes() == b"mine"
