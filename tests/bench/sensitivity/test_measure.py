import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

import bench.sensitivity.measure
from bench.recording.repeats import ON_CPU, Condition
from bench.report.sensitivity import clean_line, defects_line, render_sensitivity, report_sensitivity
from bench.results import Invariant, Results, ResultsError
from bench.rows import ROWS, select_rows
from bench.sensitivity.defects import DEFECTS, Defect, DefectError
from bench.sensitivity.measure import (
    CLEAN_RUNS,
    CleanOutcome,
    CleanRun,
    DefectOutcome,
    Sensitivity,
    apply,
    as_if_unperturbed,
    clean_outcome,
    copy_code,
    defect_outcome,
    kept_run,
    measure_sensitivity,
    side_by_side,
)
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Judgement, RowVerdict, Verdict
from bench.wording import row_ranges
from gptcore.errors import UsageError

MASK = next(defect for defect in DEFECTS if "no causal mask" in defect.name)


@pytest.fixture
def row_verdict():
    """Makes a RowVerdict with a passing metric before the one that told."""

    def make(row, verdict, metric="gradient_norm", holds=None):
        judgements = (
            Judgement("duration", Verdict.REGRESSED, "baseline", advisory=True),
            Judgement("first_logits", Verdict.PASS, "baseline"),
            Judgement(metric, verdict, "baseline"),
        )
        return RowVerdict(row, f"row {row}", verdict, verdict is Verdict.PASS if holds is None else holds, judgements, None)

    return make


@pytest.fixture
def found():
    clean = (CleanOutcome("threads: 1", True, 19, {}), CleanOutcome("seed 7", False, 18, {Verdict.REGRESSED: (3, 4)}))
    caught = DefectOutcome("no mask", "model.py", {1: Verdict.DRIFTED, 2: Verdict.REGRESSED, 4: Verdict.DRIFTED}, {"first_logits": 2, "weight_norm": 1})
    broken = DefectOutcome("no | import", "loop.py", {}, {}, broke_off="no module")
    missed = DefectOutcome("[bold] typo", "files.py", {}, {})
    return Sensitivity(clean, (caught, broken, missed))


# What runs


def test_clean_runs_are_many_and_not_those_the_bands_come_from():
    own_seed = [run.condition for run in CLEAN_RUNS if run.seed is None]
    assert len(own_seed) >= 30
    assert len(CLEAN_RUNS) >= 36
    assert not any(condition in ON_CPU for condition in own_seed)
    assert not {run.condition.seed for run in CLEAN_RUNS if run.condition.perturbation} & {one.seed for one in ON_CPU if one.perturbation}
    assert len({run.name for run in CLEAN_RUNS}) == len(CLEAN_RUNS)
    assert CLEAN_RUNS[0] == CleanRun(Condition())  # the control


def test_clean_runs_vary_threads_kernels_perturbations_and_seeds():
    assert {run.condition.threads for run in CLEAN_RUNS} >= {1, 2}
    assert {name for run in CLEAN_RUNS for name in run.condition.variables} >= {"ATEN_CPU_CAPABILITY", "MKL_CBWR", "DNNL_MAX_CPU_ISA"}
    assert {run.condition.perturbation for run in CLEAN_RUNS} >= {0.0, 1e-7, 1e-6}
    seeds = {run.seed for run in CLEAN_RUNS if run.seed is not None}
    assert len(seeds) >= 6
    assert not seeds & set(range(123, 143))


def test_a_copy_of_the_code_has_all_that_a_run_needs_and_takes_a_defect(tmp_path):
    copy_code(tmp_path)
    assert (tmp_path / "bench" / "smoke" / "weights").is_dir()
    assert (tmp_path / "expected_results.json").is_file()
    assert not [*tmp_path.rglob("__pycache__")]
    original = (tmp_path / "gptcore" / "model.py").read_text(encoding="utf-8")
    apply(MASK, tmp_path)
    assert (tmp_path / "gptcore" / "model.py").read_text(encoding="utf-8") == original.replace(MASK.before, MASK.after)
    with pytest.raises(DefectError, match="fits 0 places"):
        apply(MASK, tmp_path)


@pytest.fixture
def runs(monkeypatch, toy_run):
    """Stands in for child processes: remembers what was asked, and returns the toy run - or what a test makes of it.  The toys are all rows there are."""
    asked = SimpleNamespace(calls=[], results=lambda condition, flags, out, checkout: toy_run.results)

    def run_under(condition, flags, out, checkout=bench.sensitivity.measure.CHECKOUT):
        model = (checkout / "gptcore" / "model.py").read_text(encoding="utf-8")
        asked.calls.append(SimpleNamespace(condition=condition, flags=[*flags], out=out, checkout=checkout, model=model))
        out.mkdir(parents=True)
        return asked.results(condition, flags, out, checkout)

    monkeypatch.setattr(bench.sensitivity.measure, "run_under", run_under)
    monkeypatch.setattr(bench.sensitivity.measure, "ROWS", select_rows("1-2"))
    monkeypatch.setattr(bench.sensitivity.measure, "check_baselines", lambda expectations: None)  # toys are recorded without repeats
    return asked


