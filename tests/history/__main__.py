"""`python -m tests.history`: one run of concurrent clients against nodes that suffer."""

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path

from tests.history.report import Plan
from tests.history.run import timed
from tests.history.wires import isolate, possible


def keep_logs(directory: Path, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    for log in directory.glob("net/logs/*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    print(f"history, events and logs: {kept}", file=sys.stderr)  # noqa: T201


def main() -> int:
    parser = argparse.ArgumentParser(prog="jepsen", description=__doc__, allow_abbrev=False)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="how long clients and faults go on")
    length.add_argument("--seconds", type=float, help="the same (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of clients and faults")
    parser.add_argument("--clients", type=int, default=2, help="at each node (default: 2)")
    parser.add_argument("--pause-ms", type=int, default=200, help="between two operations of one")
    parser.add_argument("--wires", choices=("auto", "namespaces", "switches"), default="auto",
                        help="how nodes are cut off from each other")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--keep", type=Path, help="where history and logs go if something is wrong")
    options = parser.parse_args()
    seconds = options.minutes * 60 if options.minutes is not None else options.seconds or 30.0
    namespaces = options.wires == "namespaces" or (options.wires == "auto" and possible())
    if namespaces:
        isolate()
    # Whoever is told to end ends his nodes, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    plan = Plan(
        options.seed,
        seconds,
        options.clients,
        options.pause_ms / 1000,
        namespaces,
        wipes=seconds >= 120,
    )
    with tempfile.TemporaryDirectory(prefix="salus-history-") as directory:
        kept = options.keep or Path(tempfile.gettempdir()) / f"salus-history-seed-{options.seed}"
        try:
            report, took_s = timed(plan, Path(directory))
        except BaseException:
            keep_logs(Path(directory), kept)  # it did not come to a judgement
            raise
        if not report.ok:
            report.save(kept)
            keep_logs(Path(directory), kept)
    document = report.document() | {"took_s": round(took_s, 1)}
    print(json.dumps(document) if options.json else report.text())  # noqa: T201
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
