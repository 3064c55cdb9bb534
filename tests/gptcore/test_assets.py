import errno
import hashlib
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import Timeout

import gptcore.assets
from gptcore.assets import Asset, assets_folder, fetch, sha256_of, verified
from gptcore.download import Limits
from gptcore.errors import AssetError

CONTENT = b"the right bytes\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Limits(silence=5, attempts=3, pause=0)


@pytest.fixture
def asset_at(server, misbehaving):
    """Makes an asset from the pages that mirror it."""
    server.serve("/right", misbehaving.ranged(CONTENT))
    server.serve("/wrong", misbehaving.whole(CONTENT[::-1]))
    server.serve("/short", misbehaving.whole(CONTENT[:-1]))
    server.serve("/page", misbehaving.page())
    server.serve("/broken", misbehaving.status(500))
    server.serve("/cut", misbehaving.cut(CONTENT, 5))
    return lambda *pages: Asset("folder/file.bin", tuple(server.at(page) for page in pages), SHA256, len(CONTENT))


def files_below(folder):
    """All but the files of locks, which stay."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


def asked(server):
    return [path for path, _ in server.asked]


def test_a_file_is_downloaded_once(asset_at, server):
    heard = []
    path = fetch(asset_at("/right"), lambda done, total: heard.append((done, total)), limits=QUICK)
    assert path == assets_folder() / "folder/file.bin"
    assert path.read_bytes() == CONTENT
    assert fetch(asset_at("/right")) == path
    assert asked(server) == ["/right"]
    assert heard == [(0, len(CONTENT)), (len(CONTENT), len(CONTENT))]


@pytest.mark.parametrize("first", ["/missing", "/broken", "/wrong", "/short", "/page", "/cut"])
def test_the_second_mirror_stands_in_for_the_first(first, asset_at, server):
    path = fetch(asset_at(first, "/right"), limits=QUICK)
    assert path.read_bytes() == CONTENT
    assert asked(server) == [first, "/right"]
    assert server.asked_for("/right") == ["bytes=5-" if first == "/cut" else None]
    assert files_below(assets_folder()) == [path]


def test_a_mirror_that_failed_in_passing_is_asked_again_after_the_others(asset_at, server, misbehaving):
    asset = asset_at("/twice", "/missing", "/page")
    server.serve("/twice", misbehaving.status(500), misbehaving.status(503), misbehaving.whole(CONTENT))
    assert fetch(asset, limits=QUICK).read_bytes() == CONTENT
    assert asked(server) == ["/twice", "/missing", "/page", "/twice", "/twice"]


def test_a_file_comes_piece_by_piece_if_need_be(asset_at, server, misbehaving):
    asset = asset_at("/pieces")
    server.serve("/pieces", misbehaving.cut(CONTENT, 4))
    assert fetch(asset, limits=Limits(attempts=4, pause=0)).read_bytes() == CONTENT
    assert server.asked_for("/pieces") == [None, "bytes=4-", "bytes=8-", "bytes=12-"]


def test_nothing_is_retried_for_ever(asset_at, server):
    with pytest.raises(AssetError):
        fetch(asset_at("/broken", "/page"), limits=QUICK)
    assert asked(server) == ["/broken", "/page", "/broken", "/broken"]


def test_the_pauses_grow(asset_at, monkeypatch):
    pauses = []
    monkeypatch.setattr(gptcore.assets.time, "sleep", pauses.append)
    with pytest.raises(AssetError):
        fetch(asset_at("/broken"))
    assert pauses == [1, 2, 4]


@pytest.mark.parametrize("page", ["/missing", "/wrong", "/page", "/cut"])
def test_where_no_mirror_serves_the_right_bytes_nothing_is_left_behind(page, asset_at):
    asset = asset_at(page, "/broken")
    with pytest.raises(AssetError) as caught:
        fetch(asset, limits=Limits(attempts=2, pause=0))
    assert files_below(assets_folder()) == []
    for mentioned in (*asset.urls, str(assets_folder() / asset.place), "GPTCORE_ASSETS"):
        assert mentioned in str(caught.value)


def test_each_mirrors_fault_is_told(asset_at, server, misbehaving):
    server.serve("/stalls", misbehaving.stall(CONTENT))
    with pytest.raises(AssetError) as caught:
        fetch(asset_at("/stalls", "/missing", "/wrong", "/short", "/page", "/broken"), limits=Limits(silence=0.1, attempts=1))
    wrong = hashlib.sha256(CONTENT[::-1]).hexdigest()[:12]
    assert re.findall(r"/(\w+) \(([^()]+(?:\([^)]+\))?)\)", str(caught.value)) == [
        ("stalls", "timed out"),
        ("missing", "HTTP 404"),
        ("wrong", f"wrong bytes (sha256 {wrong}…)"),
        ("short", "a file of 15 bytes instead of 16"),
        ("page", "a web page instead of the file"),
        ("broken", "HTTP 500"),
    ]


def test_an_asset_without_mirrors_is_an_asset_error():
    with pytest.raises(AssetError, match=r"file\.bin could not be downloaded"):
        fetch(Asset("file.bin", (), SHA256, len(CONTENT)))


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "make room there"), (errno.EDQUOT, "make room there"), (errno.EROFS, "make its folder one that you may write to")]
)
def test_a_fault_of_this_machine_sends_nobody_to_other_mirrors(number, remedy, asset_at, server, monkeypatch):
    def refuse(path, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(AssetError, match=rf"file\.bin cannot be written \({os.strerror(number)}\): {remedy}, or name another folder in GPTCORE_ASSETS"):
        fetch(asset_at("/right", "/right2"), limits=QUICK)
    assert asked(server) == ["/right"]
    assert files_below(assets_folder()) == []


FETCH = """
import resource, sys
from gptcore.assets import Asset, fetch
from gptcore.errors import AssetError
place, url, sha256, size, room = sys.argv[1:]
if int(room):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
try:
    print(fetch(Asset(place, (url, url + "2"), sha256, int(size))).read_bytes().hex()[:10], flush=True)
