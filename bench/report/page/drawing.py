"""How plots look, and the two forms they come in: inside a page, where their colours follow the reader's light or dark, and as files for papers."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report.text import printable
from gptcore.files import write_atomically

# By role, on white; base.html holds the ones on black under the same names.  Blue, orange and green are told apart by colour-blind people too.
INK, MUTED, RULE, BAND = "#1a1d21", "#5b636d", "#d5dae0", "#8792a0"
BLUE, ORANGE, GREEN, PAPER = "#0067a5", "#c24e00", "#00795c", "#fefefe"
COLOURS = {"ink": INK, "muted": MUTED, "rule": RULE, "band": BAND, "blue": BLUE, "orange": ORANGE, "green": GREEN, "paper": PAPER}
SVG = "http://www.w3.org/2000/svg"
DPI = 200  # of PNG files
XLINK = "http://www.w3.org/1999/xlink"
UNDATED = {"Date": None, "Creator": None}  # the same bytes each time
STYLE: dict[Any, Any] = {
    "font.size": 11.0,
    "font.family": "sans-serif",
    "text.parse_math": False,  # a dollar sign in a row's name is one
    "text.hinting": "none",  # so that a text is as wide in every form of the plot
    "text.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.formatter.use_mathtext": False,
    "axes.unicode_minus": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@dataclass(frozen=True)
class Plot:
    """A drawing.  name: of its files.  title: what it shows.  description: what it shows in words, for those who cannot see it.  caption: how to read it.

    narrow: the same for a phone, where the figure would be too small to read; None where it fits.
    """

    name: str
    title: str
    description: str
    caption: str
    figure: Figure
    narrow: Figure | None = None


@contextmanager
def drawing(width: int, height: int) -> Iterator[Figure]:
    """A figure in our style, as many points wide and high, which are the pixels it takes in a page."""
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a row may be named in any script; browsers have the fonts
        figure = Figure(figsize=(width / 72, height / 72), dpi=DPI, layout="constrained")
        yield figure
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once: every form of the plot is the same


def inline_svg(plot: Plot, *, narrow: bool = False) -> Markup:
    """The plot, or its narrow form where it has one, as an element for a page: colours as variables of the page, ids that no other plot has, a name and a
    description for screen readers.
    """
    figure, owner = (plot.narrow, f"{plot.name}-narrow") if narrow and plot.narrow else (plot.figure, plot.name)
    drawn = ElementTree.fromstring(svg_of(figure))  # noqa: S314 - our own drawing
    root = ElementTree.Element(f"{{{SVG}}}svg", {"viewBox": drawn.attrib["viewBox"], "role": "img"})
    root.attrib["aria-labelledby"] = f"{owner}-title {owner}-description"
    width = float(drawn.attrib["width"].removesuffix("pt"))
    root.attrib["style"] = f"max-width: {1.3 * width:.0f}px; min-width: {0.89 * width:.0f}px; stroke-linejoin: round"
    for tag, name, text in (("title", "title", plot.title), ("desc", "description", plot.description)):
        ElementTree.SubElement(root, f"{{{SVG}}}{tag}", {"id": f"{owner}-{name}"}).text = clean(text)
    root.extend(part for part in drawn if part.tag == f"{{{SVG}}}g")
    root.extend(part for part in drawn if part.tag == f"{{{SVG}}}defs" and part.find(f"{{{SVG}}}style") is None)  # a style would rule the whole page
    referred = set(re.findall(r"#([\w.-]+)", " ".join(value for element in root.iter() for value in element.attrib.values())))
    for element in root.iter():
        _adapt(element, owner, referred)
    ElementTree.register_namespace("", SVG)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 - the serialiser escapes


def save_plots(plots: Sequence[Plot], folder: Path) -> None:
    """Write each plot as SVG and PNG, on white, all or nothing each.  Raises OSError."""
    for plot in plots:
        write_atomically(folder / f"{plot.name}.svg", partial(_save, plot.figure, format="svg", metadata=UNDATED))
        write_atomically(folder / f"{plot.name}.png", partial(_save, plot.figure, format="png"))


def svg_of(figure: Figure) -> bytes:
    """The figure as an SVG file."""
    file = io.BytesIO()
    _save(figure, file, format="svg", metadata=UNDATED)
    return file.getvalue()


def clean(text: str) -> str:
    """The text with nothing that an XML file may not hold or a line of a plot cannot."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in printable(" ".join(text.splitlines())))


def shortened(text: str, longest: int = 30) -> str:
    """The text as it may stand in a plot, cut where it would take the room of what is drawn."""
    plain = clean(text)
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def row_axis(axes: Axes, names: Sequence[str], *, above: bool = False) -> None:
    """One line per name from top to bottom, with the name before it, or above."""
    axes.set_yticks(range(len(names)), ["" if above else shortened(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.75 if above else -0.6)
    axes.tick_params(axis="y", length=0)
    for line, name in enumerate(names if above else ()):
        axes.annotate(shortened(name, 40), (0, line - 0.25), xycoords=("axes fraction", "data"), va="bottom", annotation_clip=False)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")


def spread_apart(places: Sequence[float], least: float) -> list[float]:
    """The places moved until labels at them lie at least so far apart, none below zero; in the same order."""
    order = sorted(range(len(places)), key=places.__getitem__)
    clusters: list[list[int]] = []
    for index in order:
        clusters.append([index])
        while len(clusters) > 1 and _lowest(clusters[-1], places, least) < _lowest(clusters[-2], places, least) + len(clusters[-2]) * least:
            last = clusters.pop()
            clusters[-1] += last
    return [place for _, place in sorted((index, _lowest(one, places, least) + number * least) for one in clusters for number, index in enumerate(one))]


def legend(figure: Figure, columns: int = 4) -> None:
    """What the marks are, over the plot."""
    figure.legend(loc="outside upper left", ncols=columns, borderaxespad=0.1, handlelength=1.4, handletextpad=0.6, columnspacing=1.0)


def _lowest(cluster: Sequence[int], places: Sequence[float], least: float) -> float:
    """Where the first of a cluster's labels lies when they stand close together around their mean."""
    return max(0.0, fmean(places[index] for index in cluster) - (len(cluster) - 1) * least / 2)


def _save(figure: Figure, target: Any, **settings: Any) -> None:
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(target, **settings)


def _adapt(element: ElementTree.Element, owner: str, referred: set[str]) -> None:
    """Make an element's ids, and references to ids, the owner's, and its style the page's."""
    for name, value in [*element.attrib.items()]:
        if name == "id" and value in referred:
            element.attrib[name] = f"{owner}-{value}"
        elif name == "id" and not value.startswith(f"{owner}-"):
            del element.attrib[name]
        elif name == f"{{{XLINK}}}href":
            del element.attrib[name]
            element.attrib["href"] = f"#{owner}-{value.removeprefix('#')}"
        elif name == "style":
            element.attrib[name] = _themed(value)
        else:
            element.attrib[name] = value.replace("url(#", f"url(#{owner}-")


def _themed(style: str) -> str:
    """A style whose colours are variables of the page, on no ground, and whose fonts are the page's own."""
    for role, colour in COLOURS.items():
        style = style.replace(colour, f"var(--{role})")
    style = re.sub(r"font: (\d+) ([\d.]+px)[^;]*", r"font-weight: \1; font-size: \2", style.replace("#ffffff", "none"))
    return re.sub(r"font-family: [^;]*; ?", "", style)
