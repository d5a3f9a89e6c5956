"""Our own driver program, started as oned starts one: it runs the scripts of a remotes directory by the rules of the real ones."""

from __future__ import annotations

import base64
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from onesim.mad.own import packed
from onesim.spec import for_contract

_SHOW = 'printf "%s" "$(basename "$0")" >>"$ONE_LOCATION/log"; printf " <%s>" "$@" >>"$ONE_LOCATION/log"; echo >>"$ONE_LOCATION/log"\n'


class Program:
    """A program under way, with a remotes tree below `root`."""

    def __init__(self, root: Path, name: str, contract: str, arguments: Sequence[str]) -> None:
        self.root = root
        (root / "var" / "remotes").mkdir(parents=True, exist_ok=True)
        file = root / f"one_{name}"
        file.write_bytes(packed(for_contract(contract), name))
        file.chmod(0o755)
        self.process = subprocess.Popen(
            [sys.executable, "-IS", str(file), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"ONE_LOCATION": str(root), "PATH": os.environ["PATH"]},
            bufsize=0,
        )

    def say(self, line: str) -> None:
        """Send a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def hear(self, time_s: float = 5) -> str:
        """Return the next line that is no log line; empty if none comes in time."""
        assert self.process.stdout is not None
        while select.select([self.process.stdout], [], [], time_s)[0]:
            line = b""
            while not line.endswith(b"\n") and (letter := self.process.stdout.read(1)):
                line += letter
            if not line.startswith(b"LOG "):
                return line.decode().rstrip("\n")
        return ""

    def script(self, path: str, text: str, mode: int = 0o755) -> None:
        """Write a driver script; `path` is that below remotes."""
        file = self.root / "var" / "remotes" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#!/bin/bash\n" + text)
        file.chmod(mode)

    def transfer(self, text: str, id: int = 7) -> str:
        """Have a transfer script run. Returns the answer."""
        (self.root / "transfer").write_text(text)
        self.say(f"TRANSFER  {id} {self.root}/transfer")
        return self.hear()

    def log(self) -> list[str]:
        """Return what the scripts noted."""
        file = self.root / "log"
        return file.read_text().splitlines() if file.exists() else []


def until(condition: object, time_s: float = 5) -> bool:
    """Wait until a condition holds."""
    end = time.monotonic() + time_s
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Return a function that starts a program and waits for its answer to INIT."""
    started: list[Program] = []

    def begin(name: str = "tm", contract: str = "7.4", arguments: Sequence[str] = ("-t", "15", "-d", "mine")) -> Program:
        program = Program(tmp_path, name, contract, arguments)
        started.append(program)
        program.say("INIT")
        assert program.hear() == "INIT SUCCESS - -"
        return program

    yield begin
    for program in started:
        program.process.kill()
        program.process.wait()
        for stream in (program.process.stdin, program.process.stdout, program.process.stderr):
            assert stream is not None
            stream.close()


def test_a_transfer_script_runs_line_by_line(start: type[Program]) -> None:
    """Arguments as they stand in the line, comments passed over, stdout without effect."""
    program = start()
    program.script("tm/mine/clone", _SHOW + "echo anything; cat")
    program.script("tm/mine/mv", _SHOW)
    assert program.transfer("# first\n\nCLONE mine a:b 'c d' $HOME * 7\nMV mine x y\n") == "TRANSFER SUCCESS 7 -"
    assert program.log() == ["clone <a:b> <'c> <d'> <$HOME> <*> <7>", "mv <x> <y>"]
    assert program.transfer("", 8) == "TRANSFER SUCCESS 8 -"


def test_it_stops_at_the_first_failure(start: type[Program]) -> None:
    """The error text is that of the contract; what follows does not run."""
    program = start()
    program.script("tm/mine/clone", _SHOW + "echo 'INFO: noise' >&2; echo no space >&2; exit 3")
    program.script("tm/mine/mv", _SHOW)
    assert program.transfer("CLONE mine a\nMV mine x y\n") == "TRANSFER FAILURE 7 no space"
    assert program.log() == ["clone <a>"]


