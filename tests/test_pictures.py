"""Pictures are well-formed SVG whatever the numbers, with everything inside its panel."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchlogit.pictures import (
    BLUE,
    GREEN,
    ORANGE,
    Axis,
    Line,
    LinearScale,
    LogScale,
    Panel,
    Points,
    Scale,
    picture,
)

SVG = "{http://www.w3.org/2000/svg}"
X, Y, LOG_Y = Axis("passes"), Axis("objective"), Axis("bound", "log")


def random_mask(panel: Panel) -> ElementTree.Element:
    return ElementTree.fromstring(picture([panel]))


def data_circles(root: ElementTree.Element) -> list[tuple[float, float]]:
    """Centres of the dots drawn for `Points` (those of the legend are not in a group of their own)."""
    groups = [group for group in root.iter(f"{SVG}g") if group.get("fill-opacity")]
    return [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for group in groups for dot in group]


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def data_paths(root: ElementTree.Element) -> list[str]:
    return [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.get("stroke-linejoin")]


def test_points_lie_where_their_values_say() -> None:
    (x0, y0), (x1, y1), (x2, y2) = data_circles(random_mask(Panel("t", X, Y, (Points([0, 1, 2], [0, 10, 20]),))))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.02)
    assert x0 < x2
    assert y2 < y0, "down the page is down in value"


def test_a_log_scale_gives_equal_factors_equal_room() -> None:
    circles = data_circles(random_mask(Panel("t", X, LOG_Y, (Points([0, 1, 2], [1e-8, 1e-5, 1e-2]),))))
    (_, y0), (_, y1), (_, y2) = circles
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.02)


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_skipped_and_break_the_line(missing: float) -> None:
    x, y = [1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, missing, 4.0, 5.0]
    assert len(data_circles(random_mask(Panel("t", X, Y, (Points(x, y),))))) == 4
    (path,) = data_paths(random_mask(Panel("t", X, Y, (Line(x, y),))))
    assert path.count("M") == 2
    assert path.count("L") == 2


def test_a_log_scale_skips_what_is_not_positive() -> None:
    assert len(data_circles(random_mask(Panel("t", X, LOG_Y, (Points([1, 2, 3, 4], [0, -1, 1, 10]),))))) == 2


def test_a_line_of_one_point_is_a_dot() -> None:
    root = random_mask(Panel("t", X, LOG_Y, (Line([3], [0.2]),)))
    assert not data_paths(root)
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_constant_values_run_through_the_middle() -> None:
    for value in (0.0, -3.0, 1e-200, 1e200):
        circles = data_circles(random_mask(Panel("t", X, Y, (Points([1, 2], [value, value]),))))
        assert circles[0][1] == circles[1][1] == pytest.approx((46 + 328) / 2, abs=0.02)


@pytest.mark.parametrize("axis", [Y, LOG_Y])
def test_empty_panels_and_empty_series_still_have_axes(axis: Axis) -> None:
    for marks in ((), (Line([], [], "nothing"), Points([], []))):
        root = random_mask(Panel("t", X, axis, marks))
        assert {"t", "passes", axis.label} <= set(texts(root))
        assert not data_circles(root)
        assert not data_paths(root)


def test_no_panels_make_an_empty_picture() -> None:
    assert ElementTree.fromstring(picture([])).tag == f"{SVG}svg"


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        picture([Panel("t", X, Y, (Line([1, 2], [1]),))])


def test_the_legend_names_the_labelled_marks_in_their_colours() -> None:
    marks = (Line([0, 1], [0, 1], "first"), Points([0], [0]), Points([0], [1], "third"), Line([0], [0], "own", ORANGE))
    root = random_mask(Panel("t", X, Y, marks))
    named = [text for text in texts(root) if text in {"first", "third", "own"}]
    assert named == ["first", "third", "own"]
    svg = picture([Panel("t", X, Y, marks)])
    assert BLUE in svg
    assert GREEN in svg
    assert ORANGE in svg


def test_many_or_long_names_flow_over_lines_and_are_cut_at_the_edge() -> None:
    names = [*(f"solver number {k}" for k in range(5)), "w" * 500]
    root = random_mask(Panel("title " * 50, X, Y, tuple(Line([0, 1], [0, 1], name) for name in names)))
    rows = {text.attrib["y"] for text in root.iter(f"{SVG}text") if (text.text or "").startswith(("solver", "www"))}
    assert len(rows) == 4
    assert sum(text.endswith("…") for text in texts(root)) == 2


def test_text_is_escaped() -> None:
    name = "a < b & \"c\" 'd' \x00 \ud800"
    root = random_mask(Panel(name, Axis(name), Axis(name), (Points([1], [1], name, color='"><script>'),)))
    assert texts(root).count("a < b & \"c\" 'd' � �") == 4
    assert not list(root.iter(f"{SVG}script"))


def test_panels_stand_side_by_side_with_their_plots_level() -> None:
    panels = [Panel("left", X, Y, (Points([1], [1], "named"),)), Panel("right", X, Y, (Points([1], [1]),))]
    root = ElementTree.fromstring(picture(panels))
    assert (root.get("width"), root.get("height")) == ("960", "380")
    moved = [group.get("transform") for group in root if group.tag == f"{SVG}g"]
    assert moved == ["translate(0 0)", "translate(480 0)"]
    left, right = data_circles(root)
    assert left == right


def test_the_same_picture_is_the_same_text_with_two_decimals() -> None:
    panel = Panel("t", X, LOG_Y, (Line([1 / 3, 2 / 3], [1 / 7, 1 / 9], "a"),))
    assert picture([panel]) == picture([panel])
    assert re.search(r"\d\.\d{3}", "".join(data_paths(random_mask(panel)))) is None


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (LinearScale(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (LinearScale(0.5, 20.5), ["5", "10", "15", "20"]),
        (LinearScale(1.0, 1.00004), ["1.00000", "1.00001", "1.00002", "1.00003", "1.00004"]),
        (LinearScale(0.0, 2.5e12), ["0", "5.0e+11", "1.0e+12", "1.5e+12", "2.0e+12", "2.5e+12"]),
        (LogScale(0.05, 0.7), ["0.05", "0.1", "0.2", "0.5"]),
        (LogScale(1.0, 10_000.0), ["1", "10", "100", "1000", "10000"]),
        (LogScale(2.0, 2.4), ["2.0", "2.1", "2.2", "2.3", "2.4"]),
    ],
)  # fmt: skip
def test_ticks_are_round_and_written_alike(scale: LinearScale | LogScale, labels: list[str]) -> None:
    assert [tick.label for tick in scale.ticks()] == labels


@given(low=st.floats(-1e9, 1e9, allow_subnormal=False), span=st.floats(1e-2, 1e9))
def test_linear_ticks_lie_within_the_range_and_say_their_value(low: float, span: float) -> None:
    scale = LinearScale(low, low + span)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 11
    step = ticks[1].value - ticks[0].value
    for tick in ticks:
        assert -1e-6 <= scale.fraction(tick.value) <= 1 + 1e-6
        assert float(tick.label) == pytest.approx(tick.value, abs=1e-3 * step)


@given(low=st.floats(1e-250, 1e250), factor=st.floats(1.01, 1e40))
def test_log_ticks_lie_within_the_range_and_differ(low: float, factor: float) -> None:
    scale = LogScale(low, low * factor)
    ticks = scale.ticks()
    assert 3 <= len(ticks) <= 11
    assert all(-1e-6 <= scale.fraction(tick.value) <= 1 + 1e-6 for tick in ticks)
    assert all(one.label != other.label for one, other in pairwise(ticks))


@given(
    x=st.lists(st.floats(), max_size=6),
    y=st.lists(st.floats(), max_size=6),
    x_scale=st.sampled_from(["linear", "log"]),
    y_scale=st.sampled_from(["linear", "log"]),
)
def test_any_floats_make_a_picture_with_its_marks_inside(
    x: list[float], y: list[float], x_scale: Scale, y_scale: Scale
) -> None:
    pairs = list(zip(x, y, strict=False))
    xs, ys = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    root = random_mask(Panel("t", Axis("x", x_scale), Axis("y", y_scale), (Points(xs, ys), Line(xs, ys))))
    for across, down in data_circles(root):
        assert 0 < across < 480
        assert 0 < down < 380
    for path in data_paths(root):
        assert re.fullmatch(r"([ML]\d+(\.\d+)? \d+(\.\d+)?)+", path)
