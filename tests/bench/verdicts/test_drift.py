import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.recording.bands import LOSSES, SEED_METRICS, SINGLE_PRECISION
from bench.recording.traces import traces_of
from bench.statistics import mcnemar
from bench.verdicts.drift import excess, flips_of, is_inside, judge_margins, judge_trace, judge_traces, numerical_band
from bench.verdicts.verdict import Flips, Verdict
from gptcore.answers import Answers, pack
from gptcore.dataset import SPLITS

MOVES = (2e-6, -1e-6)
BEYOND = 1 + 2 * SINGLE_PRECISION
NAMES = (
    "trained_parameters",
    "first_logits",
    "gradient_norm",
    "train_loss",
    "validation_loss",
    "train_accuracy_of_epochs",
    "validation_accuracy_of_epochs",
    "weight_norm",
)


@pytest.fixture(scope="session")
def baseline(recorded):
    """Row 1 as recorded with two repeats that moved everything."""
    return recorded(moves=MOVES).baselines["smoke"]["cpu"][1]


@pytest.fixture(scope="session")
def unrepeated(recorded):
    """Row 1 as recorded without repeats."""
    return recorded().baselines["smoke"]["cpu"][1]


def with_trace(figures, name, index, value):
    """Figures with one number of one trace replaced."""
    if name == "trained_parameters":
        return replace(figures, fingerprint=replace(figures.fingerprint, trained_parameters=int(value)))
    if name == "weight_norm":
        return replace(figures, fingerprint=replace(figures.fingerprint, weight_norm=value))
    if name == "first_logits":
        logits = [*figures.fingerprint.first_logits]
        logits[index] = value
        return replace(figures, fingerprint=replace(figures.fingerprint, first_logits=tuple(logits)))
    if name.endswith("_of_epochs"):
        epochs = [*figures.epoch_accuracies]
        epochs[index] = replace(epochs[index], **{name.removesuffix("_of_epochs"): value})
        return replace(figures, epoch_accuracies=tuple(epochs))
    history = [*figures.history]
    history[index] = replace(history[index], **{name: value})
    return replace(figures, history=tuple(history))


def verdicts(judgements):
    return {judgement.metric: judgement.verdict for judgement in judgements}


# Traces


def test_the_recorded_figures_pass_everywhere(baseline, figures):
    judged = verdicts(judge_traces(figures(), baseline))
    assert set(judged) == {*NAMES, *(f"{split}_margins" for split in SPLITS)} - set(LOSSES)
    assert set(judged.values()) == {Verdict.PASS}


def test_without_repeats_no_trace_is_judged(unrepeated, figures):
    assert list(judge_traces(figures(), unrepeated)) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [1, -1])
def test_just_inside_the_band_of_any_trace_passes_and_just_outside_drifts(baseline, figures, name, way):
    index = len(baseline.traces[name]) - 1
    recorded, reach = baseline.traces[name][index], baseline.bands.traces[name][index]
    for factor, verdict in ((1.0, Verdict.PASS), (BEYOND, Verdict.DRIFTED)):
        step = 1 if name == "trained_parameters" and factor > 1 else reach * factor  # whole numbers, which may not move at all
        moved = with_trace(figures(), name, index, recorded + way * step)
        judgement = judge_trace(name, traces_of(moved), moved, baseline)
        assert judgement.verdict is verdict
        assert (judgement.found, judgement.expected, judgement.against) == (recorded + way * step, recorded, "baseline")
        assert (judgement.low, judgement.high) == (recorded - reach, recorded + reach)


def test_of_a_trace_the_number_that_strays_furthest_is_told(baseline, figures):
    moved = with_trace(figures(), "gradient_norm", 0, 2.0 + 1e-3)
    judgement = judge_trace("gradient_norm", traces_of(moved), moved, baseline)
    assert (judgement.verdict, judgement.expected) == (Verdict.DRIFTED, 2.0)
    assert judgement.explanation == "rounding in 2 repeats at step 0"


def test_a_trace_of_another_length_drifted(baseline, figures):
    longer = figures(history=(*figures().history, figures().history[-1]))
    judgement = judge_trace("gradient_norm", traces_of(longer), longer, baseline)
    assert (judgement.verdict, judgement.explanation) == (Verdict.DRIFTED, "3 numbers instead of 2")


def test_another_number_of_trained_parameters_drifted(baseline, figures):
    moved = with_trace(figures(), "trained_parameters", 0, 1539)
    assert verdicts(judge_traces(moved, baseline))["trained_parameters"] is Verdict.DRIFTED


@pytest.mark.parametrize(("deviation", "reach", "times"), [(0.0, 0.0, 0.0), (1e-12, 0.0, math.inf), (-1e-12, 0.0, math.inf), (0.0, 1.0, 0.0)])
def test_what_may_not_move_is_exceeded_by_anything(deviation, reach, times):
    assert excess(deviation, reach) == times


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e3))
def test_a_recorded_number_plus_its_reach_is_inside_whatever_the_rounding(recorded, reach):
    reach = max(reach, SINGLE_PRECISION * abs(recorded))
    for way in (1, -1):
        assert excess((recorded + way * reach) - recorded, reach) <= 1
        assert excess((recorded + way * reach * BEYOND) - recorded, reach) > 1


