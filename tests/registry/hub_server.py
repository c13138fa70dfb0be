"""A local stand-in of the hub: the routes that huggingface_hub uses, over real HTTP.

Model info with file sizes and digests, HEAD and GET of files (large ones by redirect to a
"CDN", as the hub does), byte ranges, gated and missing repositories, and a line that breaks.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE_BYTES = 4096
GOOD_TOKEN = "hf_good"


@dataclass
class Repo:
    files: dict[str, bytes]
    gated: bool = False

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(self.files[name] for name in sorted(self.files))).hexdigest()


@dataclass
class Hub:
    """What the server holds and what it was asked."""

    repos: dict[str, Repo] = field(default_factory=dict)
    break_after_bytes: int | None = None
    """Sends this much of a large file, then nothing more until the client goes away."""
    ignore_ranges: bool = False
    corrupt: bool = False
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens_at_cdn: int = 0
    half_sent: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def fetched(self, name: str) -> list[str | None]:
        """The Range header of each GET of a file's content."""
        return [span for method, path, span in self.requests if method == "GET" and path.endswith(name)]


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        self.hub.requests.append((self.command, self.path.split("?")[0], self.headers.get("Range")))
        path = self.path.split("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.info(found[1])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.file(found[1], found[3])
        if found := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self.hub.tokens_at_cdn += "Authorization" in self.headers
            return self.content(self.hub.repos[found[1]].files[found[2]], {})
        return self.send(404, b"")

    def info(self, name: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            return self.send(401, b"", {"X-Error-Code": "RepoNotFound"})
        siblings = []
        for file, content in repo.files.items():
            entry = {"rfilename": file, "size": len(content), "blobId": git_id(content)}
            if len(content) >= LARGE_BYTES:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(entry)
        body = {
            "id": name,
            "sha": repo.commit,
            "siblings": siblings,
            "gated": "manual" if repo.gated else False,
        }
        return self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def file(self, name: str, file: str) -> None:
        repo = self.hub.repos.get(name)
        if repo is None:
            return self.send(401, b"", {"X-Error-Code": "RepoNotFound"})
        if repo.gated and self.headers.get("Authorization") != f"Bearer {GOOD_TOKEN}":
            return self.send(
                403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}
            )
        if file not in repo.files:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit})
        content = repo.files[file]
        headers = {"X-Repo-Commit": repo.commit}
        if len(content) < LARGE_BYTES:
            return self.content(content, headers | {"ETag": f'"{git_id(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        return self.send(302, b"", headers | {"Location": self.cdn_address(f"{name}/{file}")})

    def cdn_address(self, path: str) -> str:
        """Another host name, as the hub's CDN has: clients must not take their token there."""
        return f"http://localhost:{self.server.server_address[1]}/cdn/{path}"

    def content(self, content: bytes, headers: dict[str, str]) -> None:
        if self.hub.corrupt and len(content) >= LARGE_BYTES:
            content = content[:-1] + bytes([content[-1] ^ 1])
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if span is None or self.hub.ignore_ranges:
            return self.send(200, content, headers)
        start = int(span[1])
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self.send(206, content[start:], headers)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = self.hub.break_after_bytes
        if stop is None or len(body) < LARGE_BYTES:
            self.wfile.write(body)
            return
        self.wfile.write(body[:stop])
        self.wfile.flush()
        self.hub.half_sent.set()
        self.hub.released.wait(30)
        self.close_connection = True


class Server:
    """`with Server(hub) as address:` serves until the block ends."""

    def __init__(self, hub: Hub) -> None:
        handler = type("BoundHandler", (Handler,), {"hub": hub})
        self._hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_) -> None:
        self._hub.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
