import subprocess
import sys
import threading

import pytest

from gptcore.locks import LockError, held, lock_beside

HOLDER = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Starts another process that holds a path until its stdin is closed."""
    started = []

    def start(path):
        child = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in started:
        with child:
            child.kill()


def test_a_free_path_is_held_without_a_word(tmp_path, capsys):
    lock = lock_beside(tmp_path / "new" / "file")
    for _ in range(2):
        with held(lock, "the test", 0):
            pass
    assert list((tmp_path / "new").iterdir()) == [lock] == [tmp_path / "new" / ".file.lock"]
    assert capsys.readouterr() == ("", "")


def test_one_path_at_a_time_but_any_number_of_paths(tmp_path):
    inside, most = [], []

    def work(name):
        with held(tmp_path / name, "the test", 30):
            inside.append(name)
            most.append(inside.count(name))
            inside.remove(name)

    threads = [threading.Thread(target=work, args=(f"file {index % 2}",)) for index in range(8)]
    for thread in threads:
        thread.start()
    with held(tmp_path / "other", "the test", 0):
        pass
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_the_second_says_once_what_it_waits_for_and_gives_up_in_the_end(tmp_path, holder, capsys):
    holder(tmp_path / "file")
    told = r"waited 0 minutes for the test: end the process that holds .*file, then try again"
    with pytest.raises(LockError, match=told), held(tmp_path / "file", "the test", 0.2):
        pytest.fail("held twice")
    assert capsys.readouterr() == ("", "waiting for the test\n")


@pytest.mark.parametrize("end", ["done", "killed"])
def test_however_the_first_ends_the_second_goes_on(end, tmp_path, holder, capsys):
    child = holder(tmp_path / "file")
    end_it = child.kill if end == "killed" else child.stdin.close
    timer = threading.Timer(0.1, end_it)
    timer.start()
    with held(tmp_path / "file", "the test", 30):
        timer.join()
    assert capsys.readouterr().err in ("", "waiting for the test\n")


def test_an_exception_ends_the_hold(tmp_path):
    with pytest.raises(ZeroDivisionError), held(tmp_path / "file", "the test", 0):
        raise ZeroDivisionError
    with held(tmp_path / "file", "the test", 0):
        pass


@pytest.mark.parametrize("name", ["file/below", "x" * 300, "a\0b"])
def test_a_lock_that_cannot_be_made_is_a_sentence(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LockError, match=r"cannot be made \(.+\): make its folder one that you may write to"), held(tmp_path / name, "the test", 0):
        pytest.fail("held")


class EmptyingLock:
    """What filelock did before it refused links: opens the file, wherever it lies, and empties it."""

    def __init__(self, path):
        self.path = path

    def acquire(self, timeout):
        self.path.write_text("")

    def release(self):
        pass


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_refused_and_what_it_leads_to_stays_as_it_is_whatever_the_release_of_filelock(exists, tmp_path, monkeypatch):
    if exists:
        (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("gptcore.locks.FileLock", EmptyingLock)
    with pytest.raises(LockError, match=r"linked is a link, .*: remove the link, then try again"), held(tmp_path / "linked", "the test", 0):
        pytest.fail("held")
    assert (tmp_path / "elsewhere").read_text() == "mine" if exists else not (tmp_path / "elsewhere").exists()


def test_a_folder_that_may_not_be_written_is_a_sentence(tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gptcore.locks.FileLock.acquire", refuse)
    with pytest.raises(LockError, match=r"file cannot be made \(Permission denied\)"), held(tmp_path / "file", "the test", 0):
        pytest.fail("held")
