import hashlib
import random
import signal
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gptcore.deadline
from gptcore.download import DownloadError, Limits, continues, download, redirected

CONTENT = random.Random(1).randbytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2
QUICK = Limits(connect=5, silence=5, attempt=20, redirects=3, pause=0)


@pytest.fixture
def get(tmp_path):
    """Downloads an address to `path`; `heard` is the progress told."""
    made = SimpleNamespace(path=tmp_path / "file.bin", part=tmp_path / ".file.bin.part", heard=[])

    def make(url, limits=QUICK, content=CONTENT):
        sha256 = hashlib.sha256(content).hexdigest()
        download(url, made.path, sha256=sha256, size=len(content), limits=limits, progress=lambda done, total: made.heard.append((done, total)))
        assert made.path.read_bytes() == content
        assert not made.part.exists()

    make.path, make.part, make.heard = made.path, made.part, made.heard
    return make


def failure(get, url, limits=QUICK):
    """What a download that must fail says, and whether it may pass."""
    with pytest.raises(DownloadError) as caught:
        get(url, limits)
    assert not get.path.exists()
    return str(caught.value), caught.value.passing


def test_a_file_arrives_whole_and_tells_its_progress(get, server, misbehaving):
    get(server.serve("/file", misbehaving.whole(CONTENT)))
    assert get.heard[0] == (0, len(CONTENT))
    assert get.heard[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in get.heard] == sorted({done for done, _ in get.heard})
    assert server.asked == [("/file", None)]


@pytest.mark.parametrize("answer", ["gzipped", "chunked"])
def test_other_ways_to_send_the_right_bytes_are_understood(answer, get, server, misbehaving):
    get(server.serve("/file", getattr(misbehaving, answer)(CONTENT)))


def test_what_a_broken_connection_left_is_gone_on_with(get, server, misbehaving):
    url = server.serve("/file", misbehaving.cut(CONTENT, HALF), misbehaving.ranged(CONTENT))
    assert failure(get, url) == ("the connection broke", True)
    assert get.part.read_bytes() == CONTENT[:HALF]
    get.heard.clear()
    get(url)
    assert server.asked_for("/file") == [None, f"bytes={HALF}-"]
    assert get.heard[0] == (HALF, len(CONTENT))


def test_a_server_that_ignores_ranges_sends_the_whole(get, server, misbehaving):
    url = server.serve("/file", misbehaving.cut(CONTENT, HALF), misbehaving.whole(CONTENT))
    failure(get, url)
    get(url)
    assert server.asked_for("/file") == [None, f"bytes={HALF}-"]


def test_a_range_that_the_server_refuses_is_given_up(get, server, misbehaving):
    get.part.write_bytes(CONTENT[:HALF])
    get(server.serve("/file", misbehaving.status(416), misbehaving.whole(CONTENT)))
    assert server.asked_for("/file") == [f"bytes={HALF}-", None]


def test_a_file_that_changed_between_the_pieces_is_fetched_anew(get, server, misbehaving):
    url = server.serve("/file", misbehaving.cut(CONTENT[::-1], HALF), misbehaving.ranged(CONTENT))
    failure(get, url)
    get(url)
    assert server.asked_for("/file") == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("kept", [CONTENT, CONTENT[::-1], CONTENT + b"more", b""], ids=["all of it", "another file", "too much", "nothing"])
def test_what_an_ended_process_left_is_used_if_it_fits(kept, get, server, misbehaving):
    get.part.write_bytes(kept)
    get(server.serve("/file", misbehaving.ranged(CONTENT)))
    assert server.asked_for("/file") == ([] if kept == CONTENT else [None])


def test_nothing_is_written_through_a_link(get, server, misbehaving, tmp_path):
    (tmp_path / "mine").write_bytes(CONTENT[:10])
    get.part.symlink_to(tmp_path / "mine")
    get(server.serve("/file", misbehaving.ranged(CONTENT)))
    assert (tmp_path / "mine").read_bytes() == CONTENT[:10]
    assert not get.path.is_symlink()


@pytest.mark.parametrize(
    ("content_range", "fits"),
    [("bytes 5-9/10", True), ("bytes 5-9/*", True), ("bytes 0-9/10", False), ("bytes 5-9/11", False), ("bytes */10", False), ("", False), ("5", False)],
)
def test_a_range_must_go_on_where_the_file_broke_off(content_range, fits):
    assert continues(content_range, 5, 10) is fits


