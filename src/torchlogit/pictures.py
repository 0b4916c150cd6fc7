"""Small plots as SVG text: panels side by side, each with two axes, marks and a legend.

    picture([Panel(title, Axis(label, scale), Axis(label, scale), marks=(Points(x, y, label), Line(x, y, label)))])

The same input gives the same bytes. Values that are not finite, and on a log scale those that are not positive,
are left out; a line has a gap there.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

# The colours of Okabe and Ito, which colour-blind people can tell apart; their yellow is left out: too pale on white.
BLUE = "#0072b2"
ORANGE = "#d55e00"
GREEN = "#009e73"
PINK = "#cc79a7"
SKY = "#56b4e9"
AMBER = "#e69f00"
GREY = "#6b7280"
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, AMBER, GREY)

WIDTH, HEIGHT = 480, 380  # size of a panel in pixels

_INK = "#1f2933"  # colour of titles and labels
_FAINT_INK = "#52606d"  # colour of axes and ticks
_GRID = "#e4e7eb"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_TITLE_SIZE = 15  # pixels
_TEXT_SIZE = 12  # pixels
_LEGEND_LINE = 19  # pixels from one line of the legend to the next

Scale = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its label, and a scale, linear or log (base 10). Its limits are those of the marks."""

    label: str
    scale: Scale = "linear"


@dataclass(frozen=True, slots=True)
class Line:
    """A line through the points (x, y) in their order; without a colour it gets the next one of `PALETTE`."""

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    color: str = ""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Points:
    """A dot at each (x, y); more than 100 dots are drawn transparent, so that overlaps are visible."""

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    color: str = ""


Mark = Line | Points


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot: marks are drawn in their order, and those with a label are listed in the legend."""

    title: str
    x_axis: Axis
    y_axis: Axis
    marks: tuple[Mark, ...] = ()


def picture(panels: Sequence[Panel]) -> str:
    """A standalone SVG document with the panels side by side, each WIDTH by HEIGHT pixels.

    >>> losses = Panel("Loss", Axis("epoch"), Axis("log loss", "log"), (Line([1, 2, 3], [0.5, 0.05, 0.01]),))
    >>> picture([losses]).startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    True
    """
    width = WIDTH * max(len(panels), 1)
    name = _escape("; ".join(panel.title for panel in panels))
    legend_height = max(map(_legend_height, panels), default=0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" '
        f'viewBox="0 0 {width} {HEIGHT}" role="img" font-family="{_FONT}" font-size="{_TEXT_SIZE}">',
        f"<title>{name}</title>",
        f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        lines.append(f'<g transform="translate({index * WIDTH} 0)">')
        lines.extend(_panel(panel, legend_height))
        lines.append("</g>")
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


# ---- scales: from a value to a fraction of the axis, and the ticks ----


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick: its value and its label."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class LinearScale:
    """A linear scale from `low` to `high`."""

    low: float
    high: float

    def fraction(self, value: float) -> float:
        """The position of `value` on the axis: 0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[Tick]:
        """About five round values within the range.

        >>> [tick.label for tick in LinearScale(-2.1, 2.1).ticks()]
        ['-2', '-1', '0', '1', '2']
        """
        step = _round_step((self.high - self.low) / 5)
        # The tolerance of 1e-6 steps for rounding errors keeps a tick at the end of the range.
        first, last = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        return _labelled([index * step for index in range(first, last + 1)], step)


@dataclass(frozen=True, slots=True)
class LogScale:
    """A logarithmic scale from `low` to `high`, both positive."""

    low: float
    high: float

    def fraction(self, value: float) -> float:
        """The position of `value` on the axis: 0 at `low`, 1 at `high`."""
        low, high = math.log10(self.low), math.log10(self.high)
        return (math.log10(value) - low) / (high - low)

    def ticks(self) -> list[Tick]:
        """Up to about seven powers of ten; if fewer than three fit, also 2 and 5 times these, or else round values.

        >>> [tick.label for tick in LogScale(0.0005, 2.0).ticks()]
        ['0.001', '0.01', '0.1', '1']
        >>> [tick.label for tick in LogScale(1e-9, 1.0).ticks()]
        ['10⁻⁸', '10⁻⁶', '10⁻⁴', '10⁻²', '1']
        >>> [tick.label for tick in LogScale(0.04, 3.0).ticks()]
        ['0.05', '0.1', '0.2', '0.5', '1', '2']
        """
        first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
        stride = math.ceil((last - first + 1) / 7)
        powers = [power for power in range(first, last + 1) if power % stride == 0]
        if len(powers) < 3:
            multiples = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
            ticks = [Tick(value, f"{value:g}") for value in multiples if self.low <= value <= self.high]
            return ticks if len(ticks) >= 3 else LinearScale(self.low, self.high).ticks()
        if powers[0] >= -4 and powers[-1] <= 4:
            return [Tick(10.0**power, f"{10.0**power:.{max(-power, 0)}f}") for power in powers]
        return [Tick(10.0**power, _power_of_ten(power)) for power in powers]


