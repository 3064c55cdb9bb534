import json

import pytest
from pydantic import TypeAdapter

from bench.expectations import DEFAULT_PATH, Published
from bench.findings.claims import FINDINGS, Claim, Conclusion, Finding, conclude, judge_claim, judge_finding, judge_findings
from bench.findings.evidence import Evidence, SeedEvidence, from_published, from_results
from bench.results import Results
from bench.rows import ROWS
from bench.statistics import Interval
from gptcore.answers import Count

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE, NOT_JUDGED = Conclusion
CLAIMS = [claim for finding in FINDINGS for claim in finding.claims]


@pytest.fixture
def published():
    return TypeAdapter(Published).validate_json(json.dumps(json.loads(DEFAULT_PATH.read_text())["published"]))


@pytest.fixture
def by_number(published):
    return {one.finding.number: one for one in judge_findings(from_published(published))}


def row_of(*counts, durations=(1.0,), flaws=()):
    """Evidence of one row: right ones of 300 test texts by seed."""
    return Evidence("d", {seed: SeedEvidence({"test": Count(right, 300)}) for seed, right in enumerate(counts)}, "m", durations, flaws=flaws)


class TestTheLiteral:
    def test_twelve_findings_stand_in_order(self):
        assert [finding.number for finding in FINDINGS] == list(range(1, 13))

    def test_every_claim_compares_two_rows_of_the_table(self):
        numbers = {row.number for row in ROWS}
        assert all({claim.row, claim.other} <= numbers and claim.row != claim.other for claim in CLAIMS)

    @pytest.mark.parametrize("claim", CLAIMS, ids=str)
    def test_sizes_are_the_published_ones(self, published, claim):
        row, other = published.rows[claim.row], published.rows[claim.other]
        if claim.metric == "duration":
            assert claim.size == round(row.minutes / other.minutes, 2)
        else:
            assert claim.size == round(100 * (row.accuracies["test"].right - other.accuracies["test"].right) / 300, 2)

    @pytest.mark.parametrize("claim", CLAIMS, ids=str)
    def test_no_published_size_contradicts_its_claim(self, claim):
        text = 100 / 300
        if claim.direction != "identical":
            assert conclude(claim, Interval(claim.size - text, claim.size + text)) is not NOT_SUPPORTED


class TestThePublication:
    def test_five_findings_hold_beyond_noise(self, by_number):
        assert {number for number, one in by_number.items() if one.conclusion is SUPPORTED} == {1, 2, 3, 8, 11}
        assert {number for number, one in by_number.items() if one.conclusion is INCONCLUSIVE} == {4, 5, 6, 7, 9, 10, 12}

    def test_two_blocks_beat_one(self, by_number):
        [claim] = by_number[3].claims
        assert (claim.difference.interval.low, claim.difference.interval.high) == pytest.approx((0.4144, 6.5618), abs=1e-4)  # statsmodels, newcomb
        assert claim.difference.n == 1

    def test_large_is_not_known_to_beat_small(self, by_number):
        assert [claim.conclusion for claim in by_number[5].claims] == [SUPPORTED, INCONCLUSIVE, SUPPORTED]

    def test_all_layers_do_not_beat_two_blocks(self, by_number):
        gain, time, over_two_blocks = by_number[4].claims
        assert [gain.conclusion, time.conclusion, over_two_blocks.conclusion] == [INCONCLUSIVE, INCONCLUSIVE, SUPPORTED]
        assert over_two_blocks.difference.interval.high == pytest.approx(0.9826, abs=1e-4)  # statsmodels, newcomb; the margin is 1
        assert time.difference.notes == ("rounding alone leaves 2.40 to 2.53",)

    def test_no_padding_misses_by_a_hair(self, by_number):
        claim = by_number[9].claims[0]
        assert claim.difference.interval.low == pytest.approx(-0.0087, abs=1e-4)  # statsmodels, newcomb
        assert claim.conclusion is INCONCLUSIVE

    def test_one_more_right_answer_means_nothing(self, by_number):
        [claim] = by_number[10].claims
        assert claim.difference.notes == ("no pairing significant, p from 1",)

    def test_findings_on_flawed_rows_say_so(self, by_number):
        assert {number for number, one in by_number.items() if one.flaws} == {5, 9, 11}
        assert [flaw.split(":")[0] for flaw in by_number[11].flaws] == ["row 18"]


