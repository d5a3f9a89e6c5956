#!/usr/bin/env python3
"""Records what a storage array's command line or HTTP API answers, and answers from that recording where there is no array: the commands.

Standard library only: `onetck array script` packs this directory into one file, which goes into labs and worlds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onesim.arraykit.redacting import Secrets
from onesim.arraykit.serving import COMMANDS, serve
from onesim.arraykit.tape import READS, Player, Rules, Tape, TapeError, append, bytes_of, text_of

MISS_STATUS = 70


def command_line(words: Sequence[str], data: bytes, secrets: Secrets) -> str:
    """Return a request of a command line: its words, the command without its directory, and what it is given; without secrets."""
    clean = secrets.argv([Path(words[0]).name, *words[1:]])
    told = " ".join([clean[0], *(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else json.dumps(word) for word in clean[1:])])
    return told + ("\n" + json.dumps(secrets.content(text_of(data))) if data else "")


def given() -> bytes:
    """Return what stands on standard input."""
    return b"" if sys.stdin.isatty() else sys.stdin.buffer.read()


def record(options: argparse.Namespace) -> int:
    """Run a command, and keep what it was asked and what it answered."""
    data = given() if options.stdin else b""
    done = subprocess.run(options.words, input=data, capture_output=True, check=False)
    answer = {"status": done.returncode, "stdout": text_of(done.stdout), "stderr": text_of(done.stderr)}
    secrets = Secrets()
    append(options.tape, secrets.exchange({"request": command_line(options.words, data, secrets), "answer": answer}))
    return told(answer)


def replay(options: argparse.Namespace) -> int:
    """Answer a command from the tape."""
    request = command_line(options.words, given() if options.stdin else b"", Secrets())
    answer, why = asked(options.at, request) if options.at else player_of(options).answer(request)
    if answer is None:
        sys.stderr.write(why + "\n")
        return MISS_STATUS
    return told(answer)


def asked(port: int, request: str) -> tuple[dict[str, Any] | None, str]:
    """Return what a kit that serves on this machine answers to a command, or why it has no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", COMMANDS, request.encode())
    found = json.loads(connection.getresponse().read())
    return found["answer"], found["why"]


def player_of(options: argparse.Namespace) -> Player:
    """Return what answers from the tape."""
    return Player(options.tape, options.state or f"{options.tape}.state", Rules(options.names, options.reads), options.misses)


def served(options: argparse.Namespace) -> int:
    """Answer HTTP. A tape that is damaged is told before anybody asks."""
    if not options.to:
        Tape(options.tape, Rules(options.names, options.reads))
    return serve(options.tape, options.port, options.to or "", player_of(options))


def told(answer: dict[str, Any]) -> int:
    """Print what a command has printed, and return its status."""
    sys.stdout.buffer.write(bytes_of(answer["stdout"]))
    sys.stderr.buffer.write(bytes_of(answer["stderr"]))
    status = int(answer["status"])
    return status if status >= 0 else 128 - status


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="array-kit", description="Records a storage array's command line or HTTP API, and answers from the recording."
    )
    commands = parser.add_subparsers(required=True, metavar="record|replay|serve")
    for name, run, text in (
        ("record", record, "run a command and keep what it answers"),
        ("replay", replay, "answer a command from the tape"),
        ("serve", served, "answer HTTP, from the tape or (--to) by the array, which is recorded"),
    ):
        one = commands.add_parser(name, help=text)
        one.set_defaults(run=run)
        one.add_argument("--tape", default="", help="the recording")
        one.add_argument("--state", help="where replay keeps what was done; TAPE.state if not given")
        one.add_argument("--misses", help="a file that gets a line for each request that is not on the tape")
        one.add_argument("--names", action="append", default=[], metavar="REGEX", help="what else is a name that differs from run to run")
        one.add_argument("--reads", default=READS, metavar="REGEX", help="what command lines only look")
        if name == "serve":
            one.add_argument("--port", type=int, default=0)
            one.add_argument("--to", help="the address of the array")
        else:
            one.add_argument("--stdin", action="store_true", help="the command reads its standard input")
            one.add_argument("--at", type=int, default=0, metavar="PORT", help="replay: ask the kit that serves on this port of loopback")
            one.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    options = parser.parse_args(arguments)
    if not options.tape and not getattr(options, "at", 0):
        parser.error("name the recording with --tape")
    if hasattr(options, "words"):
        options.words = options.words[1:] if options.words[:1] == ["--"] else options.words
        if not options.words:
            parser.error("name the command behind --")
    try:
        return int(options.run(options))
    except TapeError as error:
        sys.stderr.write(f"array-kit: {error}\n")
        return 1
    except (OSError, ValueError, re.error, http.client.HTTPException) as error:
        sys.stderr.write(f"array-kit: {error}; check the options\n")
        return MISS_STATUS + 1


if __name__ == "__main__":
    sys.exit(main())
