"""What a decoder of bytes from outside is, and what must hold for every input (issue: decoders).

Only the errors that it documents come out, and their code is a word of the registry. The same
bytes give the same value or the same code. What is canonical encodes to the very bytes again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from salus.codes import CODES
from salus.errors import SalusError
from tests.fuzz.mutations import mutated


class Broken(AssertionError):
    """A property does not hold; the text says which."""


@dataclass(frozen=True)
class Decoder:
    """`examples` are decoded as they are; `values` are of the right form and may be refused."""

    name: str
    covers: tuple[str, ...]  # `module:function` of entries.py
    decode: Callable[[bytes], Any]
    examples: Callable[[], Sequence[bytes]]
    errors: tuple[type[Exception], ...] = (SalusError,)
    values: st.SearchStrategy[bytes] | None = None
    encode: Callable[[Any], bytes] | None = None  # where one value has one encoding
    form: str = "msgpack"
    any_word: bool = False  # the code is the peer's own word
    refuses: bool = False  # what it decodes is a refusal, and comes out as an error
    examples_refused: bool = False  # some examples are of things that are not there
    # Peak memory of decoding ≤ factor · size of the input + 256 KiB. A MessagePack item of one byte
    # becomes a pointer of eight, in a list that grows by an eighth; JSON's objects are larger.
    memory_factor: int = 32
    slow: bool = False  # some milliseconds each: fewer of them in the normal suite

    @cached_property
    def seeds(self) -> tuple[bytes, ...]:
        found = tuple(self.examples())
        assert found, f"{self.name}: no example"
        return found

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Valid ones, valid ones with a fault, and anything."""
        good = st.sampled_from(self.seeds)
        if self.values is not None:
            good = good | self.values
        faulty = st.builds(mutated, good, st.integers(0, 2**63), st.just(self.form))
        return st.one_of(good, faulty, faulty, faulty, st.binary(max_size=200))


def outcome(decoder: Decoder, data: bytes) -> tuple[str, Any]:
    """("value", …) or ("code", word); raises `Broken` for any other exception."""
    try:
        return "value", decoder.decode(data)
    except decoder.errors as error:
        code = getattr(error, "code", None)
        if not isinstance(code, str) or not (decoder.any_word or code in CODES):
            raise Broken(f"{type(error).__name__} has the unregistered code {code!r}") from error
        return "code", code
    except (MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise Broken(f"{type(error).__name__} came out: {error}") from error


def check(decoder: Decoder, data: bytes) -> str:
    """Raises `Broken`; gives "value" or the code word, to be counted."""
    kind, found = outcome(decoder, data)
    again = outcome(decoder, bytes(data))
    if again != (kind, found):
        raise Broken(f"decoded twice: first {kind} {found!r}, then {again[0]} {again[1]!r}")
    if kind == "code":
        return str(found)
    if decoder.encode is not None and (encoded := decoder.encode(found)) != data:
        raise Broken(f"not canonical: it encodes to {encoded.hex()}")
    return "value"


def check_valid(decoder: Decoder, data: bytes) -> None:
    """An example is decoded, or the fuzzer only ever sees the door."""
    kind, found = outcome(decoder, data)
    if kind != ("code" if decoder.refuses else "value") and not decoder.examples_refused:
        raise Broken(f"a valid input was refused: {found}")
    check(decoder, data)
