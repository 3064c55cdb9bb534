"""A result against what was expected of it -> a verdict per metric and per row."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.expectations import Baseline, Expectations, PublishedRow, TierPolicy, check_tiers
from bench.results import Results, RowResult, RunInfo
from bench.rows import ROWS, Row, find_row
from bench.verdicts.durations import judge_published_duration, judge_recorded_duration
from bench.verdicts.power import power_of
from bench.verdicts.published import does_same_work, judge_against_published, published_digests, published_seconds_of
from bench.verdicts.recorded import judge_against_baseline, same_seed_flips
from bench.verdicts.verdict import SEVERITY, Judgement, RowVerdict, Strictness, Verdict
from gptcore.result import Result


def judge(results: Results, expectations: Expectations, strictness: Strictness = Strictness.USUAL, rows: Sequence[Row] = ROWS) -> list[RowVerdict]:
    """A verdict for every row of a table that the run was asked for, finished or not.

    Raises UsageError where the run is of another table, ExpectationError where nothing is said of its tier.
    """
    check_tiers(expectations, [results.info.tier])
    return [judge_row(find_row(number, rows), results.rows.get(number), results.info, expectations, strictness) for number in results.info.rows]


def holds(results: Results, verdicts: Sequence[RowVerdict]) -> bool:
    """Whether a run passes as a whole: every row and every invariant, which must have been checked."""
    return all(verdict.holds for verdict in verdicts) and results.invariants is not None and all(invariant.holds for invariant in results.invariants)


def judge_row(row: Row, result: RowResult | None, info: RunInfo, expectations: Expectations, strictness: Strictness = Strictness.USUAL) -> RowVerdict:
    """The verdict on one row.  A row that differs only in what the person chose is not comparable and still holds; any other mismatch does not."""
    baseline = expectations.baselines.get(info.tier, {}).get(info.kind, {}).get(row.number)
    judgements = tuple(_judgements(row, result, baseline, info, expectations))
    serious = [judgement.verdict for judgement in judgements if not judgement.advisory]
    verdict = max(serious, key=SEVERITY.index)
    changed = {component for judgement in judgements for component in judgement.changed}
    chosen = verdict is Verdict.NOT_COMPARABLE and changed <= set(info.chosen)
    tolerated = verdict is Verdict.DRIFTED and not drift_fails(baseline, info, expectations.policies[info.tier], strictness)
    return RowVerdict(
        row.number,
        row.name,
        verdict,
        holds=verdict is Verdict.PASS or chosen or tolerated,
        judgements=judgements,
        result=result,
        published_seconds=published_seconds_of(row, result, expectations),
        flips=same_seed_flips(result, baseline),
        power=power_of(judgements, result, baseline, expectations.published.reruns["test"]),
    )


def drift_fails(baseline: Baseline | None, info: RunInfo, policy: TierPolicy, strictness: Strictness) -> bool:
    """Whether a drifted row does not hold: usually where the tier says so and torch is the baseline's, down to its minor version.

    The device class is the baseline's anyway, since baselines are kept apart by it.
    """
    if strictness is not Strictness.USUAL:
        return strictness is Strictness.STRICT
    return policy.drift_fails and baseline is not None and minor_version(info.environment.packages["torch"]) == minor_version(baseline.provenance.torch)


def minor_version(version: str) -> tuple[str, ...]:
    """Major and minor of a version such as 2.13.0+cpu."""
    return tuple(version.split(".")[:2])


def _judgements(row: Row, result: RowResult | None, baseline: Baseline | None, info: RunInfo, expectations: Expectations) -> Iterator[Judgement]:
    policy = expectations.policies[info.tier]
    is_published_kind = "published" in policy.against and info.precision == "fp32"
    published = expectations.published.rows.get(row.number) if is_published_kind else None
    if result is None:
        yield Judgement("row", Verdict.MISSING, "run", explanation="the run ended before this row did: go on with `run --resume FOLDER`")
    elif result.error or result.figures is None:
        yield Judgement("row", Verdict.ERROR, "run", explanation=result.error or "no figures")
    elif info.timing_only:
        yield from judge_time_alone(row, result, result.figures, baseline, published, info, expectations)
    else:
        against_published = published and judge_against_published(row, result, result.figures, published, info, expectations)
        against_baseline = baseline and judge_against_baseline(result, result.figures, baseline, info, policy)
        sources = {"published": against_published, "baseline": against_baseline}
        judgements = [judgement for against in policy.against for judgement in sources[against] or ()]
        place = f"{info.tier} / {info.kind}"
        nothing = Judgement("row", Verdict.MISSING, "expectations", explanation=f"no baseline for row {row.number} under {place}; record one")
        yield from judgements or [nothing]


def judge_time_alone(
    row: Row, result: RowResult, figures: Result, baseline: Baseline | None, published: PublishedRow | None, info: RunInfo, expectations: Expectations
) -> Iterator[Judgement]:
    """The duration of a row that ran with random weights, which take as long as any others; all else must be what the expectation had."""
    judgements = []
    if published and does_same_work(row, result, published_digests(row, expectations)):
        judgements.append(judge_published_duration(result, figures, published, info, expectations))
    if baseline and does_same_work(row, result, baseline.digests):
        policy = expectations.policies[info.tier].duration
        judgements.append(judge_recorded_duration(result, figures, baseline, info, policy))
    comparable = [replace(judgement, advisory=False) for judgement in judgements if judgement.verdict is not Verdict.NOT_COMPARABLE]
    yield from comparable or [
        Judgement("duration", Verdict.NOT_COMPARABLE, "any", figures.train_seconds, explanation="no duration of this work on a machine like this one is known")
    ]
