import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gptcore.assets import Asset, assets_folder, fetch, sha256_of, verified
from gptcore.errors import AssetError

CONTENT = b"the right bytes\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def server():
    """A local server whose `pages` are (status, body) by path and whose `asked` lists the requests; `at(path)` is the address of a page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            status, body = self.server.pages.get(self.path, (404, b"not found"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.pages = {"/right": (200, CONTENT), "/wrong": (200, CONTENT[:-1]), "/page": (200, b"<html>we moved</html>"), "/broken": (500, b"")}
        running.at = lambda path: f"http://127.0.0.1:{running.server_port}{path}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def asset_at(server):
    """Makes an asset from the pages that mirror it."""
    server.asked = []
    return lambda *pages: Asset("folder/file.bin", tuple(server.at(page) for page in pages), SHA256)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_downloaded_once(asset_at, server):
    path = fetch(asset_at("/right"))
    assert path == assets_folder() / "folder/file.bin"
    assert path.read_bytes() == CONTENT
    assert fetch(asset_at("/right")) == path
    assert server.asked == ["/right"]


@pytest.mark.parametrize("first", ["/missing", "/broken", "/wrong", "/page"])
def test_the_second_mirror_stands_in_for_the_first(first, asset_at, server):
    path = fetch(asset_at(first, "/right"))
    assert path.read_bytes() == CONTENT
    assert server.asked == [first, "/right"]
    assert files_below(assets_folder()) == [path]


@pytest.mark.parametrize("page", ["/missing", "/wrong", "/page"])
def test_where_no_mirror_serves_the_right_bytes_nothing_is_left_behind(page, asset_at):
    asset = asset_at(page, "/broken")
    with pytest.raises(AssetError) as caught:
        fetch(asset)
    assert files_below(assets_folder()) == []
    for mentioned in (*asset.urls, str(assets_folder() / asset.place), "GPTCORE_ASSETS"):
        assert mentioned in str(caught.value)


def test_a_server_that_is_gone_is_an_asset_error():
    gone = Asset("file.bin", ("http://127.0.0.1:9/file.bin",), SHA256)
    with pytest.raises(AssetError, match=r"file.bin could not be downloaded from http://127.0.0.1:9/file.bin \(ConnectionError\)"):
        fetch(gone)


def test_a_damaged_file_is_refused_and_left_as_it_is(asset_at, server):
    path = assets_folder() / "folder/file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    with pytest.raises(AssetError, match=rf"has sha256 {hashlib.sha256(b'damaged').hexdigest()[:12]}…, expected {SHA256[:12]}…: .*delete it"):
        fetch(asset_at("/right"))
    assert path.read_bytes() == b"damaged"
    assert server.asked == []


def test_a_file_that_changed_is_hashed_again(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"another")
    assert sha256_of(path) == hashlib.sha256(b"another").hexdigest()


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
