from dataclasses import replace

import pytest
import torch

import bench.invariants
from bench.invariants import (
    Probe,
    an_ignored_label_that_no_text_has_changes_nothing,
    check_invariants,
    evaluations,
    miscounted,
    no_padding_is_read,
    outcomes,
    plain_equals_fast,
    taken_apart,
)
from bench.results import Results, read_results
from bench.run import plan_of, run_rows_here, start_run
from gptcore.answers import Count
from gptcore.errors import UsageError
from gptcore.execution import Execution
from gptcore.result import EpochAccuracy
from gptcore.schedule import LossEvaluation, TrainStep


@pytest.fixture
def checked_run(tmp_path, toy_request):
    """Runs toy rows, lets a test alter what is in memory of them, and returns the outcomes by name."""

    def run(rows, alter=lambda results: results, **settings):
        request = toy_request(rows, **settings)
        folder = start_run(request, tmp_path / "run")
        list(run_rows_here(request, folder))
        probe = Probe(request, plan_of(request), alter(read_results(folder)))
        return {outcome.name: outcome for check in bench.invariants.CHECKS for outcome in outcomes(check, probe)}

    return run


def with_figures(number, **changes):
    """Replaces figures of one row."""

    def alter(results):
        row = results.rows[number]
        return replace(results, rows=results.rows | {number: replace(row, figures=replace(row.figures, **changes))})

    return alter


def test_every_invariant_is_checked_on_a_run_that_has_the_rows_and_holds(checked_run):
    outcomes = checked_run("1,14-16,18")
    assert all(outcome.holds for outcome in outcomes.values()), outcomes
    assert len(outcomes) == 8
    assert {number for outcome in outcomes.values() for number in outcome.rows} == {1, 14, 15, 16, 18}


def test_a_run_without_the_rows_is_not_checked_for_them(checked_run):
    names = " ".join(checked_run("2"))
    assert "row 18" not in names
    assert "padding" not in names


@pytest.mark.parametrize("rows", ["10", "11", "3", "15"])
def test_any_row_can_be_the_sampled_one(checked_run, rows):
    assert all(outcome.holds for outcome in checked_run(rows).values())


def test_a_plain_run_is_not_compared_with_itself(checked_run):
    assert not any("plain" in name for name in checked_run("1", execution=Execution(plain=True)))


def test_what_is_checked_is_kept_with_the_run(tmp_path, toy_request):
    request = toy_request("1,18")
    folder = start_run(request, tmp_path / "run")
    list(run_rows_here(request, folder))
    assert read_results(folder).invariants is None
    check_invariants(request, folder)
    assert [invariant.holds for invariant in read_results(folder).invariants] == [True] * 5


def test_row_18_that_differs_from_row_1_is_told(toy_run, toy_request, row_result, figures):
    probe = Probe(toy_request("1,18"), None, replace(toy_run.results, rows={1: row_result(), 18: row_result(row=18, figures=figures(train_loss=0.5000001))}))
    (outcome,) = an_ignored_label_that_no_text_has_changes_nothing(probe)
    assert not outcome.holds
    assert "history" in outcome.explanation


def test_counts_that_are_not_the_answers_are_told(row_result, figures):
    settings = {"batch_size": 8, "eval_iter": 5}
    n = (1040, 149, 300)
    usual = figures(n=n, epoch_accuracies=(EpochAccuracy(1, 0.9, 0.9),))
    assert list(miscounted(row_result(settings=settings, figures=usual))) == []
    other = replace(usual, counts=dict(usual.counts) | {"test": Count(284, 300)})
    (sentence,) = miscounted(row_result(settings=settings, figures=other))
    assert "test 284 of 300" in sentence
    torn = replace(usual, epoch_accuracies=(EpochAccuracy(1, 0.9, 0.913),))
    (sentence,) = miscounted(row_result(settings=settings, figures=torn))
    assert "validation accuracy 0.913 after epoch 1 is no count of 40" in sentence
    assert len(list(miscounted(row_result(settings=settings, figures=usual, others={124: other})))) == 1


def test_answers_that_contradict_their_margins_are_told(row_result, figures):
    usual = figures(epoch_accuracies=(EpochAccuracy(1, 0.9, 0.9),))
    turned = usual.margins["test"][1:] + usual.margins["test"][:1]  # the same margins, in another order than the answers
    result = row_result(settings={"batch_size": 8, "eval_iter": 5}, figures=replace(usual, margins=dict(usual.margins) | {"test": turned}))
    assert list(miscounted(result)) == ["row 1: 2 test answers contradict their margins"]


def test_a_training_loader_that_drops_nothing_is_told(row_result, figures):
    (sentence,) = miscounted(row_result(settings={"batch_size": 8, "eval_iter": 5}, figures=figures(n=(1045, 149, 300))))
    assert "train 1005 of 1045 is not what its 1040 answers" in sentence


