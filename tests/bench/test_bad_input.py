"""Whatever files, command lines and environments hold: never a traceback, never another verdict, never a file touched outside the folders that were named."""

import errno
import json
import os
import shutil
import socket
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import bench.__main__
import bench.report.page.write  # matplotlib makes its folders when it is first imported
import bench.tiers
import gptcore.assets
import gptcore.hub
from bench.__main__ import main
from bench.documents import sealed, unsealed
from bench.expectations import ExpectationError, load_expectations, save_expectations
from bench.findings.claims import judge_findings
from bench.findings.evidence import recorded_evidence
from bench.options import make_parser
from bench.report.markdown import render_markdown
from bench.report.terminal import Terminal, print_report
from bench.results import Results
from bench.rows import ROWS
from bench.verdicts.judge import judge
from bench.verdicts.published import published_digests
from gptcore.errors import UsageError

pytestmark = pytest.mark.faults

SHARED_FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def fuzzed(examples):
    # Shrinking takes longer than searching here, and the draws of a failure are printed anyway.
    return settings(max_examples=examples, suppress_health_check=SHARED_FIXTURES, phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False)


numbers = st.one_of(
    st.sampled_from([0, -1, 1, 2, 19, 20, 2**31, 2**63, -(2**63), 0.0, -0.0, 0.5, 1.0, 1e-320, 1e-30, 1e29, 1e30, 1e300, -1e300, 1e308]),
    st.integers(-10, 400),
    st.floats(allow_nan=False, allow_infinity=False),
)
leaves = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=8), st.sampled_from(["", "0" * 64, "AAAA", "2026-01-01", [], {}, [1, 2], {"test": 1}]))


