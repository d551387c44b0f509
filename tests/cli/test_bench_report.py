"""The report of a benchmark: what is drawn is what was measured, and it can be looked at anywhere."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from cli.bench import report
from cli.bench.machine import machine
from cli.bench.stage_table import Stage
from cli.bench.transactions import Summary

SATURATED = Summary(
    "saturation", 4_000, 4_000, 900.0, 1_200.0, 1_400.0, 4, 20, 0.9, 150, 120, 740, 160, 130.0, 500.0,
    80_000, 80, 12, 80_080, 0, 276, 1, 0, 0.41, 0.02, 0.1, True, 0, 0, 0.0, [(0, 90, 20), (20, 120, 30)],
)  # fmt: skip
SLOW = replace(SATURATED, mode="rate 200", tx_per_s=200, p50_ms=12.5, p95_ms=20.0, p99_ms=31.0)
MADE = report.Report(
    machine(),
    SATURATED,
    [Stage("verify", 55.5, 0.5, 55.0), Stage("loop", 9.0, 0.1, None)],
    [SLOW, replace(SLOW, mode="rate 2000", tx_per_s=2_000, p50_ms=40.0)],
)


def test_the_files_say_what_was_measured(tmp_path: Path) -> None:
    files = report.write(tmp_path / "new" / "folder", MADE)
    assert {file.name for file in files} == {
        "latency.svg",
        "stages.svg",
        "report.json",
        "report.md",
    }
    said = json.loads((tmp_path / "new" / "folder" / "report.json").read_text())
    assert said["saturation"]["tx_per_s"] == 4_000
    assert [row["p50_ms"] for row in said["curve"]] == [12.5, 40.0]
    page = (tmp_path / "new" / "folder" / "report.md").read_text()
    assert "| rate 200 | 200 | 12.5 | 20.0 | 31.0 |" in page
    assert "| loop | 9.0 | 0.1 |  |" in page
    assert str(MADE.machine.verify_per_s) in page
    assert "| 0.02 | 0.1 |" in page, "what host and neighbours took"
    assert report.write(tmp_path / "new" / "folder", MADE), "a second time replaces them"


def test_the_curves_are_pictures_without_scripts_and_fetch_nothing(tmp_path: Path) -> None:
    report.write(tmp_path, MADE)
    for name, words in (("latency.svg", ("p50", "p99")), ("stages.svg", ("verify", "loop"))):
        text = (tmp_path / name).read_text()
        tree = ET.fromstring(text)
        kinds = {str(one.tag).rpartition("}")[2] for one in tree.iter()}
        assert "script" not in kinds
        assert "image" not in kinds
        assert "@import" not in text
        assert not [one for one in tree.iter() if "href" in " ".join(one.attrib)]
        shown = " ".join(tree.itertext())
        assert all(word in shown for word in words)
        assert "up to 10% used by others and 2% stolen" in shown


def test_every_point_of_the_curve_is_drawn(tmp_path: Path) -> None:
    report.write(tmp_path, MADE)
    tree = ET.fromstring((tmp_path / "latency.svg").read_text())
    dots = [one for one in tree.iter() if one.attrib.get("class", "").startswith("dots")]
    assert len(dots) == len(report.PERCENTILES) * len(MADE.curve)
