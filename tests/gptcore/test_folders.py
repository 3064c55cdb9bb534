from pathlib import Path

import pytest

from gptcore.errors import UsageError
from gptcore.folders import write_folder

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
