"""A local HTTP server that does what a test tells it to, and a few ways to misbehave.  Loaded by the fixture `server` in conftest.py."""

import gzip
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAIT_SECONDS = 30  # for a test to let go; none waits so long unless it fails


class Server(ThreadingHTTPServer):
    """`pages`: the answers by path, one request each, the last for all that follow.  `asked`: (path, Range or None) of each request.

    `let_go`: what stalled answers wait for.  `stalled`: whether one of them waits.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.asked = {}, []
        self.let_go, self.stalled = threading.Event(), threading.Event()

    def at(self, path):
        """The address of a page."""
        return f"http://127.0.0.1:{self.server_port}{path}"

    def serve(self, path, *answers):
        """Answer the requests for a page one way after the other.  Returns its address."""
        self.pages[path] = list(answers)
        return self.at(path)

    def asked_for(self, path):
        """The Range of each request for a page, None for the whole."""
        return [wanted for asked, wanted in self.asked if asked == path]

    def handle_error(self, request, client_address):
        """Clients that hang up are what the tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Range")))
        answers = self.server.pages.get(self.path, [status(404)])
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *arguments):
        pass

    @property
    def offset(self):
        """The first byte asked for."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def begin(self, code, length=None, **headers):
        """Status line and headers; an underscore in a name stands for a hyphen."""
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def hang_up(self):
        """End the connection, whatever was promised."""
        self.close_connection = True
        self.wfile.flush()


@contextmanager
def running():
    """A server that has been started; it lets all stalled answers go at the end."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.let_go.set()
            server.shutdown()
            thread.join()


def status(code, body=b"", **headers):
    """A short answer."""

    def answer(handler):
        handler.begin(code, len(body), **headers)
        handler.wfile.write(body)

    return answer


def page(code=200):
    """What a server shows people."""
    return status(code, b"<!DOCTYPE html>\n<html>we moved</html>", Content_Type="text/html; charset=utf-8")


def redirect(location):
    """The way to another address."""
    return status(302, Location=location)


def whole(content, **headers):
    """All of the content, whatever was asked for."""
    return status(200, content, **headers)


def ranged(content):
    """The content from the byte asked for."""

    def answer(handler):
        if not handler.offset:
            return whole(content)(handler)
        rest = content[handler.offset :]
        if not rest:
            return status(416)(handler)
        handler.begin(206, len(rest), Content_Range=f"bytes {handler.offset}-{len(content) - 1}/{len(content)}")
        handler.wfile.write(rest)
        return None

    return answer


def cut(content, n, before=None):
    """The next `n` bytes as asked for, and then the end of the connection.  before: called first, with the handler."""

    def answer(handler):
        offset = handler.offset
        place = {"Content_Range": f"bytes {offset}-{len(content) - 1}/{len(content)}"} if offset else {}
        handler.begin(206 if offset else 200, len(content) - offset, **place)
        handler.wfile.write(content[offset : offset + n])
        handler.wfile.flush()
        if before:
            before(handler)
        handler.hang_up()

    return answer


def stall(content, n=0):
    """The first bytes, and nothing more until the test lets go; then the end of the connection."""

    def wait(handler):
        handler.server.stalled.set()
        handler.server.let_go.wait(WAIT_SECONDS)

    return cut(content, n, wait)


def stall_on(content):
    """The headers, and the whole content once the test lets go."""

    def answer(handler):
        handler.begin(200, len(content))
        handler.server.stalled.set()
        handler.server.let_go.wait(WAIT_SECONDS)
        handler.wfile.write(content)

    return answer


def silent(handler):
    """No answer at all until the test lets go."""
    handler.server.stalled.set()
    handler.server.let_go.wait(WAIT_SECONDS)
    handler.hang_up()


def drip(*beginning, every=0.01):
    """The beginning at once, and then one byte at a time until the test lets go or the client hangs up."""

    def answer(handler):
        for piece in beginning:
            handler.wfile.write(piece)
        while not handler.server.let_go.wait(every):
            handler.wfile.write(b"x")
        handler.hang_up()

    return answer


def endless(handler):
    """A body without an end, nor a word of its length."""
    handler.begin(200, Connection="close")
    while not handler.server.let_go.is_set():
        handler.wfile.write(bytes(1 << 16))


def chunked(*pieces, finish=True):
    """Pieces without a word of their length in all."""

    def answer(handler):
        handler.begin(200, Transfer_Encoding="chunked")
        for piece in pieces:
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if finish:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.hang_up()

    return answer


def gzipped(content):
    """The content compressed, though nobody asked for that."""
    return whole(gzip.compress(content), Content_Encoding="gzip")