def test_a_range_from_another_place_is_no_continuation(get, server, misbehaving):
    get.part.write_bytes(CONTENT[:HALF])
    get(server.serve("/file", misbehaving.status(206, CONTENT, Content_Range=f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"), misbehaving.whole(CONTENT)))
    assert server.asked_for("/file") == [f"bytes={HALF}-", None]


def test_redirects_are_followed(get, server, misbehaving):
    server.serve("/there", misbehaving.redirect("/file"))
    server.serve("/file", misbehaving.whole(CONTENT))
    get(server.serve("/here", misbehaving.redirect(server.at("/there"))))
    assert [path for path, _ in server.asked] == ["/here", "/there", "/file"]


def test_a_redirect_in_circles_is_left(get, server, misbehaving):
    assert failure(get, server.serve("/round", misbehaving.redirect("/round"))) == ("more than 3 redirects", False)
    assert len(server.asked) == 4


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/file", "https:///", "data:,x"])
def test_a_redirect_out_of_the_web_is_not_followed(location, get, server, misbehaving):
    reason, passing = failure(get, server.serve("/out", misbehaving.redirect(location)))
    assert "which is no web address" in reason
    assert not passing


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:99999999/", "http://a b/", f"http://{'a' * 70}.invalid/"])
def test_a_redirect_to_nonsense_is_a_failure(location, get, server, misbehaving):
    assert failure(get, server.serve("/out", misbehaving.redirect(location)))[1] is False


def test_https_never_becomes_http_except_on_this_machine():
    with pytest.raises(DownloadError, match=r"a redirect from https to http at example\.org"):
        redirected("https://example.org/a", "http://example.org/b")
    assert redirected("https://example.org/a", "http://127.0.0.1/b") == "http://127.0.0.1/b"
    assert redirected("http://example.org/a", "https://example.org/b") == "https://example.org/b"
    assert redirected("https://example.org/a", "//example.com/b") == "https://example.com/b"


@pytest.mark.parametrize(
    ("code", "passing"), [(204, False), (304, False), (400, False), (403, False), (404, False), (408, True), (429, True), (500, True), (503, True)]
)
def test_a_status_is_told_and_only_some_may_pass(code, passing, get, server, misbehaving):
    assert failure(get, server.serve("/file", misbehaving.status(code))) == (f"HTTP {code}", passing)


def test_a_page_with_status_200_is_no_file_and_costs_nothing_that_is_there(get, server, misbehaving):
    get.part.write_bytes(CONTENT[:HALF])
    assert failure(get, server.serve("/file", misbehaving.page())) == ("a web page instead of the file", False)
    assert get.part.read_bytes() == CONTENT[:HALF]


PAGE = b"  <HTML>we moved</HTML>"


@pytest.mark.parametrize("answer", ["whole", "chunked"])
def test_a_page_is_known_by_its_beginning_too(answer, get, server, misbehaving):
    same_size = PAGE + b" " * (len(CONTENT) - len(PAGE)) if answer == "whole" else PAGE
    assert failure(get, server.serve("/file", getattr(misbehaving, answer)(same_size))) == ("a web page instead of the file", False)
    assert not get.part.exists()


def test_wrong_bytes_are_told_by_their_sha256(get, server, misbehaving):
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()[:12]
    assert failure(get, server.serve("/file", misbehaving.whole(CONTENT[::-1]))) == (f"wrong bytes (sha256 {found}…)", False)
    assert not get.part.exists()


@pytest.mark.parametrize("n", [0, 10, len(CONTENT) - 1, len(CONTENT) + 1])
def test_a_file_of_another_size_is_told_by_its_size(n, get, server, misbehaving):
    content = (CONTENT + b"x")[:n]
    assert failure(get, server.serve("/file", misbehaving.whole(content))) == (f"a file of {n} bytes instead of {len(CONTENT)}", False)
    if n < len(CONTENT):
        assert failure(get, server.serve("/file", misbehaving.chunked(*([content] if n else [])))) == (f"a file of {n} bytes instead of {len(CONTENT)}", False)
        assert not get.part.exists()


@pytest.mark.parametrize("announced", [b"-1", b"0x10", b"1e9", b"9" * 5000, b"200000, 200000", b""])
def test_a_length_that_is_none_is_a_failure(announced, get, server):
    def answer(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + announced + b"\r\nConnection: close\r\n\r\n" + CONTENT)
        handler.hang_up()

    url = server.serve("/file", answer)
    assert failure(get, url) == ("a length that is no number" if not announced.isdigit() else f"a file of {'9' * 20} bytes instead of {len(CONTENT)}", False)
    assert not get.part.exists()


def test_a_file_of_unannounced_length_that_breaks_off_is_gone_on_with(get, server, misbehaving):
    def closing(handler):
        handler.begin(200, Connection="close")
        handler.wfile.write(CONTENT[:HALF])

    url = server.serve("/file", closing, misbehaving.chunked(CONTENT[:10], finish=False), misbehaving.ranged(CONTENT))
    assert failure(get, url) == (f"broken off after {HALF} of {len(CONTENT)} bytes", True)
    assert failure(get, url) == ("the connection broke", True)
    get(url)
    assert server.asked_for("/file") == [None, f"bytes={HALF}-", "bytes=10-"]


def test_an_endless_body_is_left_after_the_bytes_there_should_be(get, server, misbehaving):
    reason, passing = failure(get, server.serve("/file", misbehaving.endless))
    assert reason.startswith("wrong bytes")
    assert not passing
    assert max(done for done, _ in get.heard) == len(CONTENT)


def test_a_bomb_that_grows_when_decoded_is_left_too(get, server, misbehaving):
    reason, _ = failure(get, server.serve("/file", misbehaving.gzipped(bytes(100 * len(CONTENT)))))
    assert reason.startswith("wrong bytes")
    assert not get.part.exists()


@pytest.mark.parametrize("garbage", [b"not gzip at all", b""])
def test_a_wrong_encoding_is_a_failure(garbage, get, server, misbehaving):
    failure(get, server.serve("/file", misbehaving.whole(garbage, Content_Encoding="gzip")))


@pytest.mark.parametrize("n", [None, 0, HALF])
def test_a_server_that_falls_silent_is_given_up(n, get, server, misbehaving):
    url = server.serve("/file", misbehaving.silent if n is None else misbehaving.stall(CONTENT, n), misbehaving.ranged(CONTENT))
    assert failure(get, url, Limits(silence=0.1)) == ("timed out", True)
    get(url)
    assert server.asked_for("/file") == [None, f"bytes={HALF}-" if n else None]


HEAD = f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\n".encode()
DRIPS = {
    "status line": b"",
    "header": HEAD + b"X-Long: ",
    "body": HEAD + b"\r\n" + CONTENT[:HALF],
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"000",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n",
}


@pytest.mark.parametrize("where", DRIPS)
def test_a_server_that_drips_is_given_up(where, get, server, misbehaving):
    reason, passing = failure(get, server.serve("/file", misbehaving.drip(DRIPS[where])), Limits(attempt=0.3))
    assert reason == f"too slow: not all {len(CONTENT)} bytes in 0.3 seconds"
    assert passing
    assert not get.part.exists() or len(CONTENT) > get.part.stat().st_size >= HALF * (where == "body")


def test_a_connection_made_when_the_time_is_up_is_closed(server, misbehaving):
    url = server.serve("/file", misbehaving.whole(CONTENT))
    with gptcore.deadline.session_for(20) as session:
        session.get_adapter(url).cut()
        with pytest.raises(OSError, match="the time was up"):
            session.get(url)
    assert server.asked == []


def test_a_server_that_speaks_no_http_is_a_failure(get, server):
    def answer(handler):
        handler.wfile.write(b"220 mail.example.org ESMTP\r\n")
        handler.hang_up()

    assert failure(get, server.serve("/file", answer)) == ("the connection broke", True)


def test_a_server_that_is_gone_may_come_back(get):
    with socket.socket() as deaf:  # it has a port, and does not listen
        deaf.bind(("127.0.0.1", 0))
        assert failure(get, f"http://127.0.0.1:{deaf.getsockname()[1]}/file") == ("connection refused", True)


def test_an_unknown_host_is_no_network(get):
    assert failure(get, "http://nowhere.invalid/file") == ("no such host, or no network", False)


@pytest.mark.parametrize("url", ["", "file.bin", "ftp://example.org/file", "http://", "http://[/"])
def test_what_is_no_address_is_a_failure(url, get):
    assert failure(get, url) == ("no usable address", False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(answer=st.binary(max_size=300), begins=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 206 Partial\r\nContent-Range: ", HEAD]))
def test_no_answer_is_more_than_a_failure(answer, begins, get, server):
    def say(handler):
        handler.wfile.write(begins + answer)
        handler.hang_up()

    failure(get, server.serve("/file", say))
    get.part.unlink(missing_ok=True)


def test_an_interrupted_download_is_gone_on_with(get, server, misbehaving):
    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    url = server.serve("/file", misbehaving.ranged(CONTENT))
    with pytest.raises(KeyboardInterrupt):
        download(url, get.path, sha256=SHA256, size=len(CONTENT), limits=QUICK, progress=interrupt)
    kept = get.part.stat().st_size
    assert 0 < kept < len(CONTENT)
    get(url)
    assert server.asked_for("/file") == [None, f"bytes={kept}-"]


@pytest.mark.faults
def test_a_killed_download_is_gone_on_with(get, server, misbehaving):
    url = server.serve("/file", misbehaving.stall(CONTENT, HALF), misbehaving.ranged(CONTENT))
    program = f"""
from pathlib import Path
from gptcore.download import Limits, download
def say(done, total):
    if done >= {HALF}: print(done, flush=True)
download({url!r}, Path({str(get.path)!r}), sha256={SHA256!r}, size={len(CONTENT)}, limits=Limits(), progress=say)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline().strip() == str(HALF)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    kept = get.part.read_bytes()
    assert kept == CONTENT[: len(kept)]
    assert len(kept) > HALF - (1 << 16)
    get(url)
    assert server.asked_for("/file") == [None, f"bytes={len(kept)}-"]


def test_no_thread_outlives_a_download(get, server, misbehaving):
    before = set(threading.enumerate())
    get(server.serve("/file", misbehaving.whole(CONTENT)))
    assert not [thread for thread in set(threading.enumerate()) - before if isinstance(thread, threading.Timer) and not thread.finished.is_set()]