def test_padding_that_is_read_is_told(toy_run, toy_request, monkeypatch):
    encode = bench.invariants.encode_dataset

    def reading_the_last(dataset, experiment, tokenizer):
        return encode(dataset, replace(experiment, trainable_token_pos="last"), tokenizer)

    monkeypatch.setattr(bench.invariants, "encode_dataset", reading_the_last)
    request = toy_request("16")
    row_16 = replace(toy_run.results, rows={16: replace(toy_run.results.rows[1], row=16)})
    (outcome,) = no_padding_is_read(Probe(request, None, row_16))
    assert not outcome.holds
    assert outcome.explanation.endswith("texts do")


def test_a_repetition_that_differs_is_told(checked_run):
    def moved(results):
        first, *rest = results.rows[1].figures.history
        return with_figures(1, history=(replace(first, train_loss=first.train_loss * (1 + 1e-7)), *rest))(results)

    broken = [outcome for outcome in checked_run("1", moved).values() if not outcome.holds]
    assert [(outcome.name, outcome.explanation) for outcome in broken] == [("row 1, run again, is bit-identical", "history moved")]


def test_of_a_row_that_took_long_the_beginning_is_repeated(checked_run):
    names = checked_run("1", with_figures(1, real_seconds=1000.0))
    assert names["row 1, run again to step 2, is bit-identical"].holds


def test_a_beginning_that_differs_is_told(checked_run):
    def moved(results):
        first, *rest = results.rows[1].figures.history
        return with_figures(1, real_seconds=1000.0, history=(first, *(replace(one, gradient_norm=0.0) for one in rest)))(results)

    (broken,) = (outcome for outcome in checked_run("1", moved).values() if not outcome.holds)
    assert "step 2" in broken.explanation


def test_a_fast_way_that_strays_is_told(checked_run):
    def moved(results):
        first, *rest = results.rows[1].figures.history
        return with_figures(1, history=(replace(first, gradient_norm=first.gradient_norm * 1.01), *rest))(results)

    broken = {outcome.name.split(",")[1].strip(): outcome for outcome in checked_run("1", moved).values() if not outcome.holds}
    assert len(broken) == 3  # the repetition, the plain way, and the batch taken apart all see it


@pytest.mark.parametrize("problem", [UsageError, RuntimeError])
def test_a_check_that_cannot_be_made_does_not_hold(toy_run, toy_request, monkeypatch, problem):
    def fail(*arguments, **keywords):
        raise problem("no luck")

    monkeypatch.setattr(bench.invariants, "rehearse", fail)
    request = toy_request("1")
    (outcome,) = outcomes(plain_equals_fast, Probe(request, plan_of(request), toy_run.results))
    assert not outcome.holds
    assert outcome.name == "Plain equals fast on a sampled row"
    assert "no luck" in outcome.explanation


def test_a_run_without_results_is_not_checked(toy_request, toy_run):
    nothing = Probe(toy_request("1"), None, Results(toy_run.results.info, {}))
    assert [outcome for check in bench.invariants.CHECKS for outcome in outcomes(check, nothing)] == []


def test_the_sample_depends_on_the_commit_and_the_check_alone(toy_run, toy_request):
    def sampled(commit, check):
        environment = replace(toy_run.results.info.environment, git_commit=commit)
        results = replace(toy_run.results, info=replace(toy_run.results.info, environment=environment))
        return Probe(toy_request("1-2"), None, results).sampled(check).number

    assert {sampled(f"a{number}", "plain") for number in range(9)} == {sampled("a0", f"check {number}") for number in range(9)} == {1, 2}
    assert sampled("a0", "plain") == sampled("a0", "plain")


def test_only_rows_with_figures_that_suit_are_sampled(toy_run, toy_request):
    probe = Probe(toy_request("1-2"), None, replace(toy_run.results, rows={2: toy_run.results.rows[2]}))
    assert {probe.sampled(f"check {number}").number for number in range(9)} == {2}
    assert probe.sampled("check", lambda experiment: False) is None


def test_a_batch_taken_apart_is_the_same_texts_and_one_update(toy_request):
    experiment = toy_request("1").experiment_of(toy_request("1").rows[0])
    with torch.random.fork_rng():
        schedule = evaluations(experiment, 2)({"train": 14, "validation": 6, "test": 10})
    apart = taken_apart(schedule)
    steps = [stage for stage in apart.stages if isinstance(stage, TrainStep)]
    whole = [stage for stage in schedule.stages if isinstance(stage, TrainStep)]
    assert [text for step in steps for text in step.batch[0]] == [text for step in whole for text in step.batch[0]]
    assert [step.updates for step in steps] == [False, False, False, True] * len(whole)
    assert sum(isinstance(stage, LossEvaluation) for stage in schedule.stages) == 2
    assert isinstance(schedule.stages[-1], LossEvaluation)
