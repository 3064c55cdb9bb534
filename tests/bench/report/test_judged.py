import json
from dataclasses import replace

import pytest

from bench.__main__ import main
from bench.expectations import save_expectations
from bench.report.judged import judged_object, plain_values
from bench.results import Invariant
from bench.tiers import TIERS
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Judgement, Verdict


@pytest.fixture
def recorded_file(tmp_path, toy_run):
    path = tmp_path / "recorded.json"
    save_expectations(path, toy_run.expectations)
    return path


def test_the_object_says_all_that_is_documented(toy_run):
    found = judged_object(toy_run.folder, toy_run.results, judge(toy_run.results, toy_run.expectations))
    documented = judged_object.__doc__
    assert found.keys() == {"schema_version", "holds", "closing", "folder", "run", "rows", "invariants"}
    row = found["rows"][1]
    assert row.keys() == {"row", "name", "verdict", "holds", "judgements", "flips", "power", "published_seconds", "command", "result"}
    assert all(key in documented for key in found.keys() | row.keys() | row["judgements"][0].keys())
    assert (found["holds"], found["closing"], row["name"], row["verdict"]) == (True, "2 of 2 judged rows hold", "first token", "pass")
    assert row["command"].endswith("--rows 2")
    figures = toy_run.results.rows[2].figures
    assert row["result"]["figures"]["counts"]["test"] == {"right": figures.counts["test"].right, "n": 10}
    assert len(row["result"]["figures"]["history"]) == len(figures.history)
    assert not {"answers", "margins", "attestation"} & row["result"]["figures"].keys()


def test_a_row_that_never_ran_or_failed_is_in_it(toy_run, row_result):
    rows = {1: row_result(figures=None, error="broken")}
    results = replace(toy_run.results, rows=rows, invariants=(Invariant("a holds", (1,), False, "it does not"),))
    found = judged_object(toy_run.folder, results, judge(results, toy_run.expectations))
    assert [row["verdict"] for row in found["rows"]] == ["error", "missing"]
    assert found["rows"][0]["result"]["error"] == "broken"
    assert found["rows"][1]["result"] is None
    assert found["invariants"] == [{"name": "a holds", "rows": [1], "holds": False, "explanation": "it does not"}]
    assert not found["holds"]


def test_what_is_not_finite_is_null():
    assert plain_values(Judgement("duration", Verdict.PASS, "baseline", 1.0, 1.0, 0.0, float("inf")))["high"] is None


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_standard_output_holds_one_object_and_nothing_else(tmp_path, toy_tier, recorded_file, monkeypatch, capsys, quiet):
    monkeypatch.setitem(TIERS, "smoke", toy_tier)
    folder = str(tmp_path / "out")
    expected = ["--expected", str(recorded_file)]
    assert main(["run", "--rows", "1-2", "--out", folder, "--json", *quiet, *expected]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["folder"], found["holds"]) == (folder, True)
    assert ("[2/2] row 2 (first token)" in said.err) == (not quiet)
    for command in ("check", "show"):
        assert main([command, folder, "--json", *expected]) == 0
        assert json.loads(capsys.readouterr().out) == found


def test_quiet_leaves_what_failed_and_the_closing_line(tmp_path, toy_tier, recorded_file, expected_file, toy_run, monkeypatch, capsys):
    monkeypatch.setitem(TIERS, "smoke", toy_tier)
    assert main(["run", "--rows", "1-2", "--out", str(tmp_path / "out"), "--quiet", "--expected", str(recorded_file)]) == 0
    assert capsys.readouterr().out == "2 of 2 judged rows hold\n"
    assert main(["check", str(toy_run.folder), "--quiet", "--expected", str(expected_file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("row ")] == ["row 1 (reference): missing", "row 2 (first token): missing"]
    assert lines[-1] == "0 of 2 judged rows hold"
    assert main(["show", str(toy_run.folder), "--quiet", "--expected", str(recorded_file)]) == 0
    assert capsys.readouterr().out == "2 of 2 judged rows hold\n"
