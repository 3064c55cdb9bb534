import hashlib
import json
from dataclasses import replace

import pytest
from filelock import FileLock

import bench.doctor.files
import bench.doctor.machine
import bench.doctor.software
import gptcore.hub
import gptcore.tokenizer
import gptcore.weights
from bench.__main__ import main
from bench.doctor.examination import examination
from bench.doctor.finding import Finding, State, Visit, examine
from bench.doctor.machine import can_write, existing, machine_is_idle, memory_suffices, room, states_of
from bench.report.doctor import conclusion
from bench.rows import find_row
from bench.tiers import TIERS
from gptcore.experiment import Experiment
from gptcore.inputs import Sources
from gptcore.sms import ARCHIVE
from gptcore.tokenizer import GPT2_VOCABULARY


@pytest.fixture(autouse=True)
def a_machine_of_its_own(monkeypatch, tmp_path):
    """No test looks into the caches of the person who runs it, or feels other programs; a pace need not be measured."""
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for variable in ("TIKTOKEN_CACHE_DIR", "GPTCORE_WEIGHTS_DIR", *bench.doctor.software.NUMERICAL_VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def asked(toy_request):
    """Makes a request of the full tier on the CPU."""
    return lambda rows="1", **settings: replace(toy_request(rows), tier=TIERS["full"], **settings)


@pytest.fixture
def found(expectations, tmp_path):
    """Examines a request.  Returns the findings by what they are about."""

    def examine_it(request, **fields):
        examined = examination(request, fields.get("expectations", expectations), tmp_path / "results")
        return {finding.about: finding for finding in examined.findings}

    return examine_it


def test_a_machine_that_has_all_can_run(toy_request, expectations, tmp_path, toy_run):
    request = toy_request("1-2")
    request = replace(request, tier=replace(request.tier, takes_sources=False))
    examined = examination(request, toy_run.expectations, tmp_path / "results")
    assert examined.stopped == []
    assert conclusion(examined).startswith("all rows can run")
    assert [row.row for row in examined.prognoses] == [1, 2]
    assert {row.basis for row in examined.prognoses} == {"recorded on this machine"}
    assert not (tmp_path / "results").exists()


def test_what_is_not_here_is_a_problem_with_the_command_that_fetches_it(asked, found):
    findings = found(asked("1,6,8,10"))
    for about in ("data", "vocabulary", "weights: gpt2-small (124M)", "weights: gpt2-medium (355M)", "weights: gpt2-xl (1558M)"):
        assert findings[about].state is State.PROBLEM
    assert "run `python -m bench fetch --tier full --rows 6` where there is a network" in findings["weights: gpt2-medium (355M)"].sentence
    assert findings["weights: gpt2-medium (355M)"].rows == (6,)
    assert findings["data"].rows == ()


def test_random_weights_need_no_file(asked, found):
    assert not any(about.startswith("weights") for about in found(asked("10")))


def test_files_that_are_here_are_recognised_and_damaged_ones_told(monkeypatch, asked, found, tmp_path):
    collection, vocabulary = tmp_path / "assets" / "sms" / "SMSSpamCollection", tmp_path / "assets" / GPT2_VOCABULARY.place
    for path in (collection, vocabulary):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"as published")
    published = hashlib.sha256(b"as published").hexdigest()
    monkeypatch.setattr(bench.doctor.files, "MEMBER_SHA256", published)
    monkeypatch.setattr(gptcore.tokenizer, "GPT2_VOCABULARY", replace(GPT2_VOCABULARY, sha256=published))
    findings = found(asked("10"))
    assert {findings[about].state for about in ("data", "vocabulary")} == {State.OK}
    for path in (collection, vocabulary):
        path.write_bytes(b"damaged")
    findings = found(asked("10"))
    assert {findings[about].state for about in ("data", "vocabulary")} == {State.PROBLEM}
    assert f"expected {published[:12]}" in findings["data"].sentence


def test_the_archive_alone_will_do(monkeypatch, asked, found, tmp_path):
    archive = tmp_path / "assets" / ARCHIVE.place
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"archive")
    assert found(asked("10"))["data"].state is State.PROBLEM
    monkeypatch.setattr(bench.doctor.files, "ARCHIVE", replace(ARCHIVE, sha256=hashlib.sha256(b"archive").hexdigest()))
    finding = found(asked("10"))["data"]
    assert (finding.state, "takes the collection out" in finding.sentence) == (State.OK, True)


def test_weights_are_looked_for_where_the_environment_names_them(asked, found, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv("GPTCORE_WEIGHTS_DIR", str(tmp_path / "mine"))
    assert str(tmp_path / "mine") in found(asked("1"))["weights: gpt2-small (124M)"].sentence


def test_weights_of_ones_own_are_read_as_far_as_their_header(asked, found, tmp_path):
    folder = tmp_path / "mine" / "gpt2"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"no tensors")
    finding = found(asked("1,6", sources=Sources(weights=tmp_path / "mine")))["weights: gpt2-small (124M)"]
    assert finding.state is State.PROBLEM
    assert "is no readable safetensors file" in finding.sentence
    gptcore.weights.save_pretrained(
        gptcore.weights.random_gpt(replace(Experiment().model_size, width=12, n_layer=1), causal=True, seed=1), folder / "model.safetensors"
    )
    findings = found(asked("1,6", sources=Sources(weights=tmp_path / "mine")))
    assert findings["weights: gpt2-small (124M)"].state is State.OK


