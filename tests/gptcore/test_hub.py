import errno
import hashlib
import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
from filelock import Timeout
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

import gptcore.hub
from gptcore.download import DownloadError
from gptcore.errors import AssetError
from gptcore.hub import PINNED_WEIGHTS, PinnedWeights, fill_cache
from gptcore.model import GPT2_SIZES
from gptcore.weights import find_pretrained

SMALL = GPT2_SIZES["gpt2-small (124M)"]


@pytest.fixture
def hub_cache(monkeypatch, tmp_path):
    """An empty cache of the Hub's client, and a Hub that knows of every file."""
    monkeypatch.setattr(gptcore.hub, "get_hf_file_metadata", lambda url, timeout: SimpleNamespace(etag="named otherwise", size=1))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def arising_from(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LocalEntryNotFoundError("offline\nand more"), "LocalEntryNotFoundError"),
        (arising_from(LocalEntryNotFoundError("many\nlines"), socket.gaierror(-2, "Name or service not known")), "no connection"),
        (arising_from(LocalEntryNotFoundError("many\nlines"), OfflineModeIsEnabled("offline")), "HF_HUB_OFFLINE is set, and the Hub's cache does not hold it"),
        (arising_from(LocalEntryNotFoundError("many\nlines"), TimeoutError("slow")), "timed out"),
        (OSError(errno.ENOSPC, "No space left on device"), "hub: No space left on device"),
        (arising_from(RuntimeError("many\nlines"), PermissionError(errno.EACCES, "Permission denied")), "hub: Permission denied"),
        (HfHubHTTPError("many\nlines", response=SimpleNamespace(status_code=503, headers={}, request=None)), "HTTP 503"),
        (arising_from(RuntimeError("many\nlines"), ConnectionRefusedError()), "no connection"),
        (RuntimeError("many\nlines"), "RuntimeError"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_whatever_the_hubs_client_raises_is_one_sentence_with_the_remedies(error, reason, hub_cache, monkeypatch):
    def fail(*arguments, **keywords):
        raise error

    monkeypatch.setattr(gptcore.hub, "hf_hub_download", fail)
    remedies = r"mend that and run again, or name a folder that holds gpt2/model\.safetensors with --weights-dir or GPTCORE_WEIGHTS_DIR"
    with pytest.raises(AssetError, match=rf"^openai-community/gpt2 could not be downloaded \(.*{reason}\): {remedies}$"):
        find_pretrained(SMALL)


def test_a_hub_cache_that_cannot_be_written_is_one_sentence(hub_cache):
    hub_cache.touch()
    with pytest.raises(AssetError, match=r"openai-community/gpt2 could not be downloaded \(.*\.lock cannot be made \(.*\): make its folder one"):
        find_pretrained(SMALL)


def test_who_waits_too_long_for_the_hub_gives_up(hub_cache, monkeypatch, capsys):
    def busy(lock, timeout):
        raise Timeout(lock.lock_file)

    monkeypatch.setattr("gptcore.locks.FileLock.acquire", busy)
    with pytest.raises(
        AssetError, match=r"could not be downloaded \(waited 360 minutes for another process that downloads openai-community/gpt2: end the process that holds"
    ):
        find_pretrained(SMALL)
    assert capsys.readouterr().err == "waiting for another process that downloads openai-community/gpt2\n"


HUB = """
import sys
from gptcore.errors import AssetError
from gptcore.hub import PinnedWeights, download_pretrained
from gptcore.assets import verified
pinned = PinnedWeights("openai-community/gpt2", sys.argv[1], sys.argv[2])
try:
    print(verified(download_pretrained(pinned).resolve(), pinned.sha256).read_bytes().decode())
except AssetError as error:
    sys.exit(f"error: {error}")
"""
REVISION, CONTENT = "a" * 40, b"the right weights"


@pytest.fixture
def from_hub(server, tmp_path):
    """Fetches the weights in another process from a Hub that this test's server plays.  Returns exit code, output and the last line of complaint."""

    def run(**environment):
        settings = {"HF_ENDPOINT": server.at(""), "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        timeouts = {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}
        command = (sys.executable, "-c", HUB, REVISION, hashlib.sha256(CONTENT).hexdigest())
        child = subprocess.run(command, env=os.environ | settings | timeouts | environment, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in child.stderr
        return child.returncode, child.stdout.strip(), child.stderr.strip().split("\n")[-1]

    return run


def as_hub(answer, content=CONTENT):
    """The way the Hub tells of a file, and then what it sends."""

    def either(handler):
        if handler.command != "HEAD":
            return answer(handler)
        handler.begin(200, len(content), ETag=f'"{hashlib.sha256(content).hexdigest()}"', X_Repo_Commit=REVISION)
        return None

    return either


HUB_PAGE = f"/openai-community/gpt2/resolve/{REVISION}/model.safetensors"


@pytest.mark.faults
def test_a_damaged_file_in_the_hubs_cache_is_named_and_fetched_again_once_it_is_gone(from_hub, server, misbehaving, tmp_path):
    server.serve(HUB_PAGE, as_hub(misbehaving.whole(CONTENT)))
    assert from_hub() == (0, CONTENT.decode(), "")
    (kept,) = (tmp_path / "hf").rglob("blobs/*")
    kept.chmod(0o600)
    kept.write_bytes(CONTENT.upper())
    code, _, complaint = from_hub()
    assert code == 1
    assert complaint.startswith(f"error: {kept} has sha256")
    assert complaint.endswith("replace it, or delete it and it will be fetched anew")
    kept.unlink()
    assert from_hub() == (0, CONTENT.decode(), "")
    server.asked.clear()
    assert from_hub() == (0, CONTENT.decode(), "")
    assert server.asked == []


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["stalls", "silent", "fails", "gone", "wrong"])
def test_a_hub_that_misbehaves_is_one_sentence_in_bounded_time(fault, from_hub, server, misbehaving):
    answers = {
        "stalls": as_hub(misbehaving.stall(CONTENT)),
        "silent": misbehaving.silent,
        "fails": misbehaving.status(500),
        "gone": misbehaving.status(404),
        "wrong": as_hub(misbehaving.whole(CONTENT.upper())),
    }
    server.serve(HUB_PAGE, answers[fault])
    code, said, complaint = from_hub()
    assert (code, said) == (1, "")
    expected = {"stalls": "(timed out)", "silent": "(timed out)", "fails": "(HTTP 500)", "gone": "(HTTP 404)", "wrong": "(wrong bytes (sha256"}
    assert expected[fault] in complaint


def in_turn(*answers):
    """One way to answer a request for the file after the other, whatever is asked between."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


@pytest.mark.faults
def test_a_later_process_goes_on_where_the_hub_broke_off(from_hub, server, misbehaving, tmp_path):
    server.serve(HUB_PAGE, as_hub(in_turn(misbehaving.cut(CONTENT, 7), misbehaving.status(404), misbehaving.ranged(CONTENT))))
    code, _, complaint = from_hub()
    assert code == 1
    assert "openai-community/gpt2 could not be downloaded (HTTP 404)" in complaint
    assert from_hub() == (0, CONTENT.decode(), "")
    assert [wanted for wanted in server.asked_for(HUB_PAGE) if wanted] == ["bytes=7-", "bytes=7-"]
    (blob,) = (tmp_path / "hf").rglob("blobs/*")
    assert blob.name == PINNED.sha256


PINNED = PinnedWeights("openai-community/gpt2", REVISION, hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def filled(hub_cache, server):
    """Fills the Hub's cache from the server.  Returns what is in it and what the progress heard."""

    def fill(etag=PINNED.sha256):
        heard = []
        fill_cache(PINNED, server.at("/file"), SimpleNamespace(etag=etag, size=len(CONTENT)), lambda *done: heard.append(done))
        return {path.name: path.read_bytes() for path in hub_cache.rglob("blobs/*")}, heard

    return fill


def test_a_file_lies_where_the_hubs_client_looks_for_it_and_its_progress_is_heard(filled, server, misbehaving):
    server.serve("/file", misbehaving.whole(CONTENT))
    kept, heard = filled()
    assert kept == {PINNED.sha256: CONTENT}
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert filled() == (kept, [])


def test_a_download_goes_on_as_long_as_it_brings_enough(filled, server, misbehaving, monkeypatch):
    pauses = []
    monkeypatch.setattr("gptcore.hub.PROGRESS_BYTES", 2)
    monkeypatch.setattr("gptcore.hub.sleep", pauses.append)
    server.serve("/file", *(misbehaving.cut(CONTENT, 2) for _ in CONTENT))
    assert filled()[0] == {PINNED.sha256: CONTENT}
    assert len(pauses) == (len(CONTENT) - 1) // 2
    assert set(pauses) == {1}


def test_a_hub_that_brings_nothing_is_asked_a_few_times_more_and_more_seldom(filled, server, misbehaving, monkeypatch):
    pauses = []
    monkeypatch.setattr("gptcore.hub.sleep", pauses.append)
    server.serve("/file", misbehaving.status(503))
    with pytest.raises(DownloadError, match="HTTP 503"):
        filled()
    assert pauses == [1, 2, 4]


def test_a_hub_that_brings_a_byte_at_a_time_is_not_asked_for_ever(filled, server, misbehaving, monkeypatch, hub_cache):
    pauses = []
    monkeypatch.setattr("gptcore.hub.sleep", pauses.append)
    server.serve("/file", misbehaving.cut(CONTENT, 1))
    with pytest.raises(DownloadError, match="the connection broke"):
        filled()
    assert pauses == [1, 2, 4]
    assert [path.read_bytes() for path in hub_cache.rglob("blobs/.*.part")] == [CONTENT[:4]]


def test_what_little_attempts_bring_adds_up(filled, server, misbehaving, monkeypatch):
    pauses = []
    monkeypatch.setattr("gptcore.hub.sleep", pauses.append)
    monkeypatch.setattr("gptcore.hub.PROGRESS_BYTES", 6)
    server.serve("/file", misbehaving.cut(CONTENT, 2))
    assert filled()[0] == {PINNED.sha256: CONTENT}
    assert pauses == [1, 2, 1, 1, 2, 1, 1, 2]


def test_all_attempts_share_one_deadline(filled, server, misbehaving, monkeypatch):
    """On a clock that only pauses move."""
    now, attempts = [0.0], []
    monkeypatch.setattr("gptcore.hub.PROGRESS_BYTES", 1)
    monkeypatch.setattr("gptcore.hub.PATIENCE_SECONDS", 3)
    monkeypatch.setattr("gptcore.hub.monotonic", lambda: now[0])
    monkeypatch.setattr("gptcore.hub.sleep", lambda seconds: now.append(now.pop() + seconds))
    real = gptcore.hub.download
    monkeypatch.setattr("gptcore.hub.download", lambda *arguments, limits, **rest: (attempts.append(limits.attempt), real(*arguments, limits=limits, **rest)))
    server.serve("/file", misbehaving.cut(CONTENT, 1))
    with pytest.raises(DownloadError, match=r"^too slow: 3 of 17 bytes in 3 seconds$"):
        filled()
    assert attempts == [3, 2, 1]


def test_what_only_the_hubs_client_can_fetch_is_left_to_it(filled, server, misbehaving):
    server.serve("/file", misbehaving.status(401))
    assert filled() == ({}, [])
    server.asked.clear()
    assert filled(etag="named otherwise") == ({}, [])
    assert server.asked == []


def test_a_download_is_pinned_and_verified(hub_cache, monkeypatch, tmp_path):
    asked = []

    def download(repository, name, *, revision):
        asked.append((repository, name, revision))
        (tmp_path / name).write_bytes(b"altered")
        return str(tmp_path / name)

    monkeypatch.setattr(gptcore.hub, "hf_hub_download", download)
    with pytest.raises(AssetError, match="expected 248dfc391186"):
        find_pretrained(SMALL)
    assert asked == [("openai-community/gpt2", "model.safetensors", "607a30d783dfa663caf39e06633721c8d4cfcd7e")]


def test_every_published_size_is_pinned():
    assert PINNED_WEIGHTS.keys() == GPT2_SIZES.keys()
    assert all(len(pinned.revision) == 40 and len(pinned.sha256) == 64 for pinned in PINNED_WEIGHTS.values())
