import os
import signal
import threading

import pytest

import bench.__main__
import bench.tiers
from bench.__main__ import main
from bench.expectations import save_expectations
from bench.stopping import Stopped, Terminated, resumable, terminable


def test_sigterm_unwinds_like_an_interruption():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_hears_no_signals():
    ran = []

    def work():
        with terminable():
            ran.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [1]


@pytest.mark.parametrize(("stop", "code", "word"), [(KeyboardInterrupt(), 130, "interrupted"), (Terminated(), 143, "terminated")])
def test_a_stop_says_how_to_go_on(tmp_path, stop, code, word):
    with pytest.raises(Stopped) as stopped, resumable(tmp_path / "my run"):
        raise stop
    assert stopped.value.code == code
    assert str(stopped.value) == f"{word}: finished rows stay in {tmp_path}/my run; go on with `python -m bench run --resume '{tmp_path}/my run'`"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_cleanly(tmp_path, toy_tier, toy_run, monkeypatch, capsys, number, code):
    monkeypatch.setitem(bench.tiers.TIERS, "smoke", toy_tier)
    save_expectations(tmp_path / "expected.json", toy_run.expectations)
    run_rows = bench.__main__.run_rows

    def killing(request, folder, report):
        for result in run_rows(request, folder, report):
            yield result
            os.kill(os.getpid(), number)

    monkeypatch.setattr(bench.__main__, "run_rows", killing)
    arguments = ["run", "--rows", "1-2", "--out", str(tmp_path / "out"), "--expected", str(tmp_path / "expected.json")]
    assert main(arguments) == code
    assert f"go on with `python -m bench run --resume {tmp_path / 'out'}`" in capsys.readouterr().err
    assert (tmp_path / "out" / "row-01.json").is_file()
    assert not (tmp_path / "out" / "row-02.json").exists()
    monkeypatch.setattr(bench.__main__, "run_rows", run_rows)
    assert main(["run", "--resume", str(tmp_path / "out"), "--expected", str(tmp_path / "expected.json")]) == 0