def test_everything_runs_in_a_folder_of_its_own_and_is_judged(runs, toy_run, tmp_path, monkeypatch):
    lines, defects = [], DEFECTS[:3]
    monkeypatch.setattr(bench.sensitivity.measure, "DEFECTS", defects)
    found = measure_sensitivity(toy_run.expectations, tmp_path / "out", lines.append)
    n_runs = len(CLEAN_RUNS) + len(defects)
    assert len({call.out for call in runs.calls}) == len(runs.calls) == len(lines) == n_runs
    assert [outcome.name for outcome in found.clean] == [run.name for run in CLEAN_RUNS]
    assert [outcome.name for outcome in found.defects] == [defect.name for defect in defects]
    assert {line.split("]")[0] for line in lines} == {f"[{number}/{n_runs}" for number in range(1, n_runs + 1)}
    with_seed = [call.flags for call in runs.calls if "--seed" in call.flags]
    asked = sorted(flags[flags.index("--seed") + 1] for flags in with_seed)  # side by side, they begin in any order
    assert asked == sorted(str(run.seed) for run in CLEAN_RUNS if run.seed is not None)
    assert all({"--tier", "smoke", "--rows", "all"} <= {*call.flags} for call in runs.calls)
    assert not found.holds  # toys feel no defect
    written = json.loads((tmp_path / "out" / "sensitivity.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in written["defects"]] == [defect.name for defect in defects]


def test_a_defect_runs_in_a_copy_that_is_gone_afterwards(runs, toy_run, tmp_path):
    found = measure_sensitivity(toy_run.expectations, tmp_path / "out", only=MASK.name)
    control, (defective) = runs.calls[0], runs.calls[-1]
    assert len(runs.calls) == len(found.clean) + len(found.defects) == 2
    assert control.checkout == bench.sensitivity.measure.CHECKOUT
    assert defective.checkout != bench.sensitivity.measure.CHECKOUT
    assert MASK.after in defective.model
    assert MASK.before in control.model
    assert not defective.checkout.exists()


def test_a_run_that_breaks_off_is_caught_at_once_and_a_clean_one_stops_everything(runs, toy_run, tmp_path):
    def break_off(condition, flags, out, checkout):
        if checkout != bench.sensitivity.measure.CHECKOUT:
            raise ResultsError("no module")
        return toy_run.results

    runs.results = break_off
    (outcome,) = measure_sensitivity(toy_run.expectations, tmp_path / "out", only=MASK.name).defects
    assert outcome.is_caught
    assert outcome.worst is Verdict.ERROR
    assert outcome.broke_off == "no module"

    def break_off_always(condition, flags, out, checkout):
        raise ResultsError("no kernel")

    runs.results = break_off_always
    with pytest.raises(ResultsError, match="no kernel"):
        measure_sensitivity(toy_run.expectations, tmp_path / "other")


def moved(results, **info):
    """The results with row 1 off by a little, from a run that was otherwise so."""
    figures = results.rows[1].figures
    row = replace(results.rows[1], figures=replace(figures, fingerprint=replace(figures.fingerprint, weight_norm=1.001 * figures.fingerprint.weight_norm)))
    return replace(results, rows=results.rows | {1: row}, info=replace(results.info, **info))


@pytest.fixture
def banded(toy_run):
    """The toys' expectations, in which figures may only move by rounding."""
    of_rows = {
        number: replace(baseline, bands=replace(baseline.bands, traces={name: (1e-5,) * len(values) for name, values in baseline.traces.items()}))
        for number, baseline in toy_run.expectations.baselines["smoke"]["cpu"].items()
    }
    return replace(toy_run.expectations, baselines={"smoke": {"cpu": of_rows}})


@pytest.fixture
def told_to_stop(runs, banded, tmp_path):
    """Checks that measuring stops with these words after the first run, and that nothing is written of it."""

    def check(words, **settings):
        lines = []
        with pytest.raises(ResultsError, match=words):
            measure_sensitivity(banded, tmp_path / "out", lines.append, **settings)
        assert [call.condition for call in runs.calls] == [Condition()]
        assert len(lines) == 1
        assert not (tmp_path / "out" / "sensitivity.json").exists()

    return check


@pytest.mark.parametrize("only", [None, MASK.name])
def test_a_control_that_is_flagged_stops_everything(told_to_stop, runs, toy_run, only):
    runs.results = lambda condition, flags, out, checkout: moved(toy_run.results)
    told_to_stop(r"does not pass all 2 rows \(2 rows judged, drifted: rows 1\)", only=only)


def test_a_control_with_rows_that_nothing_was_recorded_of_stops_everything(told_to_stop, monkeypatch):
    monkeypatch.setattr(bench.sensitivity.measure, "ROWS", ROWS)
    told_to_stop(r"the code as it is does not pass all 19 rows \(2 rows judged, none flagged\)")


def test_drift_is_caught_on_another_torch_too(runs, toy_run, banded, tmp_path):
    """It would only warn there."""
    environment = toy_run.results.info.environment
    elsewhere = moved(toy_run.results, environment=replace(environment, packages=environment.packages | {"torch": "1.0.0"}))
    first, _ = judge(elsewhere, banded)
    assert (first.verdict, first.holds) == (Verdict.DRIFTED, True)
    here = bench.sensitivity.measure.CHECKOUT
    runs.results = lambda condition, flags, out, checkout: toy_run.results if checkout == here else elsewhere
    (outcome,) = measure_sensitivity(banded, tmp_path / "out", only=MASK.name).defects
    assert outcome.caught == {1: Verdict.DRIFTED}
    assert outcome.told == {"weight_norm": 1}


def test_what_stands_there_already_is_kept(runs, toy_run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(ResultsError, match="not empty"):
        measure_sensitivity(toy_run.expectations, tmp_path / "out")
    assert not runs.calls


def test_a_selection_without_defects_is_refused(runs, toy_run, tmp_path):
    with pytest.raises(UsageError, match="no defect has 'gremlins'"):
        measure_sensitivity(toy_run.expectations, tmp_path / "out", only="gremlins")


def test_a_defect_that_no_longer_fits_is_told_before_anything_runs(runs, toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.sensitivity.measure, "DEFECTS", (Defect("old", "loop.py", "no such line", ""),))
    with pytest.raises(DefectError, match="old"):
        measure_sensitivity(toy_run.expectations, tmp_path / "out")
    assert not runs.calls


def test_after_an_interruption_nothing_new_begins():
    begun = []

    def interrupt():
        begun.append("first")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side([interrupt, *[lambda: begun.append("later")] * 100], at_once=1)
    assert len(begun) < 100


def test_tasks_return_in_their_order():
    assert side_by_side([lambda n=n: n for n in range(9)], at_once=3) == [*range(9)]


# What it sums up to


def test_perturbed_weights_are_judged_as_if_they_were_the_recorded_ones(toy_run):
    rows = {number: replace(row, digests=row.digests | {"weights": "perturbed"}) for number, row in toy_run.results.rows.items()}
    perturbed = Results(replace(toy_run.results.info, chosen=("weights",)), rows)
    assert {verdict.verdict for verdict in judge(perturbed, toy_run.expectations)} == {Verdict.NOT_COMPARABLE}
    assert {verdict.verdict for verdict in judge(as_if_unperturbed(perturbed, toy_run.expectations), toy_run.expectations)} == {Verdict.PASS}
    assert as_if_unperturbed(toy_run.results, toy_run.expectations) == replace(toy_run.results, test_texts=toy_run.results.test_texts)


def test_without_a_baseline_a_perturbed_row_stays_unjudged(toy_run, expectations):
    assert {verdict.verdict for verdict in judge(as_if_unperturbed(toy_run.results, expectations), expectations)} == {Verdict.MISSING}


def test_a_clean_run_is_flagged_by_any_row_that_should_have_passed(row_verdict):
    verdicts = [
        row_verdict(1, Verdict.PASS),
        row_verdict(2, Verdict.DRIFTED, holds=True),  # on another torch it only warns: a false alarm all the same
        row_verdict(3, Verdict.REGRESSED),
        row_verdict(4, Verdict.DRIFTED),
        row_verdict(10, Verdict.NOT_COMPARABLE, holds=True),
        row_verdict(11, Verdict.NOT_COMPARABLE),  # nobody chose that
    ]
    outcome = clean_outcome(CleanRun(Condition(), 7), verdicts)
    assert outcome.n_judged == 5
    assert outcome.flagged == {Verdict.DRIFTED: (2, 4), Verdict.REGRESSED: (3,), Verdict.NOT_COMPARABLE: (11,)}
    assert not outcome.same_seed


def test_a_defect_is_caught_by_the_rows_that_do_not_hold(row_verdict):
    verdicts = [
        row_verdict(1, Verdict.PASS),
        row_verdict(2, Verdict.DRIFTED),
        row_verdict(3, Verdict.REGRESSED, "weight_norm"),
        row_verdict(4, Verdict.DRIFTED, "weight_norm"),
        row_verdict(5, Verdict.DRIFTED, holds=True),
    ]
    outcome = defect_outcome(MASK, verdicts)
    assert outcome.caught == {2: Verdict.DRIFTED, 3: Verdict.REGRESSED, 4: Verdict.DRIFTED}
    assert [*outcome.told.items()] == [("weight_norm", 2), ("gradient_norm", 1)]
    assert outcome.worst is Verdict.REGRESSED
    assert not defect_outcome(MASK, verdicts[:1]).is_caught
    assert defect_outcome(MASK, verdicts[:1]).worst is Verdict.PASS


def test_it_holds_where_no_clean_run_is_flagged_and_every_defect_is_caught(found):
    fine = Sensitivity(found.clean[:1], found.defects[:2])
    assert fine.holds
    assert not replace(fine, clean=found.clean).holds
    assert not replace(fine, defects=found.defects).holds
    assert fine.highest_rate == pytest.approx(0.95)  # of one run that was not flagged


# What is printed


@pytest.mark.parametrize(("numbers", "expected"), [((), ""), ((7,), "7"), ((7, 1, 3, 2), "1-3,7"), ((1, 2, 19), "1-2,19")])
def test_rows_are_listed_as_the_command_line_takes_them(numbers, expected):
    assert row_ranges(numbers) == expected
    assert [row.number for row in select_rows(expected)] == sorted(numbers) if numbers else True


def test_the_lines_count(found):
    assert clean_line(found) == (
        "0 of 1 clean runs with the recorded seed flagged, 1 of 1 clean runs with other seeds flagged (37 rows judged): "
        "with 95 % confidence at most 97.5% of clean runs are"
    )
    assert defects_line(found) == "2 of 3 defects caught (66.7%); 1 of them ran through without an error"


def test_markdown_has_both_tables(found):
    lines = render_sensitivity(found).splitlines()
    assert "| threads: 1 | 19 | - | - | - | - |" in lines
    assert "| seed 7 | 18 | - | - | 3-4 | - |" in lines
    assert "| no mask | model.py | 3 of 19 | 1-2,4 | first logits 2, weight norm 1 | regressed |" in lines
    assert "| no \\| import | loop.py | at once | - | the run broke off | error |" in lines
    assert "| \\[bold\\] typo | files.py | NOT CAUGHT | - | - | pass |" in lines
    assert f"**{defects_line(found)}**" in lines


def test_the_terminal_says_the_same_and_the_file_is_written(found, tmp_path):
    console = Console(width=200, record=True)
    report_sensitivity(console, found, tmp_path)
    printed = console.export_text()
    for text in ("[bold] typo", "NOT CAUGHT", "first logits 2, weight norm 1", clean_line(found), defects_line(found)):
        assert text in printed
    assert (tmp_path / "sensitivity.md").read_text(encoding="utf-8") == render_sensitivity(found)


def test_without_other_seeds_nothing_is_said_of_them(found):
    assert "other seeds" not in clean_line(Sensitivity(found.clean[:1], found.defects))


def test_baselines_without_numerical_bands_are_refused_before_anything_runs(toy_run, expectations, tmp_path):
    for recorded in (toy_run.expectations, expectations):
        with pytest.raises(ResultsError, match="lack numerical bands"):
            measure_sensitivity(recorded, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_measurement_is_judged_again_without_running_anything(runs, toy_run, tmp_path, results_folder, monkeypatch):
    first = measure_sensitivity(toy_run.expectations, tmp_path / "out", only=MASK.name)
    n_calls = len(runs.calls)
    monkeypatch.setattr(bench.sensitivity.measure, "read_results", lambda folder: toy_run.results)
    assert measure_sensitivity(toy_run.expectations, tmp_path / "out", only=MASK.name, again=True) == first
    assert len(runs.calls) == n_calls


def test_a_kept_run_that_lacks_rows_cannot_be_judged_again(toy_run, tmp_path, monkeypatch):
    torn = replace(toy_run.results, rows={1: toy_run.results.rows[1]})
    monkeypatch.setattr(bench.sensitivity.measure, "read_results", lambda folder: torn)
    with pytest.raises(ResultsError, match="lacks rows"):
        kept_run(CLEAN_RUNS[0].condition, (), tmp_path)


def test_a_broken_invariant_catches_a_defect(runs, toy_run, tmp_path):
    broken = replace(toy_run.results, invariants=(Invariant("row 18 equals row 1 bit for bit", (1, 18), False, "history"),))
    runs.results = lambda condition, flags, out, checkout: toy_run.results if checkout == bench.sensitivity.measure.CHECKOUT else broken
    (outcome,) = measure_sensitivity(toy_run.expectations, tmp_path / "out", only=MASK.name).defects
    assert (outcome.is_caught, outcome.caught, outcome.broken) == (True, {}, ("row 18 equals row 1 bit for bit",))
