from dataclasses import replace

import pytest
from matplotlib.image import imread

from bench.findings.claims import judge_findings
from bench.findings.evidence import from_published
from bench.report.page.drawing import BAND, BLUE, save_plots, svg_of
from bench.report.page.measures import accuracy_marks, baselines_of, duration_marks, loss_curves
from bench.report.page.plots import accuracy_plot, duration_plot, findings_plot, loss_plots
from bench.rows import ROWS


@pytest.fixture
def measured(run, of_seeds, seeds):
    made = run({1: of_seeds(seeds(3))}, baseline=of_seeds(seeds(10)))
    return made, baselines_of(made.results.info, made.expectations)


def lines(plot, colour):
    return [line for line in plot.figure.axes[0].lines if line.get_color() == colour]


def test_accuracies_are_drawn_in_percent_with_their_interval_and_seeds(measured):
    made, baselines = measured
    (mark,) = accuracy_marks(made.verdicts, baselines)
    plot = accuracy_plot([mark])
    drawn = [list(line.get_xdata()) for line in plot.figure.axes[0].lines]
    assert [100 * mark.interval.low, 100 * mark.interval.high] in drawn
    assert [100 * seed for seed in mark.seeds] in drawn
    assert [100 * mark.found] in drawn
    assert plot.figure.axes[0].get_xlabel() == "test accuracy (%)"
    assert f"row 1 {100 * mark.found:.1f} %" in plot.description


def test_durations_are_drawn_on_a_logarithmic_axis_with_their_band(measured):
    made, _ = measured
    (mark,) = duration_marks(made.verdicts, made.expectations)
    plot = duration_plot([mark])
    assert plot.figure.axes[0].get_xscale() == "log"
    assert [mark.band.low, mark.band.high] in [list(line.get_xdata()) for line in lines(plot, BAND)]
    assert "seconds" in plot.figure.axes[0].get_xlabel()


def test_rows_without_figures_are_named_in_the_caption(measured):
    made, baselines = measured
    for plot in (accuracy_plot(accuracy_marks(made.verdicts, baselines), [15]), duration_plot(duration_marks(made.verdicts, made.expectations), [15])):
        assert plot.caption.endswith(". Row 15: no figures.")
    assert "no figures" not in accuracy_plot(accuracy_marks(made.verdicts, baselines)).caption


def test_a_phone_gets_the_names_above_the_rows(run, row_result):
    made = run({13: row_result(row=13, name="padded to the full context")})
    for plot in (accuracy_plot(accuracy_marks(made.verdicts, {})), duration_plot(duration_marks(made.verdicts, made.expectations))):
        assert plot.narrow.get_figwidth() < 0.8 * plot.figure.get_figwidth()
        assert [text.get_text() for text in plot.figure.axes[0].get_yticklabels()] == ["13  padded to the full context"]
        assert "13  padded to the full context" in [text.get_text() for text in plot.narrow.axes[0].texts]


def test_losses_are_drawn_over_the_recorded_ones_and_labelled_at_their_ends(measured):
    made, baselines = measured
    (plot,) = loss_plots(loss_curves(made.verdicts, baselines), "recorded")
    axes = plot.figure.axes[0]
    assert len(lines(plot, BAND)) == 2
    assert {tuple(line.get_ydata()) for line in lines(plot, BLUE)} >= {(0.9, 0.5)}
    assert {text.get_text() for text in axes.texts} == {"train", "validation", "recorded"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training step", "loss (nats)")
    assert axes.get_ylim()[0] == 0


def test_findings_are_drawn_with_intervals_and_published_sizes(expectations):
    judged = judge_findings(from_published(expectations.published))
    plot = findings_plot(judged)
    n_accuracies = sum(claim.claim.metric == "test accuracy" for one in judged for claim in one.claims)
    assert len(plot.figure.axes[0].get_yticks()) == n_accuracies
    assert "row 1 against 2 +20.0 supported" in plot.description
    words = " ".join(text.get_text() for text in plot.figure.axes[0].texts)
    assert all(f"{one.finding.number}  {one.finding.sentence}" in words for one in judged)


def test_without_a_difference_there_is_no_plot():
    assert findings_plot(judge_findings({})) is None


def test_nothing_written_is_cut_off_by_the_edge_of_a_file(run, row_result, figures, expectations, tmp_path):
    made = run({row.number: row_result(row=row.number, name=row.name, figures=figures(seconds=0.1 * row.number)) for row in ROWS})
    baselines = baselines_of(made.results.info, made.expectations)
    drawn = [accuracy_plot(accuracy_marks(made.verdicts, baselines)), duration_plot(duration_marks(made.verdicts, made.expectations))]
    drawn += [*loss_plots(loss_curves(made.verdicts[:1], baselines), "recorded"), findings_plot(judge_findings(from_published(expectations.published)))]
    drawn += [replace(plot, name=f"{plot.name}-narrow", figure=plot.narrow) for plot in drawn if plot.narrow]
    save_plots(drawn, tmp_path)
    for path in tmp_path.glob("*.png"):
        picture = imread(path)[..., :3]
        assert all((edge == 1).all() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1])), path.name


def test_all_plots_can_be_saved_without_a_warning(measured, expectations):
    made, baselines = measured
    drawn = [accuracy_plot(accuracy_marks(made.verdicts, baselines)), duration_plot(duration_marks(made.verdicts, made.expectations))]
    drawn += [*loss_plots(loss_curves(made.verdicts, baselines), "BASE"), findings_plot(judge_findings(from_published(expectations.published)))]
    assert all(svg_of(plot.figure).startswith(b"<?xml") for plot in drawn)
