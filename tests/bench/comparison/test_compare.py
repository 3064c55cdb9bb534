import random
from dataclasses import replace
from itertools import pairwise

import pytest

from bench.comparison.compare import ACCURACIES, DURATION, EVERY_METRIC, LOSSES, PEAK_MEMORY, CompareError, Verdict, compare, compare_folders, exit_code
from bench.results import Results, ResultsError
from gptcore.answers import Answers, pack
from gptcore.result import Fingerprint

METRICS = [*ACCURACIES, *LOSSES, DURATION]


@pytest.fixture
def results(run_info):
    """Makes the results of some rows; keyword arguments are of the run."""

    def make(*rows, **info):
        return Results(run_info(**{"rows": tuple(row.row for row in rows) or (1,)} | info), {row.row: row for row in rows})

    return make


@pytest.fixture
def one_row(results, row_result):
    """Makes results of one row; keyword arguments are of the row."""
    return lambda **fields: results(row_result(**fields))


def by_metric(comparisons):
    return {comparison.metric: comparison for comparison in comparisons}


def verdicts(comparisons):
    return {comparison.metric: comparison.verdict for comparison in comparisons}


# Verdicts of one row, one seed.


def test_bit_identical_figures_are_the_same_and_nothing_is_tested(one_row):
    comparisons = compare([one_row()], [one_row()])
    assert verdicts(comparisons) == dict.fromkeys(METRICS, Verdict.SAME)
    assert all(comparison.p is None and comparison.notes == () for comparison in comparisons)
    assert exit_code(comparisons, judge_costs=True) == 0


def test_a_collapse_is_worse(one_row, figures):
    comparisons = compare([one_row()], [one_row(figures=figures(right=(1005, 148, 240)))])
    test = by_metric(comparisons)["test_accuracy"]
    assert (test.verdict, test.base, test.head) == (Verdict.WORSE, 0.95, 0.8)
    assert test.difference == pytest.approx(-0.15)
    assert test.interval.high < 0
    assert "45 texts lost and 0 gained of 300, one seed, McNemar's exact test: p = 5.7e-14, corrected for 3 tests 1.7e-13" in test.explanation
    assert exit_code(comparisons) == 1


def test_a_rise_is_better_and_no_failure(one_row, figures):
    comparisons = compare([one_row()], [one_row(figures=figures(right=(1005, 148, 300)))])
    assert by_metric(comparisons)["test_accuracy"].verdict is Verdict.BETTER
    assert exit_code(comparisons) == 0


def test_two_lost_texts_are_chance(one_row, figures):
    comparisons = compare([one_row()], [one_row(figures=figures(right=(1005, 148, 283), train_loss=0.501))])
    assert verdicts(comparisons) == dict.fromkeys(METRICS, Verdict.SAME) | {
        "test_accuracy": Verdict.INDISTINGUISHABLE,
        "train_loss": Verdict.NOT_TESTED,
    }
    assert exit_code(comparisons) == 0


def test_figures_that_only_differ_on_the_way_are_tested_not_taken_for_identical(one_row, figures):
    comparisons = compare([one_row()], [one_row(figures=figures(fingerprint=Fingerprint(1538, (0.25, -0.5), 12.625)))])
    assert by_metric(comparisons)["test_accuracy"].p == 1
    assert set(verdicts(comparisons).values()) == {Verdict.SAME}


def test_all_right_on_both_sides(one_row, figures):
    perfect = figures(right=(1040, 149, 300), train_loss=0.0, validation_loss=0.0)
    assert set(verdicts(compare([one_row(figures=perfect)], [one_row(figures=perfect)])).values()) == {Verdict.SAME}
    comparisons = compare([one_row(figures=perfect)], [one_row(figures=replace(perfect, fingerprint=Fingerprint(1538, (0.0,), 0.0)))])
    assert set(verdicts(comparisons).values()) == {Verdict.SAME}


def test_train_texts_that_only_one_side_was_asked_for_do_not_count(one_row, figures):
    usual = figures()
    first_half, second_half = ([index % 2 == half for index in range(1040)] for half in (0, 1))
    sides = []
    for asked in (first_half, [True] * 1040, second_half):
        train = Answers(1040, pack(asked), pack(asked))
        sides.append(one_row(figures=replace(usual, answers={**usual.answers, "train": train})))
    half, whole, other_half = sides
    common = by_metric(compare([half], [whole]))["train_accuracy"]
    assert (common.base, common.head, common.difference) == (1, 1, 0)
    apart = by_metric(compare([half], [other_half]))["train_accuracy"]
    assert (apart.verdict, apart.difference) == (Verdict.NOT_COMPARABLE, None)
    assert apart.explanation == "no text was asked for on both sides"


