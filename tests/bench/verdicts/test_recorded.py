import math
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.recording.bands import LEVEL, SEED_METRICS
from bench.results import Results, read_results
from bench.statistics import mcnemar
from bench.verdicts.judge import judge
from bench.verdicts.recorded import direction_of
from bench.verdicts.verdict import Strictness, Verdict
from gptcore.experiment import Experiment, settings_of
from gptcore.result import Evaluation, Fingerprint

MOVES = (2e-6, -1e-6, 5e-7)
MARGINS = {"train_margins", "validation_margins", "test_margins"}
TRACES = {"trained_parameters", "first_logits", "gradient_norm", "train_accuracy_of_epochs", "validation_accuracy_of_epochs", "weight_norm"}


def moved(verdict):
    """Verdicts by metric, but for passes and for durations that there is nothing to hold against."""
    usual = (Verdict.PASS, Verdict.NOT_COMPARABLE)
    return {judgement.metric: judgement.verdict for judgement in verdict.judgements if judgement.verdict not in usual}


def told(verdict, metric):
    (judgement,) = (judgement for judgement in verdict.judgements if judgement.metric == metric)
    return judgement


# Rounding


@pytest.mark.parametrize("expectations_with", ["one_seed", "ten_seeds", "unseeded"])
def test_the_recorded_figures_pass(request, verdict_on, row_result, expectations_with):
    verdict = verdict_on(row_result(), request.getfixturevalue(expectations_with))
    assert (verdict.verdict, verdict.holds) == (Verdict.PASS, True)
    traced = TRACES | MARGINS if expectations_with != "unseeded" else set()
    assert {judgement.metric for judgement in verdict.judgements} == {*traced, *SEED_METRICS, "duration"}


losses = st.floats(1e-6, 10)


@settings(max_examples=40)
@given(losses, losses, st.integers(0, 300), st.lists(st.floats(-1e-3, 1e-3), max_size=4))
def test_whatever_was_recorded_passes(verdict_on, row_result, figures, recorded, train_loss, validation_loss, right, moves):
    result = row_result(figures=figures(train_loss=train_loss, validation_loss=validation_loss, right=(1005, 148, right)))
    assert verdict_on(result, recorded(result, moves=moves)).verdict is Verdict.PASS


@pytest.mark.parametrize("by", [*MOVES, 4e-6])
def test_what_rounding_did_in_repeats_passes(verdict_on, row_result, figures, nudged, one_seed, by):
    assert verdict_on(row_result(figures=nudged(figures(), by)), one_seed).verdict is Verdict.PASS


def test_a_larger_move_of_everything_drifted_everywhere_it_is_seen(verdict_on, row_result, figures, nudged, one_seed):
    verdict = verdict_on(row_result(figures=nudged(figures(), 1e-3)), one_seed)
    assert (verdict.verdict, verdict.holds) == (Verdict.DRIFTED, False)
    assert moved(verdict) == dict.fromkeys({"first_logits", "gradient_norm", "weight_norm", "train_loss", "validation_loss"} | MARGINS, Verdict.DRIFTED)


@pytest.mark.parametrize(
    ("changes", "metric"),
    [
        ({"fingerprint": Fingerprint(1539, (0.25, -0.5), 12.5)}, "trained_parameters"),
        ({"fingerprint": Fingerprint(1538, (0.25, -0.51), 12.5)}, "first_logits"),
        ({"fingerprint": Fingerprint(1538, (0.25, -0.5), 12.501)}, "weight_norm"),
        ({"history": (Evaluation(1, 0, 0.9, 0.9, 2.001), Evaluation(1, 50, 0.5, 0.6, 1.0))}, "gradient_norm"),
        ({"history": (Evaluation(1, 0, 0.901, 0.9, 2.0), Evaluation(1, 50, 0.5, 0.6, 1.0))}, "train_loss"),
        ({"validation_loss": 0.599}, "validation_loss"),
    ],
)
def test_one_figure_outside_its_band_is_a_drift_of_the_row(verdict_on, row_result, figures, one_seed, changes, metric):
    verdict = verdict_on(row_result(figures=figures(**changes)), one_seed)
    assert moved(verdict) == {metric: Verdict.DRIFTED}
    assert (verdict.verdict, verdict.holds) == (Verdict.DRIFTED, False)


