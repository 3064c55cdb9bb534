from dataclasses import replace
from itertools import chain

import pytest

from bench.recording.bands import FLAGGED_RUNS
from bench.report.table import (
    NOTICES,
    clean_line,
    closing_line,
    expected_accuracies,
    explain,
    explanations,
    invariant_lines,
    leak_lines,
    notes,
    seed_lines,
    table_cells,
    written,
)
from bench.results import Invariant, Results
from bench.rows import ROWS
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Judgement, Power, Strictness, Verdict
from gptcore.answers import Count

TEXTS = tuple(f"message {number}" for number in range(300))


@pytest.fixture
def judged(recorded, run_info):
    """Judges row 1, or rows, against a baseline of row 1; returns the results and their verdicts."""

    def make(rows, baseline=None, strictness=Strictness.USUAL, texts=(), moves=(), seconds=(16.0, 16.5), **info):
        rows = rows if isinstance(rows, dict) else {1: rows}
        results = Results(run_info(rows=tuple(rows), **info), {number: row for number, row in rows.items() if row}, texts, ())
        return results, judge(results, recorded(baseline, moves=moves, seconds=seconds), strictness)

    return make


def cells_of(verdicts):
    header, rows = table_cells(verdicts)
    return dict(zip(header, rows[0], strict=True))


# The table


def test_a_row_shows_found_expected_and_difference(judged, row_result, figures):
    _, verdicts = judged(row_result(figures=figures(right=(1004, 148, 286))))
    cells = cells_of(verdicts)
    assert cells["test %"] == "95.33"
    assert cells["expected %"] == "96.6 / 99.3 / 95.0"
    assert cells["difference"] == "-0.1 / +0.0 / +0.3"
    assert cells["verdict"] == "drifted"


def test_several_seeds_show_their_mean_against_the_mean_of_the_recorded_ones(judged, of_seeds, seeds):
    _, verdicts = judged(of_seeds(seeds(3, shift=3)), of_seeds(seeds(10)))
    cells = cells_of(verdicts)
    assert cells["test %"] == "96.00"
    assert cells["expected %"].endswith(" / 95.0")
    assert cells["difference"].endswith(" / +1.0")


def test_rows_without_figures_have_dashes(judged, row_result):
    _, verdicts = judged({1: row_result(figures=None, error="broken"), 2: None})
    assert [cells[2:] for cells in table_cells(verdicts)[1]] == [("-",) * 7 + ("error",), ("-",) * 7 + ("missing",)]
    assert closing_line(verdicts) == "0 of 2 judged rows hold"


def test_a_row_shows_what_it_costs_alone_and_what_it_took(judged, row_result, figures):
    _, verdicts = judged(row_result(figures=replace(figures(seconds=8.0), real_seconds=2.0)))
    assert (cells_of(verdicts)["seconds"], cells_of(verdicts)["this run"]) == ("8.00", "2.00")
    assert "x published" not in cells_of(verdicts)


def test_the_full_tier_says_how_many_times_faster_than_published(judged, row_result, figures):
    _, (verdict,) = judged(row_result(figures=figures(seconds=8.4)), tier="full")
    cells = cells_of([replace(verdict, published_seconds=0.28 * 60)])
    assert (cells["x published"], cells["seconds"]) == ("2.00", "8.40")


@pytest.mark.parametrize(
    ("power", "cell", "clean"),
    [
        (Power(0.005, 0.0333), "0.5 / 3.3", True),
        (Power(1 / 300, None), "0.3 / -", False),
        (Power(None, 0.02), "- / 2.0", False),
        (Power(0.0, 0.0), "0.0 / 0.0", True),
    ],
)
def test_what_a_row_notices_is_told_in_points(judged, row_result, power, cell, clean):
    results, (verdict,) = judged(row_result())
    verdicts = [replace(verdict, power=power)]
    assert cells_of(verdicts)["notices"] == cell
    assert [line for line in notes(results, verdicts) if line in (NOTICES, clean_line(1))] == [NOTICES, *([clean_line(1)] if clean else [])]


