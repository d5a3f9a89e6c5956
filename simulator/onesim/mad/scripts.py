"""Starting a script as the driver programs start it, and waiting for it. Standard library only."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from onesim.mad.results import Ended
from onesim.mad.wire import text

#: Seconds that are given to a stream which another process still holds when the script has ended; what it carries after that is lost, all of it.
_READ_S = 0.1
#: Bytes of a stream that are kept.
_OUTPUT_MAX = 16 << 20


class _Reader(threading.Thread):
    """Reads one stream of a script to its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.stream, self.data, self.complete = stream, bytearray(), False
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(self.stream.fileno(), 1 << 16):
                self.data += data[: _OUTPUT_MAX - len(self.data)]
        self.complete = True

    def result(self) -> str:
        """Return what was read, or nothing if the stream is still open."""
        self.join(_READ_S)
        return text(bytes(self.data)) if self.complete else ""


def shown(path: str, argv: Sequence[str]) -> str:
    """Return the command line for a text."""
    return " ".join((path, *(shlex.quote(word) for word in argv)))


def run(path: str, argv: Sequence[str], stdin: bytes = b"", time_s: float = 0) -> Ended:
    """Run a script in a process group of its own, with all of `stdin` in a pipe that is then closed. `time_s` = 0: without bound.

    What cannot be started, ends by a signal or exceeds its time has the status 255; the text of the error stands for stderr.
    """
    try:
        process = subprocess.Popen([path, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0)
    except OSError as error:
        return Ended(255, "", f"Internal error {error.strerror} - {path}")
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    readers = _Reader(process.stdout), _Reader(process.stderr)
    late = threading.Event()
    timer = threading.Timer(time_s, _terminate, (process.pid, late))
    if time_s:
        timer.start()
    # a script need not read its stdin
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(stdin)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    status = process.wait()
    timer.cancel()
    stdout, stderr = (reader.result() for reader in readers)
    if late.is_set():
        return Ended(255, "", f"Timeout executing {shown(path, argv)}")
    return Ended(status if status >= 0 else 255, stdout, stderr)


def _terminate(group: int, late: threading.Event) -> None:
    late.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