@pytest.mark.parametrize(("plain", "metric", "verdict"), [(False, "weight_norm", "drifted"), (True, "weight_norm", "pass"), (True, "first_logits", "drifted")])
def test_a_plain_run_may_end_in_other_weights_that_nothing_feels_and_is_the_same_in_all_else(verdict_on, row_result, figures, one_seed, plain, metric, verdict):
    usual = figures().fingerprint
    moved = {"weight_norm": replace(usual, weight_norm=12.6), "first_logits": replace(usual, first_logits=(0.25, -0.6))}[metric]
    assert verdict_on(row_result(figures=figures(fingerprint=moved)), one_seed, plain=plain).verdict == verdict


def test_a_drifted_loss_is_told_where_it_strays_furthest(verdict_on, row_result, figures, one_seed):
    strayed = figures(history=(Evaluation(1, 0, 0.95, 0.9, 2.0), Evaluation(1, 50, 0.501, 0.6, 1.0)))
    judgement = told(verdict_on(row_result(figures=strayed), one_seed), "train_loss")
    assert (judgement.found, judgement.expected) == (0.95, 0.9)
    assert judgement.explanation == "rounding in 3 repeats at step 0; one seed was recorded, so nothing tells what seeds do"


# One seed against several


@pytest.mark.parametrize(
    ("changes", "metric", "verdict"),
    [
        ({"train_loss": 0.5 * 20}, "train_loss", Verdict.REGRESSED),
        ({"train_loss": 0.5 / 20}, "train_loss", Verdict.IMPROVED),
        ({"validation_loss": 0.6 * 20}, "validation_loss", Verdict.REGRESSED),
        ({"validation_loss": 0.6 / 20}, "validation_loss", Verdict.IMPROVED),
        ({"right": (940, 148, 285)}, "train_accuracy", Verdict.REGRESSED),
        ({"right": (1040, 148, 285)}, "train_accuracy", Verdict.IMPROVED),
        ({"right": (1005, 140, 285)}, "validation_accuracy", Verdict.REGRESSED),
        ({"right": (1005, 148, 250)}, "test_accuracy", Verdict.REGRESSED),
        ({"right": (1005, 148, 300)}, "test_accuracy", Verdict.DRIFTED),
        ({"right": (1005, 148, 288)}, "test_accuracy", Verdict.DRIFTED),
        ({"train_loss": 0.5 * 1.5}, "train_loss", Verdict.DRIFTED),
    ],
)
def test_outside_the_band_of_seeds_a_figure_moved_for_good_and_inside_it_drifted(verdict_on, row_result, figures, ten_seeds, changes, metric, verdict):
    judged = verdict_on(row_result(figures=figures(**changes)), ten_seeds)
    judgement = told(judged, metric)
    assert judgement.verdict is verdict
    assert judged.verdict is verdict
    assert not judged.holds
    assert "one more seed than 10 recorded ones lies from" in judgement.explanation
    if verdict is not Verdict.DRIFTED:
        assert (judgement.low, judgement.high) == ten_seeds.baselines["smoke"]["cpu"][1].bands.seeds[metric]


def test_regressed_outranks_improved_and_both_outrank_a_drift(verdict_on, row_result, figures, ten_seeds):
    assert (
        verdict_on(row_result(figures=figures(train_loss=0.5 / 20, validation_loss=0.6 * 20, right=(1005, 148, 288))), ten_seeds).verdict is Verdict.REGRESSED
    )
    assert verdict_on(row_result(figures=figures(train_loss=0.5 / 20, right=(1005, 148, 288))), ten_seeds).verdict is Verdict.IMPROVED


def test_seeds_without_any_spread_still_allow_for_one_text(verdict_on, row_result, of_seeds, figures, recorded):
    perfect = figures(right=(1040, 149, 300))
    expectations = recorded(of_seeds([perfect] * 20), moves=MOVES)
    assert verdict_on(row_result(figures=perfect), expectations).verdict is Verdict.PASS
    for right, verdict in ((299, Verdict.DRIFTED), (290, Verdict.REGRESSED)):
        assert moved(verdict_on(row_result(figures=figures(right=(1040, 149, right))), expectations))["test_accuracy"] is verdict


