"""`./scripts/fuzz`: one seed is one list of inputs; what is found can be made again."""

import json
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz.decoder import Broken, Decoder, check
from tests.fuzz.decoders import BY_NAME


def test_the_same_seed_gives_the_same_inputs() -> None:
    decoder = BY_NAME["GetBlocks"]
    first, second = (list(command._inputs(decoder, 7)) for _ in range(2))
    assert first == second
    assert first != list(command._inputs(decoder, 8))
    assert len(set(first)) > len(first) // 2


def test_a_round_is_run_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "INPUTS_PER_ROUND", 50)
    arguments = ["--minutes", "0", "--seed", "1", "--only", "GetBlocks", "--json"]
    assert command.main([*arguments, "--out", str(tmp_path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["failures"] == []
    assert answer["inputs"] == sum(answer["decoders"]["GetBlocks"].values()) > 50


def test_a_failure_is_saved_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder that lets a KeyError out for one byte."""

    def careless(data: bytes) -> int:
        return {0: 1}[data[0]] if data else 0

    broken = Decoder("careless", (), careless, lambda: [b"\0"], form="bytes")
    for place in ("ALL", "BY_NAME"):
        value = (broken,) if place == "ALL" else {"careless": broken}
        monkeypatch.setattr(command, place, value)
    arguments = ["--minutes", "0", "--seed", "1", "--out", str(tmp_path), "--json"]
    assert command.main(arguments) == 1
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert 0 < len(failures) <= command.FAILURES_MAX
    assert "KeyError" in failures[0]["what"]
    file = failures[0]["replay"].split()[-1]
    with pytest.raises(KeyError):
        command.main(["--replay", "careless", file])


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--minutes", "0", "--only", "no such"]) == 2
    assert command.main(["--replay", "no such", "x"]) == 2
    assert "no decoder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("decode", "encode"),
    [
        (lambda data: data.decode(), None),  # another exception
        (lambda data: object(), None),  # another value each time
        (lambda data: data.lower(), lambda value: value),  # two inputs, one value
    ],
)
def test_the_check_sees_what_it_must(decode, encode) -> None:  # type: ignore[no-untyped-def]
    decoder = Decoder("x", (), decode, lambda: [b""], encode=encode)
    with pytest.raises(Broken):
        check(decoder, b"A\xff")
