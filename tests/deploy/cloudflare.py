"""The two routes of Cloudflare's API that keys are made with, as its reference describes them."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

ACCOUNT: Final = "0123456789abcdef0123456789abcdef"
TOKEN: Final = "a-token-that-may-make-tokens"
GROUPS: Final = {
    "6a018a9f2fc74eb6b293b0c548f38b39": "Workers R2 Storage Bucket Item Read",
    "2efd5506f9c8494dacb1fa10a3e7d5b6": "Workers R2 Storage Bucket Item Write",
    "bf7481a1826f439697cb59a20b22293e": "Workers R2 Storage Write",
}


@dataclass
class Cloudflare:
    url: str = ""
    tokens: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def running_cloudflare() -> Iterator[Cloudflare]:
    """Serve on loopback; what was made is in `tokens`."""
    cloudflare = Cloudflare()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self._is_allowed(f"/accounts/{ACCOUNT}/tokens/permission_groups"):
                self._answer(200, [{"id": id_, "name": name, "scopes": []} for id_, name in GROUPS.items()])

        def do_POST(self) -> None:
            if self._is_allowed(f"/accounts/{ACCOUNT}/tokens"):
                said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                token = {"id": secrets.token_hex(16), "value": secrets.token_urlsafe(30), "status": "active"} | said
                cloudflare.tokens.append(token)
                self._answer(200, token)

        def _is_allowed(self, path: str) -> bool:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(403, None)
            elif self.path != path:
                self._answer(404, None)
            else:
                return True
            return False

        def _answer(self, status: int, result: Any) -> None:  # noqa: ANN401  # JSON
            body = json.dumps({"success": result is not None, "errors": [], "messages": [], "result": result}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        cloudflare.url = f"http://127.0.0.1:{server.server_port}"
        yield cloudflare
        server.shutdown()
