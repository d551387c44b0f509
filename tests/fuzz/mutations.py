"""One wrong thing in bytes that were right: in the bytes themselves, or in the tree they encode.

Everything follows from the number that is given, so that an input can be made again. Beside bit
flips and cuts there is what decoders get wrong: longer forms of the same number, fields that are
missing, double or of another type, deep nesting, and lengths of which nothing follows.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack  # type: ignore[import-untyped]

DEPTHS = (33, 600, 5_000)

# What means something to one of the formats: lengths, tags, nestings, numbers at their edges.
MSGPACK_TOKENS = (
    b"\xc0",
    b"\xc1",
    b"\xc2",
    b"\xca\x7f\xc0\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xcc\x01",
    b"\xcd\x00\x01",
    b"\xce\x00\x00\x00\x01",
    b"\xcf\x00\x00\x00\x00\x00\x00\x00\x01",
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xcf\x00\x20\x00\x00\x00\x00\x00\x00",
    b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xff",
    b"\xc4\x00",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xd4\x00\x00",
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xa2\xc3\x28",
    b"\xa3\xed\xa0\x80",
    b"\x81\xa1a\x01",
    b"\x90",
    b"\x80",
)
TEXT_TOKENS = (
    b"null",
    b"true",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"1.0",
    b"9007199254740993",
    b"1" * 4_400,
    b"1e" + b"9" * 30,
    b'"\\ud800"',
    b'"\\u0000"',
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\x00",
    b'""',
    b"{}",
    b"[]",
    b",",
    b":",
    b'"',
    b"'''",
    b"\n",
    b"\r",
    b"=",
    b"[[",
    b"\xe2\x80\xae",
    b"\xd9\xa3",
    b"1979-05-27T07:32:00Z",
)


def mutated(data: bytes, number: int, form: str) -> bytes:
    """`data` with one to three faults; `form`: msgpack, json, text or bytes."""
    random = Random(number)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        # Half of the faults keep the outer form intact: the others are seen by the first check.
        inside = _INSIDE.get(form) if random.random() < 0.5 else None
        data = (inside and inside(data, random)) or _bytewise(data, random, form)
    return data


def _bytewise(data: bytes, random: Random, form: str) -> bytes:
    tokens = MSGPACK_TOKENS if form in ("msgpack", "bytes") else TEXT_TOKENS
    at = random.randrange(len(data) + 1)
    end = min(len(data), at + random.choice((1, 2, 4, 8, 33, 1_000)))
    raw = bytearray(data)
    match random.randrange(9):
        case 0 if raw:
            raw[at % len(raw)] ^= 1 << random.randrange(8)
        case 1 if raw:
            raw[at % len(raw)] = random.randrange(256)
        case 2:
            del raw[at:]
        case 3:
            del raw[at:end]
        case 4:
            raw[at:at] = raw[at:end]
        case 5:
            raw[at:at] = random.randbytes(random.choice((1, 2, 8, 64)))
        case 6:
            raw[at:end] = random.choice(tokens)
        case 7:
            raw[at:at] = random.choice(tokens)
        case _:
            opened = random.choice((b"\x91", b"\x81\xa0", b"[", b'{"":', b"[[", b"{"))
            raw[at:at] = opened * random.choice(DEPTHS)
    return bytes(raw)


# ── MessagePack ──────────────────────────────────────────────────────────────


def _in_msgpack(data: bytes, random: Random) -> bytes | None:
    try:
        tree = msgpack.unpackb(data, strict_map_key=False, raw=False)
        if random.random() < 0.3:
            return _packed(tree, random, wide=True)
        return _packed(_changed(tree, random), random, wide=False)
    except Exception:  # noqa: BLE001 - an earlier fault left nothing to be read
        return None


def _packed(value: Any, random: Random, *, wide: bool) -> bytes:
    """MessagePack; `wide`: now and then in a longer form than the shortest."""
    longer = wide and random.random() < 0.3
    match value:
        case list() | tuple():
            head = b"\xdd" + len(value).to_bytes(4) if longer else _head(value)
            return head + b"".join(_packed(item, random, wide=wide) for item in value)
        case bytes() if longer:
            return b"\xc6" + len(value).to_bytes(4) + value
        case str() if longer:
            raw = value.encode()
            return b"\xdb" + len(raw).to_bytes(4) + raw
        case int() if longer and not isinstance(value, bool) and 0 <= value < 2**64:
            return b"\xcf" + value.to_bytes(8)
        case dict():
            pairs = list(value.items())
            if wide:
                random.shuffle(pairs)
            inner = [_packed(part, random, wide=wide) for pair in pairs for part in pair]
            return msgpack.Packer().pack_map_header(len(pairs)) + b"".join(inner)
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _head(value: list[Any] | tuple[Any, ...]) -> bytes:
    head: bytes = msgpack.Packer().pack_array_header(len(value))
    return head


def _other(value: Any, random: Random) -> Any:
    """Another value in its place, often one that is nearly right."""
    match value:
        case bool():
            near: list[Any] = [not value, int(value)]
        case int():
            near = [value + 1, max(0, value - 1), -1, 2**53, 2**63, float(value % 2**52)]
        case bytes():
            near = [value[:-1], value + b"\0", b"", value.hex(), bytes(len(value))]
        case str():
            near = [
                value + "\n",
                value.upper(),
                "",
                value.encode(),
                value + "\0",
                "ｆ",
                value * 300,
            ]
        case list():
            near = [value * 2, value[::-1], value[1:], [value], []]
        case _:
            near = [0]
    return random.choice([*near, None, True, 0, "", b"", [], {}, 1.5, -(2**31), "\U0010ffff"])


def _changed(tree: Any, random: Random) -> Any:
    """One place of the tree, however deep, has something else, nothing, or the same twice."""
    if isinstance(tree, list) and tree and random.random() < 0.9:
        items = list(tree)
        at = random.randrange(len(items))
        match random.randrange(8):
            case 0:
                del items[at]
            case 1:
                items.insert(at, items[at])
            case 2:
                other = random.randrange(len(items))
                items[at], items[other] = items[other], items[at]
            case 3:
                items.append(_other(items[at], random))
            case _:
                items[at] = _changed(items[at], random)
        return items
    if isinstance(tree, dict) and tree and random.random() < 0.9:
        name = random.choice(list(tree))
        changed = dict(tree)
        match random.randrange(4):
            case 0:
                del changed[name]
            case 1:
                changed[str(name) + "_"] = changed[name]
            case _:
                changed[name] = _changed(changed[name], random)
        return changed
    if isinstance(tree, bytes) and len(tree) > 4 and random.random() < 0.5:
        inner = _in_msgpack(tree, random)  # operations stand in transactions as bytes
        if inner is not None:
            return inner
    return _other(tree, random)


# ── JSON ─────────────────────────────────────────────────────────────────────


def _in_json(data: bytes, random: Random) -> bytes | None:
    try:
        tree = json.loads(data)
        changed = _changed(tree, random)
        text = json.dumps(changed, default=lambda raw: raw.hex())
    except Exception:  # noqa: BLE001 - an earlier fault left nothing to be read
        return None
    if random.random() < 0.2 and isinstance(changed, dict) and changed:
        name = random.choice(list(changed))
        again = json.dumps({name: changed[name]}, default=lambda raw: raw.hex())
        text = f"{again[:-1]},{text[1:]}"  # a name that stands twice
    return text.encode("utf-8", "surrogatepass")


_INSIDE: dict[str, Callable[[bytes, Random], bytes | None]] = {
    "msgpack": _in_msgpack,
    "json": _in_json,
}
