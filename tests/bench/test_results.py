import json

import pytest

from bench.results import Results, ResultsError, create_folder, read_results, row_file, write_row


def test_results_survive_the_disk(results_folder, run_info, row_result):
    results = Results(run_info(rows=(1, 3)), {1: row_result(), 3: row_result(row=3, figures=None, error="broken\nTraceback")})
    assert read_results(results_folder(results)) == results


def test_a_row_is_on_disk_before_the_run_ends(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(rows=(1, 2)), {1: row_result()}))
    assert set(read_results(folder).rows) == {1}


def test_a_folder_in_use_is_never_overwritten(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    before = row_file(folder, 1).read_bytes()
    with pytest.raises(ResultsError, match="not empty"):
        create_folder(folder, run_info())
    assert row_file(folder, 1).read_bytes() == before


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, run_info):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResultsError, match="--out"):
        create_folder(tmp_path / "file", run_info())
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ResultsError, match=r"holds no run\.json"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"right": 1005', '"right": NaN'),
        lambda text: text.replace('"seed"', '"sead"'),
        lambda text: "[]",
        lambda text: text.replace('"n": 300', '"n": 3'),
        lambda text: text.replace('"test": {', '"tests": {'),
    ],
)
def test_a_damaged_row_is_refused_naming_its_file(results_folder, run_info, row_result, damage):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    text = row_file(folder, 1).read_text()
    assert damage(text) != text
    row_file(folder, 1).write_text(damage(text))
    with pytest.raises(ResultsError, match=r"row-01\.json is not what a run writes"):
        read_results(folder)


@pytest.mark.parametrize("damage", [{"tier": "huge"}, {"rows": []}, {"calibration_seconds": 0}])
def test_a_damaged_run_is_refused(results_folder, run_info, row_result, damage):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    document = json.loads((folder / "run.json").read_text()) | damage
    (folder / "run.json").write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=r"run\.json is not what a run writes"):
        read_results(folder)


def test_mixed_up_files_are_refused(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    document = json.loads(row_file(folder, 1).read_text()) | {"row": 2}
    row_file(folder, 1).write_text(json.dumps(document))
    with pytest.raises(ResultsError, match="holds row 2"):
        read_results(folder)


def test_nothing_temporary_is_left_behind(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    write_row(folder, row_result(seed=7))
    assert sorted(path.name for path in folder.iterdir()) == ["row-01.json", "run.json"]
