import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.expectations import DEFAULT_PATH, DurationPolicy, Repeat, SeedFigures, Timing, load_expectations
from bench.recording.bands import (
    CONFIDENCE,
    FLAGGED_RUNS,
    LEVEL,
    METHODS,
    SEED_METRICS,
    SINGLE_PRECISION,
    cost_of,
    counts_within,
    derive_bands,
    draws_of,
    root_mean_square,
    round_up,
    seed_values,
    seeds_grain,
    seeds_interval,
    seeds_p_value,
    split_of,
    spread_factor,
    spread_factors,
    spread_of,
    trace_reach,
)
from bench.recording.baselines import seed_figures, with_cost_bands
from bench.recording.traces import grain_of
from bench.rows import ROWS, find_row
from bench.tiers import TIERS
from gptcore.answers import Answers, pack
from gptcore.dataset import SPLITS
from gptcore.experiment import settings_of

MOVES = (2e-6, -1e-6, 5e-7, -3e-7)
TIMINGS = st.lists(st.lists(st.floats(1, 1.1), min_size=1, max_size=4), min_size=1, max_size=5)
SIZES = st.floats(1e-30, 1e30)


@pytest.fixture(scope="session")
def seed_of(figures):
    """Makes what is kept of one seed."""
    return lambda **changes: seed_figures(figures(**changes))


@pytest.fixture(scope="session")
def baseline(recorded, of_seeds, seeds):
    """Row 1 as recorded with ten seeds, four repeats and two timings."""
    return recorded(of_seeds(seeds(10)), moves=MOVES, seconds=(16.0, 17.0)).baselines["smoke"]["cpu"][1]


# Rounding


def test_every_deviation_that_was_seen_is_inside_its_band(baseline):
    for repeat in baseline.repeats:
        for name, deviations in repeat.deviations.items():
            assert all(abs(deviation) <= reach for deviation, reach in zip(deviations, baseline.bands.traces[name], strict=True))
        assert all(moved <= baseline.bands.margins[split] for split, moved in repeat.margins.items())


def test_the_reach_is_howes_factor_times_the_root_mean_square(baseline):
    n_figures = len(ROWS) * (sum(map(len, baseline.traces.values())) + len(SPLITS))
    z, smallest_chi_square = stats.norm.isf(FLAGGED_RUNS / n_figures / 2), stats.chi2.ppf((1 - CONFIDENCE) / n_figures, len(MOVES))
    factor = z * math.sqrt(len(MOVES) / smallest_chi_square)
    assert spread_factor(baseline.traces, baseline.margins, len(MOVES)) == pytest.approx(factor)
    expected = factor * math.sqrt(sum(move**2 for move in MOVES) / len(MOVES))
    assert baseline.bands.traces["validation_loss"] == pytest.approx((expected, expected), rel=0.01)
    assert expected <= baseline.bands.traces["validation_loss"][-1]
    assert baseline.bands.margins == pytest.approx(dict.fromkeys(SPLITS, expected))


def repeats(*deviations):
    """One draw for each sequence of deviations of a trace named loss."""
    return tuple(Repeat("", 1e-6, draw, {"loss": one}, {}) for draw, one in enumerate(deviations, start=1))


def test_a_figure_that_never_moved_may_move_by_single_precision():
    assert trace_reach("loss", (3.0, 0.1), repeats((0.0, 0.0), (0.0, 0.0)), 9.0, 0.0) == (round_up(3 * SINGLE_PRECISION), round_up(0.1 * SINGLE_PRECISION))


def test_whole_numbers_that_never_moved_may_not_move():
    assert trace_reach("loss", (1538.0,), repeats((0.0,), (0.0,)), 9.0, 0.0) == (0.0,)
    assert trace_reach("loss", (1538.0,), repeats((2.0,), (0.0,)), 9.0, 0.0) == (round_up(9 * math.sqrt(2)),)


@pytest.mark.parametrize("share", [0.9, 1.0, 0.0], ids=["some right", "all right", "none right"])
def test_a_share_of_a_few_texts_may_always_move_by_one_text(share):
    assert trace_reach("loss", (share, share), repeats((0.0, 0.0)), 9.0, 1 / 40) == (0.025, 0.025)