except AssetError as error:
    sys.exit(f"error: {error}")
"""
LARGE = random.Random(2).randbytes(300_000)


def start_fetch(url, content, room=0):
    """Another process that fetches the file into the same folder, with so many bytes of room for it (0: no bound)."""
    arguments = ("folder/file.bin", url, hashlib.sha256(content).hexdigest(), str(len(content)), str(room))
    return subprocess.Popen([sys.executable, "-c", FETCH, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.faults
def test_a_file_too_large_for_the_disk_is_one_sentence(server, misbehaving):
    child = start_fetch(server.serve("/large", misbehaving.whole(LARGE)), LARGE, room=100_000)
    said, complained = child.communicate()
    assert (said, child.returncode) == ("", 1)
    assert re.fullmatch(r"error: .*file\.bin cannot be written \(File too large\): make room there, or name another folder in GPTCORE_ASSETS\n", complained)
    assert asked(server) == ["/large"]
    assert files_below(assets_folder()) == []


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """The assets folder on a disk with room for 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not sys.platform.startswith("linux") or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root on Linux can make a small disk")
    monkeypatch.setenv("GPTCORE_ASSETS", str(folder))
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.faults
def test_a_full_disk_is_one_sentence(small_disk, server, misbehaving):
    url = server.serve("/large", misbehaving.whole(LARGE))
    with pytest.raises(AssetError, match=r"file\.bin cannot be written \(No space left on device\): make room there"):
        fetch(Asset("folder/file.bin", (url, url), hashlib.sha256(LARGE).hexdigest(), len(LARGE)))
    assert asked(server) == ["/large"]
    assert files_below(small_disk) == []


@pytest.mark.faults
def test_a_read_only_disk_is_one_sentence(small_disk, asset_at, server):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(AssetError, match=r"cannot be made \(Read-only file system\).*or name another folder in GPTCORE_ASSETS"):
        fetch(asset_at("/right"))
    assert server.asked == []


@pytest.mark.faults
def test_of_two_processes_one_downloads_and_the_other_waits_and_says_so(server, misbehaving):
    url = server.serve("/file", misbehaving.stall_on(CONTENT))
    first = start_fetch(url, CONTENT)
    assert server.stalled.wait(60)
    second = start_fetch(url, CONTENT)
    said = second.stderr.readline()
    assert said == "waiting for another process that downloads file.bin\n"
    server.let_go.set()
    assert first.communicate() == (f"{CONTENT.hex()[:10]}\n", "")
    assert second.communicate() == (f"{CONTENT.hex()[:10]}\n", "")
    assert (first.returncode, second.returncode) == (0, 0)
    assert server.asked == [("/file", None)]
    assert files_below(assets_folder()) == [assets_folder() / "folder/file.bin"]


