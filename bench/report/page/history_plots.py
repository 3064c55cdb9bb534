"""The plots of a history: accuracy and duration of each row from run to run, with what changed."""

from collections.abc import Sequence
from itertools import pairwise
from math import isnan, nan

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.history import ACCURACY, DURATION, Change, Series
from bench.report.history import moved
from bench.report.page.drawing import BLUE, INK, ORANGE, Plot, drawing, shortened
from bench.wording import counted

POINTS = 5.0  # an axis of accuracies spans no less, lest noise look like news
NAMED = 6  # commits written under the axis


def history_plot(series: Series, name: str) -> Plot:
    """One series: test accuracy above, seconds below, run by run; changes as lines across, and the means between them."""
    places = range(len(series.points))
    with drawing(310, 280) as figure:
        above, below = figure.subplots(2, 1, sharex=True)
        variant = f" ({series.variant})" if series.variant else ""
        above.set_title(shortened(f"{series.row}  {series.name}{variant}", 40), loc="left", x=0.0)
        accuracies = [100 * point.accuracies["test"] if point.accuracies else nan for point in series.points]
        seconds = [point.seconds for point in series.points]
        for axes, values, metric, label in ((above, accuracies, ACCURACY, "test accuracy (%)"), (below, seconds, DURATION, "seconds")):
            axes.grid(visible=True, axis="y")
            axes.plot(places, values, color=BLUE, marker="o", markersize=3.5, linewidth=0.9)
            axes.set_ylabel(label)
            _draw_changes(axes, [change for change in series.changes if change.metric == metric], len(values))
        _widen(above, accuracies)
        below.set_ylim(0, 1.2 * max(seconds) or 1)
        below.xaxis.set_major_locator(MaxNLocator(NAMED, integer=True))
        below.xaxis.set_major_formatter(FuncFormatter(lambda value, place: _commit(series, value)))
        below.tick_params(axis="x", labelsize=10, rotation=30)
        below.set_xlabel("commit")
    last = series.points[-1]
    accuracy = f"test accuracy last {accuracies[-1]:.2f} %, " if last.accuracies else ""
    changes = "; ".join(f"{change.metric.replace('_', ' ')} {moved(change)}" for change in series.changes) or "no change"
    description = f"{counted(len(series.points), 'run')}, {accuracy}{last.seconds:.3g} seconds; {changes}."
    return Plot(name, f"Row {series.row}, {series.name}{variant}, run by run", description, "", figure)


def _draw_changes(axes: Axes, changes: Sequence[Change], n: int) -> None:
    """A line where a change is, and the means on either side."""
    ends = [0, *(change.index for change in changes), n]
    means = [changes[0].before, *(change.after for change in changes)] if changes else []
    for (start, end), mean in zip(pairwise(ends), means, strict=False):
        shown = 100 * mean if changes[0].metric == ACCURACY else mean
        axes.plot([start - 0.4, end - 0.6], [shown, shown], color=ORANGE, linewidth=2, zorder=3)
    for change in changes:
        axes.axvline(change.index - 0.5, color=INK, linewidth=1, linestyle=(0, (3, 2)))
        axes.annotate(
            f"x {change.after / change.before:.2f}"
            if change.metric == DURATION
            else f"{100 * (change.after - change.before):+.1f}".replace("-", "\N{MINUS SIGN}"),
            (change.index - 0.5, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(5, 0),
            textcoords="offset points",
            color=ORANGE,
            fontweight="bold",
            va="top",
        )


def _widen(axes: Axes, values: Sequence[float]) -> None:
    """Make an axis of accuracies span what says something."""
    known = [value for value in values if not isnan(value)]
    if known:
        middle, reach = (max(known) + min(known)) / 2, 0.6 * max(POINTS, max(known) - min(known))
        axes.set_ylim(middle - reach, middle + reach)


def _commit(series: Series, value: float) -> str:
    place = round(value)
    return series.points[place].run.commit[:7] if 0 <= place < len(series.points) and place == value else ""
