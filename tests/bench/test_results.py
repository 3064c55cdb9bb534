import json
import re
from dataclasses import replace

import pytest

import bench.tiers
from bench.__main__ import main
from bench.documents import sealed, unsealed
from bench.results import (
    INVARIANTS_FILE,
    LOCK,
    TEXTS_FILE,
    Results,
    ResultsError,
    create_folder,
    in_use,
    read_results,
    row_file,
    write_invariants,
    write_row,
    write_texts,
)
from gptcore.packing import pack_floats


def test_results_survive_the_disk(results_folder, run_info, row_result):
    results = Results(run_info(rows=(1, 3)), {1: row_result(), 3: row_result(row=3, figures=None, error="broken\nTraceback")})
    assert read_results(results_folder(results)) == results


def test_test_texts_survive_the_disk_whatever_they_hold(results_folder, run_info, row_result):
    texts = ("plain", "two\nlines", 'quotes " and \\', "emoji \U0001f600", "")
    results = Results(run_info(), {1: row_result()}, texts)
    assert read_results(results_folder(results)) == results


def test_texts_are_written_once_for_all_rows(tmp_path, run_info):
    create_folder(tmp_path / "run", run_info())
    write_texts(tmp_path / "run", ("first",))
    written = (tmp_path / "run" / TEXTS_FILE).stat()
    write_texts(tmp_path / "run", ("first",))
    assert (tmp_path / "run" / TEXTS_FILE).stat() == written


@pytest.mark.parametrize("damage", [lambda path: None, lambda path: path.write_bytes(path.read_bytes()[:30]), lambda path: path.write_text("{}")])
def test_texts_of_other_data_or_damaged_ones_give_way(tmp_path, run_info, damage):
    create_folder(tmp_path / "run", run_info())
    write_texts(tmp_path / "run", ("first",))
    damage(tmp_path / "run" / TEXTS_FILE)
    write_texts(tmp_path / "run", ("second",))
    assert read_results(tmp_path / "run").test_texts == ("second",)


def test_damaged_texts_are_refused_naming_their_file(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}, ("a",)))
    (folder / TEXTS_FILE).write_text('{"a": 1}')
    with pytest.raises(ResultsError, match=TEXTS_FILE):
        read_results(folder)


def test_every_figure_of_a_row_survives_the_disk(results_folder, run_info, of_seeds, seeds):
    results = Results(run_info(), {1: of_seeds(seeds(3))})
    read = read_results(results_folder(results)).rows[1]
    assert read == results.rows[1]
    assert [*read.others] == [124, 125]
    assert read.others[125].answers["test"].count() == seeds(3)[2].counts["test"]


def test_baselines_are_kept_apart_by_device_class_and_precision(run_info):
    assert [run_info(precision=precision).kind for precision in ("fp32", "bf16", "tf32")] == ["cpu", "cpu bf16", "cpu tf32"]


def test_a_row_is_on_disk_before_the_run_ends(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(rows=(1, 2)), {1: row_result()}))
    assert set(read_results(folder).rows) == {1}


def test_a_folder_in_use_is_never_overwritten(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    before = row_file(folder, 1).read_bytes()
    with pytest.raises(ResultsError, match="not empty"):
        create_folder(folder, run_info())
    assert row_file(folder, 1).read_bytes() == before


def test_a_run_that_was_killed_before_it_began_keeps_nobody_out_of_its_folder(tmp_path, run_info):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.4711.tmp").write_text("{")
    create_folder(tmp_path / "run", run_info())
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.name != LOCK) == ["run.json"]


def test_what_stands_in_a_files_place_is_told_as_such(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {}))
    row_file(folder, 1).mkdir()
    with pytest.raises(ResultsError, match=r"row-01\.json cannot be written \(Is a directory\): remove what stands in its place and go on with `.*--resume"):
        write_row(folder, row_result())


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/row-01", "jobs"])
@pytest.mark.parametrize("exists", [True, False])
def test_no_run_takes_a_folder_that_leads_elsewhere(name, exists, results_folder, run_info, tmp_path):
    folder = results_folder(Results(run_info(), {}))
    kept = tmp_path / "elsewhere" / "row-01" / "thesis"
    if exists:
        kept.parent.mkdir(parents=True)
        kept.write_text("years")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResultsError, match=rf"{name} is a link, .*: remove the link, then try again"), in_use(folder):
        pytest.fail("taken")
    assert not exists or kept.read_text() == "years"


