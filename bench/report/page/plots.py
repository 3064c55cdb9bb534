"""The plots of a run: accuracy, duration and losses of each row, and the findings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from bench.findings.claims import Conclusion, JudgedClaim, JudgedFinding
from bench.report.page.drawing import BAND, BLUE, GREEN, INK, MUTED, ORANGE, PAPER, Plot, drawing, legend, row_axis, shortened, spread_apart
from bench.report.page.measures import EXPLANATIONS, AccuracyMark, Basis, DurationMark, LossCurves
from bench.wording import counted, rows_named

LINE, ROOMY = 21, 34  # points of height that a row takes, and one with its name above it
NARROW = 310  # points that a phone has room for
WORDS = 44  # characters of a finding on a line
BAR: dict[str, Any] = {"color": BAND, "linewidth": 7, "solid_capstyle": "butt", "zorder": 2}
WHISKER: dict[str, Any] = {"color": BLUE, "linewidth": 1.8, "solid_capstyle": "butt", "zorder": 2}
DOT: dict[str, Any] = {"marker": "o", "markersize": 6.5, "color": BLUE, "linestyle": "none", "zorder": 4}
TICK: dict[str, Any] = {"marker": "|", "markersize": 13, "markeredgewidth": 2.2, "color": INK, "linestyle": "none", "zorder": 3}
DIAMOND: dict[str, Any] = {
    "marker": "D",
    "markersize": 6,
    "markerfacecolor": PAPER,
    "markeredgecolor": ORANGE,
    "markeredgewidth": 1.6,
    "linestyle": "none",
    "zorder": 3.5,
}
SEED: dict[str, Any] = {
    "marker": "o",
    "markersize": 3.2,
    "markerfacecolor": PAPER,
    "markeredgecolor": BLUE,
    "markeredgewidth": 0.9,
    "linestyle": "none",
    "zorder": 3.6,
}
CONCLUSIONS: dict[Conclusion, dict[str, Any]] = {
    Conclusion.SUPPORTED: {"color": GREEN, "marker": "o"},
    Conclusion.NOT_SUPPORTED: {"color": ORANGE, "marker": "X"},
    Conclusion.INCONCLUSIVE: {"color": MUTED, "marker": "s"},
}


def accuracy_plot(marks: Sequence[AccuracyMark], absent: Sequence[int] = ()) -> Plot:
    """Test accuracy of every row with its interval, the recorded and the published one.  absent: rows without figures, which the caption names."""
    told = "; ".join(f"row {mark.row} {100 * mark.found:.1f} % ({100 * mark.interval.low:.1f} to {100 * mark.interval.high:.1f})" for mark in marks)
    caption = "Dots: this run; bars: " + "; ".join(EXPLANATIONS[basis] for basis in Basis if any(mark.basis is basis for mark in marks)) + "."
    wide, narrow = _draw_accuracies(marks, narrow=False), _draw_accuracies(marks, narrow=True)
    return Plot("accuracy", "Test accuracy of each row", f"Test accuracy with its 95 % interval: {told}.", caption + absence(absent), wide, narrow)


def duration_plot(marks: Sequence[DurationMark], absent: Sequence[int] = ()) -> Plot:
    """Seconds of every row on a logarithmic axis, with the recorded and the published ones.  absent: rows without figures, which the caption names."""
    told = "; ".join(f"row {mark.row} {mark.seconds:.3g} s" + (f" (recorded {mark.recorded:.3g})" if mark.recorded else "") for mark in marks)
    caption = "Dots: this run."
    caption += " Ticks: what was recorded, at this run's pace." if any(mark.recorded for mark in marks) else ""
    caption += " Grey bars: the band that the spread of recorded timings gives." if any(mark.band for mark in marks) else ""
    caption += " Diamonds: published." if any(mark.published for mark in marks) else ""
    wide, narrow = _draw_durations(marks, narrow=False), _draw_durations(marks, narrow=True)
    return Plot("durations", "Duration of each row", f"Seconds of training: {told}.", caption + absence(absent), wide, narrow)


def absence(rows: Sequence[int]) -> str:
    """A sentence for a caption on the rows that are not drawn, empty for none."""
    return f" {rows_named(rows).capitalize()}: no figures." if rows else ""


def loss_plot(curves: LossCurves, top: float, behind_name: str) -> Plot:
    """One row's losses by training step, what they are held against behind them.  top: of the axis, the same for all rows."""
    own, behind = curves.own, curves.behind
    with drawing(310, 200) as figure:
        axes = figure.subplots()
        axes.set_title(shortened(f"{curves.row}  {curves.name}", 40), loc="left", x=0.0)
        axes.grid(visible=True, axis="y")
        if behind:
            for losses in (behind.train, behind.validation):
                axes.plot(behind.steps, losses, color=BAND, linewidth=4.5, solid_capstyle="round", alpha=0.55, zorder=2)
        if own.batches:
            axes.plot(range(len(own.batches)), own.batches, color=BLUE, linewidth=0.6, alpha=0.35, zorder=1)
        ends = []
        for name, losses, colour, style in (("train", own.train, BLUE, "-"), ("validation", own.validation, ORANGE, (0, (4, 1.5)))):
            axes.plot(own.steps, losses, color=colour, linestyle=style, marker="o" if len(losses) < 12 else None, markersize=3, zorder=3)
            ends.append((name, losses[-1], colour))
        if behind:
            ends.append((behind_name, max(behind.validation[-1], behind.train[-1]), MUTED))
        axes.set_ylim(0, top)
        for (name, _, colour), place in zip(ends, spread_apart([min(end, top) for _, end, _ in ends], top / 7.5), strict=True):
            axes.annotate(name, (1.02, max(place, 0) / top), xycoords="axes fraction", color=colour, va="center", annotation_clip=False)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("training step")
        axes.set_ylabel("loss (nats)")
    told = f"train loss from {own.train[0]:.3f} to {own.train[-1]:.3f}, validation loss from {own.validation[0]:.3f} to {own.validation[-1]:.3f}"
    held = f"; {behind_name} ends at {behind.train[-1]:.3f} and {behind.validation[-1]:.3f}" if behind else ""
    return Plot(f"losses-{curves.row:02d}", f"Losses of row {curves.row}", f"Over {counted(own.steps[-1] + 1, 'step')} {told}{held}.", "", figure)


