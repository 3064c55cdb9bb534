"""One file from one server over HTTP: resumed where it broke off, bounded in time and size, and verified before it gets its name."""

import hashlib
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gaierror
from time import monotonic
from urllib.parse import urljoin, urlsplit

import urllib3
from requests import RequestException, Response, Session

from gptcore.deadline import session_for
from gptcore.errors import causes_of

PIECE_BYTES = 1 << 16
OVERLOADED = (408, 425, 429)  # with every 5xx: asking again may help
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
PAGE_BEGINNINGS = (b"<!doctype html", b"<html", b"<head", b"<?xml")

Progress = Callable[[int, int], object]  # bytes done, bytes in all


@dataclass(frozen=True)
class Limits:
    """How long servers are borne with.

    connect, silence (without a byte), attempt (from the request to the last byte): seconds.  attempts: requests per server for what may pass.
    pause: seconds before the second attempt, doubled before each further one.
    """

    connect: float = 10
    silence: float = 30
    attempt: float = 90
    redirects: int = 5
    attempts: int = 4
    pause: float = 1


class DownloadError(Exception):
    """What is wrong with a server's answer, in a few words.  passing: whether asking again may help."""

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing


def download(url: str, path: Path, *, sha256: str, size: int, limits: Limits, progress: Progress) -> None:
    """Put the file of that sha256 and size (bytes) at `path`, all or nothing.

    What arrived of it stays in a hidden file beside `path` and is the start of the next attempt, from this server or another, in this process or a
    later one.  Where the server cannot go on from there, or the whole turns out to be another file, it is fetched from its first byte, once.
    Raises DownloadError for what the server did, OSError for what this machine did.
    """
    part = part_beside(path)
    kept = bytes_kept(part, size)
    if kept and receive(url, part, kept, size, limits, progress) and digest_of(part) == sha256:
        part.replace(path)
        return
    receive(url, part, 0, size, limits, progress)
    found = digest_of(part)
    if found != sha256:
        reason = "a web page instead of the file" if begins_like_a_page(part) else f"wrong bytes (sha256 {found[:12]}…)"
        part.unlink()
        raise DownloadError(reason)
    part.replace(path)


def part_beside(path: Path) -> Path:
    """Where the bytes of `path` gather until they are all there."""
    return path.with_name(f".{path.name}.part")


def bytes_kept(part: Path, size: int) -> int:
    """How many bytes an earlier attempt left.  What cannot be the start of `size` bytes, or is no file of its own, is removed."""
    try:
        status = part.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(status.st_mode) and status.st_size <= size:
        return status.st_size
    part.unlink()
    return 0


def receive(url: str, part: Path, offset: int, size: int, limits: Limits, progress: Progress) -> bool:
    """Write the bytes from `offset` to `size` to `part`; False, with nothing written, where the server cannot go on from there.

    Raises DownloadError for any answer that does not bring all of them, and keeps what it brought if it may have been right.
    """
    if offset == size:
        return True
    deadline = monotonic() + limits.attempt
    too_slow = f"too slow: not all {size} bytes in {limits.attempt:g} seconds"
    with session_for(limits.attempt) as session:
        with network(deadline, too_slow):
            response = ask(session, url, offset, limits)
        with response:
            begin = first_byte(response, offset, size)
            if begin is None:
                return False
            with part.open("r+b" if begin else "wb") as file:
                file.seek(begin)
                file.truncate()
                progress(begin, size)
                for piece in pieces(response, deadline, too_slow):
                    file.write(piece[: size - file.tell()])
                    progress(file.tell(), size)
                    if file.tell() == size:
                        return True
                arrived = file.tell()
    raise ended_early(response, part, arrived, size)


def ask(session: Session, url: str, offset: int, limits: Limits) -> Response:
    """The answer to a request for the bytes from `offset` on, at the end of all redirects.  Raises DownloadError where they don't end or lead astray."""
    wanted = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    for _ in range(limits.redirects + 1):
        response = session.get(url, headers=wanted, stream=True, allow_redirects=False, timeout=(limits.connect, limits.silence))
        if not response.is_redirect:
            return response
        response.close()
        url = redirected(url, response.headers["location"])
    raise DownloadError(f"more than {limits.redirects} redirects")


