"""The attack finds what it is to find: a canary in every sink, in every dress."""

import base64
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from urllib.parse import quote

import msgpack
import plyvel
import pytest

from tests.privacy.needles import numbers_of, of_date, of_text, search
from tests.privacy.sinks import Sink, databases_in, of_databases, of_files, of_texts

CANARY = "Quenelle Zwölfkarpf"
BORN = date(1957, 3, 9)

DRESSES: dict[str, Callable[[str], bytes]] = {
    "utf-8": lambda text: text.encode(),
    "upper case": lambda text: text.upper().encode(),
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "hex": lambda text: text.encode().hex().encode(),
    "hex in capitals": lambda text: text.encode().hex().upper().encode(),
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 behind one byte": lambda text: base64.b64encode(b"x" + text.encode() + b"rest"),
    "base64 behind two bytes": lambda text: base64.b64encode(b"xy" + text.encode() + b"rest"),
    "base64url": lambda text: base64.urlsafe_b64encode(b"?>" + text.encode() + b"\xff"),
    "percent": lambda text: quote(text).encode(),
    "MessagePack in MessagePack": lambda text: msgpack.packb(
        [7, msgpack.packb({"a": [msgpack.packb([text])]})]
    ),
}


def plant_value(folder: Path, dressed: bytes) -> Sink:
    with plyvel.DB(str(folder / "state"), create_if_missing=True) as store:
        store.put(b"s/key", b"\x11" * 16 + msgpack.packb([1, dressed]))
    return of_databases(databases_in(folder))


def plant_key(folder: Path, dressed: bytes) -> Sink:
    with plyvel.DB(str(folder / "blocks"), create_if_missing=True) as store:
        store.put(b"b" + dressed, b"")
    return of_databases(databases_in(folder))


def plant_raw_log(folder: Path, dressed: bytes) -> Sink:
    """Deleted from the database, and still in its files."""
    with plyvel.DB(str(folder / "state"), create_if_missing=True) as store:
        store.put(b"s/key", dressed)
        store.delete(b"s/key")
    return of_files(folder.rglob("*"))


def plant_file(folder: Path, dressed: bytes) -> Sink:
    (folder / "node.log").write_bytes(b'{"event": "x", "word": "' + dressed + b'"}\n')
    return of_files(folder.rglob("*"))


def plant_archive(folder: Path, dressed: bytes) -> Sink:
    with zipfile.ZipFile(folder / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("logs/a.log", b"x" * 1000 + dressed)
    return of_files(folder.rglob("*"))


def plant_text(folder: Path, dressed: bytes) -> Sink:
    return of_texts(["GET /v1/records?q=" + dressed.decode("latin-1")])


SINKS = (plant_value, plant_key, plant_raw_log, plant_file, plant_archive)


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("plant", SINKS, ids=lambda plant: plant.__name__)
def test_a_canary_is_found_in_every_sink_and_dress(
    tmp_path: Path, plant: Callable[[Path, bytes], Sink], dress: str
) -> None:
    sink = plant(tmp_path, DRESSES[dress](CANARY))
    assert search(of_text(CANARY), sink.pieces), f"{dress} not seen"


@pytest.mark.parametrize("dress", [name for name in DRESSES if "MessagePack" not in name])
def test_a_canary_is_found_in_a_path(tmp_path: Path, dress: str) -> None:
    plain = CANARY.encode("ascii", "ignore").decode()  # a URL has no other characters
    assert search(of_text(plain), plant_text(tmp_path, DRESSES[dress](plain)).pieces)


@pytest.mark.parametrize(
    "written", [b"1957-03-09", b"19570309", b"-404438400", b"-404438400000"], ids=repr
)
def test_a_date_is_found_as_text(tmp_path: Path, written: bytes) -> None:
    assert search(of_date(BORN), plant_file(tmp_path, b"born " + written).pieces)


@pytest.mark.parametrize("number", sorted(numbers_of(BORN)))
def test_a_date_is_found_as_a_number(tmp_path: Path, number: int) -> None:
    packed = msgpack.packb({"b": [number]})
    assert numbers_of(BORN) & plant_value(tmp_path, packed).numbers


def test_an_empty_house_holds_no_canary(tmp_path: Path) -> None:
    """Else everything would be found everywhere."""
    other = "a quite ordinary sentence about nobody at all, 2026-11-22, and 7 numbers"
    for plant in SINKS:
        folder = tmp_path / plant.__name__
        folder.mkdir()
        sink = plant(folder, other.encode())
        assert not search(of_text(CANARY), sink.pieces)
        assert not search(of_date(BORN), sink.pieces)
        assert not numbers_of(BORN) & sink.numbers
