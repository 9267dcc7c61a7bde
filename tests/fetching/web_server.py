"""A web server in this process, with typical faults."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves ``files``; each request takes one of ``faults``: a status, or the bytes after which it is cut.

    Attributes:
        files: Path to content; text is an address that it redirects to.
        tags: Path to ETag.
        requests: Path, Range and If-Range of each request.
        takes_ranges: Whether Range is heeded.
        says_length: Whether there is a Content-Length.
        delay: Seconds before each chunk of a tenth.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes | str] = {}
        self.tags: dict[str, str] = {}
        self.faults: list = []
        self.requests: list = []
        self.takes_ranges, self.says_length, self.delay = True, True, 0.0
        self.extra_headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def ranges(self, path: str) -> list:
        """Ranges of the requests for a path."""
        return [asked for name, asked, _ in self.requests if name == path]


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET(with_body=False)

    def do_GET(self, with_body=True):
        server, path = self.server, self.path.split("?")[0]
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        server.requests.append((path, asked, condition))
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, str) or path not in server.files:
            self.send_error(int(fault or 404))
            return
        content, tag = server.files[path], server.tags.get(path)
        if isinstance(content, str):
            self.send_response(302)
            self.send_header("Location", content)
            self.end_headers()
            return
        start = 0
        if server.takes_ranges and asked and condition in (None, tag):
            start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if tag:
            self.send_header("ETag", tag)
        if server.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        for name, value in server.extra_headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        body = content[start:] if fault is None else content[start : start + fault]
        size = len(body) // 10 + 1
        for first in range(0, len(body), size):
            time.sleep(server.delay)
            self.wfile.write(body[first : first + size])

    def log_message(self, *args):
        pass


def serve():
    """Start a server; yield it once."""
    server = Server()
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)