def test_a_damaged_file_in_the_hubs_cache_is_a_problem(asked, found, tmp_path, monkeypatch):
    damaged = tmp_path / "model.safetensors"
    damaged.write_bytes(b"damaged")
    monkeypatch.setattr(gptcore.hub, "try_to_load_from_cache", lambda *arguments, **keywords: str(damaged))
    finding = found(asked("1"))["weights: gpt2-small (124M)"]
    assert (finding.state, finding.rows) == (State.PROBLEM, (1,))
    assert "expected 248dfc391186" in finding.sentence


def test_own_data_are_read(asked, found, tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("train", "validation", "test"):
        (folder / f"{name}.csv").write_text("Label,Text\n0,a\n1,b\n", encoding="utf-8")
    assert "holds 2 / 2 / 2 texts" in found(asked(sources=Sources(data=folder)))["data"].sentence
    (folder / "test.csv").write_text("Label,Text\n2,a\n", encoding="utf-8")
    finding = found(asked(sources=Sources(data=folder)))["data"]
    assert (finding.state, "line 2: the label must be 0 or 1" in finding.sentence) == (State.PROBLEM, True)


def test_rows_that_memory_cannot_hold_are_named(asked, expectations, monkeypatch, tmp_path):
    visit = Visit(asked("1,8,9"), expectations, tmp_path)
    monkeypatch.setattr(bench.doctor.machine, "total_memory", lambda device: 8 * 2**30)
    monkeypatch.setattr(bench.doctor.machine, "free_memory", lambda device: 4 * 2**30)
    problem, warning = memory_suffices(visit)
    assert (problem.state, problem.rows, warning.state) == (State.PROBLEM, (9,), State.WARNING)
    assert "for row 8, and cpu has 8.0 GiB in all, 4.0 GiB of them free: end other programs" in warning.sentence
    monkeypatch.setattr(bench.doctor.machine, "total_memory", lambda device: None)
    monkeypatch.setattr(bench.doctor.machine, "free_memory", lambda device: 2**40)
    assert [finding.state for finding in memory_suffices(visit)] == [State.OK]


def test_a_full_disk_is_told_before_anything_is_written(asked, found, monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10**6})())
    findings = found(asked("9,13"))
    assert findings["disk: results and checkpoints"].state is State.PROBLEM
    assert findings["disk: weights"].state is State.PROBLEM
    assert room("frozen states", tmp_path, 2**30, "make room", State.WARNING).state is State.WARNING


def test_states_are_counted_only_where_something_is_frozen():
    assert states_of(Experiment(trainable_layers="all")) == 0
    assert states_of(Experiment()) == 1494 * 120 * 768 * 4
    assert states_of(find_row(13).experiment) == 1494 * 1024 * 768 * 4
    assert states_of(Experiment(context_length="60")) == 1494 * 60 * 768 * 4


