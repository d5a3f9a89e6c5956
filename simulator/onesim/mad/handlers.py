"""What one_tm and one_datastore do for a request: which scripts they run, with which arguments, and what they answer. Standard library only."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from onesim.mad import results, scripts, transfer
from onesim.mad.results import Ended
from onesim.mad.wire import Answer, Log, Request, raw, text


@dataclass(frozen=True)
class Manner:
    """What the contract says of a program, decided. `argv` are the words for actions that take a document: dump, dash and id.

    `stdin` = the document travels there; `errors` = how the error text is found; `encodes` = actions whose answer is base64; `bounded` = -w is heeded.
    """

    name: str
    errors: str
    actions: tuple[str, ...]
    argv: tuple[str, ...]
    stdin: bool
    encodes: tuple[str, ...]
    threads: int
    bounded: bool


@dataclass(frozen=True)
class Options:
    """The arguments of a program in oned.conf. `drivers` and `system` are the lists of -d and -s; `time_s` = 0: no bound."""

    threads: int
    drivers: tuple[str, ...]
    system: tuple[str, ...]
    time_s: float = 0


@dataclass(frozen=True)
class Task:
    """A request under way: how it logs, and whether oned has cancelled it."""

    request: Request
    log: Callable[[Log], None]
    cancelled: Callable[[], bool]


class Handler:
    """Runs the scripts of a remotes directory for the requests of one program."""

    def __init__(self, manner: Manner, options: Options, remotes: Path) -> None:
        self.manner, self.options, self.remotes = manner, options, remotes

    def takes(self, request: Request) -> bool:
        """Whether the program knows the request, with as many words as it takes; others it drops without an answer."""
        known = ("TRANSFER",) if self.manner.name == "tm" else tuple(name.upper() for name in self.manner.actions)
        return request.action in known and request.id >= 0 and len(request.payload.split()) == 1

    def handle(self, task: Task) -> Answer | None:
        """Do what a request asks. None where the real program gives no answer either."""
        return self._transfer(task) if self.manner.name == "tm" else self._document(task)

    def _run(self, task: Task, path: Path, argv: Iterable[str], stdin: bytes = b"") -> Ended:
        words = tuple(argv)
        ended = scripts.run(str(path), words, stdin, self.options.time_s if self.manner.bounded else 0)
        if not task.cancelled():
            for log in results.logs(ended, self.manner.errors, task.request.id, scripts.shown(str(path), words)):
                task.log(log)
        return ended

    # one_tm

    def _transfer(self, task: Task) -> Answer | None:
        request = task.request
        file = Path(request.payload)
        try:
            commands = transfer.read(text(file.read_bytes()))
        except FileNotFoundError:
            return Answer("TRANSFER", False, request.id, f"Transfer file '{request.payload}' does not exist")
        except OSError as error:
            return Answer("TRANSFER", False, request.id, f"{error.strerror} - {request.payload}")
        for command in commands:
            if task.cancelled():
                return None
            problem = self._command(task, command)
            if problem:
                return Answer("TRANSFER", False, request.id, problem)
        return Answer("TRANSFER", True, request.id, "-")

    def _command(self, task: Task, command: transfer.Command) -> str:
        """Run one line. Returns the text of its failure, empty if it succeeded."""
        if command.mad not in self.options.drivers:
            return f"Transfer Driver '{command.mad}' not available"
        path = self.remotes / "tm" / command.mad / command.action
        if not path.exists():
            plain, dot, _ = command.action.rpartition(".")
            if not dot:
                return f"Driver path '{path}' does not exists"
            shortened = path.with_name(plain)
            if not shortened.exists():
                return f"Driver path '{path}' nor '{shortened}' exists"
            path = shortened
        ended = self._run(task, path, command.argv)
        return "" if ended.success else results.info(ended, self.manner.errors)

    # one_datastore

    def _document(self, task: Task) -> Answer | None:
        request = task.request
        action = request.action.lower()
        try:
            root = ElementTree.fromstring(base64.b64decode(request.payload))
        except (binascii.Error, ElementTree.ParseError):
            return None
        datastore = root.find("DATASTORE")
        found = {name: (datastore.findtext(name) or "").strip() for name in ("DS_MAD", "TM_MAD", "TYPE")} if datastore is not None else {}
        if action == "monitor" and found.get("TYPE") == "1" and found["TM_MAD"]:
            mad, folder, there, what = found["TM_MAD"], "tm", self.options.system, "System datastore"
        else:
            mad, folder, there, what = found.get("DS_MAD", ""), "datastore", self.options.drivers, "Datastore"
        if mad not in there:
            return Answer(request.action, False, request.id, f"{what} driver '{mad}' not available")
        words = {"dump": request.payload, "dash": "-", "id": str(request.id)}
        stdin = raw(request.payload) if self.manner.stdin else b""
        ended = self._run(task, self.remotes / folder / mad / action, (words[name] for name in self.manner.argv), stdin)
        info = results.info(ended, self.manner.errors, encodes=action in self.manner.encodes)
        return Answer(request.action, ended.success, request.id, info.removesuffix("\n"))
