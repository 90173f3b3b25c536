"""An HTTP server on the loopback that serves files from memory, and as badly as a test asks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """The files, how they are served, and the requests so far."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    lengths: bool = True  # answers say how long they are; else they end where the connection does
    cut: list[int] = field(default_factory=list)  # bytes after which the next connections break off
    refuse: list[int] = field(default_factory=list)  # status of the next answers
    astray: bool = False  # the end of a file is announced as another part than was asked for
    seen: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range) of each request

    @property
    def asked(self) -> list[str]:
        """Path of each request."""
        return [path for path, _ in self.seen]


@contextmanager
def serving(files: dict[str, bytes] | None = None) -> Iterator[Server]:
    """A server of these files, until the block ends."""
    server = Server(files=dict(files or {}))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name, asked = self.path.lstrip("/"), self.headers.get("Range")
            server.seen.append((name, asked))
            if server.refuse or name not in server.files:
                self.send_error(server.refuse.pop(0) if server.refuse else 404)
                return
            body, start = server.files[name], 0
            if asked and server.ranges and self.headers.get("If-Range") in (None, server.etag):
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.end_headers()
                    return
            self.send_response(206 if start else 200)
            if server.lengths:
                self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start + server.astray}-{len(body) - 1}/{len(body)}")
            if server.etag:
                self.send_header("ETag", server.etag)
            self.end_headers()
            end = start + server.cut.pop(0) if server.cut else None
            with suppress(ConnectionError):
                self.wfile.write(body[start:end])

        def log_message(self, *_args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
