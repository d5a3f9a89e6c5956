#!/usr/bin/env python3
"""Records what a storage array's command line or HTTP API answers, and answers from that recording where there is no array.

Standard library only, and one file: it goes into worlds.

A tape is JSON lines, one exchange each. On replay a request is met by an exchange that is the same but for names (`one-12-3`, UUIDs, times), which have to
correspond: a name of the tape always stands for the same name here, and answers are rewritten accordingly. Of several exchanges the one is taken before which
the same changes were made to the objects that the request names. What is not on the tape is refused, and said.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import http.client
import http.server
import json
import re
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

#: Names that differ from one run to the next. The option --names adds to them.
NAMES = (
    r"\bone-\d+(?:-\d+)*\b",
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
    r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?",
)
#: Words of a command line by which it only looks; of HTTP, GET and HEAD do. The option --reads replaces them.
READS = r"\b(show|list|get|info|status|query|ls|df|stat|version|help|--version|--help)\b"
MISS_STATUS = 70
_ANSWER_HEADERS = ("content-type", "location", "x-auth-token", "etag")


def text_of(data: bytes) -> dict[str, str]:
    """Return bytes as JSON can hold them."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def bytes_of(held: dict[str, str]) -> bytes:
    """Return the bytes that `text_of` has made JSON of."""
    return held["text"].encode() if "text" in held else base64.b64decode(held["base64"])


class Rules:
    """What counts as a name, and what only looks."""

    def __init__(self, names: Iterable[str] = (), reads: str = READS) -> None:
        self.name = re.compile("|".join(f"(?:{one})" for one in (*names, *NAMES)))
        self.read = re.compile(reads)

    def split(self, request: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what stands around the names of a request, and the names."""
        around, names, at = [], [], 0
        for found in self.name.finditer(request):
            around.append(request[at : found.start()])
            names.append(found.group())
            at = found.end()
        return (*around, request[at:]), tuple(names)

    def looks(self, request: str) -> bool:
        """Whether a request changes nothing."""
        method = request.partition(" ")[0]
        return method in ("GET", "HEAD") if method.isupper() and " /" in request else bool(self.read.search(request))


class Tape:
    """A recording, and what was done of it so far: `done` are the numbers of exchanges that changed something, `bound` what names of the tape stand for here."""

    def __init__(self, path: str, rules: Rules) -> None:
        self.rules = rules
        self.exchanges: list[tuple[tuple[str, ...], tuple[str, ...], dict[str, Any]]] = []
        for number, line in enumerate(Path(path).read_text().splitlines(), 1):
            try:
                row = json.loads(line)
                self.exchanges.append((*rules.split(row["request"]), row))
            except (ValueError, KeyError, TypeError):
                raise SystemExit(f"array-kit: {path}:{number}: no exchange; record the tape again") from None
        self.done: list[int] = []
        self.bound: dict[str, str] = {}
        self.used: list[int] = []

    def answer(self, request: str) -> dict[str, Any] | None:
        """Return the answer to a request; None if the tape has none for it in this state."""
        around, names = self.rules.split(request)
        met = [(n, bound) for n, one in enumerate(self.exchanges) if one[0] == around and (bound := self._binds(one[1], names)) is not None]
        exact = [(n, bound) for n, bound in met if self._state(self.done, self.exchanges[n][1]) == self._state(self._before(n), self.exchanges[n][1])]
        if not names and not exact:
            # it is about the whole array: what was answered after the most of what was done
            met = [(n, bound) for n, bound in met if self.rules.looks(request)]
            exact = sorted(met, key=lambda one: -len(set(self._before(one[0])) & set(self.done)))[:1]
        if not exact:
            return None
        n, bound = min(exact, key=lambda one: (self.used.count(one[0]), one[0]))
        self.bound |= bound
        self.used.append(n)
        if not self.rules.looks(request):
            self.done.append(n)
        return self._rewritten(self.exchanges[n][2])

    def _before(self, n: int) -> list[int]:
        """Return the changes that stand on the tape before an exchange."""
        return [one for one in range(n) if not self.rules.looks(self.exchanges[one][2]["request"])]

    def _state(self, done: Sequence[int], names: Sequence[str]) -> list[Any]:
        """Return the changes among those done that name one of these objects."""
        return [self.exchanges[n][0] for n in done if set(self.exchanges[n][1]) & set(names)] if names else list(done)

    def _binds(self, taped: Sequence[str], here: Sequence[str]) -> dict[str, str] | None:
        """Return what the names of an exchange stand for, if that goes with what they stood for before."""
        bound: dict[str, str] = {}
        for old, new in zip(taped, here, strict=True):
            if self.bound.get(old, bound.get(old, new)) != new:
                return None
            if old not in self.bound and new in {**self.bound, **bound}.values() and bound.get(old) != new:
                return None
            bound[old] = new
        return bound

    def _rewritten(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the answer with the names of here; what the array itself has named keeps the name of the tape."""
        told = json.dumps(row["answer"])
        answer: dict[str, Any] = json.loads(self.rules.name.sub(lambda found: self.bound.get(found.group(), found.group()), told))
        return answer

    def known(self, request: str) -> list[str]:
        """Return requests on the tape that are alike, for who has to find out what is missing."""
        around, _ = self.rules.split(request)
        same = [one[2]["request"].splitlines()[0] for one in self.exchanges if one[0] == around]
        near = [one[2]["request"].splitlines()[0] for one in self.exchanges if one[0][0].split()[:2] == around[0].split()[:2]]
        return list(dict.fromkeys(same or near))[:3]


class Player:
    """Answers from a tape; what was done so far is kept in a file, so that the calls of a command line know of each other."""

    def __init__(self, tape: str, state: str, rules: Rules, misses: str | None) -> None:
        self.tape, self.state, self.rules, self.misses = tape, Path(state), rules, misses
        self.lock = threading.Lock()

    def answer(self, request: str) -> tuple[dict[str, Any] | None, str]:
        """Return the answer, or why there is none."""
        with self.lock, self.state.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            tape = Tape(self.tape, self.rules)
            file.seek(0)
            kept = file.read()
            if kept:
                tape.done, tape.bound, tape.used = json.loads(kept)
            found = tape.answer(request)
            if found is not None:
                file.truncate(0)
                file.write(json.dumps([tape.done, tape.bound, tape.used]))
                return found, ""
            after = [tape.exchanges[n][2]["request"].splitlines()[0] for n in tape.done[-3:]]
        first = request.splitlines()[0]
        known = " | ".join(tape.known(request)) or "nothing like it"
        why = f"array-kit: {self.tape} has no answer to `{first}` after {' | '.join(after) or 'nothing'}; on the tape: {known}"
        if self.misses:
            with Path(self.misses).open("a") as file:
                file.write(why + "\n")
        return None, why


def append(tape: str, row: dict[str, Any]) -> None:
    """Add an exchange to a tape."""
    with Path(tape).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(row) + "\n")