def test_how_often_a_clean_run_is_flagged_is_told_only_where_that_is_so_of_every_row(judged, row_result):
    results, (verdict,) = judged(row_result())
    known = replace(verdict, power=Power(0.005, 0.0333))
    assert clean_line(2) in notes(results, [known, known])
    assert clean_line(2) not in notes(results, [known, replace(known, power=Power(0.005, None))])
    published = replace(known, judgements=(*known.judgements, Judgement("test_accuracy", Verdict.PASS, "published")))
    assert NOTICES in notes(results, [known, published])
    assert clean_line(2) not in notes(results, [known, published])


def test_where_nothing_would_be_noticed_the_column_is_left_out(judged, row_result):
    results, verdicts = judged({1: row_result(figures=None, error="broken")})
    assert "notices" not in cells_of(verdicts)
    assert not {NOTICES, clean_line(len(verdicts))} & set(notes(results, verdicts))


def test_how_often_a_clean_run_is_flagged_is_what_the_bands_were_derived_for():
    assert FLAGGED_RUNS == 0.01
    assert "at most 1% of runs for rounding and 1% for its seeds" in clean_line()
    assert f"at most {100 * FLAGGED_RUNS / len(ROWS):.2f}% of runs for each" in clean_line()


def test_fewer_rows_are_flagged_less_often_and_more_rows_more_often():
    assert "a clean run of these rows is flagged in at most 0.16% of runs for rounding and 0.16% for its seeds, a single row in at most 0.05%" in clean_line(3)
    assert "flagged in at most 2.00% of runs" in clean_line(38)


def test_a_row_that_is_not_comparable_was_held_against_nothing(judged, row_result):
    _, (verdict,) = judged(row_result(digests={"settings": "other", "data": "d" * 64}))
    assert expected_accuracies(verdict) == {}
    assert cells_of([verdict])["expected %"] == cells_of([verdict])["difference"] == "-"


# Verdicts in words


def test_passing_rows_need_no_words(judged, row_result):
    results, verdicts = judged(row_result())
    assert explanations(results, verdicts) == []
    assert closing_line(verdicts) == "1 of 1 judged row holds"


def test_a_moved_metric_is_told_with_from_to_band_and_command(judged, row_result, figures):
    results, verdicts = judged(row_result(figures=figures(train_loss=0.55)), moves=(1e-7,))
    [told] = explanations(results, verdicts)
    assert told.headline == "row 1 (reference): drifted"
    (reach,) = {judgement.high - 0.5 for judgement in verdicts[0].judgements if judgement.metric == "train_loss"}
    assert told.sentences[0].startswith(f"train loss drifted from 0.5 to 0.55, allowed {0.5 - reach:.9g} to {0.5 + reach:.9g} (baseline; rounding in 1 repeat")
    assert told.command == "python -m bench run --tier smoke --rows 1"


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("test_accuracy", 0.85333, "85.33 %"),
        ("validation_accuracy_of_epochs", 0.5, "50.00 %"),
        ("duration", 0.390190365, "0.3902 s"),
        ("duration", 16.0, "16.00 s"),
        ("duration", 999.96, "1000 s"),
        ("duration", 7200.4, "7200 s"),
        ("peak_memory", 66_700_000, "66.7 MB"),
        ("train_loss", 0.123456789, "0.123456789"),
        ("test_margins", -1.5, "-1.5"),
    ],
)
def test_every_metric_is_written_in_its_own_way(metric, value, text):
    assert written(metric)(value) == text


def test_a_drift_that_only_warns_is_told_as_a_warning(judged, row_result, figures):
    results, verdicts = judged(row_result(figures=figures(right=(1005, 148, 284))), strictness=Strictness.LENIENT)
    assert cells_of(verdicts)["verdict"] == "drifted (warning)"
    assert explanations(results, verdicts)[0].headline == "row 1 (reference): drifted (warning)"
    assert closing_line(verdicts) == "1 of 1 judged row holds"


@pytest.mark.parametrize(("seconds", "word", "verdict"), [(1e9, "slower", "regressed"), (1e-9, "faster", "improved")])
def test_a_smoke_duration_that_moved_is_a_warning(judged, row_result, figures, seconds, word, verdict):
    results, verdicts = judged(row_result(figures=figures(seconds=seconds)), seconds=(16.0, 16.01))
    assert cells_of(verdicts)["verdict"] == f"pass, {word}"
    [told] = explanations(results, verdicts)
    assert told.sentences[0].startswith(f"warning, duration {verdict} from 16.0")


