import shlex
import shutil

import pytest

import bench.__main__
import bench.tiers
from bench.__main__ import main
from bench.expectations import load_expectations
from bench.results import read_results, row_file
from bench.verdicts.judge import judge
from bench.verdicts.verdict import Verdict


@pytest.fixture(autouse=True)
def toy_smoke(monkeypatch, toy_tier):
    monkeypatch.setitem(bench.tiers.TIERS, "smoke", toy_tier)


def test_run_exits_0_where_every_row_holds(tmp_path, recorded_file, capsys):
    assert main(["run", "--rows", "1-2", "--out", str(tmp_path / "out"), "--expected", str(recorded_file)]) == 0
    assert "2 of 2 judged rows hold" in capsys.readouterr().out
    assert row_file(tmp_path / "out", 2).is_file()


@pytest.mark.parametrize(
    ("words", "sentence"), [(["--device", ""], "--device '' is unknown: choose one of"), (["--rows", ""], "--rows '' is not a selection of rows")]
)
def test_nothing_at_all_is_no_choice(words, sentence, tmp_path, capsys):
    assert main(["run", "--out", str(tmp_path / "out"), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_run_ends_with_how_to_see_it_in_a_browser(tmp_path, recorded_file, capsys):
    folder = tmp_path / "my run"
    main(["run", "--rows", "1", "--out", str(folder), "--expected", str(recorded_file)])
    *_, last = capsys.readouterr().out.splitlines()
    command, _, arguments = last.removeprefix("as a page for a browser: ").partition(" report ")
    assert command == "python -m bench"
    assert main(["report", *shlex.split(arguments)]) == 0
    assert (folder / "report.html").is_file()


def test_run_exits_1_and_names_a_row_without_expectation(tmp_path, recorded_file, capsys):
    assert main(["run", "--rows", "2-3", "--out", str(tmp_path / "out"), "--expected", str(recorded_file)]) == 1
    output = capsys.readouterr().out
    assert "row 3 (last layer only): missing" in output
    assert "row 2 (first token)" in output


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["--strict"], 1), (["--lenient"], 0)])
def test_a_drift_fails_or_warns_as_asked(toy_run, drifted_file, capsys, flags, code):
    assert main(["check", str(toy_run.folder), "--expected", str(drifted_file), *flags]) == code
    assert f"row 1 (reference): drifted{'' if code else ' (warning)'}" in capsys.readouterr().out
    assert main(["run", "--rows", "1-2", "--out", str(drifted_file.parent / "again"), "--expected", str(drifted_file), *flags]) == code
    assert main(["show", str(toy_run.folder), "--expected", str(drifted_file), *flags]) == 0


@pytest.mark.parametrize(("flags", "n_seeds", "repeats"), [([], 3, False), (["--seeds", "2", "--repeats"], 2, True), (["--no-repeats"], 3, False)])
def test_record_takes_seeds_and_repeats_from_the_tier_unless_told(tmp_path, recorded_file, monkeypatch, flags, n_seeds, repeats):
    asked = []
    monkeypatch.setattr(bench.__main__, "record", lambda request, path, folder, console, repeats: asked.append((request.n_seeds, path, folder, repeats)))
    assert main(["record", "--out", str(tmp_path / "runs"), "--expected", str(recorded_file), *flags]) == 0
    assert asked == [(n_seeds, recorded_file, tmp_path / "runs", repeats)]


def test_a_perturbed_run_is_kept_and_not_compared(tmp_path, recorded_file, capsys):
    arguments = ["run", "--rows", "1-2", "--out", str(tmp_path / "out"), "--expected", str(recorded_file), "--perturb", "1e-6", "--perturb-seed", "3"]
    assert main(arguments) == 0
    assert "no row was judged; 2 not comparable (other inputs were named than the recorded ones)" in capsys.readouterr().out
    assert not (tmp_path / "out" / "expected_results.json").exists()


def test_strict_and_lenient_contradict_each_other(toy_run, recorded_file, capsys):
    assert main(["check", str(toy_run.folder), "--expected", str(recorded_file), "--strict", "--lenient"]) == 2
    assert "--strict and --lenient contradict each other" in capsys.readouterr().err


def test_check_judges_without_running(toy_run, recorded_file, expected_file, capsys):
    assert main(["check", str(toy_run.folder), "--expected", str(recorded_file)]) == 0
    assert main(["check", str(toy_run.folder), "--expected", str(expected_file)]) == 1


def test_check_works_on_a_moved_folder(toy_run, recorded_file, tmp_path):
    shutil.move(toy_run.folder, tmp_path / "elsewhere")
    assert main(["check", str(tmp_path / "elsewhere"), "--expected", str(recorded_file)]) == 0


def test_show_never_fails_on_a_verdict(toy_run, expected_file, capsys):
    assert main(["show", str(toy_run.folder), "--expected", str(expected_file)]) == 0
    assert "torch" in capsys.readouterr().out


