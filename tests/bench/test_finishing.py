from dataclasses import replace

from bench.expectations import load_expectations
from bench.finishing import finish
from bench.recording.baselines import with_baselines
from bench.results import read_results
from bench.run import run_rows_here, start_run
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Strictness, Verdict
from gptcore.execution import Execution


def other_counts(baseline):
    """The counts of a baseline with one right test text more, or one less where all are right."""
    test = baseline.own.counts["test"]
    return baseline.own.counts | {"test": replace(test, right=test.right + 1 if test.right < test.n else test.right - 1)}


def test_a_run_passes_against_its_own_recording(toy_run):
    assert all(verdict.holds for verdict in judge(toy_run.results, toy_run.expectations))


def test_every_run_leaves_a_ready_replacement_and_a_table(toy_run):
    replacement = load_expectations(toy_run.folder / "expected_results.json")
    assert replacement == toy_run.expectations
    assert "| 2 | first token |" in (toy_run.folder / "table.md").read_text()


def test_a_run_of_several_seeds_passes_against_its_own_recording(toy_request, tmp_path, expectations):
    request = toy_request(n_seeds=4)
    folder = start_run(request, tmp_path / "run")
    list(run_rows_here(request, folder))
    recorded = with_baselines(expectations, read_results(folder))
    _, (verdict,) = finish(folder, recorded)
    assert (verdict.verdict, verdict.holds) == (Verdict.PASS, True)
    assert [*recorded.baselines["smoke"]["cpu"][1].seeds] == [123, 124, 125, 126]
    assert "4 seeds against themselves, paired t-test or Student's, twice the smaller p: p = 1" in verdict.judgements[-3].explanation


def test_strictness_reaches_the_verdicts(toy_run, toy_request):
    baseline = toy_run.expectations.baselines["smoke"]["cpu"][1]
    moved = replace(baseline, provenance=replace(baseline.provenance, torch="1.0"), seeds={123: replace(baseline.own, counts=other_counts(baseline))})
    expectations = replace(toy_run.expectations, baselines={"smoke": {"cpu": toy_run.expectations.baselines["smoke"]["cpu"] | {1: moved}}})
    for strictness, holds in ((Strictness.USUAL, True), (Strictness.STRICT, False), (Strictness.LENIENT, True)):
        _, verdicts = finish(toy_run.folder, expectations, strictness)
        assert (verdicts[0].verdict, verdicts[0].holds) == (Verdict.DRIFTED, holds)


def test_finishing_an_incomplete_run_reports_the_missing_row(toy_request, tmp_path, expectations):
    request = toy_request("1-2")
    folder = start_run(request, tmp_path / "run")
    next(run_rows_here(request, folder))
    finish(folder, expectations)
    assert "| 2 | first token | - |" in (folder / "table.md").read_text()


def test_a_plain_run_leaves_no_replacement(toy_request, tmp_path, expectations):
    request = toy_request(execution=Execution(plain=True))
    folder = start_run(request, tmp_path / "run")
    list(run_rows_here(request, folder))
    finish(folder, expectations)
    assert not (folder / "expected_results.json").exists()


def test_plain_and_fast_runs_are_compared_with_each_other(toy_run, toy_request, tmp_path):
    plain = toy_request("1-2", execution=Execution(plain=True))
    folder = start_run(plain, tmp_path / "plain")
    list(run_rows_here(plain, folder))
    assert all(verdict.holds for verdict in judge(read_results(folder), toy_run.expectations))


def test_each_precision_has_its_own_baselines(toy_run, toy_request, tmp_path):
    request = toy_request("1-2", precision="bf16")
    folder = start_run(request, tmp_path / "bf16")
    list(run_rows_here(request, folder))
    results, verdicts = finish(folder, toy_run.expectations)
    assert {verdict.verdict for verdict in verdicts} == {Verdict.MISSING}
    expectations = with_baselines(toy_run.expectations, results)
    assert set(expectations.baselines["smoke"]) == {"cpu", "cpu bf16"}
    assert [verdict.verdict for verdict in judge(results, expectations)] == [Verdict.PASS] * 2
    assert [verdict.verdict for verdict in judge(toy_run.results, expectations)] == [Verdict.PASS] * 2
    assert request.command.endswith("--precision bf16")