def test_rows_that_cannot_be_compared_are_counted_apart(judged, row_result):
    other = row_result(digests={"settings": "other", "data": "d" * 64})
    results, verdicts = judged(other, chosen=("settings",))
    assert closing_line(verdicts) == "no row was judged; 1 not comparable (other inputs were named than the recorded ones)"
    assert explanations(results, verdicts) == []


def test_rows_that_should_have_been_comparable_are_told_one_by_one(judged, row_result):
    results, verdicts = judged(row_result(digests={"settings": "other", "data": "d" * 64}))
    assert closing_line(verdicts) == "no row was judged; 1 not comparable"
    assert "row 1's settings changed" in explanations(results, verdicts)[0].sentences[0]


@pytest.mark.parametrize(
    ("judgement", "sentence"),
    [
        (Judgement("row", Verdict.MISSING, "run", explanation="run it again"), "missing: run it again"),
        (Judgement("gradient_norm", Verdict.DRIFTED, "baseline", explanation="3 numbers instead of 2"), "gradient norm drifted: 3 numbers instead of 2"),
        (
            Judgement("test_accuracy", Verdict.REGRESSED, "baseline", 0.9, 0.95, 0.94, 0.96, explanation="why"),
            "test accuracy regressed from 95.00 % to 90.00 %, allowed 94.00 % to 96.00 % (baseline; why)",
        ),
        (
            Judgement("test_accuracy", Verdict.IMPROVED, "published", 0.99, 0.95, explanation="p"),
            "test accuracy improved from 95.00 % to 99.00 % (published; p)",
        ),
        (
            Judgement("train_accuracy_of_epochs", Verdict.DRIFTED, "baseline", 0.9, 1.0, 0.975, 1.025, explanation="why"),
            "train accuracy of epochs drifted from 100.00 % to 90.00 %, allowed 97.50 % to 102.50 % (baseline; why)",
        ),
    ],
)
def test_a_judgement_is_one_sentence(judgement, sentence):
    assert explain(judgement) == sentence


# Texts that flipped


def test_a_failing_row_lists_the_texts_that_flipped(judged, row_result, figures):
    found = figures(wrong_test={2, 8, *range(287, 300)})
    results, verdicts = judged(row_result(figures=found), strictness=Strictness.STRICT, texts=TEXTS, moves=(1e-7,))
    [told] = explanations(results, verdicts)
    assert told.texts == (
        ("right to wrong, text 3", "message 2"),
        ("right to wrong, text 9", "message 8"),
        ("wrong to right, text 286", "message 285"),
        ("wrong to right, text 287", "message 286"),
    )
    assert "2 test texts went from right to wrong, 2 from wrong to right (McNemar's exact p = 1)" in told.sentences


def test_a_row_that_only_warns_lists_no_texts(judged, row_result, figures):
    results, verdicts = judged(row_result(figures=figures(wrong_test={2, *range(285, 300)})), strictness=Strictness.LENIENT, texts=TEXTS)
    [told] = explanations(results, verdicts)
    assert told.texts == ()
    assert not any("went from right to wrong" in sentence for sentence in told.sentences)


def test_a_failing_row_without_flips_lists_none(judged, row_result, figures):
    results, verdicts = judged(row_result(figures=figures(train_loss=0.6)), moves=(1e-7,), texts=TEXTS)
    [told] = explanations(results, verdicts)
    assert told.texts == ()
    assert not any("right to wrong" in sentence for sentence in told.sentences)


def test_texts_that_were_only_gained_are_told(judged, row_result, figures):
    results, verdicts = judged(row_result(figures=figures(right=(1005, 148, 287))), strictness=Strictness.STRICT)
    [told] = explanations(results, verdicts)
    assert told.texts == (("wrong to right, text 286", "(not kept)"), ("wrong to right, text 287", "(not kept)"))
    assert told.sentences[-1] == "0 test texts went from right to wrong, 2 from wrong to right (McNemar's exact p = 0.5)"


