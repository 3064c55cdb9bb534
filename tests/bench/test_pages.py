import html
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import bench.tiers
from bench.__main__ import main


@pytest.fixture(autouse=True)
def toy_smoke(monkeypatch, toy_tier):
    monkeypatch.setitem(bench.tiers.TIERS, "smoke", toy_tier)


def test_report_writes_the_page_and_says_where(toy_run, recorded_file, capsys):
    assert main(["report", str(toy_run.folder), "--expected", str(recorded_file)]) == 0
    assert capsys.readouterr().out == f"{toy_run.folder / 'report.html'}\n"
    assert "All 2 rows hold" in (toy_run.folder / "report.html").read_text()


def test_report_without_a_folder_is_of_the_latest_run(tmp_path, toy_run, recorded_file, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 2
    assert "results holds no results folder: name one" in capsys.readouterr().err
    for name, began in (("b", 300), ("a", 400), ("c", 100)):
        shutil.copytree(toy_run.folder, tmp_path / "results" / name)
        os.utime(tmp_path / "results" / name / "run.json", (began, began))
    assert main(["report", "--expected", str(recorded_file)]) == 0
    assert capsys.readouterr().out == f"{Path('results', 'a', 'report.html')}\n"


def test_report_takes_another_run_a_file_and_a_folder_for_plots(toy_run, recorded_file, tmp_path, capsys):
    page = tmp_path / "there" / "page.html"
    arguments = ["report", str(toy_run.folder), "--against", str(toy_run.folder), "--expected", str(recorded_file), "--out", str(page), "--plots"]
    assert main(arguments) == 0
    assert "Against another run" in page.read_text()
    assert (tmp_path / "there" / "page-plots" / "accuracy.svg").is_file()
    assert main([*arguments, str(tmp_path / "mine")]) == 0
    assert (tmp_path / "mine" / "durations.png").is_file()


def test_the_check_that_a_page_advises_says_what_the_page_says(toy_run, drifted_file, capsys):
    assert main(["report", str(toy_run.folder), "--expected", str(drifted_file), "--strict"]) == 0
    page = html.unescape((toy_run.folder / "report.html").read_text())
    assert f"judged with --strict --expected {drifted_file}" in page
    (arguments,) = re.findall("<code>python -m bench (check .*?)</code>", page)
    assert main(shlex.split(arguments)) == 1


def test_report_of_rows_that_do_not_hold_is_a_page_too(toy_run, expected_file):
    assert main(["report", str(toy_run.folder), "--expected", str(expected_file)]) == 0
    assert "2 of 2 rows do not hold" in (toy_run.folder / "report.html").read_text()


@pytest.mark.parametrize("name", ["run.json", "row-01.json", "invariants.json"])
def test_report_of_a_damaged_folder_is_one_sentence(toy_run, capsys, name):
    (toy_run.folder / name).write_text("{")
    assert main(["report", str(toy_run.folder)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (toy_run.folder / "report.html").exists()


def test_report_without_expectations_is_one_sentence(toy_run, capsys, tmp_path):
    assert main(["report", str(toy_run.folder), "--expected", str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_pages_say_what_is_not_installed(toy_run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bench.report.page.write", None)
    assert main(["report", str(toy_run.folder)]) == 2
    assert "python -m pip install --editable" in capsys.readouterr().err


def test_history_prints_and_writes_a_page(toy_run, tmp_path, capsys):
    page = tmp_path / "history.html"
    assert main(["history", str(tmp_path), "--out", str(page), "--plots"]) == 0
    assert "1 run, " in capsys.readouterr().out
    assert "No change" in page.read_text()
    assert list((tmp_path / "history-plots").glob("*.svg"))
    assert main(["history", str(tmp_path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["runs"][0]["folder"] == "toy-run"


def test_history_says_what_it_lacks(tmp_path, toy_run, capsys):
    assert main(["history", str(tmp_path / "nothing")]) == 2
    assert "holds no results folder" in capsys.readouterr().err
    assert main(["history", str(tmp_path), "--plots"]) == 2
    assert "name the page with --out" in capsys.readouterr().err
