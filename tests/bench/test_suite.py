import html
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.__main__ import main
from bench.expectations import ExpectationError, load_expectations
from bench.finishing import finish
from bench.invariants import check_invariants
from bench.request import Request, checked
from bench.results import read_results
from bench.resuming import resume
from bench.rows import Row, find_row, select_rows
from bench.run import run_rows_here, start_run
from bench.suite import Suite, run_command
from bench.tiers import full_size
from bench.verdicts.judge import holds
from bench.verdicts.verdict import Verdict
from gptcore.errors import UsageError
from gptcore.experiment import Experiment


def make_suite(toy_tier, folder, **changes):
    """A suite of two toy rows, 3 and 12, in an own tier."""
    reference = toy_tier.scale(Experiment())
    rows = (Row(3, "mine", reference), Row(12, "first token", replace(reference, trainable_token_pos="first")))
    tier = replace(toy_tier, name="own", scale=full_size, takes_sources=False)
    return Suite(**{"rows": rows, "tiers": {"own": tier}, "expected": folder / "expected_results.json", "program": ("mine.py",)} | changes)


@pytest.fixture
def own_suite(toy_tier, tmp_path):
    """Makes the suite; keyword arguments replace its fields."""
    return lambda **changes: make_suite(toy_tier, tmp_path, **changes)


@pytest.fixture(scope="module")
def first_run(toy_tier, tmp_path_factory):
    """The folder of a run that nothing was expected of."""
    place = tmp_path_factory.mktemp("suite")
    assert run_command(make_suite(toy_tier, place), ["run", "--out", str(place / "first")]) == 1
    return place / "first"


@pytest.fixture
def recorded(first_run, tmp_path):
    """Puts what that run left ready in the place of the suite's own file."""
    shutil.copy(first_run / "expected_results.json", tmp_path)


@pytest.fixture
def run_here(own_suite, monkeypatch, tmp_path):
    """Runs a command of the own suite."""
    monkeypatch.chdir(tmp_path)
    return lambda *words: run_command(own_suite, [*map(str, words)])


def test_a_suite_has_its_own_rows_tier_and_command(run_here, capsys):
    assert run_here("list") == 0
    printed = capsys.readouterr().out
    assert "rows of the own tier: toys" in printed
    assert re.search(r"│\s+12\s+│ first token\s+│ --trainable_token_pos first\s+│", printed)
    assert "mine" in printed


def test_rows_without_expectations_run_and_are_missing(run_here, first_run, capsys):
    assert run_here("check", first_run) == 1
    printed = capsys.readouterr().out
    assert "row 3 (mine): missing" in printed
    assert "again: python mine.py run --tier own --device cpu --rows 12" in printed
    info = read_results(first_run).info
    assert (info.tier, info.rows) == ("own", (3, 12))
    assert info.command == "python mine.py run --tier own --device cpu"


def test_what_a_run_leaves_ready_makes_the_next_one_hold(run_here, recorded, own_suite, tmp_path, capsys):
    assert "published" not in (tmp_path / "expected_results.json").read_text()
    assert run_here("run", "--out", "second") == 0
    assert run_here("check", "second") == 0
    assert run_here("verify", "second") == 0
    assert run_here("summary", "second") == 0
    assert "mine" in capsys.readouterr().out


def test_its_report_speaks_of_its_own_commands_and_of_no_publication(run_here, recorded, tmp_path, capsys):
    assert run_here("run", "--out", "second run") == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "as a page for a browser: python mine.py report 'second run'"
    assert run_here("report", "second run", "--against", "second run", "--plots") == 0
    assert capsys.readouterr().out == f"{Path('second run', 'report.html')}\n"
    page = html.unescape((tmp_path / "second run" / "report.html").read_text())
    assert "All 2 rows hold" in page
    for command in ("run --tier own --device cpu --rows 3,12", "check 'second run'", "report 'second run' --against 'second run'"):
        assert f"<code>python mine.py {command}</code>" in page
    assert "python -m bench" not in page
    assert not {"published", "findings", "a100"} & set(re.findall(r"[a-z0-9]+", page.lower()))
    assert not (tmp_path / "second run" / "report-plots" / "findings.svg").exists()


def test_its_report_is_of_the_latest_run_and_judges_as_asked(run_here, recorded, capsys):
    assert run_here("run") == 0
    capsys.readouterr()
    assert run_here("report", "--lenient") == 0
    page = Path(capsys.readouterr().out.strip())
    assert page.parent.parent == Path("results")
    assert f"<code>python mine.py check {page.parent} --lenient</code>" in page.read_text()


def test_a_report_without_expectations_says_that_every_row_is_missing(run_here, first_run, tmp_path):
    assert run_here("report", first_run, "--out", tmp_path / "page.html") == 0
    assert "2 of 2 rows do not hold" in (tmp_path / "page.html").read_text()


