"""Small web servers: answering range requests and failing on demand, and hostile ones."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


@dataclass
class Site:
    """State of a server: the folder that it serves, its planned failures, and a log of its answers."""

    folder: Path
    knows_ranges: bool = True
    failures: list[int] = field(default_factory=list)
    """Status codes with which the next requests fail."""
    cuts: int = 0
    """Number of next answers that are cut off in the middle."""
    sent: list[tuple[str, int]] = field(default_factory=list)
    """File and number of bytes of each answer."""
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, *arguments: object, site: Site) -> None:
        self.site = site
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self.site.folder / unquote(self.path.lstrip("/"))
        if self.site.failures:
            self.send_error(self.site.failures.pop(0))
            return
        if not path.is_file():
            self.send_error(404)
            return
        content, part = path.read_bytes(), None
        if self.site.knows_ranges:
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if part:
            content = content[int(part[1]) : int(part[2]) + 1]
        self.site.sent.append((path.name, len(content)))
        self.send_response(206 if part else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.site.cuts:
            self.site.cuts -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """Serve a folder on a port of this machine."""
    site = Site(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, site=site))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answering(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Let a function answer each connection, byte by byte if it likes, and yield the URL.

    The function gets the connection, after the request was read, and an event that tells it to end.
    """
    is_over = threading.Event()

    def serve(server: socket.socket) -> None:
        while not is_over.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            threading.Thread(target=reply, args=(connection,)).start()

    def reply(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(1 << 16)
                answer(connection, is_over)
            except OSError:
                pass  # the client is gone

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            is_over.set()
            thread.join()
