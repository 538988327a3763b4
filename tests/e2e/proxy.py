"""A TCP proxy on a loopback port that can be cut, frozen and mended, to make a server look down or hang."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit, urlunsplit

from parts import free_port
from program import DEADLINE_SECONDS


class Proxy:
    """Forwards to an address while open; refuses connections while cut; takes them and says nothing while frozen."""

    def __init__(self, url: str):
        self.parts = urlsplit(url)
        self.port = free_port()
        self.listener: socket.socket | None = None
        self.flowing = threading.Event()
        self.flowing.set()

    @property
    def url(self) -> str:
        return urlunsplit(self.parts._replace(netloc=f"127.0.0.1:{self.port}"))

    def mend(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def freeze(self) -> None:
        self.flowing.clear()

    def thaw(self) -> None:
        self.flowing.set()

    def cut(self) -> None:
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((self.parts.hostname, self.parts.port), DEADLINE_SECONDS)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=(source, target, self.flowing), daemon=True).start()


def pump(source: socket.socket, target: socket.socket, flowing: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            flowing.wait()
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
