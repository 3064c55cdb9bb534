from dataclasses import replace

import pytest
import torch

import bench.plan
import bench.request
import bench.resuming
import bench.run
import bench.tiers
from bench.__main__ import main
from bench.checkpoints import checkpoints_of
from bench.executors.choice import Executor
from bench.expectations import save_expectations
from bench.options import make_parser
from bench.recording.baselines import repeatable_figures
from bench.results import Results, ResultsError, in_use, read_info, read_results, row_file, write_row
from bench.resuming import begin, refuse_other_options, request_of, resume
from bench.run import run_rows_here, start_run
from gptcore.dataset import Split
from gptcore.errors import AssetError, UserError
from gptcore.execution import Execution
from gptcore.inputs import Sources
from gptcore.result import EpochAccuracy
from gptcore.state_cache import StateCache, default_folder


@pytest.fixture(autouse=True)
def toy_smoke(monkeypatch, toy_tier):
    monkeypatch.setitem(bench.tiers.TIERS, "smoke", toy_tier)


@pytest.fixture
def recorded(tmp_path, toy_run):
    path = tmp_path / "recorded.json"
    save_expectations(path, toy_run.expectations)
    return path


def figures_in(folder):
    return {number: repeatable_figures(result.figures) for number, result in read_results(folder).rows.items()}


def test_a_run_that_stopped_goes_on_to_the_same_table(toy_request, tmp_path, recorded, trained, capsys):
    whole, broken = (start_run(toy_request("1-5"), tmp_path / name) for name in ("whole", "broken"))
    list(run_rows_here(toy_request("1-5"), whole))
    rows = run_rows_here(toy_request("1-5"), broken)
    next(rows), next(rows)
    kept = row_file(broken, 2).read_bytes()
    del trained[:]
    assert main(["run", "--resume", str(broken), "--expected", str(recorded)]) == 1  # rows 3 to 5 have no baseline
    assert len(trained) == 3
    assert figures_in(broken) == figures_in(whole)
    assert row_file(broken, 2).read_bytes() == kept
    assert "of the smoke tier on cpu, threads: 1; continuing" in capsys.readouterr().out
    assert (broken / "table.md").is_file()


def test_a_finished_run_is_judged_again_and_nothing_runs(toy_run, recorded, trained):
    before = {path.name: path.read_bytes() for path in toy_run.folder.glob("row-*.json")}
    assert main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)]) == 0
    assert trained == []
    assert {path.name: path.read_bytes() for path in toy_run.folder.glob("row-*.json")} == before


def test_a_row_whose_inputs_changed_runs_again(toy_run, recorded, trained):
    stale = toy_run.results.rows[2]
    write_row(toy_run.folder, replace(stale, digests=stale.digests | {"data": "0" * 64}))
    assert main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)]) == 0
    assert trained == [(123,)]
    assert read_results(toy_run.folder).rows[2].digests == stale.digests


def test_a_row_that_failed_runs_again(toy_run, recorded, trained):
    write_row(toy_run.folder, replace(toy_run.results.rows[1], figures=None, error="out of memory"))
    assert main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)]) == 0
    assert trained == [(123,)]


def test_a_damaged_row_is_told_of_and_runs_again(toy_run, recorded, trained):
    path = row_file(toy_run.folder, 1)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.warns(UserWarning, match=r"row-01\.json is not what a run writes \(line .*\): the row starts again$"):
        assert main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)]) == 0
    assert trained == [(123,)]


def test_what_a_killed_process_left_half_written_is_removed(toy_run, recorded):
    (toy_run.folder / ".row-02.json.4711.tmp").write_text("{")
    main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)])
    assert not list(toy_run.folder.glob(".*.tmp"))


def test_what_killed_processes_left_of_checkpoints_is_removed(toy_request, tmp_path):
    folder = start_run(toy_request("5"), tmp_path / "run")
    kept = checkpoints_of(folder, 5) / "seed-123.safetensors"
    kept.parent.mkdir(parents=True)
    kept.touch()
    for number in (4711, 4712):
        kept.with_name(f".{kept.name}.{number}.tmp").touch()
    with in_use(folder):
        assert [*kept.parent.iterdir()] == [kept]


