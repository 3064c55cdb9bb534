from dataclasses import replace

import pytest

import bench.executors.running
import bench.run
from bench.executors.running import RETRIES, Account, run_in_workers, run_rows
from bench.executors.tasks import Found, Heard, Task, WorkerError
from bench.finishing import finish
from bench.recording.baselines import repeatable_figures
from bench.results import read_results, row_file, write_row
from bench.run import start_run
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Verdict
from gptcore.errors import AssetError, TrainingError
from gptcore.result import Evaluation, Progress


def here(tasks, work, again, hear):
    """The plainest executor: one task after another, in this process."""
    for task in tasks:
        for found in work(task, hear):
            yield task, found


def losing(n_lost, after=1):
    """An executor whose first so many workers die after so many messages."""

    def perform_all(tasks, work, again, hear):
        lost = 0
        for task in tasks:
            while True:
                try:
                    for number, found in enumerate(work(task, hear)):
                        if lost < n_lost and number == after:
                            raise ChildProcessError
                        yield task, found
                    break
                except ChildProcessError:
                    lost += 1
                    task = again(task, "killed by signal 9")

    return perform_all


def figures_in(folder):
    rows = read_results(folder).rows
    return {
        number: (row.settings, row.digests, row.error, repeatable_figures(row.figures), [(seed, repeatable_figures(one)) for seed, one in row.others.items()])
        for number, row in rows.items()
    }


@pytest.fixture
def both(toy_request, tmp_path, monkeypatch):
    """A run in one process, and an empty folder for the same one in workers: rows 1 and 2 share, row 5 has two parts."""
    monkeypatch.setattr(bench.run, "seeds_at_once", lambda *arguments: 2)
    request = toy_request("1-2,5", n_seeds=3)
    alone, folder = (start_run(request, tmp_path / name) for name in ("alone", "workers"))
    list(run_rows(request, alone))
    return request, alone, folder


def test_workers_give_the_same_table_bit_for_bit(both):
    request, alone, folder = both
    results = list(run_in_workers(request, folder, here))
    assert [result.row for result in results] == [1, 2, 5]
    assert figures_in(folder) == figures_in(alone)
    assert read_results(folder).rows == {result.row: result for result in results}
    assert read_results(folder).test_texts == read_results(alone).test_texts


@pytest.fixture
def reports():
    """What a run reports of each row, and the function that it reports through."""
    said = {}

    def begin(row):
        said.setdefault(row.number, []).append("begins")
        return said[row.number].append

    return said, begin


def test_rows_report_from_their_workers_what_they_report_here(both, reports, tmp_path):
    request, _, folder = both
    said, begin = reports
    list(run_in_workers(request, folder, here, begin))
    from_workers = {number: [*events] for number, events in said.items()}
    said.clear()
    list(run_rows(request, start_run(request, tmp_path / "again"), begin))

    def lasting(events):
        """All but how far training has come, of which workers leave out what comes too soon, and of other seeds."""
        return [event for event in events if not (isinstance(event, Progress) and event.phase in ("training", "further seeds") and event.done < event.of)]

    assert {number: lasting(events) for number, events in from_workers.items()} == {number: lasting(events) for number, events in said.items()}
    assert all(any(isinstance(event, Evaluation) for event in events) for events in from_workers.values())


def test_words_that_come_late_are_not_passed_on(both, reports):
    request, _, folder = both
    said, begin = reports

    def late(tasks, work, again, hear):
        yield from here(tasks, work, again, hear)
        before = {number: len(events) for number, events in said.items()}
        hear(Heard(1))
        hear(Heard(1, Progress("training", 1, 2)))
        assert {number: len(events) for number, events in said.items()} == before

    list(run_in_workers(request, folder, late, begin))


def test_a_row_that_starts_again_begins_again(both, reports):
    request, _, folder = both
    said, begin = reports
    list(run_in_workers(request, folder, losing(1, 0), begin))
    assert [said[number].count("begins") for number in (1, 2)] == [2, 1]


def test_parts_may_end_in_any_order(both):
    request, alone, folder = both
    list(run_in_workers(request, folder, lambda tasks, work, again, hear: here(tasks[::-1], work, again, hear)))
    assert figures_in(folder) == figures_in(alone)


def test_each_result_is_on_disk_before_the_next_one_comes(both):
    request, _, folder = both
    running = run_in_workers(request, folder, here)
    next(running)
    assert set(read_results(folder).rows) == {1}
    next(running)
    assert set(read_results(folder).rows) == {1, 2}


@pytest.mark.parametrize(("after", "n_own"), [(0, 3 + 2), (1, 3), (2, 3 + 1)])
def test_a_lost_worker_costs_what_it_had_not_sent_yet(both, trained, capsys, after, n_own):
    request, alone, folder = both
    list(run_in_workers(request, folder, losing(2, after)))
    assert figures_in(folder) == figures_in(alone)
    assert "a worker is lost, killed by signal 9: rows 1, 2 starts again, 2 of 3 times" in capsys.readouterr().err
    # Own seeds of the three rows: trained again are those whose first message was lost, row 1's twice, or row 2's once.
    assert trained.count((123,)) == n_own


