"""What the harness's connection to a machine of a lab reaches: a guard that holds the machine while a world lives on it, and tidies up whatever happens.

Runs on that machine, as root; standard library only. Standard input and output are the connection.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import socket
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

from onesim.world import ledger, nsview, surveying
from onesim.world import syscalls as sc
from onesim.world.agent import become
from onesim.world.machine import Machine


def main() -> None:
    """Do what the harness asks for in its first message: the work of `surveying` or `ledger`, or a world, until it ends."""
    (length,) = struct.unpack(">I", _exactly(4))
    message = json.loads(_exactly(length))
    works: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"survey": surveying.survey, "clean": ledger.clean}
    try:
        if message["do"] == "world":
            _guard(message)
        else:
            _say(works[message["do"]](message))
    except nsview.Refused as error:
        _say({"refused": str(error)})


def _exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = os.read(0, count - len(data))
        if not more:
            sys.exit(1)
        data += more
    return data


def _say(message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    _write(1, struct.pack(">I", len(data)) + data)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _guard(settings: dict[str, Any]) -> None:
    """Hold the machine while a world lives on it, and remove what was made for it: also when the harness is gone."""
    label = settings["label"]

    def ends(number: int, frame: types.FrameType | None) -> None:
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, ends)
    lock = ledger.hold(label)
    try:
        ledger.clear(label["run"])
        _make(settings, label)
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            lock.close()
            ours.close()
            _leave(settings, theirs)
        theirs.close()
        try:
            _pump(ours)
        finally:
            ours.close()
            os.waitpid(pid, 0)
    finally:
        ledger.clear(label["run"])
        lock.close()


def _make(settings: dict[str, Any], label: dict[str, str]) -> None:
    """Make the directories of a world on its datastores, and those that the machine lacks. Raises Refused where they hold what is somebody else's."""
    places = {settings["datastores"]: ["own"]}
    if settings["hosts"][0] == settings["host"] and settings["shared"]:
        places[settings["storage"]] = [str(number) for number in range(len(settings["shared"]))]
    for path in places:
        strange = ledger.foreign(os.path.dirname(path))
        if strange:
            raise nsview.Refused(surveying.occupied(os.path.dirname(path), strange))
    for path in ledger.POINTS:
        if not os.path.isdir(path):
            ledger.make(label, "point", path)
    for path, names in places.items():
        ledger.make(label, "tree", path)
        for name in names:
            os.mkdir(f"{path}/{name}", 0o755)
            os.chown(f"{path}/{name}", nsview.ONEADMIN, nsview.ONEADMIN)


def _leave(settings: dict[str, Any], control: socket.socket) -> None:
    """Leave the machine's namespaces with the child that becomes the agent."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    pwd.getpwnam("oneadmin")  # the modules that look up names are loaded before there are other views
    sc.unshare(sc.CLONE_NEWNS | sc.CLONE_NEWPID | sc.CLONE_NEWUTS)
    child = os.fork()
    if child:
        control.close()
        os.waitpid(child, 0)
        os._exit(0)
    sc.sethostname(settings["host"])
    become(settings, control, lambda settings, control: Machine(settings))


def _pump(world: socket.socket) -> None:
    """Carry messages both ways until one side has ended."""
    while True:
        ready = select.select([0, world.fileno()], [], [])[0]
        for source in ready:
            data = os.read(0, 1 << 16) if source == 0 else world.recv(1 << 16)
            if not data:
                return
            if source == 0:
                world.sendall(data)
            else:
                _write(1, data)