def test_a_row_is_written_once(toy_request, tmp_path, monkeypatch):
    """On a disk that is full, a second time would fail with the row there whole."""
    written = []
    monkeypatch.setattr(bench.run, "write_row", lambda folder, result: written.append((result.row, result.n_seeds)))
    monkeypatch.setattr(bench.run, "seeds_at_once", lambda *arguments: 1)
    request = toy_request("1-2", n_seeds=2)
    list(run_rows_here(request, start_run(request, tmp_path / "run")))
    assert written == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_seeds_that_are_there_are_not_trained_again(toy_request, tmp_path, recorded, trained, monkeypatch):
    monkeypatch.setattr(bench.run, "seeds_at_once", lambda *arguments: 2)
    request = toy_request("5", n_seeds=6)
    whole, broken = (start_run(request, tmp_path / name) for name in ("whole", "broken"))
    list(run_rows_here(request, whole))
    assert trained == [(123,), (124, 125), (126, 127), (128,)]
    counting = bench.run.finetune_seeds

    def stopping(experiment, inputs, seeds, **keywords):
        if 126 in seeds:
            raise KeyboardInterrupt
        return counting(experiment, inputs, seeds, **keywords)

    monkeypatch.setattr(bench.run, "finetune_seeds", stopping)
    with pytest.raises(KeyboardInterrupt):
        list(run_rows_here(request, broken))
    assert read_results(broken).rows[5].error == "the run ended before the seeds 126 to 128 did: go on with it, or run the row again"
    monkeypatch.setattr(bench.run, "finetune_seeds", counting)
    del trained[:]
    main(["run", "--resume", str(broken), "--expected", str(recorded)])
    assert trained == [(126, 127), (128,)]
    ours, theirs = (read_results(folder).rows[5] for folder in (broken, whole))
    assert [*ours.others] == [*theirs.others] == [124, 125, 126, 127, 128]
    assert {seed: repeatable_figures(one) for seed, one in ours.others.items()} == {seed: repeatable_figures(one) for seed, one in theirs.others.items()}
    assert ours.error is None


def test_a_run_that_goes_on_cuts_the_same_passes(toy_request, tmp_path, monkeypatch):
    """Last bits depend on which rows share a pass: those that are finished take part in the plan."""
    planned = []
    share = bench.plan.share_states

    def watched(needs, *arguments, **keywords):
        planned.append(len(needs))
        return share(needs, *arguments, **keywords)

    monkeypatch.setattr(bench.plan, "share_states", watched)
    folder = start_run(toy_request("1-4"), tmp_path / "run")
    next(run_rows_here(toy_request("1-4"), folder))
    list(run_rows_here(toy_request("1-4"), folder))
    assert planned == [4, 4]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"seed": 7, "n_seeds": 2, "threads": 1},
        {"execution": Execution(plain=True), "checkpoint_every": 7.5},
        {"execution": Execution(compiled=True, memory_budget=3 * 2**28)},
        {"perturbation": 1e-6, "perturbation_seed": 3},
        {"timing_only": True},
        {"precision": "bf16"},
        {"sources": Sources(limit_train=9)},
    ],
    ids=str,
)
def test_a_folder_tells_the_request_it_was_made_for(toy_request, tmp_path, asked):
    request = bench.request.checked(toy_request("1,3-4", **asked))
    folder = start_run(request, tmp_path / "run")
    again = request_of(read_info(folder), folder)
    assert replace(again, tier=request.tier) == request