# Several seeds


def test_several_seeds_like_the_recorded_ones_pass(verdict_on, of_seeds, seeds, ten_seeds):
    for n in (2, 5, 10):
        verdict = verdict_on(of_seeds(seeds(n)), ten_seeds)
        assert verdict.verdict is Verdict.PASS
        assert told(verdict, "test_accuracy").explanation.startswith(f"{n} seeds against themselves, paired t-test or Student's, twice the smaller p: p = ")


@pytest.mark.parametrize(("changes", "metric", "verdict"), [({"shift": -9}, "test_accuracy", "regressed"), ({"shift": 9}, "test_accuracy", "improved")])
def test_several_seeds_are_compared_even_if_the_recorded_seed_passes(verdict_on, of_seeds, seeds, ten_seeds, changes, metric, verdict):
    """The first seed gives what was recorded, bit for bit; the others do not."""
    judged = verdict_on(of_seeds([seeds(1)[0], *seeds(10, **changes)[1:]]), ten_seeds)
    assert told(judged, metric).verdict == verdict
    assert not judged.holds


def test_a_difference_that_is_common_among_so_many_figures_passes(verdict_on, of_seeds, seeds, ten_seeds):
    """One test in a hundred says as much, and 95 figures are tested."""
    judgement = told(verdict_on(of_seeds([seeds(1)[0], *seeds(7, shift=-8)[1:], *seeds(10, shift=1)[7:]]), ten_seeds), "test_accuracy")
    p = float(judgement.explanation.split("p = ")[1].split(",")[0])
    assert LEVEL < p < 0.05
    assert judgement.verdict is Verdict.PASS


@pytest.mark.parametrize(("factor", "verdict"), [(5.0, Verdict.REGRESSED), (0.2, Verdict.IMPROVED)])
def test_losses_of_several_seeds_are_compared_both_ways(verdict_on, of_seeds, seeds, ten_seeds, factor, verdict):
    judged = verdict_on(of_seeds([seeds(1)[0], *seeds(10, factor=factor)[1:]]), ten_seeds)
    assert moved(judged) == {"train_loss": verdict, "validation_loss": verdict}
    assert told(judged, "train_loss").expected == pytest.approx(0.5 * math.prod((1.0, 1.2, 0.8, 1.1, 0.9, 1.3, 0.7, 1.0, 1.4, 0.75)) ** 0.1)


def test_several_seeds_of_which_the_recorded_one_drifted_drifted(verdict_on, of_seeds, seeds, figures, ten_seeds):
    verdict = verdict_on(of_seeds([figures(right=(1005, 148, 286)), *seeds(10)[1:]]), ten_seeds)
    assert moved(verdict)["test_accuracy"] is Verdict.DRIFTED


def test_a_drift_among_several_seeds_is_told_by_a_figure_outside_the_band_it_names(verdict_on, of_seeds, figures, ten_seeds):
    """The recorded seed gained a text and the other one lost one: their mean is the recorded figure, and no news."""
    judgement = told(verdict_on(of_seeds([figures(right=(1005, 148, right)) for right in (286, 284)]), ten_seeds), "test_accuracy")
    assert judgement.verdict is Verdict.DRIFTED
    assert not judgement.low <= judgement.found <= judgement.high


def test_several_seeds_need_no_repeats(verdict_on, of_seeds, seeds, recorded):
    expectations = recorded(of_seeds(seeds(10)))
    assert verdict_on(of_seeds(seeds(10)), expectations).verdict is Verdict.PASS
    assert told(verdict_on(of_seeds(seeds(10, shift=-12)), expectations), "test_accuracy").verdict is Verdict.REGRESSED


def test_two_seeds_on_both_sides_are_enough_for_a_comparison(verdict_on, of_seeds, seeds, recorded):
    expectations = recorded(of_seeds(seeds(2)))
    judgement = told(verdict_on(of_seeds(seeds(2)), expectations), "test_accuracy")
    assert judgement.verdict is Verdict.PASS
    assert judgement.explanation.endswith(f": p = 1, level {LEVEL:.2g}")


