from pathlib import Path

import pytest

from gptcore.assets import assets_folder
from gptcore.errors import AssetError, UsageError
from gptcore.inputs import Sources
from gptcore.places import cache_folder, is_there, named_folder, printable
from gptcore.state_cache import default_folder

IMPOSSIBLE = ["x" * 300, "a\0b", "loop"]


def test_a_variable_names_a_folder_and_the_users_cache_stands_in(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("SOMEWHERE", "~/here")
    assert named_folder("SOMEWHERE") == cache_folder("SOMEWHERE", "inside") == tmp_path / "here"
    for unset in ("", None):
        monkeypatch.setenv("SOMEWHERE", unset) if unset is not None else monkeypatch.delenv("SOMEWHERE")
        assert named_folder("SOMEWHERE") is None
        assert cache_folder("SOMEWHERE", "inside").parts[-2:] == ("gptcore", "inside")


@pytest.mark.parametrize(
    ("variable", "ask"),
    [("GPTCORE_ASSETS", assets_folder), ("GPTCORE_STATE_CACHE", default_folder), ("GPTCORE_WEIGHTS_DIR", lambda: Sources().with_environment())],
)
def test_an_unknown_home_folder_is_a_usage_error(variable, ask, monkeypatch):
    monkeypatch.setenv(variable, "~nosuchuser/files")
    with pytest.raises(UsageError, match=f"{variable} is ~nosuchuser/files, and this machine knows no such home folder"):
        ask()


def test_without_a_home_folder_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr("gptcore.places.platformdirs.user_cache_path", lambda *names, **settings: Path("~nosuchuser/.cache"))
    monkeypatch.delenv("GPTCORE_ASSETS")
    with pytest.raises(UsageError, match="name a folder in GPTCORE_ASSETS"):
        assets_folder()


def test_the_weights_folder_of_the_environment_may_begin_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GPTCORE_WEIGHTS_DIR", "~/weights")
    assert Sources().with_environment().weights == tmp_path / "weights"
    assert Sources(weights=Path("named")).with_environment().weights == Path("named")


def test_what_is_there_is_there(tmp_path):
    (tmp_path / "file").touch()
    assert is_there(tmp_path)
    assert is_there(tmp_path / "file")
    assert not is_there(tmp_path / "missing")
    assert not is_there(tmp_path / "file" / "below")


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_path_is_a_sentence(name, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(AssetError, match=r"cannot be read \(.+\): check the path"):
        is_there(tmp_path / name)


def test_paths_are_printed_whole_or_without_their_middle():
    assert printable(Path("/a/\u00fc \x1b[31m\n\0")) == r"/a/ü \x1b[31m\n\x00"
    assert printable(Path("x" * 400)) == "x" * 400
    assert len(printable(Path("x" * 5000))) == 301
