import argparse
import json
import os
import shlex
from dataclasses import replace

import pytest

import bench.__main__
import bench.recording.repeats
from bench.environment import CHECKOUT, NUMERICAL_VARIABLES
from bench.expectations import ExpectationError
from bench.options import add_request
from bench.recording.baselines import repeat_of
from bench.recording.repeats import KERNELS, ON_CPU, ON_GPU, Condition, conditions_for, measure_repeats, run_under, time_apart
from bench.results import Results, ResultsError
from gptcore.errors import UserError

# A checkout whose `python -m bench` writes what stands beside it, and then notes how it was called.
CHILD = """
import json, os, pathlib, shutil, sys
here = pathlib.Path(__file__).parent
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
shutil.copytree(here / "written", out)
(out / "called.json").write_text(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]))
"""


@pytest.fixture
def checkout(tmp_path, results_folder, run_info, row_result):
    """Makes a checkout whose bench gives row 1's usual figures, then runs the given code."""

    def make(code="", results=None):
        package = tmp_path / "checkout" / "bench"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(CHILD + code)
        results_folder(results or Results(run_info(), {1: row_result()})).rename(package / "written")
        return package.parent

    return make


def called(folder):
    return json.loads((folder / "called.json").read_text())


# Conditions


def test_every_condition_differs_from_the_usual_run_and_from_the_others():
    for conditions in (ON_CPU, ON_GPU):
        assert all(condition != Condition() for condition in conditions)
        assert len({condition.name for condition in conditions}) == len(conditions)


def test_on_a_cpu_weights_threads_and_kernels_vary_and_elsewhere_weights_alone():
    assert {condition.threads for condition in conditions_for("cpu")} == {1, 2}
    assert {name for condition in conditions_for("cpu") for name in condition.variables} <= NUMERICAL_VARIABLES
    assert {condition.perturbation for condition in conditions_for("cpu")} == {0.0, 1e-7, 2e-7, 5e-7, 1e-6}
    for condition in conditions_for("cuda"):
        assert 1e-7 <= condition.perturbation <= 1e-6
        assert (condition.threads, condition.variables) == (1, {})


@pytest.mark.parametrize(
    ("condition", "name", "flags"),
    [
        (Condition(threads=2), "threads: 2", "--threads 2"),
        (Condition(2e-7, 3), "weights x (1 + 2e-07 e3), threads: 1", "--threads 1 --perturb 2e-07 --perturb-seed 3"),
        (Condition(variables={"MKL_CBWR": "COMPATIBLE", "A": "b"}), "threads: 1, MKL_CBWR=COMPATIBLE A=b", "--threads 1"),
    ],
)
def test_a_condition_is_told_in_words_and_in_flags(condition, name, flags):
    assert (condition.name, shlex.join(condition.flags)) == (name, flags)


@pytest.mark.parametrize("condition", ON_CPU, ids=lambda condition: condition.name)
def test_the_command_line_understands_every_condition(condition):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_request(parser.add_argument)
    options = parser.parse_args(condition.flags)
    assert (options.threads, options.perturb) == (condition.threads, condition.perturbation)
    assert not condition.perturbation or options.perturb_seed == condition.seed


# One run in a process of its own


def test_a_run_gets_its_flags_its_variables_and_a_folder_of_its_own(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    monkeypatch.setenv("GPTCORE_ASSETS", "kept")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    place, condition = checkout(), Condition(1e-6, 4, 2, {"MKL_CBWR": "COMPATIBLE"})
    results = run_under(condition, ["--tier", "smoke", "--rows", "1"], tmp_path / "out", place)
    arguments, folder, environment = called(tmp_path / "out")
    assert arguments == ["run", "--tier", "smoke", "--rows", "1", *condition.flags, "--out", str(tmp_path / "out")]
    assert folder == str(place)
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(place), str(CHECKOUT)], "of two packages of one name Python takes the first"
    assert environment["GPTCORE_ASSETS"] == "kept"
    assert environment["MKL_CBWR"] == "COMPATIBLE"
    assert "OMP_NUM_THREADS" not in environment, "what this process was told about numbers must not reach a condition"
    assert set(results.rows) == {1}


def test_a_folder_named_from_here_is_found_from_the_checkout(checkout, tmp_path, monkeypatch):
    place = checkout()
    monkeypatch.chdir(tmp_path)
    results = run_under(Condition(threads=2), [], (tmp_path / "out").relative_to(tmp_path), place)
    assert results.rows
    assert called(tmp_path / "out")[1] == str(place)


def test_a_row_that_moved_is_a_result_like_any_other(checkout, tmp_path):
    assert run_under(Condition(threads=2), [], tmp_path / "out", checkout("sys.exit(1)")).rows


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('error: no weights', file=sys.stderr); sys.exit(2)", "error: no weights"),
        ("sys.exit(3)", "no message"),
        ("print('many', 'lines', sep=chr(10), file=sys.stderr); sys.exit(130)", "lines"),
    ],
    ids=["told", "silent", "many lines"],
)
def test_a_run_that_breaks_off_is_told_in_one_sentence(checkout, tmp_path, code, reason):
    with pytest.raises(ResultsError) as broken:
        run_under(Condition(threads=2), [], tmp_path / "out", checkout(code))
    assert str(broken.value) == f"running rows under threads: 2 failed ({reason}): mend that first"