@pytest.mark.parametrize("n", [2, 3, 4])
@pytest.mark.parametrize("strictness", Strictness)
def test_few_seeds_that_collapse_regressed_and_hold_nowhere(verdict_on, of_seeds, seeds, ten_seeds, n, strictness):
    """The paired test of two seeds alone has p = 0.001 at best, whatever they lose."""
    judged = verdict_on(of_seeds(seeds(n, shift=-60)), ten_seeds, strictness)
    assert told(judged, "test_accuracy").verdict is Verdict.REGRESSED
    assert (judged.verdict, judged.holds) == (Verdict.REGRESSED, False)


def test_several_seeds_without_any_spread_are_told_apart(verdict_on, of_seeds, figures, recorded):
    perfect, flawed = figures(right=(1040, 149, 300)), figures(right=(1040, 149, 297))
    expectations = recorded(of_seeds([perfect] * 5))
    assert verdict_on(of_seeds([perfect] * 5), expectations).verdict is Verdict.PASS
    assert moved(verdict_on(of_seeds([flawed] * 5), expectations)) == {"test_accuracy": Verdict.REGRESSED}


# One recorded seed: the same texts


FEWEST = next(lost for lost in count(1) if mcnemar(lost, 0) < LEVEL)  # the fewest texts that tell when all flip one way


@pytest.mark.parametrize(
    ("lost", "gained", "verdict"),
    [(0, 0, Verdict.PASS), (1, 0, Verdict.DRIFTED), (FEWEST - 1, 0, Verdict.DRIFTED), (FEWEST, 0, Verdict.REGRESSED), (0, 15, Verdict.IMPROVED)],
)
def test_the_texts_that_flipped_decide_where_one_seed_was_recorded(verdict_on, row_result, figures, one_seed, lost, gained, verdict):
    """Recorded: the last 15 of 300 texts are wrong."""
    found = figures(wrong_test={*range(lost), *range(285, 300 - gained)})
    judged = verdict_on(row_result(figures=found), one_seed)
    judgement = told(judged, "test_accuracy")
    assert judgement.verdict is verdict
    if verdict is not Verdict.PASS:
        assert (
            f"McNemar's exact test: {lost} {'text' if lost == 1 else 'texts'} lost, {gained} gained, p = {mcnemar(lost, gained):.2g}" in judgement.explanation
        )
    assert (judged.flips.lost, judged.flips.gained) == (tuple(range(lost)), tuple(range(300 - gained, 300)))


def test_as_many_right_ones_pass_whichever_they_are(verdict_on, row_result, figures, one_seed):
    """Where the counts agree nothing regressed, however many texts flipped; that the margins moved is told by themselves."""
    judged = verdict_on(row_result(figures=figures(wrong_test=range(15))), one_seed)
    assert told(judged, "test_accuracy").verdict is Verdict.PASS
    assert moved(judged) == {"test_margins": Verdict.DRIFTED}


def test_losses_of_one_recorded_seed_can_only_drift(verdict_on, row_result, figures, one_seed):
    assert verdict_on(row_result(figures=figures(train_loss=50.0, validation_loss=0.01)), one_seed).verdict is Verdict.DRIFTED


def test_without_repeats_and_seeds_nothing_is_known_of_losses(verdict_on, row_result, figures, unseeded):
    verdict = verdict_on(row_result(figures=figures(train_loss=50.0)), unseeded)
    assert verdict.verdict is Verdict.PASS
    assert told(verdict, "train_loss").explanation == "one seed was recorded, so nothing tells what seeds do"


def test_two_recorded_seeds_are_not_called_one(verdict_on, of_seeds, seeds, figures, row_result, recorded):
    verdict = verdict_on(row_result(figures=figures(train_loss=50.0)), recorded(of_seeds(seeds(2))))
    assert "one seed was recorded" not in told(verdict, "train_loss").explanation


