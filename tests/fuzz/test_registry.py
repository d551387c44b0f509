"""No decoder is left out: every function that reads bytes or text is fuzzed, or says why not."""

import importlib
import pkgutil

import pytest
from hypothesis import HealthCheck, given, settings

import consensus
import contracts
import node
import salus
import storage
from salus.codec import Wire, decode, encode
from tests.fuzz.decoder import Decoder, check
from tests.fuzz.decoders import ALL
from tests.fuzz.entries import entries
from tests.fuzz.mutations import mutated
from tests.fuzz.shapes import values_of
from tests.fuzz.trusted import TRUSTED

COVERED = {entry for decoder in ALL for entry in decoder.covers}


def test_every_entry_is_fuzzed_or_trusted_for_a_reason() -> None:
    """Add a decoder to tests/fuzz/decoders, or a line with the reason to tests/fuzz/trusted.py."""
    assert set(entries()) - COVERED - set(TRUSTED) == set()


def test_nothing_is_named_that_is_not_there() -> None:
    assert (COVERED | set(TRUSTED)) - set(entries()) == set()


def test_nothing_is_both() -> None:
    assert set(TRUSTED) & COVERED == set()
    assert all(reason for reason in TRUSTED.values())


def structs() -> list[type[Wire]]:
    """Everything that is hashed, signed, sent or stored."""
    for package in (salus, consensus, contracts, storage, node):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found: list[type[Wire]] = []
    todo = [Wire]
    while todo:
        below = todo.pop().__subclasses__()
        found += below
        todo += below
    ours = ("salus.", "consensus.", "contracts.", "storage.", "node.")
    named = {f"{kind.__module__}.{kind.__name__}": kind for kind in found}
    return [named[name] for name in sorted(named) if name.startswith(ours)]


@pytest.mark.parametrize("kind", structs(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_struct_has_one_encoding(kind: type[Wire]) -> None:
    """Rule S2, for structs that come by way of others too."""
    decoder = Decoder(kind.__name__, (), lambda data: decode(data, kind), tuple, encode=encode)

    @settings(
        max_examples=2,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(values_of(kind).map(encode))
    def run(data: bytes) -> None:
        assert check(decoder, data) == "value"
        for number in range(8):
            check(decoder, mutated(data, number, "msgpack"))

    run()