def test_a_run_that_was_killed_is_no_result_of_its_code(checkout, tmp_path):
    with pytest.raises(UserError, match="killed by signal 9") as broken:
        run_under(Condition(threads=2), [], tmp_path / "out", checkout("os.kill(os.getpid(), 9)"))
    assert not isinstance(broken.value, ResultsError)


@pytest.mark.parametrize("when", ["at once", "after its first row"])
def test_a_run_that_ends_in_a_traceback_is_told_by_its_error(checkout, tmp_path, run_info, row_result, when):
    """Python's exit code of a traceback is 1, as that of a run with a row that moved."""
    place = checkout("raise RuntimeError('out of luck')", Results(run_info(rows=(1, 2)), {1: row_result()}))
    if when == "at once":
        (place / "bench" / "__main__.py").write_text("raise RuntimeError('out of luck')")
    with pytest.raises(ResultsError, match=r"running rows under threads: 2 failed .*out of luck"):
        run_under(Condition(threads=2), [], tmp_path / "out", place)


def test_the_real_bench_stands_in_the_checkout():
    assert (CHECKOUT / "bench" / "__main__.py").samefile(bench.__main__.__file__)


@pytest.mark.slow
def test_a_real_row_moves_by_rounding_under_a_real_condition(tmp_path):
    usual, moved = (
        run_under(condition, ["--tier", "smoke", "--rows", "1"], tmp_path / name, CHECKOUT)
        for name, condition in (("usual", Condition()), ("moved", Condition(1e-6, 1, variables=KERNELS[0])))
    )
    assert KERNELS[0].items() <= moved.info.environment.environment_variables.items()
    repeat = repeat_of("moved", 1e-6, 1, usual.rows[1], moved.rows[1])
    assert repeat.deviations["trained_parameters"] == (0.0,)
    assert 0 < max(map(abs, repeat.deviations["first_logits"])) < 1e-3


# All conditions


@pytest.fixture
def running(monkeypatch, nudged):
    """Puts a run's figures, moved by its condition's perturbation, in the place of a child process; returns what was asked for."""
    asked = []

    def put(recorded, broken=None):
        def run(condition, flags, out, checkout, words):
            asked.append((condition, [*flags], out))
            rows = {number: replace(result, figures=nudged(result.figures, condition.perturbation)) for number, result in recorded.rows.items()}
            return replace(recorded, rows=rows | (broken or {}))

        monkeypatch.setattr(bench.recording.repeats, "run_under", run)
        return asked

    return put


def test_every_row_has_a_repeat_of_every_condition(running, run_info, row_result, tmp_path):
    recorded = Results(run_info(rows=(1, 2)), {1: row_result(), 2: row_result(row=2)})
    asked, said = running(recorded), []
    repeats = measure_repeats(["--rows", "1-2"], recorded, ON_CPU, tmp_path, said.append)
    assert set(repeats) == {1, 2}
    for of_row in repeats.values():
        assert {repeat.condition for repeat in of_row} == {condition.name for condition in ON_CPU}
        moved = {repeat.condition: repeat.deviations["train_loss"][-1] for repeat in of_row}
        assert moved == {condition.name: pytest.approx(condition.perturbation, rel=0.01) for condition in ON_CPU}
    assert sorted(said) == sorted(f"repeated under {condition.name}" for condition in ON_CPU)
    assert {tuple(flags) for _, flags, _ in asked} == {("--rows", "1-2")}
    assert {out for _, _, out in asked} == {tmp_path / f"repeat-{number:02d}" for number in range(1, len(ON_CPU) + 1)}


def test_a_row_that_fails_under_a_condition_ends_the_measurement(running, run_info, row_result, tmp_path):
    recorded = Results(run_info(), {1: row_result()})
    running(recorded, {1: row_result(figures=None, error="the loss is nan")})
    with pytest.raises(ExpectationError, match=r"row 1 failed under threads: 2 \(the loss is nan\)"):
        measure_repeats([], recorded, [Condition(threads=2)], tmp_path)


def test_real_runs_side_by_side_each_keep_their_folder(checkout, monkeypatch, run_info, row_result, tmp_path):
    place = checkout()
    monkeypatch.setattr(bench.recording.repeats, "run_under", lambda condition, flags, out, checkout, words: run_under(condition, flags, out, place))
    recorded = Results(run_info(), {1: row_result()})
    conditions = [Condition(1e-6, 1), Condition(1e-6, 2)]
    repeats = measure_repeats(["--rows", "1"], recorded, conditions, tmp_path)
    assert [repeat.condition for repeat in repeats[1]] == [condition.name for condition in conditions]
    assert not any(any(deviations) for repeat in repeats[1] for deviations in repeat.deviations.values())
    for number, condition in enumerate(conditions, start=1):
        assert called(tmp_path / f"repeat-{number:02d}")[0][3:-2] == condition.flags


# Costs


def test_costs_are_taken_in_processes_of_their_own_with_the_recorded_threads(checkout, tmp_path, run_info, row_result):
    here, said = checkout(), []
    recorded = Results(run_info(threads=2), {1: row_result()})
    timed = time_apart(["--rows", "1"], recorded, tmp_path / "runs", said.append, (here, ("-m", "bench")))
    assert [results.rows[1] for results in timed] == [row_result()] * 5
    for number in range(1, 6):
        arguments, folder, _ = called(tmp_path / "runs" / f"timed-{number:02d}")
        assert (arguments[:5], folder) == (["run", "--rows", "1", "--threads", "2"], str(here))
    assert said == [f"timed {number} of 5 times in a process of its own" for number in range(1, 6)]
