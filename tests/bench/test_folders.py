import os

import pytest

from bench.folders import default_folder, latest_folder
from bench.results import Results, ResultsError


def test_a_folder_is_named_after_what_runs_and_when():
    folder = default_folder("smoke")
    assert folder.parent.name == "results"
    assert folder.name.startswith("smoke-20")


def test_the_latest_run_is_the_one_that_began_last_whatever_it_is_called(results_folder, run_info, tmp_path):
    older, newer = tmp_path / "z", tmp_path / "a"
    for folder, began in ((older, 1000), (newer, 2000)):
        results_folder(Results(run_info(), {})).rename(folder)
        os.utime(folder / "run.json", (began, began))
    (tmp_path / "no-run").mkdir()
    assert latest_folder(tmp_path) == newer


def test_without_any_run_there_is_no_latest_one(tmp_path):
    with pytest.raises(ResultsError, match=r"holds no results folder: name one that the command `run` wrote"):
        latest_folder(tmp_path)