def redirected(url: str, location: str) -> str:
    """The address that `url` was redirected to.  Raises DownloadError unless it is of HTTP, and as safe as `url` unless on this machine."""
    target = urljoin(url, location)
    scheme, host = urlsplit(target).scheme, urlsplit(target).hostname
    if scheme not in ("http", "https") or not host:
        raise DownloadError(f"a redirect to {target[:100]!r}, which is no web address")
    if urlsplit(url).scheme == "https" and scheme == "http" and host not in LOCAL_HOSTS:
        raise DownloadError(f"a redirect from https to http at {host}")
    return target


def first_byte(response: Response, offset: int, size: int) -> int | None:
    """Where in the file the body begins: at `offset`, or at 0 where the server ignores ranges; None where it cannot go on from `offset`.

    Raises DownloadError for an answer that cannot hold the file, before anything is overwritten by it.
    """
    status, headers = response.status_code, response.headers
    encoded = headers.get("Content-Encoding", "identity").lower() != "identity"
    if offset and status == 206:
        return offset if continues(headers.get("Content-Range", ""), offset, size) and not encoded else None
    if offset and status == 416:
        return None
    if status != 200:
        raise DownloadError(f"HTTP {status}", passing=status in OVERLOADED or status >= 500)
    announced = None if encoded else headers.get("Content-Length")
    if announced == str(size):
        return 0
    if "html" in headers.get("Content-Type", ""):
        raise DownloadError("a web page instead of the file")
    if announced is not None:
        raise DownloadError(f"a file of {announced[:20]} bytes instead of {size}" if announced.isdigit() else "a length that is no number")
    return 0


def continues(content_range: str, offset: int, size: int) -> bool:
    """Whether a Content-Range, such as `bytes 5-9/10`, begins at `offset` of a file of `size` bytes, or of one whose size it leaves open."""
    place, _, total = content_range.removeprefix("bytes ").partition("/")
    return place.partition("-")[0] == str(offset) and total in (str(size), "*")


def pieces(response: Response, deadline: float, too_slow: str) -> Iterator[bytes]:
    """The body as it arrives, decoded where the server encoded it all the same.  Raises DownloadError where it breaks off or outlasts the deadline."""
    while True:
        with network(deadline, too_slow):
            piece = response.raw.read1(PIECE_BYTES, decode_content=True)
        if monotonic() >= deadline:
            raise DownloadError(too_slow, passing=True)
        if not piece:
            return
        yield piece


def ended_early(response: Response, part: Path, arrived: int, size: int) -> DownloadError:
    """What to say of a body that ended by itself.  Removes it where the server says that this was all of the file."""
    if begins_like_a_page(part):
        part.unlink()
        return DownloadError("a web page instead of the file")
    if response.status_code == 200 and ("Content-Length" in response.headers or "Transfer-Encoding" in response.headers):
        part.unlink()
        return DownloadError(f"a file of {arrived} bytes instead of {size}")
    return DownloadError(f"broken off after {arrived} of {size} bytes", passing=True)


def begins_like_a_page(part: Path) -> bool:
    """Whether a file is what servers send people who should go elsewhere."""
    with part.open("rb") as file:
        return file.read(200).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(PAGE_BEGINNINGS)


def digest_of(path: Path) -> str:
    """sha256 (hexadecimal) of what the file holds now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def network(deadline: float, too_slow: str) -> Iterator[None]:
    """Turn what goes wrong between this machine and the server into DownloadError."""
    try:
        yield
    except (RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        if monotonic() >= deadline:
            raise DownloadError(too_slow, passing=True) from error
        raise what_went_wrong(error) from error


def what_went_wrong(error: Exception) -> DownloadError:
    """In a few words, and whether it may pass."""
    causes = causes_of(error)
    if any(isinstance(cause, gaierror) for cause in causes):
        return DownloadError("no such host, or no network")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return DownloadError("a certificate that is not trusted")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return DownloadError("connection refused", passing=True)
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return DownloadError("timed out", passing=True)
    if any(isinstance(cause, urllib3.exceptions.NewConnectionError) for cause in causes):
        return DownloadError("no connection", passing=True)
    if isinstance(error, ValueError):
        return DownloadError("no usable address")
    return DownloadError("the connection broke", passing=True)
