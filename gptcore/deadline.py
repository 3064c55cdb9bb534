"""HTTP sessions that end: the timeouts of `requests` count the seconds between two bytes, and a server may send one now and then for ever."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter


@contextmanager
def session_for(seconds: float) -> Iterator[requests.Session]:
    """A session whose connections are all cut when the time is up: whatever is being read then, a header too, fails with an exception of `requests`,
    of urllib3, or with OSError.  Closed at the end.
    """
    adapter = _CuttableAdapter()
    timer = threading.Timer(seconds, adapter.cut)
    timer.daemon = True
    with requests.Session() as session:
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        timer.start()
        try:
            yield session
        finally:
            timer.cancel()


class _CuttableAdapter(HTTPAdapter):
    """Knows the sockets it opened, so that another thread can shut them down."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: list[Any] = []
        self.is_cut = False

    def get_connection_with_tls_context(self, *arguments: Any, **settings: Any) -> Any:
        """The pool that `requests` takes connections from, proxies included, with connections that tell their socket."""
        pool: Any = super().get_connection_with_tls_context(*arguments, **settings)
        adapter = self

        class Connection(pool.ConnectionCls):  # type: ignore[misc]  # plain or TLS, as the pool has it
            def connect(self) -> None:
                super().connect()
                adapter.remember(self.sock)

        pool.ConnectionCls = Connection
        return pool

    def remember(self, connected: Any) -> None:
        """Keep the socket.  Raises TimeoutError where the time was up before it was connected."""
        self.sockets.append(connected)
        if self.is_cut:
            connected.close()
            raise TimeoutError("the time was up before the server was reached")

    def cut(self) -> None:
        """Shut every socket down: closing one wouldn't wake up the thread that reads from it."""
        self.is_cut = True
        for connected in self.sockets:
            with suppress(OSError, AttributeError):  # it is closed already, or TLS inside TLS, which has no shutdown
                connected.shutdown(socket.SHUT_RDWR)