def loss_plots(curves: Sequence[LossCurves], behind_name: str) -> list[Plot]:
    """One for every row, all on the same loss axis."""
    shown = [one for row in curves for curve in (row.own, row.behind) if curve for one in (*curve.train, *curve.validation)]
    return [loss_plot(row, 1.05 * max(shown), behind_name) for row in curves]


def findings_plot(judged: Sequence[JudgedFinding]) -> Plot | None:
    """Every claim about test accuracy under its finding's words: the difference of two rows with its interval, and the published one.

    None where no difference is known.
    """
    drawn = [(one, [claim for claim in one.claims if claim.claim.metric == "test accuracy" and claim.difference]) for one in judged]
    drawn = [(one, claims) for one, claims in drawn if claims]
    if not drawn:
        return None
    told = "; ".join(
        f"row {claim.claim.row} against {claim.claim.other} {claim.difference.value:+.1f} {claim.conclusion}"
        for _, claims in drawn
        for claim in claims
        if claim.difference
    )
    caption = "Marks: the difference that this run found; bars: its 95 % interval; diamonds: as published. Each finding's notes say what the interval is of."
    return Plot("findings", "The findings' differences of test accuracy", f"Differences in points: {told}.", caption, _draw_findings(drawn))


@contextmanager
def _rows(marks: Sequence[AccuracyMark] | Sequence[DurationMark], *, narrow: bool) -> Iterator[tuple[Figure, Axes]]:
    """Axes with a line for each row; narrow ones have the names above the lines."""
    with drawing(NARROW, ROOMY * len(marks) + 90) if narrow else drawing(400, LINE * len(marks) + 70) as figure:
        axes = figure.subplots()
        row_axis(axes, [f"{mark.row}  {mark.name}" for mark in marks], above=narrow)
        yield figure, axes
        legend(figure, columns=2 if narrow else 4)


