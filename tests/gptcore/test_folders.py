import os
import subprocess
import sys
from pathlib import Path

import pytest

from gptcore.errors import UsageError
from gptcore.folders import check_new_folder, write_folder

FILES = ("a", "b")


def fill(folder):
    for name in FILES:
        (folder / name).write_text(f"new {name}")


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_is_made_with_its_parents(tmp_path):
    write_folder(tmp_path / "deep" / "down", FILES, fill, overwrite=False)
    assert contents(tmp_path / "deep" / "down") == {"a": "new a", "b": "new b"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["down"]


def test_an_earlier_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("old a")
    with pytest.raises(UsageError, match="is not empty: name a new folder, or add --overwrite"):
        write_folder(folder, FILES, fill, overwrite=False)
    assert contents(folder) == {"a": "old a"}
    write_folder(folder, FILES, fill, overwrite=True)
    assert contents(folder) == {"a": "new a", "b": "new b"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_is_not_ours_is_never_lost(tmp_path):
    (tmp_path / "thesis").write_text("years")
    with pytest.raises(UsageError, match="holds thesis, which would be lost"):
        write_folder(tmp_path, FILES, fill, overwrite=True)
    with pytest.raises(UsageError, match="is no folder: name a new one"):
        write_folder(tmp_path / "thesis", FILES, fill, overwrite=True)
    with pytest.raises(UsageError, match="is no folder that you may write to"):
        write_folder(tmp_path / "thesis" / "folder", FILES, fill, overwrite=True)
    assert contents(tmp_path) == {"thesis": "years"}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_where_writing_breaks_off_the_earlier_folder_stays(error, tmp_path):
    def break_off(folder):
        (folder / "a").write_text("half")
        raise error

    folder = tmp_path / "folder"
    write_folder(folder, FILES, fill, overwrite=False)
    with pytest.raises(UsageError if isinstance(error, OSError) else KeyboardInterrupt):
        write_folder(folder, FILES, break_off, overwrite=True)
    assert contents(folder) == {"a": "new a", "b": "new b"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_the_root_of_all_folders_is_refused(overwrite):
    with pytest.raises(UsageError, match=r"^/ cannot be made: it is the root of all folders; name a folder below it$"):
        write_folder(Path("/"), FILES, fill, overwrite=overwrite)


@pytest.mark.parametrize("inside", ["", "deep", "deep/down"])
def test_a_loop_of_links_is_refused(inside, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UsageError, match=r"loop"):
        write_folder(tmp_path / "loop" / inside, FILES, fill, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


@pytest.mark.parametrize("moved", [1, 2])
def test_an_interrupt_after_either_move_loses_no_folder(moved, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("old a")
    replace, moves = Path.replace, []

    def interrupted(path, target):
        replace(path, target)
        moves.append(path)
        if len(moves) == moved:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(folder, FILES, fill, overwrite=True)
    assert contents(folder) == ({"a": "old a"} if moved == 1 else {"a": "new a", "b": "new b"})
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


KILLED = """
import os, signal, sys
from pathlib import Path
from gptcore.folders import write_folder
folder, moved = Path(sys.argv[1]), int(sys.argv[2])
replace, moves = Path.replace, []

def killed(path, target):
    replace(path, target)
    moves.append(path)
    if len(moves) == moved:
        os.kill(os.getpid(), signal.SIGKILL)

def fill(new):
    (new / "a").write_text("newer a")
    if not moved:
        os.kill(os.getpid(), signal.SIGKILL)

Path.replace = killed
write_folder(folder, ("a", "b"), fill, overwrite=True)
"""


@pytest.mark.faults
@pytest.mark.parametrize("moved", [0, 1, 2])
def test_what_a_killed_writer_left_is_put_back_or_removed_by_the_next(moved, tmp_path):
    folder = tmp_path / "the [last] folder"
    write_folder(folder, FILES, fill, overwrite=False)
    assert subprocess.run([sys.executable, "-c", KILLED, folder, str(moved)], timeout=60).returncode == -9
    with pytest.raises(UsageError, match="is not empty: name a new folder, or add --overwrite"):
        check_new_folder(folder, FILES, overwrite=False)
    assert contents(folder) == ({"a": "newer a"} if moved == 2 else {"a": "new a", "b": "new b"})
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_what_this_process_number_left_before_is_no_obstacle(tmp_path):
    for age in ("new", "old"):
        (tmp_path / f".folder.{os.getpid()}.{age}").mkdir()
        (tmp_path / f".folder.{os.getpid()}.{age}" / "a").write_text(age)
    check_new_folder(tmp_path / "folder", FILES, overwrite=True)
    assert contents(tmp_path / "folder") == {"a": "old"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_others_write_or_call_alike_is_left_alone(tmp_path):
    names = [f".folder.{os.getppid()}.old", ".folder.x.old", ".other.1.old", ".folder.2.tmp"]
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f".folder.{os.getpid()}.old").symlink_to(tmp_path / "elsewhere")
    check_new_folder(tmp_path / "folder", FILES, overwrite=False)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "elsewhere", f".folder.{os.getpid()}.old"}