def test_deviations_grow_with_the_perturbation_and_are_scaled_up_to_the_largest():
    two = (Repeat("small", 1e-7, 1, {}, {}), Repeat("large", 1e-6, 2, {}, {}))
    assert spread_of(two, (0.1, -1.0)) == pytest.approx(1.0)
    assert spread_of(two, (0.1, -1.0), scaled=False) == pytest.approx(math.sqrt((0.01 + 1) / 2))


def test_repeats_of_one_draw_count_as_one():
    """The same perturbation with one and two threads moves figures by all but the same."""
    drawn = [Repeat("", 1e-6, draw, {}, {}) for draw in (1, 1, 2)]
    assert spread_of(drawn, (1.0, 1.0, 2.0)) == pytest.approx(math.sqrt((1 + 4) / 2))
    assert {draw: len(places) for draw, places in draws_of(drawn).items()} == {1: 2, 2: 1}


def test_no_band_is_narrower_than_what_other_kernels_did():
    both = (Repeat("perturbed", 1e-6, 1, {}, {}), Repeat("other kernels", 0.0, 0, {}, {}))
    assert spread_of(both, (0.5, -3.0)) == 3.0
    assert list(draws_of(both)) == [1]


def test_without_a_perturbation_there_is_no_band(baseline):
    unperturbed = [replace(repeat, perturbation=0.0) for repeat in baseline.repeats]
    bands = derive_bands(baseline.traces, dict.fromkeys(baseline.traces, 0.0), baseline.margins, baseline.own, [baseline.own], unperturbed)
    assert (bands.traces, bands.margins, bands.counts) == ({}, {}, {})


def test_one_repeat_is_enough_for_a_band_and_none_gives_none(baseline):
    grains = dict.fromkeys(baseline.traces, 0.0)
    one, none = (derive_bands(baseline.traces, grains, baseline.margins, baseline.own, [baseline.own], some) for some in (baseline.repeats[:1], ()))
    assert all(reach >= abs(MOVES[0]) for reach in one.traces["train_loss"])
    assert (none.traces, none.margins, none.counts) == ({}, {}, {})
    assert none.seeds == one.seeds == {}
    assert none.duration is one.duration is None


@given(st.lists(SIZES | SIZES.map(lambda size: -size), min_size=1, max_size=9))
def test_root_mean_square_lies_between_mean_and_largest(values):
    assert sum(map(abs, values)) / len(values) <= root_mean_square(values) * (1 + 1e-9)
    assert root_mean_square(values) <= max(map(abs, values)) * (1 + 1e-9)


@given(SIZES)
def test_rounding_up_never_shrinks_and_keeps_three_digits(value):
    rounded = round_up(value)
    assert value <= rounded <= value * 1.0101
    assert float(f"{rounded:.3g}") == rounded


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(0.0, 0.0), (0.1234, 0.124), (123.4, 124.0), (9.999e-7, 1e-6), (0.007010000000000001, 0.00702), (math.nextafter(0.25, 1), 0.251)],
)
def test_rounding_up_goes_to_the_next_number_with_three_digits(value, rounded):
    assert round_up(value) == rounded


# Counts of right answers


def counted(right, asked, margins, reach):
    answers = Answers(len(right), pack(right), pack(asked))
    own = SeedFigures(dict.fromkeys(SPLITS, answers.count()), dict.fromkeys(SPLITS, answers), (0.5,), (0.5,))
    return counts_within(own, "test", margins, reach)


def test_only_texts_whose_margin_is_near_zero_may_flip():
    right, margins = [True, True, False, False, True], [0.1, 2.0, -0.1, -2.0, 0.2]
    assert counted(right, [True] * 5, margins, 0.0) == (3, 3)
    assert counted(right, [True] * 5, margins, 0.1) == (2, 4)
    assert counted(right, [True] * 5, margins, 0.2) == (1, 4)
    assert counted(right, [True] * 5, margins, 9.0) == (0, 5)


def test_a_tie_may_flip_whatever_the_reach():
    assert counted([True, False], [True, True], [0.0, 0.0], 0.0) == (0, 2)


def test_texts_that_were_not_asked_for_never_flip():
    assert counted([True, False, False], [True, False, True], [1.0, 0.0, -1.0], 0.5) == (1, 1)


def test_where_all_are_right_none_can_be_gained():
    assert counted([True] * 4, [True] * 4, [0.1, 0.2, 3.0, 4.0], 0.5) == (2, 4)


texts = st.tuples(st.booleans(), st.floats(0, 3), st.booleans())  # right, size of the margin, asked