def test_a_resumed_run_removes_nothing_through_a_link(toy_run, tmp_path, monkeypatch, toy_tier, capsys):
    monkeypatch.setitem(bench.tiers.TIERS, "smoke", toy_tier)
    (tmp_path / "elsewhere" / "row-01").mkdir(parents=True)
    (tmp_path / "elsewhere" / "row-01" / "thesis").write_text("years")
    (toy_run.folder / "checkpoints").symlink_to(tmp_path / "elsewhere")
    assert main(["run", "--resume", str(toy_run.folder)]) == 2
    assert (tmp_path / "elsewhere" / "row-01" / "thesis").read_text() == "years"
    complaint = capsys.readouterr().err
    assert "checkpoints is a link" in complaint
    assert complaint.count("\n") == 1


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, run_info):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResultsError, match="--out"):
        create_folder(tmp_path / "file", run_info())
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_where_a_folder_is_read_is_told_as_such(tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(ResultsError, match=r"file is a file: name a folder"):
            read_results(tmp_path / place)


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
        lambda text: text.replace('"margins"', '"margin"'),
        lambda text: text.replace('"first_logits": [\n        0.25', '"first_logits": [\n        "much"'),
        lambda text: text.replace('"right": "//', '"right": "?/'),
        lambda text: text.replace('"weight_norm": 12.5', '"weight_norm": Infinity'),
    ],
)
def test_a_damaged_row_is_refused_naming_its_file(results_folder, run_info, row_result, damage):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    text = row_file(folder, 1).read_text()
    assert damage(text) != text
    row_file(folder, 1).write_text(damage(text))
    with pytest.raises(ResultsError, match=r"row-01\.json is not what a run writes"):
        read_results(folder)


@pytest.mark.parametrize("damage", [{"tier": "a tier"}, {"rows": []}, {"calibration_seconds": 0}])
def test_a_damaged_run_is_refused(results_folder, run_info, row_result, damage):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    document = unsealed(json.loads((folder / "run.json").read_text())) | damage
    (folder / "run.json").write_text(json.dumps(sealed(document)))
    with pytest.raises(ResultsError, match=r"run\.json is not what a run writes"):
        read_results(folder)


def reseal(path, alter):
    """Alter a document and seal it again, as somebody who knows how would."""
    document = unsealed(json.loads(path.read_text()))
    alter(document)
    path.write_text(json.dumps(sealed(document)))


@pytest.mark.parametrize("losses", ["!!!!", "AAAA", "AA", "", "ä", "AAAAAA==="])
@pytest.mark.parametrize("seed", [None, "124"])
def test_losses_that_nobody_can_unpack_are_refused(losses, seed, results_folder, run_info, of_seeds, seeds):
    folder = results_folder(Results(run_info(), {1: of_seeds(seeds(2))}))
    reseal(row_file(folder, 1), lambda row: (row["others"][seed] if seed else row["figures"])["attestation"].update(batch_losses=losses))
    with pytest.raises(ResultsError, match=r"row-01\.json is not what a run writes \((figures|others\.124)\.attestation: "):
        read_results(folder)


@pytest.mark.parametrize(
    "alter",
    [
        lambda row: row["others"].update({"123": row["figures"]}),
        lambda row: row["others"].update({"-1": row["figures"]}),
        lambda row: row["others"].update({"999": row["figures"]}),
        lambda row: row["others"].pop("124"),
        lambda row: row["others"]["124"]["attestation"].update(batch_losses=pack_floats([0.5])),
    ],
)
def test_seeds_that_no_run_writes_are_refused(alter, results_folder, run_info, of_seeds, seeds):
    folder = results_folder(Results(run_info(), {1: of_seeds(seeds(3))}))
    reseal(row_file(folder, 1), alter)
    with pytest.raises(ResultsError, match=r"row-01\.json is not what a run writes \(others.*--resume"):
        read_results(folder)


