"""A driver program of our own: reads the lines of oned on stdin, runs up to so many actions at once, answers on stdout. Standard library only."""

from __future__ import annotations

import getopt
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onesim.mad.handlers import Handler, Manner, Options, Task
from onesim.mad.wire import Answer, Lines, Log, Request, read_request, text, write_answer, write_log

#: What a Ruby program leaves with for exit(-1): a wrong option, or oned gone.
_GONE = 255


@dataclass
class _Job:
    request: Request
    cancelled: bool = False


class Server:
    """The requests that wait and that run. `write` takes whole lines."""

    def __init__(self, handler: Handler, threads: int, write: Callable[[bytes], None]) -> None:
        self.handler, self.threads = handler, threads
        self._write = write
        self._lock = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._finalized = False

    def take(self, line: str) -> None:
        """Take a line of oned. What is not understood is dropped without an answer, as the real programs do."""
        request = read_request(line)
        if not isinstance(request, Request):
            return
        with self._lock:
            if request.action == "DRIVER_CANCEL":
                self._cancel(request.id)
            elif request.action == "FINALIZE":
                self._finalized = True
                self._lock.notify_all()
            elif self._finalized:
                return
            elif request.action == "INIT":
                self._write(write_answer(Answer("INIT", True, -1, "-")))
            elif self.handler.takes(request):
                self._waiting.append(_Job(request))
                self._start()

    @property
    def done(self) -> bool:
        """Whether FINALIZE has come, and everything that was asked has ended."""
        return self._finalized and not self._running and not self._waiting

    def wait_for_end(self) -> None:
        """Return when everything is done."""
        with self._lock:
            self._lock.wait_for(lambda: self.done)

    def _cancel(self, id: int) -> None:
        """End a request without an answer. The script that runs for it goes on; its place is free at once."""
        for jobs in (self._running, self._waiting):
            job = next((one for one in jobs if one.request.id == id), None)
            if job is not None:
                job.cancelled = True
                jobs.remove(job)
                break
        self._write(write_log(Log("I", id, f"Driver command for {id} cancelled")))
        self._start()

    def _start(self) -> None:
        while self._waiting and len(self._running) < self.threads:
            job = self._waiting.popleft()
            self._running.append(job)
            threading.Thread(target=self._work, args=(job,), daemon=True).start()

    def _log(self, log: Log) -> None:
        with self._lock:
            self._write(write_log(log))

    def _work(self, job: _Job) -> None:
        answer: Answer | None = None
        try:
            answer = self.handler.handle(Task(job.request, self._log, lambda: job.cancelled))
        finally:
            with self._lock:
                if not job.cancelled:
                    if answer is not None:
                        self._write(write_answer(answer))
                    self._running.remove(job)
                    self._start()
                self._lock.notify_all()


def read_options(manner: Manner, arguments: Sequence[str], remotes: Path) -> Options:
    """Read the arguments as oned.conf gives them: -t threads, -d drivers, -s drivers of system datastores, -w seconds, -i.

    Without -d every driver in the tree is taken; -s is then shared, ssh and ceph. Raises ValueError for a wrong one.
    """
    try:
        words = [word for given in arguments for word in given.split()]  # oned gives them all as one word
        found, _ = getopt.gnu_getopt(words, "t:d:s:w:i", ["threads=", "tm-types=", "ds-types=", "system-ds-types=", "timeout=", "stdin"])
    except getopt.GetoptError as error:
        raise ValueError(str(error)) from None
    values = {{"-t": "--threads", "-d": "--types", "-s": "--system-ds-types", "-w": "--timeout"}.get(name, name): value for name, value in found}
    values = {name.replace("--tm-types", "--types").replace("--ds-types", "--types"): value for name, value in values.items()}
    folder = remotes / ("tm" if manner.name == "tm" else "datastore")
    types = values.get("--types")
    drivers = (word.strip() for word in types.split(",")) if types is not None else (one.name for one in folder.glob("*/"))
    system = (word.strip() for word in values.get("--system-ds-types", "shared,ssh,ceph").split(","))
    return Options(max(int(values.get("--threads", manner.threads)), 1), tuple(drivers), tuple(system), float(values.get("--timeout", 0)))


def main(manner: Manner, arguments: Sequence[str]) -> int:
    """Be a driver program on stdin and stdout until oned says FINALIZE or is gone. Returns the exit status."""
    location = os.environ.get("ONE_LOCATION", "")
    var = Path(location) / "var" if location else Path("/var/lib/one")
    try:
        options = read_options(manner, arguments, var / "remotes")
        os.chdir(var)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"onetck mad: {error}\n")
        return _GONE
    output = sys.stdout.fileno()

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(output, view) :]

    server = Server(Handler(manner, options, var / "remotes"), options.threads, write)

    def listen() -> None:
        lines = Lines()
        while data := os.read(0, 1 << 16):
            for line in lines.feed(data):
                server.take(text(line))
        if not server.done:
            os._exit(_GONE)  # oned is gone: what runs is left to itself, without an answer

    threading.Thread(target=listen, daemon=True).start()
    server.wait_for_end()
    return 0
