from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.page.drawing import BLUE, Plot, clean, drawing, inline_svg, row_axis, save_plots, shortened, spread_apart, svg_of


@pytest.fixture
def plot(hostile):
    with drawing(300, 200) as figure:
        axes = figure.subplots()
        row_axis(axes, [hostile, "$x^2$", "\u884c \U0001f600"])
        axes.plot([0, 1], [0, 1], color=BLUE, marker="o")
        axes.set_title("bold \ud55c", fontweight="bold")
    return Plot("mine", hostile, hostile, "caption", figure)


def test_a_plot_in_a_page_is_its_own_and_the_pages(plot, hostile):
    svg = inline_svg(plot)
    root = ElementTree.fromstring(svg)
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("mine-") for name in ids)
    assert root.attrib["aria-labelledby"] == "mine-title mine-description"
    assert "height" not in root.attrib
    assert root.attrib["viewBox"] == "0 0 300 200"
    assert "var(--blue)" in svg
    assert BLUE not in svg
    assert "font-family" not in svg
    assert not list(root.iter("{http://www.w3.org/2000/svg}style"))
    assert "<script" not in svg


def test_every_reference_inside_a_plot_is_kept(plot):
    root = ElementTree.fromstring(inline_svg(plot))
    ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
    used = {element.attrib["href"][1:] for element in root.iter() if "href" in element.attrib}
    clips = {element.attrib["clip-path"][5:-1] for element in root.iter() if "clip-path" in element.attrib}
    assert used
    assert clips
    assert used | clips <= ids


def test_dollars_are_no_formulas_and_texts_stay_texts(plot):
    assert ">$x^2$<" in inline_svg(plot)


def test_drawings_are_the_same_each_time(plot):
    assert svg_of(plot.figure) == svg_of(plot.figure)
    assert inline_svg(plot) == inline_svg(plot)


def test_files_have_colours_and_a_ground_of_their_own(plot, tmp_path):
    save_plots([plot], tmp_path / "new" / "plots")
    svg = (tmp_path / "new" / "plots" / "mine.svg").read_text()
    assert BLUE in svg
    assert "#ffffff" in svg
    assert sorted(path.name for path in (tmp_path / "new" / "plots").iterdir()) == ["mine.png", "mine.svg"]


@given(st.text())
def test_any_text_may_stand_in_a_plot(text):
    assert clean(text).isprintable()
    assert len(shortened(text, 10)) <= 10
    ElementTree.fromstring("<a/>").text = clean(text)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6), st.floats(0.1, 20))
def test_labels_keep_their_distance_and_their_order(places, least):
    moved = spread_apart(places, least)
    order = sorted(range(len(places)), key=places.__getitem__)
    assert all(moved[after] - moved[before] >= least * (1 - 1e-9) for before, after in pairwise(order))
    assert min(moved) >= 0


def test_labels_that_lie_apart_stay():
    assert spread_apart([5.0, 1.0, 9.0], 2.0) == [5.0, 1.0, 9.0]
    assert spread_apart([5.0, 5.0], 2.0) == [4.0, 6.0]
    assert spread_apart([0.0, 0.0, 0.0], 2.0) == [0.0, 2.0, 4.0]