@pytest.mark.parametrize(
    ("alter", "place"),
    [
        (lambda row: row.update(seed=124), "seed: 124 is not that of the settings, 123"),
        (lambda row: row["settings"].clear(), "settings: they make no experiment"),
        (lambda row: row["settings"].update(batch_size=4), "digests.settings: it is of other settings"),
        (lambda row: row["settings"]["model"].update(n_head=0), "settings: they make no experiment"),
        (lambda row: row["digests"].update(data="d"), "digests.data: it is no sha256"),
        (lambda row: row["figures"].update(train_seconds=0.0), "figures: "),
        (lambda row: row["figures"].update(train_seconds=1e308), "figures: "),
        (lambda row: row["figures"].update(real_seconds=1e308), "figures: "),
        (lambda row: row["figures"]["history"][0].update(train_loss=1e300), "figures: "),
        (lambda row: row["figures"]["history"][0].update(step=-1), "figures: "),
        (lambda row: row["figures"]["epoch_accuracies"][0].update(train_accuracy=2.0), "figures: "),
        (lambda row: row["figures"]["margins"]["test"].__setitem__(0, -1e300), "figures: "),
        (lambda row: row["figures"]["fingerprint"].update(trained_parameters=10**19), "figures: "),
        (lambda row: row["figures"]["attestation"].update(batch_losses=pack_floats([0.9, float("nan"), 0.5])), "figures: "),
        (lambda row: row["figures"]["attestation"].update(batch_losses=pack_floats([0.9, 1e38, 0.5])), "figures: "),
        (lambda row: row.update(others={"0124": row["figures"]}), "others.0124.[key]: "),
        (lambda row: row.update(others={"+124": row["figures"]}), "others.+124.[key]: "),
        (lambda row: row.update(row="1"), "row: "),
    ],
)
def test_what_no_training_gives_is_refused_though_it_is_sealed(alter, place, results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    reseal(row_file(folder, 1), alter)
    with pytest.raises(ResultsError, match=rf"row-01\.json is not what a run writes \({re.escape(place)}"):
        read_results(folder)


@pytest.mark.parametrize(
    ("alter", "place"),
    [
        (lambda run: run.update(calibration_seconds=1e308), "calibration_seconds: "),
        (lambda run: run["environment"].update(date="yesterday"), "environment.date: "),
        (lambda run: run["environment"].update(threads=0), "environment.threads: "),
        (lambda run: run["environment"]["packages"].pop("torch"), "environment.packages: "),
        (lambda run: run.update(rows=[1, 1]), "rows: "),
        (lambda run: run.update(rows=[0]), "rows.0: "),
        (lambda run: run.update(precision="fp8"), "precision: "),
    ],
)
def test_what_no_run_is_asked_is_refused_though_it_is_sealed(alter, place, results_folder, run_info):
    folder = results_folder(Results(run_info(), {}))
    reseal(folder / "run.json", alter)
    with pytest.raises(ResultsError, match=rf"run\.json is not what a run writes \({re.escape(place)}"):
        read_results(folder)


def test_a_row_that_lacks_seeds_so_far_is_read(results_folder, run_info, of_seeds, seeds):
    row = of_seeds(seeds(3), error="unfinished")
    row = replace(row, figures=None, others={125: row.others[125]})
    assert read_results(results_folder(Results(run_info(), {1: row}))).rows == {1: row}


def test_mixed_up_files_are_refused(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    write_row(folder, row_result(row=2))
    row_file(folder, 2).replace(row_file(folder, 1))
    with pytest.raises(ResultsError, match="holds row 2"):
        read_results(folder)


def test_a_row_of_another_run_is_refused(results_folder, run_info, row_result, tmp_path):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    create_folder(tmp_path / "other", run_info())
    write_row(tmp_path / "other", row_result())
    row_file(tmp_path / "other", 1).replace(row_file(folder, 1))
    with pytest.raises(ResultsError, match=r"row-01\.json is of another run than run\.json beside it"):
        read_results(folder)


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text.replace('"right": 1005', '"right": 1004').replace('"n": 1040', '"n": 1039'),
        lambda text: text.replace('"train_loss": 0.5', '"train_loss": 0.4'),
        lambda text: text.replace('"name": "reference"', '"name": "Reference"'),
    ],
)
def test_a_row_that_still_makes_sense_is_refused_where_it_was_altered(results_folder, run_info, row_result, alter):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    text = row_file(folder, 1).read_text()
    assert alter(text) != text
    row_file(folder, 1).write_text(alter(text))
    with pytest.raises(ResultsError, match=r"row-01\.json .*its seal is of another content"):
        read_results(folder)


def test_another_spacing_is_no_alteration(results_folder, run_info, row_result):
    results = Results(run_info(), {1: row_result()})
    folder = results_folder(results)
    row_file(folder, 1).write_text(json.dumps(json.loads(row_file(folder, 1).read_text())))
    assert read_results(folder) == results


@pytest.mark.parametrize(("version", "age"), [(1, "an older"), (7, "a newer")])
def test_results_of_another_version_are_refused_as_such(results_folder, run_info, row_result, version, age):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    (folder / "run.json").write_text(json.dumps({"schema_version": version, "whatever": "it says"}))
    with pytest.raises(ResultsError, match=rf"run\.json was written by {age} version of bench \(schema {version}, this one reads 2\)"):
        read_results(folder)


@pytest.mark.parametrize("name", ["run.json", "row-01.json", TEXTS_FILE, INVARIANTS_FILE])
def test_nothing_outside_the_folder_and_nothing_but_a_file_is_read(results_folder, run_info, row_result, tmp_path, name):
    folder = results_folder(Results(run_info(), {1: row_result()}, ("a",)))
    write_invariants(folder, ())
    (folder / name).replace(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ResultsError, match=rf"{name} is not what a run writes \(it is a link to a file elsewhere\)"):
        read_results(folder)
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(ResultsError, match=rf"{name} is not what a run writes \(it is no file\)"):
        read_results(folder)


def test_bytes_of_file_names_that_are_no_text_are_spelled_out(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(command="run --data-dir '\udcff'"), {1: row_result(figures=None, error="no \udcfe")}))
    results = read_results(folder)
    assert (results.info.command, results.rows[1].error) == (r"run --data-dir '\udcff'", r"no \udcfe")


def test_nothing_temporary_is_left_behind(results_folder, run_info, row_result):
    folder = results_folder(Results(run_info(), {1: row_result()}))
    write_row(folder, row_result(seed=7))
    assert sorted(path.name for path in folder.iterdir() if path.name != LOCK) == ["row-01.json", "run.json"]
