"""A stand-in for Azure Blob Storage: the calls that a destination makes, kept in memory; it looks at no signature."""

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

BOUNDARY = "batchresponse"
STAMP = "Sat, 28 Feb 2026 10:00:00 GMT"


class Blobs(ThreadingHTTPServer):
    """Blobs by `container/name`, and the blocks that no list has made part of one yet."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.blocks: dict[tuple[str, str], bytes] = {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Blobs

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_PUT(self) -> None:
        """A blob, a block, or the list that makes a blob of blocks."""
        name, query = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if query.get("comp") == "block":
            self.server.blocks[name, query["blockid"]] = body
        elif query.get("comp") == "blocklist":
            listed = [str(block.text) for block in ET.fromstring(body)]
            self.server.blobs[name] = b"".join(self.server.blocks.pop((name, block)) for block in listed)
        else:
            assert self.headers["x-ms-blob-type"] == "BlockBlob"
            self.server.blobs[name] = body
        self._answer(201)

    def do_GET(self) -> None:
        """A blob, or the list of a container."""
        name, query = self._asked()
        if query.get("comp") == "list":
            self._answer(200, self._list(f"{name}/{query.get('prefix', '')}", len(name) + 1))
        elif name in self.server.blobs:
            self._answer(200, self.server.blobs[name])
        else:
            self._answer(404)

    def do_POST(self) -> None:
        """A batch of requests, which are to remove blobs."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answers = []
        for number, path in enumerate(re.findall(r"^DELETE (\S+) HTTP", body, re.MULTILINE)):
            known = self.server.blobs.pop(unquote(urlsplit(path).path).strip("/"), None) is not None
            answers.append(
                f"--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
                f"HTTP/1.1 {'202 Accepted' if known else '404 Not Found'}\r\nx-ms-version: 2024-01-01\r\n\r\n\r\n"
            )
        self._answer(202, f"{''.join(answers)}--{BOUNDARY}--\r\n".encode(), f"multipart/mixed; boundary={BOUNDARY}")

    def _list(self, start: str, skip: int) -> bytes:
        found = "".join(
            f"<Blob><Name>{escape(name[skip:])}</Name><Properties><Last-Modified>{STAMP}</Last-Modified>"
            f"<Content-Length>{len(body)}</Content-Length><Content-Type>text/csv</Content-Type><Etag>e</Etag></Properties></Blob>"
            for name, body in sorted(self.server.blobs.items())
            if name.startswith(start)
        )
        return f"<EnumerationResults><Blobs>{found}</Blobs><NextMarker/></EnumerationResults>".encode()

    def _asked(self) -> tuple[str, dict[str, str]]:
        url = urlsplit(self.path)
        return unquote(url.path).strip("/"), {key: values[0] for key, values in parse_qs(url.query).items()}

    def _answer(self, status: int, body: bytes = b"", kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in (("Content-Length", str(len(body))), ("ETag", '"e"'), ("Last-Modified", STAMP)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def azure_blobs() -> Iterator[Blobs]:
    """A server on a free port of loopback."""
    with Blobs() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


AZURE_KEYS = {
    "AZURE_STORAGE_ACCOUNT_NAME": "shop",
    "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"not a secret").decode(),
}