@given(st.lists(texts, min_size=1, max_size=30).filter(lambda drawn: any(text[2] for text in drawn)), st.floats(0, 3), st.floats(0, 3))
def test_the_band_of_a_count_contains_the_count_and_widens_with_the_reach(drawn, reach, more):
    asked = [text[2] for text in drawn]
    right = [text[0] and text[2] for text in drawn]
    margins = [size if is_right else -size for (_, size, _), is_right in zip(drawn, right, strict=True)]
    low, high = counted(right, asked, margins, reach)
    lower, higher = counted(right, asked, margins, reach + more)
    assert 0 <= lower <= low <= sum(right) <= high <= higher <= sum(asked)


# Seeds


def test_the_band_of_one_more_seed_is_students(baseline):
    values = [seed.counts["test"].accuracy for seed in baseline.seeds.values()]
    spread = math.sqrt(stats.tvar(values) + (1 / 300) ** 2 / 12)
    reach = stats.t.isf(LEVEL / 2, 9) * spread * math.sqrt(1 + 1 / 10)
    assert baseline.bands.seeds["test_accuracy"] == pytest.approx((sum(values) / 10 - reach, min(1, sum(values) / 10 + reach)))


def test_the_band_of_a_loss_is_one_of_factors(baseline):
    logarithms = [math.log(seed.train_loss[-1]) for seed in baseline.seeds.values()]
    reach = stats.t.isf(LEVEL / 2, 9) * stats.tstd(logarithms) * math.sqrt(1 + 1 / 10)
    low, high = baseline.bands.seeds["train_loss"]
    assert (math.log(high * low) / 2, math.log(high / low) / 2) == pytest.approx((sum(logarithms) / 10, reach))


def test_every_metric_of_seeds_has_a_band_and_the_level_shares_the_flagged_runs_among_them(baseline):
    assert set(baseline.bands.seeds) == set(SEED_METRICS) == {"train_loss", "validation_loss", "train_accuracy", "validation_accuracy", "test_accuracy"}
    assert len(ROWS) * len(SEED_METRICS) * LEVEL == pytest.approx(FLAGGED_RUNS)


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_seeds_have_no_band(recorded, of_seeds, seeds, n):
    assert recorded(of_seeds(seeds(n))).baselines["smoke"]["cpu"][1].bands.seeds == {}


def test_seeds_that_all_agree_leave_room_for_one_text_and_for_no_other_loss(seed_of):
    same = [seed_of()] * 20
    low, high = seeds_interval("test_accuracy", same)
    assert low <= 284 / 300
    assert high >= 286 / 300
    assert seeds_interval("train_loss", same) == pytest.approx((0.5, 0.5))
    assert seeds_p_value("train_loss", same, same) == 1.0


def test_seeds_with_every_text_right_leave_room_for_one_that_is_wrong(seed_of):
    low, high = seeds_interval("test_accuracy", [seed_of(right=(1040, 149, 300))] * 20)
    assert low <= 299 / 300 < 1 <= high


@pytest.mark.parametrize("losses", [(0.0, 0.0, 0.0), (0.0, 1e-3, 2e-3), (0.0, *[1e-3] * 19)], ids=["all", "one of three", "one of twenty"])
def test_a_loss_of_zero_is_a_loss_like_any_other(seed_of, losses):
    seeds = [seed_of(train_loss=loss) for loss in losses]
    assert all(map(math.isfinite, seed_values("train_loss", seeds)))
    low, high = seeds_interval("train_loss", seeds)
    assert low <= high < math.inf


def test_several_seeds_are_tested_on_the_scale_of_their_band(seed_of):
    recorded = [seed_of(train_loss=loss, right=(1005, 148, right)) for loss, right in ((0.4, 285), (0.5, 288), (0.6, 282))]
    found = [seed_of(train_loss=loss, right=(1005, 148, right)) for loss, right in ((0.7, 284), (0.9, 280))]
    expected = stats.ttest_ind([math.log(0.7), math.log(0.9)], [math.log(loss) for loss in (0.4, 0.5, 0.6)]).pvalue
    assert seeds_p_value("train_loss", found, recorded) == pytest.approx(expected)
    assert seeds_p_value("test_accuracy", found, recorded) >= stats.ttest_ind([284, 280], [285, 288, 282]).pvalue  # the rounding adds to the spread