def command_line(words: Sequence[str], data: bytes) -> str:
    """Return a request of a command line: its words, the command without its directory, and what it is given."""
    told = " ".join([Path(words[0]).name, *(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else json.dumps(word) for word in words[1:])])
    return told + ("\n" + json.dumps(text_of(data)) if data else "")


def given() -> bytes:
    """Return what stands on standard input."""
    return b"" if sys.stdin.isatty() else sys.stdin.buffer.read()


def record(options: argparse.Namespace) -> int:
    """Run a command, and keep what it was asked and what it answered."""
    data = given() if options.stdin else b""
    done = subprocess.run(options.words, input=data, capture_output=True, check=False)
    answer = {"status": done.returncode, "stdout": text_of(done.stdout), "stderr": text_of(done.stderr)}
    append(options.tape, {"request": command_line(options.words, data), "answer": answer})
    return told(answer)


def replay(options: argparse.Namespace) -> int:
    """Answer a command from the tape."""
    player = Player(options.tape, options.state or f"{options.tape}.state", Rules(options.names, options.reads), options.misses)
    answer, why = player.answer(command_line(options.words, given() if options.stdin else b""))
    if answer is None:
        sys.stderr.write(why + "\n")
        return MISS_STATUS
    return told(answer)


def told(answer: dict[str, Any]) -> int:
    """Print what a command has printed, and return its status."""
    sys.stdout.buffer.write(bytes_of(answer["stdout"]))
    sys.stderr.buffer.write(bytes_of(answer["stderr"]))
    status = int(answer["status"])
    return status if status >= 0 else 128 - status


def serve(options: argparse.Namespace) -> int:
    """Answer HTTP on loopback: by the array behind --to, which is recorded, or from the tape."""
    target = urllib.parse.urlsplit(options.to) if options.to else None
    player = Player(options.tape, options.state or f"{options.tape}.state", Rules(options.names, options.reads), options.misses)

    def played(request: str) -> dict[str, Any]:
        found, why = player.answer(request)
        return found or {"status": 501, "headers": {"content-type": "text/plain"}, "body": {"text": why + "\n"}}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def exchange(self) -> None:
            """Answer one request."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {self.path}" + ("\n" + json.dumps(text_of(canonical(body))) if body else "")
            answer = forwarded(target, self, body) if target is not None else played(request)
            if target is not None:
                append(options.tape, {"request": request, "answer": answer})
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

    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="array-kit", description="Records a storage array's command line or HTTP API, and answers from the recording."
    )
    commands = parser.add_subparsers(required=True, metavar="record|replay|serve")
    for name, run, text in (
        ("record", record, "run a command and keep what it answers"),
        ("replay", replay, "answer a command from the tape"),
        ("serve", serve, "answer HTTP, from the tape or (--to) by the array, which is recorded"),
    ):
        one = commands.add_parser(name, help=text)
        one.set_defaults(run=run)
        one.add_argument("--tape", required=True, help="the recording")
        one.add_argument("--state", help="where replay keeps what was done; TAPE.state if not given")
        one.add_argument("--misses", help="a file that gets a line for each request that is not on the tape")
        one.add_argument("--names", action="append", default=[], metavar="REGEX", help="what else is a name that differs from run to run")
        one.add_argument("--reads", default=READS, metavar="REGEX", help="what command lines only look")
        if name == "serve":
            one.add_argument("--port", type=int, default=0)
            one.add_argument("--to", help="the address of the array")
        else:
            one.add_argument("--stdin", action="store_true", help="the command reads its standard input")
            one.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    options = parser.parse_args(arguments)
    if hasattr(options, "words"):
        options.words = options.words[1:] if options.words[:1] == ["--"] else options.words
        if not options.words:
            parser.error("name the command behind --")
    try:
        return int(options.run(options))
    except (OSError, re.error) as error:
        sys.stderr.write(f"array-kit: {error}; check the options\n")
        return MISS_STATUS + 1


if __name__ == "__main__":
    sys.exit(main())