def test_a_summary_is_printed_or_written_whatever_the_verdict(toy_run, expected_file, tmp_path, capsys):
    arguments = ["summary", str(toy_run.folder), "--expected", str(expected_file), "--against", str(toy_run.folder)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "**smoke tier: failed** - 0 of 2 judged rows hold; 2 missing" in printed
    assert "2 rows: 2 same" in printed
    assert main([*arguments, "--out", str(tmp_path / "new" / "summary.md")]) == 0
    assert (tmp_path / "new" / "summary.md").read_text() == printed
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("flag", ["--json", "--quiet"])
def test_a_summary_has_no_other_form(toy_run, flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["summary", str(toy_run.folder), flag])
    assert f"unrecognized arguments: {flag}" in capsys.readouterr().err


def test_folders_are_compared_by_the_rows_that_were_asked_for(toy_run, capsys):
    assert main(["compare", str(toy_run.folder), str(toy_run.folder), "--rows", "2"]) == 0
    assert "1 row: 1 same" in capsys.readouterr().out
    assert main(["compare", str(toy_run.folder), str(toy_run.folder), "--rows", "3"]) == 2


def test_a_summary_of_a_run_that_broke_off_says_so(toy_run, recorded_file, capsys):
    row_file(toy_run.folder, 2).unlink()
    assert main(["summary", str(toy_run.folder), "--expected", str(recorded_file)]) == 0
    assert "**smoke tier: incomplete**" in capsys.readouterr().out


def test_a_summary_that_cannot_be_written_is_one_sentence(toy_run, recorded_file, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["summary", str(toy_run.folder), "--expected", str(recorded_file), "--out", str(tmp_path / "file" / "summary.md")]) == 2
    assert "name another file with --out" in capsys.readouterr().err
    assert main(["summary", str(toy_run.folder), "--expected", str(recorded_file), "--against", str(tmp_path / "none")]) == 2


def test_list_prints_rows(capsys):
    assert main(["list"]) == 0
    assert "padded to the full context" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--rows", "20"], "row 20 does not exist"),
        (["run", "--rows", "x"], "is not a selection of rows"),
        (["run", "--device", "abacus"], "--device abacus is unknown"),
        (["run", "--seed", "-1"], "--seed -1 is not possible"),
        (["run", "--data-dir", "nowhere"], "holds no toys"),
        (["run", "--perturb", "-1"], "--perturb -1 is not possible"),
        (["record", "--perturb", "1e-6", "--out", "runs"], "cannot become a baseline"),
        (["run", "--expected", "nowhere.json"], "cannot be read"),
        (["check", "nowhere"], "holds no run.json"),
        (["show", "nowhere"], "holds no run.json"),
        (["summary", "nowhere"], "holds no run.json"),
        (["summary", "nowhere", "--limit", "10"], "--limit 10 is not possible"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run", "--tier", "huge"], ["check"], ["run", "--ro", "1"]])
def test_an_unknown_command_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_an_interrupted_run_keeps_its_rows(tmp_path, recorded_file, monkeypatch, capsys):
    def interrupted(request, folder, report):
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.__main__, "run_rows", interrupted)
    assert main(["run", "--out", str(tmp_path / "out"), "--expected", str(recorded_file)]) == 130
    assert (tmp_path / "out" / "run.json").is_file()


def test_states_are_kept_between_runs_listed_and_cleared(tmp_path, recorded_file, capsys, monkeypatch):
    arguments = ["run", "--rows", "1-2", "--expected", str(recorded_file), "--keep-states", "1"]
    assert main([*arguments, "--out", str(tmp_path / "first")]) == 0
    monkeypatch.setattr("gptcore.features.FrozenStates._forward", None)  # what is on disk is not computed again
    assert main([*arguments, "--out", str(tmp_path / "second")]) == 0
    capsys.readouterr()
    assert main(["cache", "list"]) == 0
    assert f"{tmp_path / 'states'}: 1 entry, " in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert "removed 1 entry" in capsys.readouterr().out
    assert main(["cache", "list"]) == 0
    assert "keeps no computed states" in capsys.readouterr().out


def test_several_seeds_are_told_and_kept(tmp_path, recorded_file, capsys):
    assert main(["run", "--rows", "1,5", "--out", str(tmp_path / "out"), "--expected", str(recorded_file), "--seeds", "3"]) == 1
    assert "row 1, 3 seeds: test accuracy " in capsys.readouterr().out
    results = read_results(tmp_path / "out").rows
    assert [list(result.others) for result in results.values()] == [[124, 125], [124, 125]]
    assert len({result.history for result in (results[5].figures, *results[5].others.values())}) == 3


def test_timing_only_is_judged_on_time_alone(tmp_path, recorded_file, capsys):
    assert main(["run", "--rows", "1-3", "--out", str(tmp_path / "out"), "--expected", str(recorded_file), "--timing-only"]) in (0, 1)
    output = capsys.readouterr().out
    assert "accuracy regressed" not in output
    assert "loss regressed" not in output
    verdicts = judge(read_results(tmp_path / "out"), load_expectations(recorded_file))
    assert [[judgement.metric for judgement in verdict.judgements] for verdict in verdicts] == [["duration"]] * 3
    assert verdicts[2].verdict is Verdict.NOT_COMPARABLE
    assert verdicts[2].holds
