"""./scripts/fuzz: the same properties for as long as you like, with a seed of its own.

    ./scripts/fuzz --minutes 15 --json          all decoders in turn
    ./scripts/fuzz --minutes 5 --only genesis   one, or several by a part of their names
    ./scripts/fuzz --seed 7 --minutes 1         the same inputs again
    ./scripts/fuzz --replay genesis FILE        one input, saved as hex by a failure

Exit 0: nothing was found; 1: something was, saved below `--out`; 2: a wrong argument.
"""

import argparse
import hashlib
import json
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.decoder import Broken, Decoder, check
from tests.fuzz.decoders import ALL, BY_NAME
from tests.fuzz.mutations import mutated

VALUES_PER_ROUND = 40  # drawn anew from their strategy, which is the slow part
INPUTS_PER_ROUND, INPUTS_PER_ROUND_SLOW = 1_500, 150
LENGTH_MAX = 64 * 1024  # a fault may double its input; the caps of sizes have tests of their own
FAILURES_MAX = 5  # of one decoder: the rest says the same


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    if options.replay:
        return _replay(*options.replay)
    chosen = [d for d in ALL if not options.only or any(part in d.name for part in options.only)]
    if not chosen:
        sys.stderr.write(f"no decoder is called like {', '.join(options.only)}\n")
        return 2
    number = secrets.randbits(32) if options.seed is None else options.seed
    say = (lambda line: None) if options.json else _print
    say(f"seed {number}, {len(chosen)} decoders, {options.minutes:g} minutes")
    counts: dict[str, Counter[str]] = {decoder.name: Counter() for decoder in chosen}
    failures: list[dict[str, str]] = []
    ends = time.monotonic() + 60 * options.minutes
    rounds = 0
    while rounds == 0 or time.monotonic() < ends:
        for decoder in chosen:
            if rounds and time.monotonic() >= ends:
                break
            for data in _inputs(decoder, number + rounds):
                try:
                    counts[decoder.name][check(decoder, data)] += 1
                except Broken as broken:
                    counts[decoder.name]["broken"] += 1
                    if counts[decoder.name]["broken"] <= FAILURES_MAX:
                        failures.append(_saved(options.out, decoder, data, broken))
                        say(f"{decoder.name}: {failures[-1]['what']}")
                        say(f"  {failures[-1]['replay']}")
        rounds += 1
    total = sum(sum(count.values()) for count in counts.values())
    for name, count in counts.items():
        say(f"{name:32} {sum(count.values()):9,}  " + _most(count))
    answer = {"seed": number, "rounds": rounds, "inputs": total, "failures": failures}
    counted = {name: dict(count.most_common()) for name, count in counts.items()}
    _print(json.dumps(answer | ({"decoders": counted} if options.json else {})))
    return 1 if failures else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./scripts/fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=1, help="at least one round is run")
    parser.add_argument("--only", action="append", default=[], help="a part of a decoder's name")
    parser.add_argument("--seed", type=int, help="default: a fresh one, which is printed")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--json", action="store_true", help="one object, and nothing else")
    parser.add_argument("--replay", nargs=2, metavar=("NAME", "FILE"), help="a saved input")
    return parser.parse_args(arguments)


def _inputs(decoder: Decoder, number: int) -> Iterator[bytes]:
    """Follows from the seed and the decoder's name alone."""
    own = int.from_bytes(hashlib.sha256(f"{number} {decoder.name}".encode()).digest()[:8])
    random = Random(own)
    good = [*decoder.seeds, *_values(decoder, own)]
    yield from good
    for _ in range(INPUTS_PER_ROUND_SLOW if decoder.slow else INPUTS_PER_ROUND):
        if random.random() < 0.05:
            yield random.randbytes(random.choice((0, 1, 5, 40, 300)))
        else:
            yield mutated(random.choice(good), random.getrandbits(63), decoder.form)[:LENGTH_MAX]


def _values(decoder: Decoder, number: int) -> list[bytes]:
    if decoder.values is None:
        return []
    drawn: list[bytes] = []

    @seed(number)
    @settings(
        max_examples=VALUES_PER_ROUND,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(decoder.values)
    def draw(data: bytes) -> None:
        drawn.append(data)

    draw()
    return drawn


def _saved(folder: Path, decoder: Decoder, data: bytes, broken: Broken) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{decoder.name}-{hashlib.sha256(data).hexdigest()[:12]}.hex"
    path.write_text(data.hex() + "\n")
    replay = f"./scripts/fuzz --replay {decoder.name} {path}"
    return {"decoder": decoder.name, "what": str(broken)[:300], "replay": replay}


def _replay(name: str, file: str) -> int:
    if name not in BY_NAME:
        sys.stderr.write(f"no decoder is called {name}\n")
        return 2
    try:
        _print(check(BY_NAME[name], bytes.fromhex(Path(file).read_text())))
    except Broken as broken:
        raise (broken.__cause__ or broken) from None  # with the lines that it came from
    return 0


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _most(count: Counter[str]) -> str:
    return ", ".join(f"{word} {times:,}" for word, times in count.most_common(4))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