def test_the_suffix_falls_back(start: type[Program]) -> None:
    """The script of the mode if there is one, else the plain one; the text after the last dot goes."""
    program = start()
    program.script("tm/mine/clone", _SHOW)
    program.script("tm/mine/clone.ssh", _SHOW)
    assert program.transfer("CLONE.ssh mine a\nCLONE.other mine b\n") == "TRANSFER SUCCESS 7 -"
    assert program.log() == ["clone.ssh <a>", "clone <b>"]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("CLONE other a", "Transfer Driver 'other' not available"),
        ("FLY mine a", "Driver path '{tm}/mine/fly' does not exists"),
        ("FLY.ssh mine a", "Driver path '{tm}/mine/fly.ssh' nor '{tm}/mine/fly' exists"),
        ("LN mine a", "Internal error Permission denied - {tm}/mine/ln"),
        ("DIE mine a", "-"),
    ],
)
def test_what_cannot_run_is_a_failure(start: type[Program], line: str, answer: str) -> None:
    """With the text of the real program."""
    program = start()
    program.script("tm/mine/ln", _SHOW, 0o644)
    program.script("tm/mine/die", "kill -9 $$")
    assert program.transfer(line) == "TRANSFER FAILURE 7 " + answer.replace("{tm}", f"{program.root}/var/remotes/tm")


def test_a_transfer_script_that_is_not_there(start: type[Program]) -> None:
    """The answer names it; a line without it, or with a dash for the status, gets none."""
    program = start()
    program.say("TRANSFER  7 /nowhere")
    assert program.hear() == "TRANSFER FAILURE 7 Transfer file '/nowhere' does not exist"
    program.say("TRANSFER  7")
    program.say("TRANSFER - 7 /nowhere")
    program.say("FLY  7 /nowhere")
    assert program.hear(0.3) == ""


def test_so_many_at_once(start: type[Program]) -> None:
    """-t 2: the third waits until one has ended."""
    program = start(arguments=("-t", "2", "-d", "mine"))
    program.script("tm/mine/clone", _SHOW + "until [[ -e $ONE_LOCATION/go ]]; do sleep 0.02; done")
    for id in (1, 2, 3):
        (program.root / f"t{id}").write_text(f"CLONE mine {id}\n")
        program.say(f"TRANSFER  {id} {program.root}/t{id}")
    assert until(lambda: len(program.log()) == 2) and not until(lambda: len(program.log()) > 2, 0.3)
    (program.root / "go").touch()
    assert sorted(program.hear() for _ in range(3)) == [f"TRANSFER SUCCESS {id} -" for id in (1, 2, 3)]


def test_cancel_ends_the_script_of_commands_alone(start: type[Program]) -> None:
    """The action that runs is not signalled, the next line does not run, there is no answer, and the place is free at once."""
    program = start(arguments=("-t", "1", "-d", "mine"))
    program.script("tm/mine/clone", _SHOW + 'until [[ -e $ONE_LOCATION/go ]]; do sleep 0.02; done; echo "ended" >>"$ONE_LOCATION/log"')
    program.script("tm/mine/ln", _SHOW)
    (program.root / "t1").write_text("CLONE mine a\nLN mine b\n")
    program.say(f"TRANSFER  1 {program.root}/t1")
    assert until(lambda: program.log() == ["clone <a>"])
    program.say("DRIVER_CANCEL  1 ")
    assert program.transfer("LN mine c\n", 2) == "TRANSFER SUCCESS 2 -"
    (program.root / "go").touch()
    assert until(lambda: program.log() == ["clone <a>", "ln <c>", "ended"])
    assert program.hear(0.3) == ""


def test_finalize_waits_and_the_end_of_oned_does_not(start: type[Program]) -> None:
    """After FINALIZE what runs is answered first; when stdin is at its end the program goes at once."""
    program = start()
    program.script("tm/mine/clone", "sleep 0.3")
    (program.root / "t1").write_text("CLONE mine a\n")
    program.say(f"TRANSFER  1 {program.root}/t1")
    program.say("FINALIZE")
    program.say(f"TRANSFER  2 {program.root}/t1")
    assert program.hear() == "TRANSFER SUCCESS 1 -"
    assert program.process.wait(5) == 0
    other = start()
    other.say(f"TRANSFER  1 {program.root}/t1")
    assert other.process.stdin is not None
    other.process.stdin.close()
    assert other.process.wait(5) == 255
    wrong = Program(program.root, "tm", "7.4", ["-z"])
    assert wrong.process.communicate(timeout=5)[1].startswith(b"onetck mad:") and wrong.process.returncode == 255


def document(mad: str = "mine", kind: str = "0", tm: str = "mine") -> str:
    """Return a driver action document in base64."""
    xml = f"<DS_DRIVER_ACTION_DATA><DATASTORE><DS_MAD>{mad}</DS_MAD><TM_MAD>{tm}</TM_MAD><TYPE>{kind}</TYPE></DATASTORE></DS_DRIVER_ACTION_DATA>"
    return base64.b64encode(xml.encode()).decode()


