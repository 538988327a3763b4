"""A proxy in front of a schema registry that lets in who it should, over HTTP or over TLS with client certificates."""

from __future__ import annotations

import pathlib
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import requests

from program import DEADLINE_SECONDS

Admits = Callable[[str | None], int]


class Gate:
    """`admits` gives the status for an `Authorization` header: 200 passes the request on, all else is the answer."""

    def __init__(self, url: str, admits: Admits, certificates: pathlib.Path | None = None):
        self.url, self.admits = urlsplit(url), admits
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status = gate.admits(self.headers.get("Authorization"))
                body, kind = b"<html>who are you?</html>", "text/html"
                if status == 200:
                    answer = requests.get(f"{gate.url.scheme}://{gate.url.netloc}{self.path}", timeout=DEADLINE_SECONDS)
                    status, body, kind = answer.status_code, answer.content, answer.headers["Content-Type"]
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.scheme = "https" if certificates else "http"
        if certificates:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates / "ca.pem"))
            context.load_cert_chain(certificates / "server.pem")
            context.verify_mode = ssl.CERT_REQUIRED
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server.server_port}{self.url.path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
