"""`salus bench --report DIR`: curves, tables and the machine, for docs and for people.

One network: its saturation with the stage table, then shares of it in an open loop, one transaction per
request. Law of the file: what is drawn is what was measured in this run; there is no figure from elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cli import testnet
from cli.bench import svg
from cli.bench.machine import Machine, machine
from cli.bench.network import Say, chain_of, create, prefill
from cli.bench.profiled_validator import COMMAND
from cli.bench.stage_table import Stage
from cli.bench.transactions import Options, Summary, measure
from cli.home import read_testnet

CHAIN_ID = "bench-report"
# What a row of the page says, and how it is headed.
ROWS = {
    "mode": "load",
    "tx_per_s": "tx/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "cpu_s_per_1k_tx": "CPU s per 1,000",
    "rss_mb": "memory MB",
    "limit_share": "of the signature limit",
    "stolen_share": "stolen by the host",
    "others_share": "used by others",
}
STAGES = {"stage": "stage", "us_per_tx": "µs", "share": "share", "limit_us": "bare primitive µs"}
SHARES = (0.05, 0.1, 0.25, 0.5, 0.7, 0.85)  # of saturation
PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")


@dataclass(frozen=True, slots=True)
class Report:
    machine: Machine
    saturation: Summary
    stages: list[Stage]
    curve: list[Summary]  # ascending rate


async def run(root: Path, options: Options, say: Say) -> Report:
    """Makes a network in `root`, measures, stops it. Raises `CliError`."""
    here = machine()
    create(root, options.validators, CHAIN_ID, options.state_keys, say)
    try:
        names = [node.name for node in read_testnet(root).nodes]
        testnet.start(root, commands=dict.fromkeys(names, COMMAND))
        await testnet.wait_ready(root, read_testnet(root))
        nodes, founding = read_testnet(root).nodes, chain_of(root)
        say(f"prefilling {options.prefill} records")
        await prefill(founding, nodes, options.prefill // len(nodes))
        wish = replace(options, rate=None, profile=True)
        saturation, stages = await measure(root, founding, wish, say)
        begin, curve = wish.transactions, []
        for share in SHARES:
            wish = replace(options, rate=max(1, int(share * saturation.tx_per_s)), profile=False)
            say(f"{wish.rate} a second")
            curve.append((await measure(root, founding, wish, say, begin))[0])
            begin += wish.transactions
    finally:
        testnet.stop(root)
    return Report(here, saturation, stages, curve)


def write(folder: Path, report: Report) -> list[Path]:
    """latency.svg, stages.svg, report.json and report.md; what was there before is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "latency.svg": _latency(report),
        "stages.svg": _stages(report),
        "report.json": json.dumps(document(report), indent=2) + "\n",
        "report.md": _page(report),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def document(report: Report) -> dict[str, Any]:
    return asdict(report)


# -- drawing -------------------------------------------------------------------------------------


def _latency(report: Report) -> str:
    return svg.curves(
        f"Latency by throughput: {report.saturation.validators} validators on {_beside(report)}",
        "committed transactions a second",
        "ms until the certified answer",
        {
            name.removesuffix("_ms"): [(one.tx_per_s, getattr(one, name)) for one in report.curve]
            for name in PERCENTILES
        },
    )


def _stages(report: Report) -> str:
    stages = report.stages
    return svg.bars(
        f"A transaction at one node: {_beside(report)}",
        "microseconds of one core",
        [stage.stage for stage in stages],
        {
            "spent": [stage.us_per_tx for stage in stages],
            "bare primitive": [stage.limit_us for stage in stages],
        },
    )


# -- words ---------------------------------------------------------------------------------------


def _page(report: Report) -> str:
    lines = ["# Benchmark", "", "Made by `./scripts/bench --report`.", "", "## Machine", ""]
    lines += [
        f"- {name.replace('_', ' ')}: {value}" for name, value in asdict(report.machine).items()
    ]
    lines += ["", "`load 1m` and `stolen share` are from before it began.", ""]
    lines += ["## Throughput and latency", "", "![latency](latency.svg)", ""]
    lines += _table(ROWS, [report.saturation, *report.curve])
    lines += ["", "The last two columns are shares of all cores while that row was measured.", ""]
    lines += ["## What a transaction costs a node", "", "![stages](stages.svg)", ""]
    lines += _table(STAGES, report.stages)
    return "\n".join([*lines, ""])


def _beside(report: Report) -> str:
    """How busy the machine was with other things, at its worst: for the reader of a curve."""
    rows = [report.saturation, *report.curve]
    others, stolen = (
        max(getattr(row, name) for row in rows) for name in ("others_share", "stolen_share")
    )
    return (
        f"{report.machine.cores} cores, up to {others:.0%} used by others and {stolen:.0%} stolen"
    )


def _table(columns: Mapping[str, str], rows: Sequence[object]) -> list[str]:
    """`columns`: attribute → heading."""
    cells = [[getattr(row, name) for name in columns] for row in rows]
    body = [
        "| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |" for row in cells
    ]
    return ["| " + " | ".join(columns.values()) + " |", "|" + " --- |" * len(columns), *body]