# Margins


def test_just_inside_the_reach_of_the_margins_passes_and_just_outside_drifts(baseline, figures):
    margins, reach = figures().margins, baseline.bands.margins["test"]
    for factor, verdict in ((0.999, Verdict.PASS), (1.001, Verdict.DRIFTED), (-0.999, Verdict.PASS), (-1.001, Verdict.DRIFTED)):
        of_test = [*margins["test"]]
        of_test[41] += reach * factor
        judgement = judge_margins("test", reach, figures(margins=margins | {"test": tuple(of_test)}), baseline)
        assert (judgement.metric, judgement.verdict, judgement.expected) == ("test_margins", verdict, 1.0)
        assert judgement.explanation == "rounding in 2 repeats, text 42 moved most"


def test_margins_of_other_texts_drifted(baseline, figures):
    judgement = judge_margins("test", 1.0, figures(n=(1040, 149, 299)), baseline)
    assert (judgement.verdict, judgement.explanation) == (Verdict.DRIFTED, "299 texts instead of 300")


# Losses and accuracies


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_inside_only_where_every_evaluation_is(baseline, figures, name):
    assert is_inside(name, figures(), baseline)
    assert is_inside(name, with_trace(figures(), name, 0, 0.9 + baseline.bands.traces[name][0]), baseline)
    assert is_inside(name, with_trace(figures(), name, 0, 0.9 + 2 * baseline.bands.traces[name][0]), baseline) is False


def test_without_repeats_nothing_tells_of_losses_and_counts_must_be_the_recorded_ones(unrepeated, figures):
    assert [is_inside(name, figures(), unrepeated) for name in LOSSES] == [None, None]
    assert numerical_band("train_loss", unrepeated) == (None, None)
    assert is_inside("test_accuracy", figures(), unrepeated) is True
    assert is_inside("test_accuracy", figures(right=(1005, 148, 286)), unrepeated) is False
    assert numerical_band("test_accuracy", unrepeated) == (285 / 300, 285 / 300)


def test_a_count_is_inside_where_texts_near_zero_may_have_flipped(recorded, row_result, figures):
    margins = figures().margins
    near = margins | {"test": (1e-6, *margins["test"][1:-2], -1e-6, -1e-6)}  # one right text and two wrong ones that could flip
    (one,) = recorded(row_result(figures=figures(margins=near)), moves=MOVES).baselines["smoke"]["cpu"].values()
    assert one.bands.counts["test"] == (284, 287)
    assert [is_inside("test_accuracy", figures(right=(1005, 148, right)), one) for right in (283, 284, 285, 287, 288)] == [False, True, True, True, False]
    assert numerical_band("test_accuracy", one) == (284 / 300, 287 / 300)


def test_the_recorded_figures_are_in_the_middle_of_their_bands(baseline, figures):
    for metric in LOSSES:
        low, high = numerical_band(metric, baseline)
        assert (low + high) / 2 == pytest.approx(getattr(figures().history[-1], metric))
        assert low < high
    for metric in SEED_METRICS[2:]:
        low, high = numerical_band(metric, baseline)
        assert low <= figures().counts[metric.removesuffix("_accuracy")].accuracy <= high


# Flips


def test_flips_are_the_texts_that_went_either_way(baseline, figures):
    """Recorded: the last fifteen of 300 are wrong.  Found: texts 2 and 8 are wrong, and all of those but two right."""
    found = figures(wrong_test={2, 8, 290, 291})
    assert flips_of("test", found, baseline) == Flips((2, 8), tuple(number for number in range(285, 300) if number not in (290, 291)), mcnemar(2, 13))


def test_the_same_answers_have_no_flips(baseline, figures):
    assert flips_of("test", figures(), baseline) == Flips((), (), 1.0)


def test_texts_that_one_run_did_not_ask_for_are_no_flips(baseline, figures):
    """Of a shuffled training split the last few texts are not asked for, others every time."""
    answers = figures().answers
    asked = [number >= 10 for number in range(1040)]
    fewer = Answers(1040, pack(is_asked and number < 1000 for number, is_asked in enumerate(asked)), pack(asked))
    flips = flips_of("train", figures(answers=answers | {"train": fewer}), baseline)
    assert (flips.lost, flips.gained) == (tuple(range(1000, 1005)), ())


def test_without_answers_to_the_same_texts_nothing_is_known_of_flips(baseline, figures):
    assert flips_of("test", figures(n=(1040, 149, 290)), baseline) is None
    of_seed = replace(baseline.own, answers={})
    assert flips_of("test", figures(), replace(baseline, seeds={123: of_seed})) is None