def places_of(value, place=()):
    """Every place in a JSON tree below its root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key)
        yield from places_of(item, (*place, key))


def mutate_tree(draw, document):
    """Change one to three places of a JSON tree: another value, a number scaled, an entry removed, doubled or moved."""
    for _ in range(draw(st.integers(1, 3))):
        places = [*places_of(document)]
        if not places:
            return
        place = draw(st.sampled_from(places))
        parent = document
        for key in place[:-1]:
            parent = parent[key]
        key, old = place[-1], parent[place[-1]]
        match draw(st.sampled_from(["replace", "scale", "nudge", "remove", "double", "copy"])):
            case "scale" if type(old) in (int, float):
                parent[key] = old * draw(st.sampled_from([-1, 0, 2, 1e-12, 1e12]))
            case "nudge" if type(old) in (int, float):
                parent[key] = old + draw(st.sampled_from([-1, 1, 1e-6, -1e-6]))
            case "remove":
                del parent[key]
            case "double" if isinstance(parent, list):
                parent.insert(key, old)
            case "copy":
                other = document
                for step in draw(st.sampled_from(places)):
                    other = other[step] if isinstance(other, dict | list) and (step in other if isinstance(other, dict) else step < len(other)) else other
                parent[key] = json.loads(json.dumps(other))
            case _:
                parent[key] = draw(leaves)


def mutate_bytes(draw, content):
    """Change some bytes of a file: flipped, cut off, left out, repeated or put in."""
    start = draw(st.integers(0, max(0, len(content) - 1)))
    end = draw(st.integers(start, min(len(content), start + 200)))
    match draw(st.sampled_from(["flip", "cut", "leave out", "repeat", "insert"])):
        case "flip" if content:
            return content[:start] + bytes([content[start] ^ (1 << draw(st.integers(0, 7)))]) + content[start + 1 :]
        case "cut":
            return content[:start]
        case "leave out":
            return content[:start] + content[end:]
        case "repeat":
            return content[:end] + content[start:end] + content[end:]
    return (
        content[:start]
        + draw(st.binary(min_size=1, max_size=20) | st.sampled_from([b"NaN", b"1e999", b"[" * 5000, b'"', b"\xff", b"\\ud800"]))
        + content[start:]
    )


# Expectations


@pytest.fixture(scope="module")
def whole(tmp_path_factory, recorded, of_seeds, seeds):
    """A file of expectations with a baseline that has everything, as JSON."""
    path = tmp_path_factory.mktemp("whole") / "expected.json"
    expectations = recorded(of_seeds(seeds(3)), moves=(1e-6, -1e-6, 2e-6), seconds=(16.0, 16.5, 16.2))
    of_row = expectations.baselines["smoke"]["cpu"]
    save_expectations(path, replace(expectations, baselines={"smoke": {"cpu": of_row}, "full": {"cpu": of_row}}))
    return path.read_bytes()


@pytest.fixture(scope="module")
def rows_to_judge(row_result, of_seeds, seeds, expectations, figures, run_info):
    """Results that meet every way of judging: the recorded seed, other seeds, several, timing alone, and the published inputs."""
    published = row_result(digests=published_digests(ROWS[0], expectations), figures=figures(seconds=20.0))
    other_seed = row_result(seed=7)
    return [
        Results(run_info(), {1: row_result()}),
        Results(run_info(chosen=("settings",)), {1: other_seed}),
        Results(run_info(), {1: of_seeds(seeds(3, shift=-40))}),
        Results(run_info(), {1: of_seeds(seeds(5, factor=2.0))}),
        Results(run_info(timing_only=True, chosen=("settings", "weights")), {1: row_result()}),
        Results(run_info(tier="full", device_name="NVIDIA A100-SXM4-40GB"), {1: published}),
        Results(run_info(rows=(1, 2)), {1: row_result(figures=figures(wrong_test={0, 5}, train_loss=0.9))}),
    ]


@fuzzed(40)
@given(data=st.data())
def test_expectations_that_pass_the_schema_can_be_judged_by(data, whole, rows_to_judge, tmp_path):
    if data.draw(st.booleans()):
        document = json.loads(whole)
        part = document["baselines"]["smoke"]["cpu"]["1"] if data.draw(st.booleans()) else document
        mutate_tree(data.draw, part)
        content = json.dumps(document).encode()
    else:
        content = mutate_bytes(data.draw, whole)
    path = tmp_path / "expected.json"
    path.write_bytes(content)
    try:
        expectations = load_expectations(path)
    except ExpectationError:
        return
    for results in rows_to_judge:
        verdicts = judge(results, expectations)
        assert len(verdicts) == len(results.info.rows)
        print_report(Terminal(file=StringIO(), width=200), results, verdicts)
        render_markdown(results, verdicts)
    for evidence in recorded_evidence(expectations).values():
        judge_findings(evidence)


# Results


@pytest.fixture
def toys(monkeypatch, toy_tier, tmp_path, toy_run):
    """The toy run, what it is held against, and the commands that read it."""
    monkeypatch.setitem(bench.tiers.TIERS, "smoke", toy_tier)
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / "expected.json"
    save_expectations(expected, toy_run.expectations)
    return toy_run.folder, expected


def said(capsys, *arguments):
    """The exit code of a command and what it printed; a refusal is one line."""
    capsys.readouterr()
    try:
        code = main([*map(str, arguments)])
    except SystemExit as end:  # argparse: usage and one line
        code = end.code
        assert code in (0, 2)
        capsys.readouterr()
        return code, ""
    printed, complaint = capsys.readouterr()
    assert code in (0, 1, 2), complaint
    if code == 2:
        *told, last = complaint.splitlines()
        assert last.startswith("error: ")
        assert not [line for line in told if "Traceback" in line or line.startswith("error: ")]
    return code, printed


@pytest.fixture
def untouched(toys, tmp_path, capsys):
    """What every command that reads results says of the toy run, and a copy of its files."""
    folder, expected = toys
    shutil.copytree(folder, tmp_path / "copy")
    commands = [
        ("check", folder, "--expected", expected),
        ("show", folder, "--expected", expected),
        ("findings", folder),
        ("compare", folder, tmp_path / "copy"),
    ]
    return {command: said(capsys, *command) for command in commands}


@fuzzed(40)
@given(data=st.data())
def test_results_that_were_altered_are_refused_or_judged_the_same(data, toys, untouched, tmp_path, capsys):
    folder, _ = toys
    originals = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir() if path.is_file()}
    name = data.draw(st.sampled_from(["run.json", "row-01.json", "row-02.json", "test-texts.json", "invariants.json"]))
    match data.draw(st.sampled_from(["tree", "bytes", "another file"])):
        case "tree":
            document = json.loads(originals[name])
            mutate_tree(data.draw, document)
            content = json.dumps(document).encode()
        case "bytes":
            content = mutate_bytes(data.draw, originals[name])
        case _:
            content = originals[data.draw(st.sampled_from(sorted(originals)))]
    (folder / name).write_bytes(content)
    try:
        for command, outcome in untouched.items():
            code, printed = said(capsys, *command)
            assert code == 2 or (code, printed) == outcome
    finally:
        (folder / name).write_bytes(originals[name])


@fuzzed(150)
@given(data=st.data())
def test_results_that_were_altered_and_sealed_again_never_break_a_command(data, toys, tmp_path, capsys):
    """Whoever seals what they altered is believed, as far as it makes sense; a run may go on from it, and judge it as it likes."""
    folder, expected = toys
    name = data.draw(st.sampled_from(["run.json", "row-01.json", "row-02.json", "test-texts.json", "invariants.json"]))
    document = unsealed(json.loads((folder / name).read_bytes()))
    mutate_tree(data.draw, document)
    assume(type(document) is dict)
    copy = tmp_path / "altered"
    shutil.copytree(folder, copy)
    try:
        (copy / name).write_text(json.dumps(sealed(document)))
        for command in ("check", "verify", "summary", "report", "run"):
            arguments = ("run", "--resume", copy) if command == "run" else (command, copy)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a row that starts again
                said(capsys, *arguments, *(() if command == "verify" else ("--expected", expected)))
    finally:
        shutil.rmtree(copy)


# Command lines and environments


@contextmanager
def writes_only_inside(*folders):
    """Fails where anything is written, made, renamed or removed outside the folders."""
    counter = Path("/proc/self/clear_refs")  # of peak memory, which starts anew
    allowed = [*(Path(folder).resolve() for folder in folders), counter]
    touched = []

    def is_inside(path):
        place = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100 - the place a link stands at, not where it leads
        return any(place.is_relative_to(folder) for folder in allowed)

    def watch(event, arguments):
        if not is_watching:
            return
        if event == "open" and isinstance(arguments[0], str | bytes) and isinstance(arguments[2], int):
            paths = [arguments[0]] if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else []
        elif event in ("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.utime", "os.rename", "os.link", "os.symlink"):
            paths = [path for path in arguments[:2] if isinstance(path, str | bytes)]
        else:
            return
        touched.extend((event, path) for path in paths if not is_inside(path))

    is_watching = True
    sys.addaudithook(watch)  # which nothing can take away again
    try:
        yield
    finally:
        is_watching = False
    assert not touched


@pytest.fixture
def no_work(monkeypatch, tmp_path):
    """Everything up to the work itself is real; there is no network."""

    def stop(*arguments, **options):
        raise UsageError("nothing runs here")

    def unreachable(*arguments, **options):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    for name in ("record", "time_rows", "measure_sensitivity", "compare_revisions", "find_first_bad"):
        monkeypatch.setattr(bench.__main__, name, stop)
    monkeypatch.setattr(bench.__main__, "run_rows", lambda request, folder, report: iter(()))
    monkeypatch.setattr(bench.__main__, "check_invariants", lambda request, folder: None)
    for module, name in ((gptcore.assets, "download"), (gptcore.hub, "get_hf_file_metadata")):
        monkeypatch.setattr(module, name, stop)
    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty" / "hub"))
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path / "empty" / "assets"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def hostile_paths(tmp_path, toys):
    """Paths of every kind, all inside the test's own folder but for a few that nobody can write to."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir(exist_ok=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "to the file").symlink_to("file")
    # No path here leads to a real device: whoever replaced one would break the machine for everybody.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to the pipe").symlink_to("pipe")
    reading, writing = os.pipe()
    (tmp_path / "to a pipe of this process").symlink_to(f"/proc/self/fd/{writing}")
    yield [
        str(toys[0]),
        str(toys[1]),
        "file",
        "empty",
        "loop",
        "nothing",
        "file/inside",
        "x" * 300,
        "d/" * 3000,
        "ä 数\udcff",
        "\ud800",
        "~nosuchuser",
        "a\0b",
        "",
        " ",
        "line\nbreak",
        "\x1b[2J",
        "/proc/self/mem",
        "pipe",
        "pipe/x",
        "to the pipe",
        "to the file",
        "to a pipe of this process",
        "-",
    ]
    os.close(reading)
    os.close(writing)


words = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "19",
        "20",
        "1-19",
        "19-1",
        "1,,2",
        "all",
        "٣",
        "²",
        "9" * 5000,
        "1e400",
        "nan",
        "-inf",
        "1e-400",
        "0x10",
        "1_0",
        "True",
        "cpu",
        "cuda:0",
        "cuda:²",
        "meta",
        "smoke",
        "full",
        "fp32",
        "tf32",
        "json",
        "--",
        "-",
        "--out",
        "@file",
        "\udcff",
        "ä",
        "a\0b",
        "x" * 5000,
        "HEAD",
        "HEAD~1",
        "--help=x",
        "worse",
        "local",
        "ray",
        "slurm",
        "there:1",
        "time=1",
    ]
)
ASKED = [  # of a run
    "--tier",
    "--rows",
    "--device",
    "--seed",
    "--precision",
    "--seeds",
    "--timing-only",
    "--perturb",
    "--perturb-seed",
    "--plain",
    "--compile",
    "--memory-budget",
    "--keep-states",
    "--threads",
    "--checkpoint-every",
    "--data-dir",
    "--weights-dir",
    "--tokenizer-dir",
    "--limit-train",
]
PLACED = ["--executor", "--workers", "--address", "--jobs"]
JUDGED = ["--expected", "--strict", "--lenient"]
RERUN = ["--tier", "--device", "--seed", "--seeds", "--threads"]
FLAGS = {
    "list": ["--tier"],
    "run": [*ASKED, *JUDGED, *PLACED, "--out", "--resume", "--json", "--quiet"],
    "check": [*JUDGED, "--json", "--quiet"],
    "verify": ["--rows", "--json"],
    "record": [*ASKED, "--repeats", "--out", "--expected"],
    "show": [*JUDGED, "--json", "--quiet"],
    "summary": [*JUDGED, "--against", "--limit", "--out"],
    "doctor": [*ASKED, *PLACED, "--out", "--expected", "--json"],
    "fetch": [*ASKED, "--json", "--quiet"],
    "report": [*JUDGED, "--against", "--out", "--plots"],
    "history": ["--out", "--plots", "--format", "--expected"],
    "speed": ["--rows", "--limit-train", "--device", "--threads", "--out"],
    "findings": ["--format", "--expected"],
    "compare": [*RERUN, "--repeats", "--all", "--fail-on-cost", "--out", "--format", "--rows"],
    "bisect": [*RERUN, "--good", "--bad", "--row", "--criterion", "--out", "--format"],
    "sensitivity": ["--judge-again", "--only", "--out", "--expected"],
    "cache": [],
}
SWITCHES = ("--timing-only", "--plain", "--compile", "--strict", "--lenient", "--all", "--fail-on-cost", "--judge-again", "--json", "--quiet")