# Several seeds.


@pytest.fixture
def seeded(one_row, figures):
    """Results of one row with these test counts and training losses by seed, from 123 upwards."""

    def make(rights, losses=None, first=123):
        each = [figures(right=(1005, 148, right), train_loss=loss) for right, loss in zip(rights, losses or [0.5] * len(rights), strict=True)]
        return one_row(seed=first, figures=each[0], others={first + index: result for index, result in enumerate(each[1:], start=1)})

    return make


def test_a_consistent_fall_over_seeds_is_worse(seeded):
    comparisons = compare([seeded([285, 287, 283, 286, 284, 288])], [seeded([270, 273, 267, 272, 268, 272])])
    assert by_metric(comparisons)["test_accuracy"].verdict is Verdict.WORSE
    assert by_metric(comparisons)["test_accuracy"].base == pytest.approx(285.5 / 300)


def test_what_one_seed_would_call_a_fall_is_chance_among_seeds_that_disagree(seeded):
    base, head = [285, 260, 285, 270], [260, 285, 270, 285]
    assert by_metric(compare([seeded(base[:1])], [seeded(head[:1])]))["test_accuracy"].verdict is Verdict.WORSE
    assert by_metric(compare([seeded(base)], [seeded(head)]))["test_accuracy"].verdict is Verdict.INDISTINGUISHABLE


def test_two_seeds_find_a_collapse_among_nineteen_rows(results, seeded):
    sides = []
    for rights in ([285, 286], [150, 155]):
        [row] = seeded(rights).rows.values()
        sides.append(results(*(replace(row, row=number) for number in range(1, 20))))
    comparisons = compare([sides[0]], [sides[1]])
    assert {comparison.verdict for comparison in comparisons if comparison.metric == "test_accuracy"} == {Verdict.WORSE}


def test_losses_of_several_seeds_are_tested_and_lower_is_better(seeded):
    base, head = [0.5, 0.6, 0.7, 0.55], [0.4, 0.51, 0.59, 0.46]
    assert by_metric(compare([seeded([285] * 4, base)], [seeded([285] * 4, head)]))["train_loss"].verdict is Verdict.BETTER
    assert by_metric(compare([seeded([285] * 4, head)], [seeded([285] * 4, base)]))["train_loss"].verdict is Verdict.WORSE


def test_only_common_seeds_count(seeded):
    comparison = by_metric(compare([seeded([285, 200, 280])], [seeded([200, 280, 100, 100], first=124)]))["test_accuracy"]
    assert (comparison.verdict, comparison.difference) == (Verdict.SAME, 0)


def test_without_a_common_seed_counts_are_compared_and_losses_are_not_tested(seeded):
    comparisons = by_metric(compare([seeded([285])], [seeded([240], [0.75], first=7)]))
    assert comparisons["test_accuracy"].verdict is Verdict.WORSE
    assert "Fisher's exact test" in comparisons["test_accuracy"].explanation
    assert comparisons["validation_accuracy"].verdict is Verdict.INDISTINGUISHABLE
    assert comparisons["train_loss"].verdict is Verdict.NOT_TESTED
    assert "no common seed" in comparisons["train_loss"].explanation


# What cannot be compared, is missing, or failed.


def test_other_texts_are_not_comparable(one_row, row_result, figures):
    head = one_row(digests=row_result().digests | {"data": "other"}, figures=figures(right=(1005, 148, 200)))
    comparisons = compare([one_row()], [head])
    assert verdicts(comparisons) == dict.fromkeys(METRICS, Verdict.NOT_COMPARABLE)
    test = by_metric(comparisons)["test_accuracy"]
    assert (test.base, test.head, test.difference, test.explanation, test.notes) == (0.95, 200 / 300, None, "the texts are not the same", ("other data",))


def test_another_number_of_texts_is_not_comparable_whatever_the_digest(one_row, figures):
    comparisons = compare([one_row()], [one_row(figures=figures(n=(1040, 149, 301)))])
    assert verdicts(comparisons) == dict.fromkeys(METRICS, Verdict.NOT_COMPARABLE)


def test_other_settings_are_compared_and_told(one_row):
    base = one_row(settings={"lora_rank": 8, "seed": 1}, digests={"settings": "a", "data": "d" * 64, "weights": "w"})
    head = one_row(settings={"lora_rank": 16, "seed": 1, "new": True}, digests={"settings": "b", "data": "d" * 64, "weights": "v"})
    comparisons = compare([base], [head])
    assert set(verdicts(comparisons).values()) == {Verdict.SAME}
    assert {comparison.notes for comparison in comparisons} == {("other settings (lora_rank: 8 and 16, new: None and True)", "other weights")}


