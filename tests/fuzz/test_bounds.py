"""What a hostile input may cost: memory bounded by its size, time not worse than its length.

Peak memory ≤ factor · size + 256 KiB, the factor standing beside each decoder. Time is a ratio of
CPU seconds: eight times the input takes at most 24 times as long; a square would take 64 times."""

import time
from collections.abc import Callable
from functools import partial
from math import inf

import pytest

from tests.fuzz.decoder import Decoder, outcome
from tests.fuzz.decoders import ALL
from tests.memory import peak_bytes

SIZE, LARGE = 8 * 1024, 64 * 1024
CONSTANT_BYTES = 256 * 1024
RATIO_MAX = 3 * LARGE // SIZE
TRIES = 5  # the minima of so many count
WORTH_MEASURING_S = 0.02  # below, the ratio is noise; a square at this size would be seconds

MSGPACK: dict[str, Callable[[int], bytes]] = {
    "zeroes": lambda n: bytes(n),
    "a list of nothing": lambda n: b"\xdd\xff\xff\xff\xff",
    "a long text that is not there": lambda n: b"\xc6\xff\xff\xff\xff" + bytes(n),
    "many nils": lambda n: b"\xdd" + n.to_bytes(4) + b"\xc0" * n,
    "many empty bytes": lambda n: b"\xdd" + (n // 2).to_bytes(4) + b"\xc4\x00" * (n // 2),
    "many empty lists": lambda n: b"\xdd" + n.to_bytes(4) + b"\x90" * n,
    "lists in lists": lambda n: b"\x91" * n,
    "a list in a list": lambda n: b"\x91\xdd" + n.to_bytes(4) + b"\x01" * n,
    "many pairs": lambda n: b"\xdf" + (n // 4).to_bytes(4) + b"\xa1a\xa1b" * (n // 4),
}
TEXT: dict[str, Callable[[int], bytes]] = {
    "letters": lambda n: b"a" * n,
    "digits": lambda n: b"1" * n,
    "a long text": lambda n: b'{"a": "' + b"a" * n + b'"}',
    "numbers": lambda n: b"[" + b"0," * (n // 2) + b"0]",
    "empty lists": lambda n: b"[" + b"[]," * (n // 3) + b"0]",
    "lists in lists": lambda n: b"[" * n,
    "objects in objects": lambda n: b'{"":' * (n // 4),
    "names": lambda n: b"{" + b",".join(b'"%d":0' % i for i in range(n // 9)) + b"}",
    "spaces": lambda n: b" " * n,
    "lines": lambda n: b"a = 1\n" * (n // 6),
    "keys": lambda n: b"".join(b"a%d = 1\n" % i for i in range(n // 9)),
    "dots": lambda n: b"a." * (n // 2) + b"a = 1\n",
    "parameters": lambda n: b"a=1&" * (n // 4),
    "percent": lambda n: b"after=" + b"%0a" * (n // 3),
    "escapes": lambda n: b'{"a": "' + b"\\u0000" * (n // 6) + b'"}',
    "colons": lambda n: b"id:\n" * (n // 4),
}


def _of(form: str) -> dict[str, Callable[[int], bytes]]:
    match form:
        case "msgpack":
            return MSGPACK
        case "bytes":
            return MSGPACK | {"letters": TEXT["letters"]}
    return TEXT


def _one_of_each() -> list[Decoder]:
    """Where many share one function (the arguments of methods, the answers), one stands for all."""
    found: dict[object, Decoder] = {}
    for decoder in ALL:
        found.setdefault(decoder.covers or decoder.name, decoder)
    return list(found.values())


def _grown(decoder: Decoder) -> dict[str, Callable[[int], bytes]]:
    """Besides, what begins as it should: an example with more of its middle, or of its end."""
    example = max(decoder.seeds, key=len)
    half = len(example) // 2
    part = example[half : half + 32] or b"\0"
    return {
        "more of its middle": lambda n: example[:half] + part * (n // len(part)) + example[half:],
        "more of its end": lambda n: example + example[-1:] * n,
    }


@pytest.mark.parametrize("decoder", _one_of_each(), ids=lambda decoder: decoder.name)
def test_memory_is_bounded_by_the_input(decoder: Decoder) -> None:
    for name, make in (_of(decoder.form) | _grown(decoder)).items():
        data = make(SIZE)
        outcome(decoder, data)  # what is made once a process is made now
        allowed = decoder.memory_factor * len(data) + CONSTANT_BYTES
        peak = peak_bytes(partial(outcome, decoder, data), allowed)
        assert peak <= allowed, f"{name}: {peak:,} bytes for {len(data):,}, {allowed:,} are allowed"


@pytest.mark.parametrize("decoder", _one_of_each(), ids=lambda decoder: decoder.name)
def test_time_grows_no_faster_than_the_input(decoder: Decoder) -> None:
    for name, make in (_of(decoder.form) | _grown(decoder)).items():
        large, small = make(LARGE), make(SIZE)
        long_s = short_s = inf
        for _ in range(TRIES):  # a neighbour's moment counts for neither
            long_s = min(long_s, _cpu_s(decoder, large))
            short_s = min(short_s, _least_s(decoder, small))
            if long_s < max(WORTH_MEASURING_S, RATIO_MAX * short_s):
                break
        else:
            pytest.fail(f"{name}: {long_s / short_s:.0f} times as long for 8 times the input")


def _least_s(decoder: Decoder, data: bytes) -> float:
    return min(_cpu_s(decoder, data) for _ in range(5))


def _cpu_s(decoder: Decoder, data: bytes) -> float:
    began = time.process_time()
    outcome(decoder, data)
    return time.process_time() - began