def test_every_command_is_fuzzed_with_every_flag():
    (commands,) = (action for action in make_parser()._actions if action.dest == "command")
    known = {name: {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")} for name, parser in commands.choices.items()}
    assert known.keys() == FLAGS.keys()
    for name, flags in FLAGS.items():
        assert {flag.replace("_", "-") for flag in known[name]} == {*flags, "--help", *(["--no-repeats"] if name == "record" else [])}, name


@fuzzed(400)
@given(data=st.data())
def test_any_command_line_ends_with_an_exit_code_and_touches_nothing_but_what_it_names(data, toys, no_work, hostile_paths, tmp_path, capsys):
    command = data.draw(st.sampled_from(sorted(FLAGS)))
    values = words | st.sampled_from(hostile_paths)
    arguments = [command, *data.draw(st.lists(values, max_size=2))]
    if command in ("check", "verify", "show", "summary", "cache"):
        arguments = [command, data.draw(st.sampled_from(hostile_paths) | st.sampled_from(["list", "clear", "toy-run"]))]
    for flag in data.draw(st.lists(st.sampled_from(FLAGS[command]), max_size=4)) if FLAGS[command] else []:
        arguments += [flag] if flag in SWITCHES else [flag, data.draw(values)] if data.draw(st.booleans()) else [f"{flag}={data.draw(values)}"]
    before = {path: path.read_bytes() for path in (tmp_path / "file", toys[1])}
    with writes_only_inside(tmp_path):
        said(capsys, *arguments)
    for path, content in before.items():
        assert path.read_bytes() == content or any(path.name in argument for argument in arguments if not argument.startswith("--expected"))
        path.write_bytes(content)


@pytest.mark.parametrize("words", [["summary", "toy-run"], ["report", "toy-run"], ["history", "."], ["speed"]], ids=lambda words: words[0])
@pytest.mark.parametrize("name", ["pipe", "to the pipe", "to a pipe of this process"])
def test_no_command_replaces_what_is_no_file(words, name, no_work, hostile_paths, tmp_path, capsys):
    before = os.lstat(name)
    assert said(capsys, *words, "--out", name) == (2, "")
    assert os.path.samestat(os.lstat(name), before)


def test_a_file_behind_a_link_is_written_and_the_link_stays(no_work, hostile_paths, toys, tmp_path, capsys):
    code, printed = said(capsys, "summary", "toy-run", "--expected", toys[1])
    assert said(capsys, "summary", "toy-run", "--expected", toys[1], "--out", "to the file") == (code, "")
    assert (tmp_path / "file").read_text() == printed
    assert (tmp_path / "to the file").is_symlink()


VARIABLES = (
    "GPTCORE_ASSETS",
    "GPTCORE_WEIGHTS_DIR",
    "GPTCORE_STATE_CACHE",
    "TIKTOKEN_CACHE_DIR",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "TERM",
    "CI",
    "HOME",
    "OMP_NUM_THREADS",
    "GIT_DIR",
    "LC_ALL",
    "XDG_CACHE_HOME",
    "MKL_CBWR",
)
COMMANDS = (
    ["list"],
    ["cache", "list"],
    ["cache", "clear"],
    ["findings"],
    ["run", "--rows", "1", "--keep-states", "1"],
    ["run", "--tier", "full", "--rows", "1"],
)


@fuzzed(100)
@given(data=st.data())
def test_any_environment_ends_with_an_exit_code_and_touches_nothing_outside(data, toys, no_work, hostile_paths, tmp_path, capsys):
    values = (words | st.sampled_from(hostile_paths)).filter(lambda value: "\0" not in value and "\ud800" not in value)  # which no system takes
    variables = data.draw(st.dictionaries(st.sampled_from(VARIABLES), values, min_size=1, max_size=3))
    command = data.draw(st.sampled_from(COMMANDS))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HOME", str(tmp_path))  # where no name of a folder leaves nothing but a home, it is none of a person's
        patched.delenv("XDG_CACHE_HOME", raising=False)
        for name, value in variables.items():
            patched.setenv(name, value)
        with writes_only_inside(tmp_path):
            said(capsys, *command)