@pytest.mark.faults
def test_a_process_that_is_killed_leaves_its_part_to_the_one_that_waits(server, misbehaving):
    url = server.serve("/file", misbehaving.stall(LARGE, 200_000), misbehaving.ranged(LARGE))
    first = start_fetch(url, LARGE)
    part = assets_folder() / "folder/.file.bin.part"
    assert server.stalled.wait(60)
    second = start_fetch(url, LARGE)
    assert second.stderr.readline().startswith("waiting for")
    first.kill()
    first.communicate()
    assert second.communicate()[0] == f"{LARGE.hex()[:10]}\n"
    (wanted,) = server.asked_for("/file")[1:]
    assert 100_000 < int(wanted.removeprefix("bytes=").removesuffix("-")) <= 200_000
    assert not part.exists()


def test_who_waits_too_long_gives_up(asset_at, server, monkeypatch, capsys):
    def busy(lock, timeout):
        raise Timeout(lock.lock_file)

    monkeypatch.setattr("gptcore.locks.FileLock.acquire", busy)
    with pytest.raises(
        AssetError,
        match=r"file\.bin could not be downloaded: waited 30 minutes for another process that downloads file\.bin: end the process that holds .*\.lock",
    ):
        fetch(asset_at("/right"))
    assert capsys.readouterr().err == "waiting for another process that downloads file.bin\n"
    assert server.asked == []


def test_a_damaged_file_is_refused_and_left_as_it_is(asset_at, server):
    path = assets_folder() / "folder/file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    with pytest.raises(AssetError, match=rf"has sha256 {hashlib.sha256(b'damaged').hexdigest()[:12]}…, expected {SHA256[:12]}…: .*delete it"):
        fetch(asset_at("/right"))
    assert path.read_bytes() == b"damaged"
    assert server.asked == []
    path.unlink()
    assert fetch(asset_at("/right"), limits=QUICK).read_bytes() == CONTENT


def test_a_file_that_changed_is_hashed_again(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"another")
    assert sha256_of(path) == hashlib.sha256(b"another").hexdigest()


@pytest.mark.parametrize("way", ["in place", "by another file"])
def test_a_file_that_changed_behind_its_time_and_size_is_hashed_again(way, tmp_path):
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_bytes(b"one")
    before = path.stat()
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    if way == "in place":
        path.write_bytes(b"two")
    else:
        other.write_bytes(b"two")
        other.replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the clock of a file system is coarse
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert sha256_of(path) == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_an_impossible_place_is_an_asset_error(name, asset_at, server):
    assets_folder().mkdir(parents=True)
    with pytest.raises(AssetError, match="cannot be read"):
        fetch(Asset(name, (server.at("/right"),), SHA256, len(CONTENT)))
    with pytest.raises(AssetError, match="cannot be read"):
        sha256_of(assets_folder() / name)


@pytest.mark.parametrize("name", ["x" * 250, "file/below"])
def test_a_place_without_room_for_a_lock_is_an_asset_error(name, asset_at, server):
    assets_folder().mkdir(parents=True)
    (assets_folder() / "file").touch()
    with pytest.raises(AssetError, match=r"could not be downloaded: .* cannot be made \(.*\).* or name another folder in GPTCORE_ASSETS"):
        fetch(Asset(name, (server.at("/right"),), SHA256, len(CONTENT)))
    assert server.asked == []


def test_an_assets_folder_that_is_a_file_is_an_asset_error(asset_at, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPTCORE_ASSETS", str(tmp_path / "file"))
    with pytest.raises(AssetError, match="name another folder in GPTCORE_ASSETS"):
        fetch(asset_at("/right"))


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_an_asset_error(name, tmp_path):
    with pytest.raises(AssetError, match="cannot be read"):
        verified(tmp_path / name, SHA256)


def test_the_assets_folder_is_the_named_one_or_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GPTCORE_ASSETS", "~/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert assets_folder() == tmp_path / "somewhere"
    monkeypatch.delenv("GPTCORE_ASSETS")
    assert assets_folder().name == "gptcore"