def test_its_history_is_of_its_own_runs(run_here, recorded, first_run, toy_run, tmp_path, capsys):
    shutil.copytree(first_run, tmp_path / "own")
    assert run_here("history", tmp_path, "--out", tmp_path / "history.html") == 0
    printed = capsys.readouterr().out
    assert "own tier" in printed
    assert "mine" in printed
    assert "No change" in (tmp_path / "history.html").read_text()


def test_json_and_workers_know_its_rows(recorded, run_here, tmp_path, capsys):
    assert run_here("run", "--out", "second", "--workers", "2", "--quiet") == 0
    capsys.readouterr()
    assert run_here("check", tmp_path / "second", "--json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["mine", "first token"]


def test_a_program_judges_a_run_as_the_command_does(recorded, own_suite, tmp_path):
    request = Request(own_suite().tiers["own"], own_suite().rows, torch.device("cpu"), suite=own_suite())
    folder = start_run(checked(request), tmp_path / "third")
    list(run_rows_here(request, folder))
    check_invariants(request, folder)
    results, verdicts = finish(folder, own_suite().expectations(), rows=request.rows)
    assert [(verdict.name, verdict.verdict) for verdict in verdicts] == [("mine", Verdict.PASS), ("first token", Verdict.PASS)]
    assert holds(results, verdicts)


def test_a_row_that_changed_is_not_comparable(recorded, own_suite, tmp_path, capsys):
    first, second = own_suite().rows
    changed = own_suite(rows=(first, replace(second, experiment=replace(second.experiment, learning_rate=1e-3))))
    assert run_command(changed, ["run", "--out", str(tmp_path / "second")]) == 1
    printed = capsys.readouterr().out
    assert "row 12 (first token): not comparable" in printed
    assert "row 3 (mine)" not in printed.rsplit("invariants hold", 1)[1]


def test_a_run_of_a_suite_goes_on(run_here, own_suite, tmp_path):
    assert run_here("run", "--rows", "12", "--out", "begun") == 1
    assert [row.number for row in resume(tmp_path / "begun", own_suite()).rows] == [12]
    assert run_here("run", "--resume", "begun") == 1


def test_the_published_suite_stays_apart(run_here, first_run, capsys):
    for command in ("check", "show", "summary", "report"):
        for named in ([], ["--expected", str(first_run / "expected_results.json")]):
            assert main([command, str(first_run), *named]) == 2
            error = capsys.readouterr().err.rpartition("error: ")[2]
            assert error == (
                f"{first_run} is of the own tier of another suite: read it with that suite's own commands, as it was run with "
                "`python mine.py run --tier own --device cpu`\n"
            )
    assert main(["history", str(first_run)]) == 2
    assert "look at it with the commands of its own suite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_here("sensitivity")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": ()}, "at least one row and one tier"),
        ({"tiers": {}}, "at least one row and one tier"),
        (
            {"rows": [Row(1, "a", Experiment()), Row(1, "b", Experiment())]},
            "the numbers of a suite's rows are 1, 1: number them upwards, each once, from 1 to 999",
        ),
        ({"rows": [Row(2, "a", Experiment()), Row(1, "b", Experiment())]}, "are 2, 1"),
        ({"rows": [Row(0, "a", Experiment())]}, "are 0"),
        ({"rows": [Row(1000, "a", Experiment())]}, "are 1000"),
        ({"rows": [Row("1", "a", Experiment())]}, "is no row: write Row(number, name, Experiment(...))"),
        ({"rows": [Row(1, "a", {"num_epochs": 1})]}, "is no row"),
        ({"rows": [(1, "a", Experiment())]}, "is no row"),
    ],
    ids=str,
)
def test_a_wrong_table_is_told_in_one_sentence(changes, message, own_suite, capsys):
    with pytest.raises(UsageError, match=re.escape(message)):
        own_suite(**changes)
    assert run_command(lambda: own_suite(**changes), ["list"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "under", "message"), [("own", "other", "the tier under other is called own"), ("Own tier", "Own tier", "a tier is called 'Own tier'")]
)
def test_a_wrong_name_of_a_tier_is_told(name, under, message, own_suite, toy_tier):
    with pytest.raises(UsageError, match=message):
        own_suite(tiers={under: replace(toy_tier, name=name)})


def test_expectations_of_another_suite_are_refused(own_suite, expected_file):
    with pytest.raises(ExpectationError, match="the policy of the own tier is missing"):
        own_suite().expectations(expected_file)
    with pytest.raises(ExpectationError, match="cannot be read"):
        own_suite().expectations(expected_file.with_name("absent.json"))


def test_the_published_file_must_say_what_was_published(first_run):
    with pytest.raises(ExpectationError, match="lacks what was published"):
        load_expectations(first_run / "expected_results.json")


def test_rows_are_chosen_from_the_suite_s_own(own_suite):
    rows = own_suite().rows
    assert select_rows("all", rows) == rows
    assert select_rows("12", rows) == rows[1:]
    with pytest.raises(UsageError, match=r"row 4 does not exist: the table has rows 3 to 12"):
        find_row(4, rows)