def test_kept_states_and_folders_are_asked_for_again(toy_request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = toy_request("1", execution=Execution(cache=StateCache(default_folder(), 2**30)), sources=Sources(weights=tmp_path / "own weights"))
    folder = start_run(request, tmp_path / "run")
    monkeypatch.chdir("/")
    again = request_of(read_info(folder), folder)
    assert (again.execution, again.sources) == (request.execution, request.sources)


@pytest.mark.parametrize(
    "also", [["--rows", "1"], ["--rows", "all"], ["--rows", ""], ["--out", "elsewhere"], ["--seeds", "2"], ["--plain"], ["--device", "cpu"], ["--tier", "full"]]
)
def test_nothing_else_may_be_asked_beside_resume(toy_run, also, capsys):
    assert main(["run", "--resume", str(toy_run.folder), *also]) == 2
    assert f"{also[0]} asks for something else" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--tier", "full"]])
def test_the_tier_that_a_folder_has_may_be_said_as_every_nox_session_does(results_folder, run_info, words):
    folder = results_folder(Results(run_info(tier="full"), {}))
    refuse_other_options(make_parser().parse_args(["run", "--resume", str(folder), *words]))
    with pytest.raises(UserError, match="--rows asks for something else"):
        refuse_other_options(make_parser().parse_args(["run", "--resume", str(folder), *words, "--rows", "1"]))


def test_rows_of_other_code_are_never_mixed_in(toy_run, recorded, capsys, monkeypatch):
    here = toy_run.results.info.environment
    monkeypatch.setattr(bench.resuming, "describe_environment", lambda device, checkout: replace(here, code="1" * 64))
    assert main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)]) == 2
    assert "rows of one table must come from the same code, versions and machine" in capsys.readouterr().err


def test_a_command_of_another_version_is_refused(toy_run):
    info = replace(toy_run.results.info, command="python -m bench run --tier smoke --fly")
    with pytest.raises(UserError, match="`python -m bench run --tier smoke --fly`, which this version does not know"):
        request_of(info, toy_run.folder)


@pytest.mark.parametrize("changes", [{"tier": "full"}, {"precision": "bf16"}, {"plain": True}, {"timing_only": True}])
def test_a_run_that_says_something_else_than_its_command_is_refused(toy_run, changes):
    with pytest.raises(ResultsError, match=r"run\.json is of another run than its command, `python -m bench run .*`, asks for"):
        request_of(replace(toy_run.results.info, **changes), toy_run.folder)


def test_a_command_that_was_damaged_is_refused(toy_run):
    info = replace(toy_run.results.info, command="python -m bench run --data-dir 'half")
    with pytest.raises(ResultsError, match="which this version does not know"):
        request_of(info, toy_run.folder)


@pytest.mark.parametrize(("executor", "flag"), [(Executor("slurm", 2, jobs="time=1"), "--jobs"), (Executor("ray", 2, address="there:1"), "--address")])
def test_what_a_folder_asks_of_a_cluster_is_not_taken_over(toy_request, tmp_path, monkeypatch, capsys, executor, flag):
    """Whoever can write to a folder could say it."""
    folder = start_run(toy_request("1", executor=executor), tmp_path / "run")
    monkeypatch.setattr(bench.resuming, "check_executor", lambda request: None)
    request, _ = begin(make_parser().parse_args(["run", "--resume", str(folder)]))
    assert request.executor == Executor(executor.name, 2)
    assert capsys.readouterr().err == f"{flag} of {folder} is not asked for again: say it beside --resume and --executor {executor.name}\n"


def test_what_is_asked_of_a_cluster_beside_resume_counts(toy_request, tmp_path, monkeypatch, capsys):
    folder = start_run(toy_request("1", executor=Executor("slurm", 2, jobs="time=1")), tmp_path / "run")
    monkeypatch.setattr(bench.resuming, "check_executor", lambda request: None)
    options = make_parser().parse_args(["run", "--resume", str(folder), "--executor", "slurm", "--jobs", "time=2"])
    request, _ = begin(options)
    assert request.executor == Executor("slurm", jobs="time=2")
    assert capsys.readouterr().err == ""


def test_a_folder_without_a_run_cannot_go_on(tmp_path):
    with pytest.raises(UserError, match=r"holds no run\.json"):
        resume(tmp_path)