def _scale(axis: Axis, values: list[float]) -> LinearScale | LogScale:
    """The scale of an axis, 5 % wider than the values on both sides; a single value or none gets a range around it."""
    if axis.scale == "log":
        low, high = (math.log10(min(values)), math.log10(max(values))) if values else (-1.0, 0.0)
        margin = 0.05 * (high - low) if high - low > 1e-9 else 0.5
        return LogScale(10 ** max(low - margin, -300), 10 ** min(high + margin, 300))
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    size = max(abs(low), abs(high))
    margin = 0.05 * (high - low)
    if high - low <= max(1e-9 * size, 1e-290):
        margin = 0.1 * size if size > 1e-290 else 0.5
    return LinearScale(low - margin, high + margin)


def _drawable(value: float, axis: Axis) -> bool:
    # With values near the limits of float64, computing the range of an axis would overflow.
    return math.isfinite(value) and abs(value) < 1e300 and (axis.scale == "linear" or value > 1e-300)


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return min((1 * power, 2 * power, 5 * power, 10 * power), key=lambda nice: abs(math.log(nice / step)))


def _labelled(values: list[float], step: float) -> list[Tick]:
    largest = max((abs(value) for value in values), default=0.0)
    if largest and not 1e-4 <= largest < 1e9:
        digits = max(_magnitude(largest) - _magnitude(step), 0)
        return [Tick(value, f"{value:.{digits}e}" if value else "0") for value in values]
    decimals = max(-_magnitude(step), 0)
    return [Tick(value, f"{value:.{decimals}f}") for value in values]


def _magnitude(value: float) -> int:
    # 1e-9 is added because log10(0.001) may be rounded to a little less than -3.
    return math.floor(math.log10(value) + 1e-9)


def _power_of_ten(power: int) -> str:
    if power == 0:
        return "1"
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


# ---- drawing ----


@dataclass(frozen=True, slots=True)
class _Frame:
    """The rectangle in which marks are drawn, in pixels, and its two scales."""

    left: float
    top: float
    right: float
    bottom: float
    x_scale: LinearScale | LogScale
    y_scale: LinearScale | LogScale

    def x_pixel(self, x: float) -> float:
        return self.left + self.x_scale.fraction(x) * (self.right - self.left)

    def y_pixel(self, y: float) -> float:
        return self.bottom - self.y_scale.fraction(y) * (self.bottom - self.top)


def _panel(panel: Panel, legend_height: int) -> Iterator[str]:
    runs = [_runs(mark, panel.x_axis, panel.y_axis) for mark in panel.marks]
    points = [point for mark_runs in runs for run in mark_runs for point in run]
    x_scale = _scale(panel.x_axis, [x for x, _ in points])
    y_scale = _scale(panel.y_axis, [y for _, y in points])
    y_tick_width = max((_text_width(tick.label) for tick in y_scale.ticks()), default=0.0)
    frame = _Frame(44 + y_tick_width, 46 + legend_height, WIDTH - 20, HEIGHT - 52, x_scale, y_scale)

    title = _escape(_shortened(panel.title, WIDTH - frame.left, _TITLE_SIZE))
    yield _text(frame.left, 28, title, f'font-size="{_TITLE_SIZE}" font-weight="600" fill="{_INK}"')
    yield from _legend(panel, frame)
    yield from _axes(panel, frame)
    for color, mark, mark_runs in zip(_colors(panel.marks), panel.marks, runs, strict=True):
        yield from _mark(mark, mark_runs, color, frame)


def _axes(panel: Panel, frame: _Frame) -> Iterator[str]:
    left, top, right, bottom = map(_number, (frame.left, frame.top, frame.right, frame.bottom))
    x_ticks = [(frame.x_pixel(tick.value), tick.label) for tick in frame.x_scale.ticks()]
    y_ticks = [(frame.y_pixel(tick.value), tick.label) for tick in frame.y_scale.ticks()]
    grid = [f"M{_number(x)} {top}V{bottom}" for x, _ in x_ticks] + [f"M{left} {_number(y)}H{right}" for y, _ in y_ticks]
    if grid:
        yield f'<path d="{"".join(grid)}" stroke="{_GRID}" fill="none"/>'
    yield f'<path d="M{left} {top}V{bottom}H{right}" stroke="{_FAINT_INK}" fill="none"/>'
    for x, label in x_ticks:
        yield _text(x, frame.bottom + 18, label, f'text-anchor="middle" fill="{_FAINT_INK}"')
    for y, label in y_ticks:
        yield _text(frame.left - 8, y + 4, label, f'text-anchor="end" fill="{_FAINT_INK}"')
    x_label = _escape(_shortened(panel.x_axis.label, frame.right - frame.left))
    y_label = _escape(_shortened(panel.y_axis.label, frame.bottom - frame.top))
    x_middle, y_middle = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
    yield _text(x_middle, frame.bottom + 40, x_label, f'text-anchor="middle" fill="{_INK}"')
    rotated = f'text-anchor="middle" fill="{_INK}" transform="rotate(-90 22 {_number(y_middle)})"'
    yield _text(22, y_middle, y_label, rotated)


