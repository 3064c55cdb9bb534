import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from gptcore.files import place_of, remedy_for, remove_leftovers, write_atomically, write_text_atomically


def test_text_is_written_as_utf8_with_line_feeds_into_new_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_text_atomically(path, "gr\u00fcn\nblau\n")
    assert path.read_bytes() == "gr\u00fcn\nblau\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    write_text_atomically(path, "new")
    assert path.read_text() == "new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail_half_way(temporary):
        temporary.write_text("ne")
        assert path.read_text() == "old"
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(path, fail_half_way)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    for name in (".row-01.json.4711.tmp", "row-01.json", ".lock", "mine.tmp", ".mine.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".mine.tmp", "mine.tmp", "row-01.json"]


@pytest.fixture
def nodes(tmp_path):
    """What is no regular file, and links to it, all in a folder of the test's own."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    (tmp_path / "folder").mkdir()
    names = ["pipe", "socket", "folder"]
    with suppress(PermissionError):  # which root alone may make
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        names.append("device")
    for name in names:
        (tmp_path / f"link-{name}").symlink_to(name)
    (tmp_path / "link-link").symlink_to("link-pipe")
    return [tmp_path / name for name in [*names, *(f"link-{name}" for name in names), "link-link"]]


@pytest.mark.parametrize("use", [lambda path: write_text_atomically(path, "new"), place_of], ids=["write", "place"])
def test_what_is_no_regular_file_is_never_replaced(use, nodes):
    before = {path: (path.lstat().st_mode, path.lstat().st_ino) for path in nodes}
    for path in nodes:
        with pytest.raises(OSError, match=r"only a regular file can be replaced|Is a directory"):
            use(path)
    assert {path: (path.lstat().st_mode, path.lstat().st_ino) for path in nodes} == before


def test_what_this_process_has_open_is_replaced_only_where_it_is_a_file_with_a_name(tmp_path):
    reading, writing = os.pipe()
    kept = os.open(tmp_path / "kept", os.O_RDWR | os.O_CREAT)
    removed = os.open(tmp_path / "removed", os.O_RDWR | os.O_CREAT)
    (tmp_path / "removed").unlink()
    for number, reason in ((writing, "a device, a pipe or a socket"), (removed, "a file that was removed")):
        (tmp_path / f"link-{number}").symlink_to(f"/proc/self/fd/{number}")
        with pytest.raises(OSError, match=reason):
            place_of(tmp_path / f"link-{number}")
    assert place_of(Path(f"/proc/self/fd/{kept}")) == tmp_path / "kept"
    for number in (reading, writing, kept, removed):
        os.close(number)


def test_a_link_that_a_person_names_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loose").symlink_to("new")
    for name in ("link", "loose"):
        write_text_atomically(place_of(tmp_path / name), "new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_text() == "new"
    assert (tmp_path / "file").read_text() == "new"
    assert place_of(Path("file")) == Path("file")


def test_a_link_that_nobody_named_goes_and_leads_no_write_elsewhere(tmp_path):
    """As in a results folder that somebody else packed."""
    (tmp_path / "thesis").write_text("years")
    (tmp_path / "table.md").symlink_to("thesis")
    write_text_atomically(tmp_path / "table.md", "new")
    assert (tmp_path / "thesis").read_text() == "years"
    assert not (tmp_path / "table.md").is_symlink()


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EISDIR, "remove what stands"), (errno.EACCES, "see that its folder"), (errno.EIO, "see that its folder")],
)
def test_the_remedy_fits_what_the_system_says(number, remedy):
    assert remedy_for(OSError(number, os.strerror(number))).startswith(remedy)