def test_folders_that_cannot_be_written_are_told(tmp_path, found, asked, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    assert can_write(tmp_path / "a" / "b") is None
    assert not (tmp_path / "a").exists()
    assert existing(file / "below") == tmp_path

    def refuse(**keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    findings = found(asked("10"))
    assert findings["folders: results"].state is State.PROBLEM
    assert findings["folders: assets"].state is State.WARNING
    assert "Permission denied" in findings["folders: frozen states"].sentence


def test_a_person_without_a_home_folder_is_told_and_nothing_breaks(asked, found, monkeypatch):
    monkeypatch.setenv("GPTCORE_STATE_CACHE", "~nobody-of-that-name/states")
    findings = found(asked("1"))
    assert findings["folders: frozen states"].state is State.WARNING
    assert findings["clock"].state is State.OK


@pytest.mark.parametrize(
    ("name", "value", "is_warned"),
    [
        ("MKL_CBWR", "COMPATIBLE", True),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8", False),
        ("CUBLAS_WORKSPACE_CONFIG", ":0:0", True),
        ("OMP_NUM_THREADS", "3", False),
    ],
)
def test_variables_that_move_figures_are_named(asked, found, monkeypatch, name, value, is_warned):
    monkeypatch.setenv(name, value)
    finding = found(asked("1"))["determinism"]
    assert (finding.state is State.WARNING, f"{name}={value}" in finding.sentence) == (is_warned, is_warned)


def test_a_version_out_of_range_is_a_problem(asked, found, monkeypatch):
    wanted = ["numpy>=2.0", "pandas>=999", "no-such-package>=1", 'pytest>=8; extra == "rows"']
    monkeypatch.setattr(bench.doctor.software, "requires", lambda package: wanted)
    finding = found(asked("1"))["versions"]
    assert finding.state is State.PROBLEM
    assert "no-such-package is missing (needs >=1)" in finding.sentence
    assert "numpy" not in finding.sentence


def test_baselines_of_another_torch_are_told(toy_request, toy_run, found):
    rows = toy_run.expectations.baselines["smoke"]["cpu"]
    older = {row: replace(baseline, provenance=replace(baseline.provenance, torch="1.0", threads=7)) for row, baseline in rows.items()}
    findings = found(toy_request("1-2"), expectations=replace(toy_run.expectations, baselines={"smoke": {"cpu": older}}))
    assert "recorded with torch 1.0" in findings["baselines"].sentence
    assert "baselines were recorded with 7" in findings["threads"].sentence
    assert findings["baselines"].state is findings["threads"].state is State.WARNING


def test_a_clock_that_is_behind_is_told(toy_request, toy_run, found):
    rows = toy_run.expectations.baselines["smoke"]["cpu"]
    later = {row: replace(baseline, provenance=replace(baseline.provenance, date="2999-01-01T00:00:00+00:00")) for row, baseline in rows.items()}
    findings = found(toy_request("1"), expectations=replace(toy_run.expectations, baselines={"smoke": {"cpu": later}}))
    assert "baselines were recorded on 2999-01-01" in findings["clock"].sentence


def test_a_busy_machine_is_told(toy_request, expectations, tmp_path, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    [finding] = machine_is_idle(Visit(toy_request(), expectations, tmp_path))
    assert finding.state is State.WARNING


def test_another_process_at_work_is_told(toy_request, found, tmp_path):
    (tmp_path / "results").mkdir()
    with FileLock(tmp_path / "results" / ".lock"):
        assert found(toy_request())["locks"].state is State.WARNING
    assert found(toy_request())["locks"].state is State.OK


def test_a_look_that_breaks_is_a_finding(toy_request, expectations, tmp_path):
    def break_down(visit):
        """wheels: whether they turn."""
        yield Finding("wheels", State.OK, "one turns")
        raise RuntimeError("the other came off")

    one, other = examine(Visit(toy_request(), expectations, tmp_path), [break_down])
    assert (one.state, other.state, other.about) == (State.OK, State.PROBLEM, "wheels")
    assert "RuntimeError: the other came off" in other.sentence


def test_the_command_exits_with_1_where_a_row_cannot_run(capsys, expected_file):
    assert main(["doctor", "--tier", "full", "--rows", "1,10", "--expected", str(expected_file)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("rows 1, 10 cannot run, until that is mended")
    assert main(["doctor", "--rows", "3", "--expected", str(expected_file), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["can_run"]
    assert {"device", "memory", "data"} <= {finding["about"] for finding in said["findings"]}
    assert said["rows"][0]["row"] == 3


def test_where_rows_are_to_run_is_looked_at_too(capsys, expected_file):
    assert main(["doctor", "--rows", "3", "--workers", "2", "--expected", str(expected_file), "--json"]) == 0
    findings = {finding["about"]: finding["sentence"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["executor"] == "rows can run on this machine, 2 at once"


def test_a_device_that_is_not_here_does_not_end_the_examination(capsys, expected_file, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["doctor", "--rows", "3", "--device", "cuda", "--expected", str(expected_file), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert "--device cuda is not available on this machine" in findings[0]["sentence"]
    assert [finding["about"] for finding in findings].count("device") == 1  # the CPU in its place is no news
    assert len(findings) > 8


def test_nothing_is_downloaded(asked, found, monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("the doctor asked the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert found(asked("1-19"))["weights: gpt2-xl (1558M)"].state is State.PROBLEM


@pytest.mark.parametrize(
    ("arguments", "about", "said"),
    [
        (["--data-dir", "mine"], "options", "the smoke tier carries its own texts"),
        (["--tier", "full", "--data-dir", "taken", "--limit-train", "0"], "options", "--limit_train 0 leaves nothing to train on"),
        (["--seeds", "0"], "options", "0"),
        (["--perturb", "2"], "options", "--perturb 2 is not possible"),
        (["--precision", "tf32"], "options", "tf32"),
        (["--checkpoint-every", "0"], "options", "--checkpoint-every 0 is not possible"),
        (["--tier", "full", "--timing-only", "--weights-dir", "mine"], "options", "leave the folder of weights out"),
        (["--executor", "slurm"], "executor", "there is no Slurm on this machine"),
        (["--workers", "2", "--perturb", "1e-6"], "executor", "--perturb works in one process"),
        (["--out", "taken"], "results", "taken is not empty or no folder"),
        (["--out", "taken/file"], "results", "taken/file is not empty or no folder"),
    ],
)
def test_what_run_refuses_the_doctor_refuses(arguments, about, said, tmp_path, expected_file, capsys):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    for name in ("train", "validation", "test"):
        (tmp_path / "taken" / f"{name}.csv").write_text("Label,Text\n0,a\n1,b\n", encoding="utf-8")
    arguments = ["--rows", "10", *arguments, "--expected", str(expected_file)]
    assert main(["run", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert main(["doctor", "--json", *arguments]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(one["state"], said in one["sentence"]) for one in found if one["about"] == about] == [("problem", True)]
