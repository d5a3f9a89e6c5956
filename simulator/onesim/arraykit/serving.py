"""HTTP on loopback: the array's API, recorded on its way or answered from a tape."""

from __future__ import annotations

import http.client
import http.server
import json
import sys
import urllib.parse
from typing import Any

from onesim.arraykit.redacting import Secrets
from onesim.arraykit.tape import Player, append, bytes_of, text_of

_ANSWER_HEADERS = ("content-type", "location", "x-auth-token", "etag")
#: Where the commands of a world ask, of which the tape has the answers too.
COMMANDS = "/.array-kit/command"


def serve(tape: str, port: int, to: str, player: Player) -> int:
    """Answer HTTP on loopback: by the array behind `to`, which is recorded, or from the tape."""
    target = urllib.parse.urlsplit(to) if to else None
    secrets = Secrets()

    def played(request: str) -> dict[str, Any]:
        found, why = player.answer(request)
        return found or {"status": 501, "headers": {"content-type": "text/plain"}, "body": {"text": why + "\n"}}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def exchange(self) -> None:
            """Answer one request."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer: dict[str, Any]
            if target is None and self.path == COMMANDS:
                found, why = player.answer(body.decode())
                answer = {"status": 200, "headers": {}, "body": {"text": json.dumps({"answer": found, "why": why})}}
            else:
                clean = secrets.content(text_of(canonical(body)))
                request = f"{self.command} {secrets.text(self.path)}" + ("\n" + json.dumps(clean) if body else "")
                answer = forwarded(target, self, body) if target is not None else played(request)
                if target is not None:
                    append(tape, secrets.exchange({"request": request, "answer": answer}))
            data = bytes_of(answer["body"])
            self.send_response(answer["status"])
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = exchange  # noqa: N815

        def log_message(self, format: str, *words: Any) -> None:
            """Say nothing: the driver's output is none of ours."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
    return 0


def canonical(body: bytes) -> bytes:
    """Return JSON with its keys in order and without blanks, as it means the same; other bytes as they are."""
    try:
        return json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    except ValueError:
        return body


def forwarded(target: urllib.parse.SplitResult, asked: http.server.BaseHTTPRequestHandler, body: bytes) -> dict[str, Any]:
    """Ask the array."""
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = kind(target.hostname or "", target.port, timeout=300)
    headers = {name: value for name, value in asked.headers.items() if name.lower() not in ("host", "connection", "accept-encoding")}
    connection.request(asked.command, target.path.rstrip("/") + asked.path, body or None, headers)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    kept = {name.lower(): value for name, value in answer.getheaders() if name.lower() in _ANSWER_HEADERS}
    return {"status": answer.status, "headers": kept, "body": text_of(data)}