def _mark(mark: Mark, runs: list[list[tuple[float, float]]], color: str, frame: _Frame) -> Iterator[str]:
    segments = [[(_number(frame.x_pixel(x)), _number(frame.y_pixel(y))) for x, y in run] for run in runs]
    if isinstance(mark, Points):
        # More than 100 points are drawn transparent, so that dense regions are darker.
        count = sum(map(len, segments))
        radius, opacity = (3, 1) if count <= 100 else (2.5, 0.3)
        yield f'<g fill="{color}" fill-opacity="{opacity}">'
        yield from (f'<circle cx="{x}" cy="{y}" r="{radius}"/>' for run in segments for x, y in run)
        yield "</g>"
        return
    dots = [run[0] for run in segments if len(run) == 1]
    path = "".join("M" + "L".join(f"{x} {y}" for x, y in run) for run in segments if len(run) > 1)
    if path:
        yield f'<path d="{path}" {_stroke(mark, color)} stroke-linejoin="round"/>'
    yield from (f'<circle cx="{x}" cy="{y}" r="2.5" fill="{color}"/>' for x, y in dots)


def _stroke(line: Line, color: str) -> str:
    dashes = ' stroke-dasharray="7 4"' if line.dashed else ""
    return f'fill="none" stroke="{color}" stroke-width="2.25"{dashes}'


def _runs(mark: Mark, x_axis: Axis, y_axis: Axis) -> list[list[tuple[float, float]]]:
    """The points of a mark that can be drawn, in runs without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(mark.x, mark.y, strict=True):
        if _drawable(x, x_axis) and _drawable(y, y_axis):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _colors(marks: Sequence[Mark]) -> list[str]:
    return [_escape(mark.color) or PALETTE[index % len(PALETTE)] for index, mark in enumerate(marks)]


# ---- the legend: above the plot, where it covers no mark, in as many lines as it needs ----

_LEGEND_WIDTH = WIDTH - 120  # pixels
_LEGEND_SAMPLE = 26  # pixels for the dot or line before a label
_LEGEND_GAP = 18  # pixels between two entries


def _legend_positions(panel: Panel) -> list[tuple[float, int]]:
    """For each labelled mark, its distance from the left in pixels and its line."""
    positions: list[tuple[float, int]] = []
    across, line = 0.0, 0
    for mark in panel.marks:
        if mark.label:
            needed = _LEGEND_SAMPLE + _text_width(_shortened(mark.label, _LEGEND_WIDTH - _LEGEND_SAMPLE))
            if across and across + needed > _LEGEND_WIDTH:
                across, line = 0.0, line + 1
            positions.append((across, line))
            across += needed + _LEGEND_GAP
    return positions


def _legend_height(panel: Panel) -> int:
    positions = _legend_positions(panel)
    return (positions[-1][1] + 1) * _LEGEND_LINE + 4 if positions else 0


def _legend(panel: Panel, frame: _Frame) -> Iterator[str]:
    labelled = [pair for pair in zip(panel.marks, _colors(panel.marks), strict=True) if pair[0].label]
    for (mark, color), (across, line) in zip(labelled, _legend_positions(panel), strict=True):
        x, y = frame.left + across, 46 + line * _LEGEND_LINE
        if isinstance(mark, Points):
            yield f'<circle cx="{_number(x + 9)}" cy="{y}" r="3.5" fill="{color}"/>'
        else:
            yield f'<path d="M{_number(x)} {y}h19" {_stroke(mark, color)}/>'
        label = _escape(_shortened(mark.label, _LEGEND_WIDTH - _LEGEND_SAMPLE))
        yield _text(x + _LEGEND_SAMPLE, y + 4, label, f'fill="{_INK}"')


# ---- text and numbers ----


def _text(x: float, y: float, escaped: str, attributes: str) -> str:
    return f'<text x="{_number(x)}" y="{_number(y)}" {attributes}>{escaped}</text>'


def _number(value: float) -> str:
    """A coordinate with at most two decimals; -0 is written 0."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def _text_width(text: str, size: int = _TEXT_SIZE) -> float:
    # The viewer chooses the font; 0.58 em per character is more than common fonts take on average.
    return 0.58 * size * len(text)


def _shortened(text: str, width: float, size: int = _TEXT_SIZE) -> str:
    """The text, cut to about this many pixels."""
    n_characters = max(int(width / _text_width("m", size)), 1)
    return text if len(text) <= n_characters else text[: n_characters - 1] + "…"


def _escape(text: str) -> str:
    """Text for XML: markup is escaped, and characters that XML 1.0 forbids are replaced."""
    return html.escape(re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text))