@pytest.mark.parametrize(("kept", "told"), [((), ["(not kept)", "(not kept)"]), (TEXTS[:5], ["message 2", "(not kept)"])])
def test_texts_that_were_not_kept_are_told_by_number(judged, row_result, figures, kept, told):
    results, verdicts = judged(row_result(figures=figures(wrong_test={2, 8, *range(285, 300)})), strictness=Strictness.STRICT, texts=kept)
    assert explanations(results, verdicts)[0].texts == (("right to wrong, text 3", told[0]), ("right to wrong, text 9", told[1]))


def test_another_seeds_texts_did_not_flip(judged, row_result, figures, of_seeds, seeds):
    other = row_result(seed=7, figures=figures(right=(1005, 148, 200)))
    results, verdicts = judged(other, of_seeds(seeds(10)), texts=TEXTS, chosen=("settings",))
    assert verdicts[0].verdict is Verdict.REGRESSED
    assert explanations(results, verdicts)[0].texts == ()


# The lines under the table


def test_several_seeds_are_summed_up(judged, row_result, figures):
    result = row_result(others={124: figures(right=(1005, 148, 291)), 125: figures(right=(1005, 148, 288))})
    assert seed_lines(judged(result)[0]) == ["row 1, 3 seeds: test accuracy 96.00 +- 1.00 % (95.00 to 97.00)"]


def test_one_seed_or_none_is_not_summed_up(judged, row_result):
    assert seed_lines(judged({1: row_result(), 2: row_result(row=2, figures=None, error="broken")})[0]) == []


def test_what_leaked_is_told_with_the_accuracy_on_the_rest(judged, row_result, figures):
    leaked = figures(unseen={"validation": Count(136, 137), "test": Count(249, 264)})
    assert leak_lines(judged(row_result(figures=leaked))[0]) == [
        "row 1, texts that do not stand in train: validation 99.27 % of 137 (-0.06 points), test 94.32 % of 264 (-0.68 points)"
    ]


def test_a_split_that_leaked_alone_is_told_alone(judged, row_result, figures):
    leaked = figures(unseen={"validation": Count(148, 149), "test": Count(249, 264)})
    assert leak_lines(judged(row_result(figures=leaked))[0]) == ["row 1, texts that do not stand in train: test 94.32 % of 264 (-0.68 points)"]


def test_that_nothing_leaked_is_told_once(judged, row_result):
    results, _ = judged({1: row_result(), 2: row_result(row=2)})
    assert leak_lines(results) == ["no validation or test text stands verbatim in train"]


def test_nothing_is_said_of_leaks_where_no_row_has_figures(judged, row_result):
    assert leak_lines(judged(row_result(figures=None, error="broken"))[0]) == []


@pytest.mark.parametrize("unseen", [{}, {"validation": Count(148, 149)}], ids=["both splits", "test"])
def test_a_split_that_leaked_as_a_whole_is_not_passed_over(judged, row_result, figures, unseen):
    """Figures leave a split out that has no text of its own."""
    (line,) = leak_lines(judged(row_result(figures=figures(unseen=unseen)))[0])
    assert line != "no validation or test text stands verbatim in train"
    assert "test" in line


def test_invariants_are_counted_and_broken_ones_told(judged, row_result):
    results, _ = judged(row_result())
    assert invariant_lines(results) == []
    held, broken = Invariant("a holds", (1,), True, ""), Invariant("b holds", (1,), False, "it does not")
    assert invariant_lines(replace(results, invariants=(held, broken))) == ["1 of 2 invariants holds: a holds", "invariant broken: b holds (it does not)"]


def test_a_run_whose_invariants_were_never_checked_says_so(judged, row_result):
    results, verdicts = judged(row_result())
    broken_off = replace(results, invariants=None)
    line = "the run broke off before its invariants were checked, so it does not hold as a whole: go on with `run --resume FOLDER`"
    assert invariant_lines(broken_off) == [line]
    assert notes(broken_off, verdicts)[-1] == line


def test_the_notes_are_all_lines_together(judged, of_seeds, seeds):
    results, verdicts = judged(of_seeds(seeds(3)), of_seeds(seeds(10)), moves=(1e-7,))
    results = replace(results, invariants=(Invariant("a holds", (1,), True, ""),))
    lines = [seed_lines(results), leak_lines(results), invariant_lines(results)]
    assert all(lines)
    assert notes(results, verdicts) == [NOTICES, clean_line(len(verdicts)), *chain(*lines)]
