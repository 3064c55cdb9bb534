import functools
import hashlib
import http.server
import json
import threading
import zipfile
from dataclasses import replace

import pytest

import gptcore.sms
import gptcore.tokenizer
from bench.__main__ import main
from bench.fetching import Brought, Wanted, bring_all, wanted
from bench.tiers import TIERS
from gptcore.errors import AssetError
from gptcore.inputs import Sources
from gptcore.sms import ARCHIVE
from gptcore.tokenizer import GPT2_VOCABULARY


@pytest.fixture(autouse=True)
def a_machine_of_its_own(monkeypatch, tmp_path):
    """No test looks into the caches of the person who runs it."""
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for variable in ("TIKTOKEN_CACHE_DIR", "GPTCORE_WEIGHTS_DIR", "CI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def asked(toy_request):
    """Makes a request of the full tier."""
    return lambda rows, **settings: replace(toy_request(rows), tier=TIERS["full"], **settings)


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A stand-in for the servers of data and vocabulary, the first of whose mirrors is gone.  Returns it; it can be shut down."""
    folder = tmp_path / "published"
    folder.mkdir()
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        archive.writestr("SMSSpamCollection", "ham\thello\n")
    (folder / "encoder.json").write_text("{}", encoding="utf-8")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def served(asset, name):
        content, at = (folder / name).read_bytes(), f"http://127.0.0.1:{server.server_port}"
        return replace(asset, urls=(f"{at}/gone", f"{at}/{name}"), sha256=hashlib.sha256(content).hexdigest(), size=len(content))

    monkeypatch.setattr(gptcore.sms, "ARCHIVE", served(ARCHIVE, "archive.zip"))
    monkeypatch.setattr(gptcore.sms, "MEMBER_SHA256", hashlib.sha256(b"ham\thello\n").hexdigest())
    monkeypatch.setattr(gptcore.tokenizer, "GPT2_VOCABULARY", served(GPT2_VOCABULARY, "encoder.json"))
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_rows_read_data_a_vocabulary_and_the_weights_of_their_sizes(asked):
    things = wanted(asked("1,6,8-10,12"))
    assert [(thing.about, thing.rows) for thing in things] == [
        ("data", (1, 6, 8, 9, 10, 12)),
        ("vocabulary", (1, 6, 8, 9, 10, 12)),
        ("weights: gpt2-small (124M)", (1,)),
        ("weights: gpt2-medium (355M)", (6,)),
        ("weights: gpt2-xl (1558M)", (8, 9, 12)),
    ]


def test_random_weights_are_no_file(asked):
    assert [thing.about for thing in wanted(asked("10"))] == ["data", "vocabulary"]
    assert [thing.about for thing in wanted(asked("1", timing_only=True))] == ["data", "vocabulary"]


def test_a_tier_that_carries_its_own_inputs_wants_nothing(toy_request):
    assert wanted(replace(toy_request("1-19"), tier=TIERS["smoke"])) == []


def test_what_cannot_be_had_keeps_nothing_else_away(tmp_path):
    def fail(progress):
        raise AssetError("no network: find one")

    def download(progress):
        progress(2, 4)
        progress(4, 4)
        (tmp_path / "file").write_bytes(b"1234")
        return tmp_path / "file"

    heard = []
    things = [Wanted("first", (1,), fail), Wanted("second", (1, 2), download), Wanted("third", (2,), lambda progress: tmp_path)]
    brought = [*bring_all(things, lambda thing: lambda *done: heard.append((thing.about, done)))]
    assert brought == [
        Brought("first", (1,), "missing", None, None, "no network: find one"),
        Brought("second", (1, 2), "fetched", str(tmp_path / "file"), 4, None),
        Brought("third", (2,), "present", str(tmp_path), None, None),
    ]
    assert heard == [("second", (2, 4)), ("second", (4, 4))]


def test_folders_that_the_person_names_are_looked_at_and_nothing_is_downloaded(asked, tmp_path):
    for name in ("train", "validation", "test"):
        (tmp_path / f"{name}.csv").write_text("Label,Text\n0,hello\n1,win\n", encoding="utf-8")
    (tmp_path / "gpt2").mkdir()
    (tmp_path / "gpt2" / "model.safetensors").write_bytes(b"weights")
    sources = Sources(data=tmp_path, weights=tmp_path, tokenizer=tmp_path / "none")
    brought = {thing.about: thing for thing in bring_all(wanted(asked("1", sources=sources)), lambda thing: lambda *done: None)}
    assert (brought["data"].state, brought["data"].path) == ("present", str(tmp_path))
    assert brought["weights: gpt2-small (124M)"].path == str(tmp_path / "gpt2" / "model.safetensors")
    assert brought["vocabulary"].problem.startswith(f"{tmp_path / 'none'} holds no GPT-2 vocabulary")


def test_after_fetching_nothing_asks_the_network(published, capsys, tmp_path):
    assert main(["fetch", "--rows", "10"]) == 0
    said = capsys.readouterr().out
    assert "data: downloading " in said
    assert f"data (row 10): fetched, {tmp_path / 'assets' / 'sms' / 'SMSSpamCollection'} (10 B)" in said
    assert "everything is here (2 things, 2 fetched now): a run of these rows needs no network" in said
    published.shutdown()
    published.server_close()
    assert main(["fetch", "--rows", "10", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"]
    assert [(thing["about"], thing["state"]) for thing in found["files"]] == [("data", "present"), ("vocabulary", "present")]


def test_what_is_missing_is_told_whatever_the_form_and_exits_with_2(published, capsys, monkeypatch):
    monkeypatch.setattr(gptcore.tokenizer, "GPT2_VOCABULARY", replace(gptcore.tokenizer.GPT2_VOCABULARY, urls=(gptcore.sms.ARCHIVE.urls[0],)))
    for form in ([], ["--quiet"], ["--json"]):
        assert main(["fetch", "--rows", "10", *form]) == 2
        output = capsys.readouterr()
        assert "vocabulary (row 10): missing: encoder.json could not be downloaded from" in output.err
        assert output.err.endswith("error: 1 of 2 are missing (vocabulary): mend what is said of each, then fetch again; what has arrived stays\n")
        if form == ["--quiet"]:
            assert output.out == ""
        if form == ["--json"]:
            assert not json.loads(output.out)["complete"]


def test_weights_that_cannot_be_had_are_told_with_flags_that_bench_knows(published, capsys, monkeypatch):
    monkeypatch.setattr("gptcore.hub.get_hf_file_metadata", lambda *arguments, **keywords: 1 / 0)
    assert main(["fetch", "--rows", "1"]) == 2
    said = capsys.readouterr().err
    assert "with --weights-dir or GPTCORE_WEIGHTS_DIR" in said


def test_a_damaged_file_is_told_and_never_replaced(published, capsys, tmp_path):
    vocabulary = tmp_path / "assets" / "tiktoken" / "encoder.json"
    vocabulary.parent.mkdir(parents=True)
    vocabulary.write_text("mine", encoding="utf-8")
    assert main(["fetch", "--rows", "10"]) == 2
    assert f"{vocabulary} has sha256" in capsys.readouterr().err
    assert vocabulary.read_text(encoding="utf-8") == "mine"


def test_stopping_says_what_stays(monkeypatch, capsys):
    def stop(progress):
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.fetching.find_collection", stop)
    assert main(["fetch", "--rows", "10"]) == 130
    assert capsys.readouterr().err == "interrupted: what has arrived stays, and the same command goes on from there\n"


def test_the_smoke_tier_has_nothing_to_fetch(capsys):
    assert main(["fetch", "--tier", "smoke"]) == 0
    assert "there is nothing to fetch" in capsys.readouterr().out