def _draw_accuracies(marks: Sequence[AccuracyMark], *, narrow: bool) -> Figure:
    with _rows(marks, narrow=narrow) as (figure, axes):
        for line, mark in enumerate(marks):
            low, high = 100 * mark.interval.low, 100 * mark.interval.high
            axes.plot([low, high], [line, line], **(BAR if mark.basis is Basis.RECORDED else WHISKER))
            if len(mark.seeds) > 1:
                axes.plot([100 * seed for seed in mark.seeds], [line] * len(mark.seeds), **SEED)
        for style, label, value in (
            (TICK, "recorded", lambda mark: mark.recorded),
            (DIAMOND, "published", lambda mark: mark.published),
            (DOT, "this run", lambda mark: mark.found),
        ):
            _scatter(axes, marks, style, label, value, 100.0)
        _values_at_the_right(axes, [f"{100 * mark.found:.1f}" for mark in marks])
        axes.plot([], [], label="95 % interval", **(BAR if marks[0].basis is Basis.RECORDED else WHISKER))
        axes.set_xlabel("test accuracy (%)")
    return figure


def _draw_durations(marks: Sequence[DurationMark], *, narrow: bool) -> Figure:
    with _rows(marks, narrow=narrow) as (figure, axes):
        axes.set_xscale("log")
        for line, mark in enumerate(marks):
            if mark.band:
                axes.plot([mark.band.low, mark.band.high], [line, line], **BAR)
        for style, label, value in (
            (TICK, "recorded", lambda mark: mark.recorded),
            (DIAMOND, "published", lambda mark: mark.published),
            (DOT, "this run", lambda mark: mark.seconds),
        ):
            _scatter(axes, marks, style, label, value)
        _values_at_the_right(axes, [f"{mark.seconds:.3g}" for mark in marks])
        if any(mark.band for mark in marks):
            axes.plot([], [], label="band", **BAR)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("training (seconds, logarithmic)")
    return figure


def _draw_findings(drawn: Sequence[tuple[JudgedFinding, Sequence[JudgedClaim]]]) -> Figure:
    """A finding's words, then a line for each of its claims."""
    words: list[tuple[float, str]] = []
    lines: list[tuple[float, JudgedClaim]] = []
    place = 0.0
    for one, claims in drawn:
        for text in wrap(f"{one.finding.number}  {one.finding.sentence}", WORDS):
            words.append((place, text))
            place += 0.75
        for claim in claims:
            lines.append((place + 0.15, claim))
            place += 1
        place += 0.45
    with drawing(NARROW, round(LINE * place) + 90) as figure:
        axes = figure.subplots()
        names = [f"row {claim.claim.row} against {claim.claim.other}" for _, claim in lines]
        row_axis(axes, names)
        axes.set_yticks([at for at, _ in lines], names)
        axes.set_ylim(place, -0.7)
        axes.axvline(0, color=INK, linewidth=1)
        for at, claim in lines:
            _draw_claim(axes, at, claim)
        for at, text in words:
            ground = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0}
            said = axes.annotate(text, (0.02, at), xycoords=("figure fraction", "data"), va="center", annotation_clip=False, zorder=5, bbox=ground)
            said.set_in_layout(False)
        axes.plot([], [], **DIAMOND, label="published")
        for conclusion, style in CONCLUSIONS.items():
            if any(claim.conclusion is conclusion for _, claim in lines):
                axes.plot([], [], linestyle="none", markersize=6.5, label=str(conclusion), **style)
        axes.set_xlabel("difference of test accuracy (points)")
        legend(figure, columns=2)
    return figure


def _draw_claim(axes: Axes, line: float, judged: JudgedClaim) -> None:
    difference = judged.difference
    assert difference is not None  # noqa: S101 - the caller left those out
    style = CONCLUSIONS[judged.conclusion]
    if difference.interval:
        axes.plot([difference.interval.low, difference.interval.high], [line, line], color=style["color"], linewidth=1.8, zorder=3)
    axes.plot([judged.claim.size], [line], **DIAMOND)
    axes.plot([difference.value], [line], linestyle="none", markersize=6.5, zorder=4, **style)


def _scatter(axes: Axes, marks: Sequence[Any], style: dict[str, Any], label: str, value: Callable[[Any], float | None], scale: float = 1.0) -> None:
    """The marks that have the value, one a line."""
    places = [(scale * number, line) for line, mark in enumerate(marks) if (number := value(mark)) is not None]
    if places:
        axes.plot([place for place, _ in places], [line for _, line in places], label=label, **style)


def _values_at_the_right(axes: Axes, texts: Sequence[str]) -> None:
    for line, text in enumerate(texts):
        axes.annotate(text, (1.01, line), xycoords=("axes fraction", "data"), va="center", color=BLUE, annotation_clip=False)