def test_without_recorded_answers_a_count_can_only_drift(verdict_on, row_result, figures, unseeded):
    baseline = unseeded.baselines["smoke"]["cpu"][1]
    bare = replace(baseline, seeds={123: replace(baseline.own, answers={})}, margins={})
    expectations = replace(unseeded, baselines={"smoke": {"cpu": {1: bare}}})
    judged = verdict_on(row_result(figures=figures(right=(1005, 148, 100))), expectations)
    assert moved(judged) == {"test_accuracy": Verdict.DRIFTED}
    assert judged.flips is None


# Another seed than the recorded one


@pytest.fixture(scope="session")
def another_seed(row_result):
    """A result of row 1 with --seed 7."""
    return lambda **fields: row_result(seed=7, **fields)


def test_another_seed_is_judged_by_the_seeds_and_by_nothing_of_rounding(verdict_on, another_seed, figures, ten_seeds):
    verdict = verdict_on(another_seed(figures=figures(train_loss=0.7, right=(1010, 148, 288))), ten_seeds, chosen=("settings",))
    assert (verdict.verdict, verdict.holds, verdict.flips) == (Verdict.PASS, True, None)
    assert {judgement.metric for judgement in verdict.judgements} == {*SEED_METRICS, "duration"}


def test_another_seed_is_known_as_such_when_it_was_read_from_disk(another_seed, results_folder, run_info, ten_seeds):
    results = read_results(results_folder(Results(run_info(chosen=("settings",)), {1: another_seed()})))
    (verdict,) = judge(results, ten_seeds)
    assert (verdict.verdict, verdict.holds) == (Verdict.PASS, True)


@pytest.mark.parametrize(("right", "verdict"), [(250, Verdict.REGRESSED), (291, Verdict.PASS)])
def test_another_seed_can_regress(verdict_on, another_seed, figures, ten_seeds, right, verdict):
    judged = verdict_on(another_seed(figures=figures(right=(1005, 148, right))), ten_seeds, chosen=("settings",))
    assert (judged.verdict, judged.holds) == (verdict, verdict is Verdict.PASS)


def test_several_other_seeds_are_compared_with_the_recorded_ones(verdict_on, another_seed, seeds, ten_seeds):
    others = dict(enumerate(seeds(10, shift=-12)[1:], start=8))
    judged = verdict_on(another_seed(figures=seeds(1, shift=-12)[0], others=others), ten_seeds, chosen=("settings",))
    assert moved(judged) == {"test_accuracy": Verdict.REGRESSED}
    assert told(judged, "test_accuracy").explanation.startswith("Student's test of 10 seeds against 10")


def test_another_seed_is_not_comparable_where_no_seeds_were_recorded(verdict_on, another_seed, one_seed):
    verdict = verdict_on(another_seed(), one_seed, chosen=("settings",))
    assert (verdict.verdict, verdict.holds) == (Verdict.NOT_COMPARABLE, True)


def test_another_seed_of_random_weights_is_not_comparable(verdict_on, row_result, seeds, recorded):
    def random_weights(seed):
        return row_result(seed=seed, settings=settings_of(Experiment(weights="random", seed=seed)), others=dict(enumerate(seeds(5)[1:], start=seed + 1)))

    verdict = verdict_on(random_weights(7), recorded(random_weights(123)), chosen=("settings",))
    assert (verdict.verdict, verdict.holds) == (Verdict.NOT_COMPARABLE, True)


@pytest.mark.parametrize("changes", [{"learning_rate": 1e-3}, {"batch_size": 4}])
def test_another_seed_excuses_no_other_setting(verdict_on, row_result, ten_seeds, changes):
    other = row_result(seed=7, settings=settings_of(Experiment(seed=7, **changes)))
    assert verdict_on(other, ten_seeds, chosen=("settings",)).verdict is Verdict.NOT_COMPARABLE


def test_another_seed_on_other_data_is_not_comparable(verdict_on, another_seed, ten_seeds):
    result = another_seed()
    assert verdict_on(replace(result, digests=result.digests | {"data": "other"}), ten_seeds).verdict is Verdict.NOT_COMPARABLE


@given(st.floats(allow_nan=False))
def test_a_direction_is_a_sign(difference):
    assert direction_of(difference) == (0 if difference == 0 else math.copysign(1, difference))