def test_a_worker_lost_too_often_ends_the_run_with_finished_rows_kept(both, trained):
    request, alone, folder = both
    tasks_lost = []

    def perform_all(tasks, work, again, hear):
        first, *others = tasks
        yield from ((first, found) for found in work(first, hear))
        task = others[0]
        while True:
            tasks_lost.append(task)
            task = again(task, "ended with exit code 1")

    with pytest.raises(WorkerError) as error:
        list(run_in_workers(request, folder, perform_all))
    assert str(error.value) == (
        "row 5, part 1 of its seeds lost 4 workers, the last one as ended with exit code 1: mend what ends them; "
        f"finished rows stay in {folder}, go on with `python -m bench run --resume {folder}`"
    )
    assert len(tasks_lost) == RETRIES + 1
    results = read_results(folder)
    assert set(results.rows) == {1, 2}
    assert not any(row.error for row in results.rows.values())
    del trained[:]
    list(run_rows(request, folder))
    assert trained == [(123,), (124, 125)]
    assert figures_in(folder) == figures_in(alone)


def test_a_row_that_no_worker_finished_is_never_passed_over(both):
    request, _, folder = both

    def silent(tasks, work, again, hear):
        for task, found in here(tasks, work, again, hear):
            if not (found.row == 2 and found.is_last):
                yield task, found

    with pytest.raises(WorkerError, match=r"workers ended without a last word on row 2; finished rows stay in"):
        list(run_in_workers(request, folder, silent))


def test_a_task_that_ends_twice_ends_no_other_part(both):
    """Its worker was lost between its last message and its end."""
    request, alone, folder = both

    def repeating(tasks, work, again, hear):
        for task, found in here(tasks, work, again, hear):
            yield task, found
            yield task, found

    list(run_in_workers(request, folder, repeating))
    assert figures_in(folder) == figures_in(alone)


def test_a_suite_of_another_project_is_named_in_the_way_to_go_on(both):
    request, _, folder = both

    def failing(tasks, work, again, hear):
        raise WorkerError("too small")

    other = replace(request, suite=replace(request.suite, program=("rows.py",)))
    with pytest.raises(WorkerError, match=r"go on with `python rows\.py run --resume "):
        list(run_in_workers(other, folder, failing))


def test_a_run_that_stopped_goes_on_in_workers(both, trained):
    request, alone, folder = both
    running = run_rows(request, folder)
    next(running)
    kept = row_file(folder, 1).read_bytes()
    del trained[:]
    list(run_in_workers(request, folder, here))
    assert len(trained) == 4
    assert row_file(folder, 1).read_bytes() == kept
    assert figures_in(folder) == figures_in(alone)


def test_a_finished_run_starts_no_worker(both):
    request, alone, _ = both
    results = list(run_in_workers(request, alone, lambda *arguments: pytest.fail("it started")))
    assert [result.row for result in results] == [1, 2, 5]


def test_parts_that_are_there_are_not_trained_again(both, trained):
    request, alone, folder = both
    five = read_results(alone).rows[5]
    write_row(folder, replace(five, others={}, error="the run ended"))
    del trained[:]
    list(run_in_workers(request, folder, here))
    assert sorted(trained) == [(123,), (123,), (124, 125), (124, 125), (124, 125)]
    assert figures_in(folder) == figures_in(alone)


def test_rows_of_other_inputs_run_again(both):
    request, alone, folder = both
    stale = read_results(alone).rows[1]
    write_row(folder, replace(stale, digests=stale.digests | {"data": "0" * 64}))
    list(run_in_workers(request, folder, here))
    assert figures_in(folder) == figures_in(alone)


def test_a_row_that_fails_is_a_result_and_loses_no_other(both, monkeypatch):
    request, alone, folder = both
    train = bench.run.finetune_seeds

    def diverge(experiment, inputs, seeds, **keywords):
        if experiment.trainable_layers == "all" and 124 in seeds:
            raise TrainingError("the loss is nan")
        return train(experiment, inputs, seeds, **keywords)

    monkeypatch.setattr(bench.run, "finetune_seeds", diverge)
    results = {result.row: result for result in run_in_workers(request, folder, here)}
    assert results[5].error == "the loss is nan"
    assert (results[5].figures is None, [*results[5].others]) == (False, [])
    ours, theirs = figures_in(folder), figures_in(alone)
    assert [ours[number] for number in (1, 2)] == [theirs[number] for number in (1, 2)]


def test_parts_of_other_inputs_are_never_put_together(both):
    request, alone, folder = both
    account = Account(request, folder)
    five = read_results(alone).rows[5]
    account.add(Task((5,), 0), Found(5, five, is_last=True))
    other = replace(five, digests=five.digests | {"weights": "0" * 64})
    with pytest.raises(WorkerError, match="workers read other weights for row 5"):
        account.add(Task((5,), 1), Found(5, other, is_last=True))


def test_what_workers_measure_is_not_judged_and_becomes_no_baseline(toy_run, toy_request, tmp_path):
    request = toy_request("1-2")
    folder = start_run(request, tmp_path / "workers")
    list(run_in_workers(request, folder, here))
    finish(folder, toy_run.expectations)
    assert not (folder / "expected_results.json").exists()
    verdicts = judge(read_results(folder), toy_run.expectations)
    assert all(verdict.holds for verdict in verdicts)
    measured = {one.metric: one for one in verdicts[0].judgements if one.metric in ("duration", "peak_memory")}
    assert {one.verdict for one in measured.values()} == {Verdict.NOT_COMPARABLE}
    assert "measured in a worker" in measured["duration"].explanation


def test_inputs_that_cannot_be_had_just_now_leave_finished_rows_as_they_are(toy_run, toy_request, monkeypatch):
    kept = row_file(toy_run.folder, 1).read_bytes()

    def read(*arguments):
        raise AssetError("the weights cannot be had just now")

    for module in (bench.run, bench.executors.running):
        monkeypatch.setattr(module, "component_digests", read)
    (result,) = run_in_workers(toy_request("1"), toy_run.folder, here)
    assert result.error == "the weights cannot be had just now"
    assert row_file(toy_run.folder, 1).read_bytes() == kept