def test_accuracies_come_in_steps_of_a_text_and_losses_in_none(seed_of):
    assert [seeds_grain(metric, [seed_of()]) for metric in SEED_METRICS] == [0, 0, 1 / 1040, 1 / 149, 1 / 300]
    assert [split_of(metric) for metric in SEED_METRICS[2:]] == list(SPLITS)


# Durations


def test_a_duration_is_compared_in_seconds_or_in_calibrations():
    policy = DurationPolicy(calibrated=True, advisory=True, at_most=None)
    assert cost_of(Timing(6.0, 2.0), policy) == 3.0
    assert cost_of(Timing(6.0, 2.0), replace(policy, calibrated=False)) == 6.0


def test_the_spread_of_durations_is_pooled_over_all_rows():
    costs = [[2.0, 3.0], [10.0, 11.0], [5.0]]
    squares = sum(math.log(one / other) ** 2 / 2 for one, other in costs[:2])
    reach = stats.t.isf(FLAGGED_RUNS / len(ROWS) / 2, 2) * math.sqrt(squares / 2 * (1 + 1 / 2))
    assert spread_factors(costs) == pytest.approx((math.exp(-reach), math.exp(reach)))


@given(TIMINGS)
def test_spread_factors_hold_every_timing_they_come_from_and_are_each_others_inverse(costs):
    factors = spread_factors(costs)
    assert (factors is None) == all(len(of_row) == 1 for of_row in costs)
    if factors:
        low, high = factors
        assert low * high == pytest.approx(1)
        for of_row in costs:
            if len(of_row) > 1:
                center = math.exp(sum(map(math.log, of_row)) / len(of_row))
                assert all(low * (1 - 1e-9) <= cost / center <= high * (1 + 1e-9) for cost in of_row)


def test_two_timings_far_apart_are_no_reason_to_break_off():
    factors = spread_factors([[1.0, 3.0]])
    assert factors is None or factors[0] < 1 / 3 < 3 < factors[1] < math.inf


def test_one_timing_of_every_row_tells_nothing():
    assert spread_factors([[1.0], [2.0]]) is None


# What is committed


def test_the_committed_methods_are_the_ones_in_use():
    assert load_expectations(DEFAULT_PATH).methods == METHODS


def committed():
    baselines = load_expectations(DEFAULT_PATH).baselines
    return [(tier, kind) for tier, kinds in baselines.items() for kind in kinds]


@pytest.fixture(scope="session")
def grains_of(row_result, figures):
    """The steps in which the numbers of a row's traces come."""

    def find(tier, number, baseline):
        counts = [baseline.own.counts[split] for split in SPLITS]
        known = figures(right=[count.right for count in counts], n=[count.n for count in counts])
        result = row_result(settings=settings_of(TIERS[tier].scale(find_row(number).experiment)), figures=known)
        return {name: grain_of(name, result, result.figures) for name in baseline.traces}

    return find


@pytest.mark.parametrize(("tier", "kind"), committed())
def test_committed_bands_follow_from_the_raw_figures_beside_them(tier, kind, grains_of):
    expectations = load_expectations(DEFAULT_PATH)
    baselines = expectations.baselines[tier][kind]
    timed = with_cost_bands(baselines, expectations.policies[tier].duration)
    for number, baseline in baselines.items():
        seeds = [*baseline.seeds.values()]
        derived = derive_bands(baseline.traces, grains_of(tier, number, baseline), baseline.margins, baseline.own, seeds, baseline.repeats)
        assert derived.counts == baseline.bands.counts
        assert derived.margins == pytest.approx(baseline.bands.margins)
        assert timed[number].bands.duration == (baseline.bands.duration and pytest.approx(baseline.bands.duration))
        for by_name in ("traces", "seeds"):
            assert getattr(derived, by_name).keys() == getattr(baseline.bands, by_name).keys()
            for name, numbers in getattr(derived, by_name).items():
                assert numbers == pytest.approx(getattr(baseline.bands, by_name)[name]), f"row {number}, {name}"


@pytest.mark.parametrize(("tier", "kind"), committed())
def test_committed_deviations_are_inside_their_bands(tier, kind):
    for baseline in load_expectations(DEFAULT_PATH).baselines[tier][kind].values():
        for repeat in baseline.repeats:
            for name, deviations in repeat.deviations.items():
                assert all(abs(deviation) <= reach for deviation, reach in zip(deviations, baseline.bands.traces[name], strict=True))
            assert all(moved <= baseline.bands.margins[split] for split, moved in repeat.margins.items())
