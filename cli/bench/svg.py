"""Charts as SVG by pygal, for files that are shown where no script runs and nothing may be fetched."""

import sys
from math import ceil, floor, log10
from typing import Any
from xml.etree.ElementTree import tostring

from pygal import XY, HorizontalBar
from pygal.style import CleanStyle

# pygal hangs a hook into every import, for plugins that nobody here has, in a way that Python 3.11 warns
# of and 3.12 has dropped. This module imports nothing else, so nobody has met it yet.
sys.meta_path[:] = [hook for hook in sys.meta_path if type(hook).__module__ != "pygal"]

_COLOURS = ("#1b5e9b", "#c8553d", "#e0a030")  # told apart by those who see no red or green
_LOOK: dict[str, Any] = {
    "style": CleanStyle(
        font_family="sans-serif",
        background="#ffffff",
        plot_background="#ffffff",
        guide_stroke_color="#dddddd",
        major_guide_stroke_color="#cccccc",
        guide_stroke_dasharray="none",
        major_guide_stroke_dasharray="none",
        colors=_COLOURS,
        stroke_width="2",
        opacity=".9",
        title_font_size=14,
        label_font_size=12,
        major_label_font_size=12,
        legend_font_size=14,
    ),
    "js": [],
    "width": 760,
    "height": 520,
    "legend_at_bottom": True,
    "legend_at_bottom_columns": 3,
    "legend_box_size": 14,
}
AIR = 1.25  # of both logarithmic axes, beside the outermost points


def curves(title: str, x: str, y: str, lines: dict[str, list[tuple[float, float]]]) -> str:
    """Points joined by lines, both axes logarithmic; `lines`: name → (x, y), ascending x."""
    points = [point for line in lines.values() for point in line]
    (left, right), (low, high) = (_range([point[at] for point in points]) for at in (0, 1))
    chart = XY(
        title=title,
        x_title=x,
        y_title=y,
        logarithmic=True,
        xrange=(left, right),
        range=(low, high),
        dots_size=4,
        **_LOOK,
    )
    chart.x_labels, chart.y_labels = _marks(left, right), _marks(low, high)
    for name, line in lines.items():
        chart.add(name, line)
    return _drawn(chart)


def _marks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade between the two: all nine run into each other."""
    decades = range(floor(log10(low)), ceil(log10(high)))
    marks = [digit * 10.0**decade for decade in decades for digit in (1, 2, 5)]
    return [mark for mark in marks if low <= mark <= high]


def _range(values: list[float]) -> tuple[float, float]:
    return min(values) / AIR, max(values) * AIR


def bars(title: str, x: str, labels: list[str], values: dict[str, list[float | None]]) -> str:
    """Horizontal, the first label on top; `values`: name → one for each label."""
    chart = HorizontalBar(
        title=title,
        x_title=x,
        **_LOOK,
    )
    chart.x_labels = labels[::-1]
    for name, column in values.items():
        chart.add(name, column[::-1])
    return _drawn(chart)


def _drawn(chart: XY | HorizontalBar) -> str:
    tree = chart.render_tree()
    for parent in tree.iter():
        for child in [one for one in parent if str(one.tag).endswith("script")]:
            parent.remove(child)
    return tostring(tree, encoding="unicode") + "\n"