def test_other_circumstances_are_told_and_keep_durations_apart(results, row_result, figures):
    base, head = results(row_result(), threads=2), results(row_result(figures=figures(seconds=8.0)), threads=4, plain=True)
    comparisons = compare([base], [head])
    assert by_metric(comparisons)[DURATION].verdict is Verdict.NOT_COMPARABLE
    assert "2 threads" in by_metric(comparisons)[DURATION].explanation
    assert by_metric(comparisons)["test_accuracy"].verdict is Verdict.SAME
    assert comparisons[0].notes == ("other circumstances (threads: 2 and 4, way of computing: fast and plain)",)


def test_a_row_on_one_side_only_is_missing(results, row_result):
    comparisons = compare([results(row_result(), row_result(row=2))], [results(row_result())])
    [missing] = [comparison for comparison in comparisons if comparison.row == 2]
    assert (missing.verdict, missing.metric, missing.explanation) == (Verdict.MISSING, EVERY_METRIC, "there is no such row in HEAD")
    assert exit_code(comparisons) == 1


def test_a_row_that_neither_side_finished_is_missing(results, row_result):
    interrupted = results(row_result(), rows=(1, 2))
    missing = compare([interrupted], [interrupted])[-1]
    assert (missing.row, missing.verdict, missing.name) == (2, Verdict.MISSING, "")


def test_a_failed_row_is_an_error(one_row):
    comparisons = compare([one_row()], [one_row(figures=None, digests={}, error="out of memory\nTraceback")])
    assert [(comparison.verdict, comparison.explanation) for comparison in comparisons] == [(Verdict.ERROR, "HEAD: out of memory")]
    assert exit_code(comparisons) == 1


def test_a_row_whose_further_seeds_failed_is_an_error(one_row):
    assert verdicts(compare([one_row(error="diverged")], [one_row()])) == {EVERY_METRIC: Verdict.ERROR}


def test_tiers_do_not_meet(results, row_result):
    with pytest.raises(CompareError, match="full and the smoke tier have no figure in common"):
        compare([results(row_result())], [results(row_result(), tier="full")])


def test_random_weights_for_timing_are_compared_by_time_alone(results, row_result):
    timing = results(row_result(), timing_only=True)
    assert list(verdicts(compare([timing], [timing]))) == [DURATION]


# Durations.


@pytest.fixture
def timed(one_row, figures):
    return lambda *seconds: [one_row(figures=figures(seconds=value)) for value in seconds]


def test_one_timing_each_is_no_verdict(timed):
    duration = by_metric(compare(timed(10.0), timed(20.0)))[DURATION]
    assert (duration.verdict, duration.difference) == (Verdict.NOT_TESTED, 2)
    assert "one measurement each" in duration.explanation


def test_repeats_tell_slower_from_faster_and_fail_only_on_request(timed):
    slow, quick = timed(10.0, 11.0, 10.5), timed(8.0, 8.7, 8.4)
    comparisons = compare(quick, slow)
    assert by_metric(comparisons)[DURATION].verdict is Verdict.SLOWER
    assert (exit_code(comparisons), exit_code(comparisons, judge_costs=True)) == (0, 1)
    comparisons = compare(slow, quick)
    assert by_metric(comparisons)[DURATION].verdict is Verdict.FASTER
    assert exit_code(comparisons, judge_costs=True) == 0


@pytest.fixture
def holding(one_row):
    """Makes a run for each peak, given in MiB."""
    return lambda *peaks, **info: [replace(run, info=replace(run.info, **info)) for run in (one_row(peak_memory=peak * 2**20) for peak in peaks)]


def test_repeats_tell_more_memory_from_less_and_fail_only_on_request(holding):
    much, little = holding(200, 204, 202), holding(100, 103, 99)
    comparisons = compare(little, much)
    memory = by_metric(comparisons)[PEAK_MEMORY]
    assert (memory.verdict, memory.base, memory.difference) == (Verdict.MORE_MEMORY, 100 * 2**20, 2.02)
    assert (exit_code(comparisons), exit_code(comparisons, judge_costs=True)) == (0, 1)
    comparisons = compare(much, little)
    assert by_metric(comparisons)[PEAK_MEMORY].verdict is Verdict.LESS_MEMORY
    assert exit_code(comparisons, judge_costs=True) == 0


def test_bytes_that_a_measurement_cannot_tell_are_no_difference(holding):
    assert by_metric(compare(holding(100), holding(107)))[PEAK_MEMORY].verdict is Verdict.SAME
    assert by_metric(compare(holding(100, 101, 102), holding(107, 108, 109)))[PEAK_MEMORY].verdict is Verdict.SAME
    assert by_metric(compare(holding(100), holding(200)))[PEAK_MEMORY].verdict is Verdict.NOT_TESTED