def test_a_long_row_goes_on_from_its_checkpoint(toy_request, tmp_path, monkeypatch):
    request = toy_request("5", checkpoint_every=1e-9)
    whole, broken = (start_run(request, tmp_path / name) for name in ("whole", "broken"))
    list(run_rows_here(request, whole))

    class Stop(BaseException):
        pass

    def stop(event):
        raise Stop

    with pytest.raises(Stop):
        list(run_rows_here(request, broken, lambda row: stop))
    assert [path.name for path in (broken / "checkpoints" / "row-05").iterdir()] == ["seed-123.safetensors"]
    step = bench.run.finetune_seeds.__globals__["train"].__globals__["torch"].optim.AdamW.step
    steps = []
    monkeypatch.setattr("torch.optim.AdamW.step", lambda self, *arguments: steps.append(1) or step(self, *arguments))
    list(run_rows_here(request, broken))
    assert len(steps) == 2  # of three
    assert figures_in(broken) == figures_in(whole)
    assert not (broken / "checkpoints").exists()


def test_a_row_that_fails_can_go_on_from_its_checkpoint(toy_request, tmp_path):
    def fail(event):
        if isinstance(event, EpochAccuracy):
            raise torch.OutOfMemoryError

    request = toy_request("5", checkpoint_every=1e-9)
    folder = start_run(request, tmp_path / "run")
    (failed,) = run_rows_here(request, folder, lambda row: fail)
    assert failed.error.startswith("memory ran out")
    heard = []
    (result,) = run_rows_here(request, folder, lambda row: heard.append)
    assert result.error is None
    assert not (folder / "checkpoints").exists()


# What goes wrong while a run goes on


def test_a_row_whose_inputs_cannot_be_had_just_now_keeps_its_figures(toy_run, toy_tier):
    kept = row_file(toy_run.folder, 1).read_bytes()

    def gather(experiment, sources):
        raise AssetError("the weights cannot be had just now")

    request = replace(resume(toy_run.folder), tier=replace(toy_tier, gather=gather))
    assert [result.error for result in run_rows_here(request, toy_run.folder)] == ["the weights cannot be had just now"] * 2
    assert row_file(toy_run.folder, 1).read_bytes() == kept


def test_a_training_that_cannot_be_written_keeps_its_checkpoint(toy_request, tmp_path, monkeypatch):
    request = toy_request("5", checkpoint_every=1e-9)
    folder = start_run(request, tmp_path / "run")

    def full(folder, result):
        raise ResultsError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(bench.run, "write_row", full)
        with pytest.raises(ResultsError):
            list(run_rows_here(request, folder))
    assert [path.name for path in (folder / "checkpoints" / "row-05").iterdir()] == ["seed-123.safetensors"]
    (result,) = run_rows_here(request, folder)
    assert result.error is None
    assert not (folder / "checkpoints").exists()


def test_the_test_texts_come_back(toy_run, recorded):
    (toy_run.folder / "test-texts.json").unlink()
    assert main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)]) == 0
    assert read_results(toy_run.folder).test_texts == toy_run.results.test_texts


@pytest.mark.parametrize("name", ["test-texts.json", "invariants.json"])
def test_what_is_damaged_beside_the_rows_is_written_anew(toy_run, recorded, trained, name):
    (toy_run.folder / name).write_bytes((toy_run.folder / name).read_bytes()[:20])
    assert main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)]) == 0
    assert trained == []
    assert read_results(toy_run.folder).test_texts == toy_run.results.test_texts


def test_with_another_test_split_the_messages_are_those_of_the_rows(toy_run, toy_tier, recorded, monkeypatch):
    """A message that flipped is named by its number in what stands beside the rows."""

    def other(experiment, sources):
        inputs = toy_tier.gather(experiment, sources)
        test = Split(tuple(f"another {number}" for number in range(10)), inputs.dataset.test.labels)
        return replace(inputs, dataset=replace(inputs.dataset, test=test))

    monkeypatch.setitem(bench.tiers.TIERS, "smoke", replace(toy_tier, gather=other))
    main(["run", "--resume", str(toy_run.folder), "--expected", str(recorded)])
    assert read_results(toy_run.folder).test_texts == tuple(f"another {number}" for number in range(10))


def test_numbers_are_kept_to_the_last_digit(toy_request, tmp_path):
    request = toy_request(perturbation=1.23456789e-6, checkpoint_every=12.3456789)
    again = request_of(read_info(start_run(request, tmp_path / "run")), tmp_path / "run")
    assert (again.perturbation, again.checkpoint_every) == (1.23456789e-6, 12.3456789)