class TestDirections:
    @pytest.mark.parametrize(
        ("direction", "limit", "supported", "refuted", "open_intervals"),
        [
            ("higher", 0.0, [(0.1, 3), (2, 2)], [(-3, -0.1), (-3, 0), (0, 0)], [(-1, 3), (0, 3)]),
            ("lower", 0.0, [(-3, -0.1)], [(0.1, 3), (0, 3), (0, 0)], [(-1, 3), (-3, 0)]),
            ("not higher", 1.0, [(-3, -1), (-3, 1), (0, 0), (-0.5, 0.5)], [(0.1, 0.5), (2, 3)], [(-1, 1.1), (0, 2)]),
            ("not lower", 1.0, [(1, 3), (-1, 3), (0, 0), (-0.5, 0.5)], [(-0.5, -0.1), (-3, -2)], [(-1.1, 1), (-2, 0)]),
            ("about equal", 1.0, [(-1, 1), (0, 0), (0.2, 0.8)], [(1.1, 2), (-2, -1.1)], [(-2, 2), (0.5, 1.5), (1, 2)]),
        ],
    )
    def test_all_of_the_interval_supports_none_of_it_refutes(self, direction, limit, supported, refuted, open_intervals):
        claim = Claim(1, 2, direction, 0.0, limit=limit)
        for bounds, conclusion in [*((one, SUPPORTED) for one in supported), *((one, NOT_SUPPORTED) for one in refuted)]:
            assert conclude(claim, Interval(*bounds)) is conclusion, bounds
        assert all(conclude(claim, Interval(*bounds)) is INCONCLUSIVE for bounds in open_intervals)

    def test_no_interval_concludes_nothing(self):
        assert conclude(Claim(1, 2, "higher", 3.0), None) is INCONCLUSIVE

    @pytest.mark.parametrize(("bounds", "conclusion"), [((1, 2), SUPPORTED), ((2.4, 9), SUPPORTED), ((2.6, 9), NOT_SUPPORTED), ((-1, 9), INCONCLUSIVE)])
    def test_a_stated_size_must_be_possible(self, bounds, conclusion):
        assert conclude(Claim(5, 1, "higher", 1.67, stated=(1.5, 2.5)), Interval(*bounds)) is conclusion

    def test_a_published_size_need_not_be(self):
        judged = judge_claim(Claim(1, 2, "higher", 20.0), {1: row_of(290, 291, 290), 2: row_of(280, 281, 280)})
        assert judged.conclusion is SUPPORTED
        assert judged.size_inside is False

    def test_durations_are_held_against_a_factor(self):
        twice = Claim(5, 1, "higher", 2.46, limit=2.0, metric="duration")
        one = row_of(durations=(1.0, 1.01, 0.99))
        for durations, conclusion in [((2.5, 2.51), SUPPORTED), ((1.5, 1.51), NOT_SUPPORTED), ((2.0, 2.01), INCONCLUSIVE), ((2.5,), INCONCLUSIVE)]:
            assert judge_claim(twice, {5: row_of(durations=durations), 1: one}).conclusion is conclusion


class TestSeveralClaims:
    HIGHER = Finding(0, "rows 2 and 3 are better", (Claim(2, 1, "higher", 1.0), Claim(3, 1, "higher", 1.0)))

    @pytest.mark.parametrize(
        ("second", "third", "conclusion"),
        [
            (row_of(250), row_of(250), SUPPORTED),
            (row_of(250), row_of(205), INCONCLUSIVE),
            (row_of(150), row_of(205), NOT_SUPPORTED),
            (row_of(250), None, NOT_JUDGED),
            (row_of(205), None, NOT_JUDGED),
            (row_of(150), None, NOT_SUPPORTED),
        ],
    )
    def test_the_weakest_decides(self, second, third, conclusion):
        evidence = {number: row for number, row in {1: row_of(200), 2: second, 3: third}.items() if row}
        assert judge_finding(self.HIGHER, evidence).conclusion is conclusion

    def test_a_flaw_is_told_once_and_only_where_it_matters(self):
        flawed = row_of(200, flaws=("row 1: odd",))
        assert judge_finding(self.HIGHER, {1: flawed, 2: row_of(250), 3: row_of(250), 4: row_of(1, flaws=("row 4: odd",))}).flaws == ("row 1: odd",)


class TestWhatIsMissing:
    def test_nothing_is_judged_by_nothing(self):
        judged = judge_findings({})
        assert {one.conclusion for one in judged} == {NOT_JUDGED}
        assert judged[0].claims[0].reason == "no figures of row 1 and 2"

    def test_one_row_judges_nothing(self):
        assert {one.conclusion for one in judge_findings({1: row_of(285, 286)})} == {NOT_JUDGED}

    def test_other_seeds_are_no_pairs(self):
        second = Evidence("d", {9: SeedEvidence({"test": Count(225, 300)})}, "m", (1.0,))
        judged = judge_claim(FINDINGS[0].claims[0], {1: row_of(285), 2: second})
        assert (judged.conclusion, judged.reason) == (NOT_JUDGED, "no test accuracies of the same seed")
        assert judged.size_inside is None


class TestARunOfAllRows:
    def test_equal_figures_everywhere_refute_what_is_better_and_support_what_is_equal(self, run_info, row_result, figures):
        same = {row.number: row_result(row=row.number, others={124: figures(right=(1005, 148, 280))}) for row in ROWS}
        verdicts = {one.finding.number: one.conclusion for one in judge_findings(from_results(Results(run_info(), same)))}
        assert {number for number, conclusion in verdicts.items() if conclusion is NOT_SUPPORTED} == {1, 2, 3, 4, 5, 6, 8, 9, 10, 12}
        assert verdicts[11] is SUPPORTED
        assert verdicts[7] is INCONCLUSIVE  # LoRA matches; whether it is faster was timed once

    def test_rows_always_right_are_judged_too(self, run_info, row_result, figures):
        perfect = {row.number: row_result(row=row.number, figures=figures(right=(1040, 149, 300))) for row in ROWS}
        verdicts = {one.finding.number: one.conclusion for one in judge_findings(from_results(Results(run_info(), perfect)))}
        assert {number for number, conclusion in verdicts.items() if conclusion is NOT_SUPPORTED} == {4, 6}  # they state sizes beyond 0.92 points
        assert {number for number, conclusion in verdicts.items() if conclusion is SUPPORTED} == {11}

    def test_one_answer_more_refutes_that_nothing_changes(self, run_info, row_result, figures):
        rows = {1: row_result(), 18: row_result(row=18, figures=figures(wrong_test=range(14)))}
        judged = judge_findings(from_results(Results(run_info(), rows)))[10]
        assert judged.conclusion is NOT_SUPPORTED
        assert judged.claims[0].difference.notes[0] == "seed 123: test 286 against 285"