@pytest.mark.parametrize(
    ("contract", "argv", "stdin"),
    [("5.12", ["DUMP", "52"], ""), ("6.4", ["DUMP", "52"], ""), ("6.6-stdin", ["-", "52"], "DUMP"), ("6.8", ["52"], "DUMP"), ("7.4", ["52"], "DUMP")],
)
def test_the_document_travels_as_the_contract_says(start: type[Program], contract: str, argv: list[str], stdin: str) -> None:
    """As the first argument, or on stdin without a newline."""
    program = start("datastore", contract, ("-d", "mine"))
    program.script("datastore/mine/cp", _SHOW + 'printf "[%s]\\n" "$(cat; echo .)" >>"$ONE_LOCATION/log"; echo /d/1 raw')
    program.say(f"CP  52 {document()}")
    assert program.hear() == "CP SUCCESS 52 /d/1 raw"
    words = [word.replace("DUMP", document()) for word in argv]
    assert program.log() == ["cp " + " ".join(f"<{word}>" for word in words), f"[{stdin.replace('DUMP', document())}.]"]


def test_datastore_answers(start: type[Program]) -> None:
    """monitor is base64, of a system datastore it is the transfer driver's; a second line of output travels as it is; rubbish gets no answer."""
    program = start("datastore", arguments=("-d", "mine", "-s", "shared"))
    program.script("datastore/mine/monitor", "echo TOTAL_MB=1; echo FREE_MB=1")
    program.script("tm/shared/monitor", "echo no >&2; exit 1")
    program.script("datastore/mine/clone", "echo one; echo two")
    program.script("datastore/mine/rm", "cat >/dev/null; (sleep 2) & echo lost")
    program.say(f"MONITOR  1 {document()}")
    assert program.hear() == "MONITOR SUCCESS 1 " + base64.b64encode(b"TOTAL_MB=1\nFREE_MB=1\n").decode()
    program.say(f"MONITOR  0 {document('-', '1', 'shared')}")
    assert program.hear() == "MONITOR FAILURE 0 " + base64.b64encode(b"no").decode()
    program.say(f"MONITOR  0 {document('-', '1', 'other')}")
    assert program.hear() == "MONITOR FAILURE 0 System datastore driver 'other' not available"
    program.say(f"CP  2 {document('other')}")
    assert program.hear() == "CP FAILURE 2 Datastore driver 'other' not available"
    program.say(f"CLONE  3 {document()}")
    assert [program.hear(), program.hear()] == ["CLONE SUCCESS 3 one", "two"]
    program.say(f"RM  5 {document()}")
    assert program.hear() == "RM SUCCESS 5 -", "what a background process holds open is not waited for"
    for line in ("CP  4 !!!", f"CP  4 {base64.b64encode(b'<a>').decode()}", f"BACKUP  4 {document()}", f"CP  4 {document()} more", "\x00\xff"):
        program.say(line)
    assert program.hear(0.3) == ""


@pytest.mark.parametrize(("contract", "bounded"), [("7.0", False), ("7.4", True)])
def test_the_bound_of_time(start: type[Program], contract: str, bounded: bool) -> None:
    """-w ends a script of one_datastore since 7.1.80; before it is without effect."""
    program = start("datastore", contract, ("-d", "mine", "-w", "1"))
    program.script("datastore/mine/rm", "exec sleep 1.6")
    program.say(f"RM  5 {document()}")
    answer = program.hear()
    assert answer == (f"RM FAILURE 5 Timeout executing {program.root}/var/remotes/datastore/mine/rm 5" if bounded else "RM SUCCESS 5 -")


def test_the_command(tmp_path: Path) -> None:
    """`onetck mad` is the program; another name is a usage error."""
    (tmp_path / "var" / "remotes").mkdir(parents=True)
    command = [Path(sys.executable).parent / "onetck", "mad"]
    environment = {"ONE_LOCATION": str(tmp_path), "PATH": os.environ["PATH"]}
    run = subprocess.run([*command, "tm", "-t", "15", "-d", "a,b"], input=b"INIT\nFINALIZE\n", capture_output=True, env=environment, check=False)
    assert (run.stdout, run.returncode) == (b"INIT SUCCESS - -\n", 0)
    wrong = subprocess.run([*command, "im"], capture_output=True, env=environment, check=False)
    assert wrong.returncode == 4 and b"tm, datastore" in wrong.stderr