def test_memory_that_one_side_did_not_measure_is_no_metric(holding, one_row):
    assert PEAK_MEMORY not in by_metric(compare(holding(100), [one_row()]))


def test_memory_among_other_rows_is_not_comparable(holding):
    memory = by_metric(compare(holding(100, rows=(1, 2)), holding(100), [1]))[PEAK_MEMORY]
    assert (memory.verdict, memory.explanation) == (Verdict.NOT_COMPARABLE, "measured among other rows, with which it shares memory")


def test_noise_is_indistinguishable(timed):
    assert by_metric(compare(timed(10.0, 12.0, 11.0), timed(12.0, 10.5, 11.0)))[DURATION].verdict is Verdict.INDISTINGUISHABLE


def test_runs_of_the_same_code_that_disagree_are_told(one_row, figures):
    comparisons = compare([one_row(), one_row(figures=figures(train_loss=0.7))], [one_row(), one_row()])
    assert comparisons[0].notes == ("the runs of BASE disagree among themselves, and the first is compared",)


def test_a_row_missing_from_one_repeat_is_missing(one_row, results):
    assert verdicts(compare([one_row(), results()], [one_row(), one_row()])) == {EVERY_METRIC: Verdict.MISSING}


def test_what_is_significant_alone_is_not_among_many(results, row_result, figures):
    """Six lost texts have p = 0.03 alone; of nineteen rows with three accuracies each, some would have as many by chance."""

    def side(rights):
        return results(*(row_result(row=number, figures=figures(right=(1005, 148, right))) for number, right in enumerate(rights, start=1)))

    alone = by_metric(compare([side([285])], [side([279])]))["test_accuracy"]
    assert (alone.p, alone.adjusted) == (0.03125, 0.09375)
    many = compare([side([285] * 19)], [side([279] * 19)])
    assert {comparison.adjusted for comparison in many if comparison.metric == "test_accuracy"} == {1.0}
    assert exit_code(many) == 0


def test_identical_rows_take_no_part_in_the_correction(results, row_result, figures):
    base = results(*(row_result(row=number) for number in range(1, 20)))
    head = replace(base, rows=base.rows | {4: row_result(row=4, figures=figures(right=(1005, 148, 276)))})
    [worse] = [comparison for comparison in compare([base], [head]) if comparison.verdict is Verdict.WORSE]
    assert (worse.row, worse.adjusted) == (4, 3 * worse.p)


def test_durations_are_corrected_among_themselves(results, row_result, figures):
    runs = [
        [results(*(row_result(row=number, figures=figures(seconds=seconds)) for number in (1, 2))) for seconds in timings]
        for timings in ((10.0, 11.0, 10.5), (8.0, 8.7, 8.4))
    ]
    comparisons = compare(*runs)
    assert {comparison.adjusted / comparison.p for comparison in comparisons if comparison.metric == DURATION} == {2}
    assert {comparison.p for comparison in comparisons if comparison.metric != DURATION} == {None}


def test_chance_alone_is_called_worse_or_better_in_few_comparisons(results, row_result, figures):
    """Nineteen rows whose sides answer at random: one comparison of twenty may call anything a change; four would be worse luck than one in sixty."""
    source = random.Random(5)

    def side():
        return results(*(row_result(row=number, figures=figures(wrong_test=source.sample(range(300), 30))) for number in range(1, 20)))

    pairs = pairwise(side() for _ in range(20))
    called = sum(any(comparison.verdict in (Verdict.BETTER, Verdict.WORSE) for comparison in compare([base], [head])) for base, head in pairs)
    assert called <= 3


# Folders.


def test_folders_are_compared(results_folder, one_row):
    folder = results_folder(one_row())
    assert set(verdicts(compare_folders(folder, folder)).values()) == {Verdict.SAME}


def test_losses_that_moved_by_rounding_alone_are_indistinguishable(seeded):
    base = [0.5, 0.6, 0.7, 0.55]
    found = by_metric(compare([seeded([285] * 4, base)], [seeded([285] * 4, [loss * (1 + 1e-7) for loss in base])]))["train_loss"]
    assert (found.verdict, found.base < found.head) == (Verdict.INDISTINGUISHABLE, True)


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"holds no run\.json"):
        compare_folders(tmp_path, tmp_path)


def test_some_rows_alone_can_be_compared(results, row_result):
    both = results(row_result(), row_result(row=2))
    assert {one.row for one in compare([both], [both], [2])} == {2}
    with pytest.raises(CompareError, match="neither side was asked for row 3: choose from 1-2 with --rows"):
        compare([both], [both], [2, 3])
