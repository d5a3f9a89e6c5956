"""An array that is recorded once is answered for without it: under other names, in the right state, and what is not on the tape is named."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from onesim.arraykit import kit

#: A vendor's command line: volumes in a file, each with an id that the array gives it.
ARRAYCTL = """\
import json, sys, uuid, pathlib
store = pathlib.Path(__file__).with_suffix(".json")
volumes = json.loads(store.read_text()) if store.exists() else {}
verb, *rest = sys.argv[1:]
if verb == "create":
    volumes[rest[0]] = {"id": str(uuid.uuid4()), "size": rest[1]}
elif verb == "delete":
    if rest[0] not in volumes:
        sys.exit("no such volume: " + rest[0])
    del volumes[rest[0]]
elif verb == "show" and rest[0] not in volumes:
    sys.exit("no such volume: " + rest[0])
store.write_text(json.dumps(volumes))
print(json.dumps({"volume": rest[0], **volumes.get(rest[0], {})} if rest else {"volumes": sorted(volumes)}))
"""


class Lab:
    """The command line, in the lab or from its tape; each call is a process of its own, as drivers make them."""

    def __init__(self, root: Path) -> None:
        self.root, self.tape = root, root / "tape.jsonl"
        (root / "arrayctl").write_text(ARRAYCTL)

    def call(self, how: str, *words: str) -> tuple[int, str, str]:
        # the command has the same name wherever it lies
        command = self.root / "run" if how == "record" else "/elsewhere/run"
        kept = ["--tape", self.tape, "--misses", self.root / "misses"]
        done = subprocess.run([sys.executable, kit.__file__, how, *kept, "--", command, *words], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(tmp_path)
    (tmp_path / "run").write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/arrayctl "$@"\n')
    (tmp_path / "run").chmod(0o755)
    return made


def test_a_command_line_is_answered_by_state_and_under_other_names(lab: Lab) -> None:
    """Proves that `show` tells what it told after the same changes, with the names of here, that two volumes are not confused, and failures come back."""
    recorded = [
        lab.call("record", *words.split())
        for words in ("show one-7", "create one-7 5", "create one-8 5", "show one-7", "show one-8", "list", "delete one-7", "show one-7", "list")
    ]
    assert [one[0] for one in recorded] == [1, 0, 0, 0, 0, 0, 0, 1, 0]
    for path in (lab.root / "arrayctl", lab.root / "arrayctl.json"):
        path.unlink()

    def here(text: str) -> str:
        return text.replace("one-7", "one-90").replace("one-8", "one-7")

    assert lab.call("replay", "show", "one-90") == (1, "", here(recorded[0][2]))
    for n, words in ((1, "create one-90 5"), (3, "show one-90"), (3, "show one-90"), (2, "create one-7 5"), (4, "show one-7"), (5, "list")):
        assert lab.call("replay", *words.split()) == (0, here(recorded[n][1]), ""), words
    assert lab.call("replay", "delete", "one-90")[0] == 0
    assert lab.call("replay", "show", "one-90") == (1, "", here(recorded[7][2]))
    assert lab.call("replay", "list") == (0, here(recorded[8][1]), "")
    assert lab.call("replay", "show", "one-7")[1] == here(recorded[4][1])


def test_what_is_not_on_the_tape_is_named(lab: Lab) -> None:
    """Proves that another request, and one that is known in another state only, fail with one line that names it, and are kept in the list of misses."""
    for words in ("create one-7 5", "delete one-7"):
        lab.call("record", *words.split())
    for words, said in (("resize one-1 9", "nothing like it"), ("delete one-1", "on the tape: run delete one-7")):
        status, out, err = lab.call("replay", *words.split())
        assert (status, out, err.count("\n")) == (kit.MISS_STATUS, "", 1)
        assert f"`run {words}` after nothing" in err and said in err
    assert len((lab.root / "misses").read_text().splitlines()) == 2


@contextmanager
def array() -> Iterator[str]:
    """A vendor's HTTP API for volumes."""
    volumes: dict[str, dict[str, Any]] = {}

    class Api(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            name = self.path.rpartition("/")[2]
            if self.command == "POST":
                volumes[body["name"]] = body
            elif self.command == "DELETE":
                volumes.pop(name, None)
            found = volumes.get(body.get("name", name))
            data = json.dumps(found or {"error": f"no {name}"}).encode()
            self.send_response(200 if found or self.command == "DELETE" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *words: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def served(tape: Path, *words: str) -> Iterator[str]:
    """The kit as a server."""
    with subprocess.Popen([sys.executable, kit.__file__, "serve", "--tape", tape, *words], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().strip()
        finally:
            running.terminate()


def ask(url: str, method: str, body: object = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_an_http_api_is_answered_from_its_tape(tmp_path: Path) -> None:
    """Proves that what a proxy has recorded is answered without the array: by state, names and the meaning of JSON, and that a miss is 501 and says why."""
    tape = tmp_path / "tape.jsonl"
    with array() as url, served(tape, "--to", url) as proxy:
        assert ask(f"{proxy}/v/one-1", "GET")[0] == 404
        assert ask(f"{proxy}/v", "POST", {"name": "one-1", "size": 4})[0] == 200
        assert ask(f"{proxy}/v/one-1", "GET") == (200, '{"name": "one-1", "size": 4}')
        assert ask(f"{proxy}/v/one-1", "DELETE")[0] == 200
        assert ask(f"{proxy}/v/one-1", "GET")[0] == 404
    with served(tape) as replayed:
        assert ask(f"{replayed}/v/one-55", "GET") == (404, '{"error": "no one-55"}')
        assert ask(f"{replayed}/v", "POST", {"size": 4, "name": "one-55"})[0] == 200
        assert ask(f"{replayed}/v/one-55", "GET") == (200, '{"name": "one-55", "size": 4}')
        status, why = ask(f"{replayed}/v/one-55", "PATCH", {"size": 8})
        assert status == 501 and "`PATCH /v/one-55`" in why
        assert ask(f"{replayed}/v/one-55", "DELETE")[0] == 200
        assert ask(f"{replayed}/v/one-55", "GET")[0] == 404


def test_a_damaged_tape_is_said(tmp_path: Path) -> None:
    """Proves that a tape that was cut is named with its line, without a traceback."""
    tape = tmp_path / "tape.jsonl"
    tape.write_text('{"request": "run list"')
    done = subprocess.run([sys.executable, kit.__file__, "replay", "--tape", tape, "--", "run", "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f"{tape}:1" in done.stderr and "Traceback" not in done.stderr
