"""What travels between the harness and an agent: a command to start, and what was seen of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from onesim.world.interface import Fault, GateCommand, Limits, LinesRun, Means, Patch, Run, Traced

HOME = "/var/lib/one"


def start(
    host: str,
    argv: Sequence[str],
    stdin: bytes,
    env: Mapping[str, str] | None,
    limits: Limits | None,
    call_id: str,
    faults: Sequence[Fault],
    cwd: str = HOME,
    root: bool = False,
    shim: int = -1,
) -> dict[str, Any]:
    """Return the arguments of the request that starts a command."""
    bounds = limits or Limits()
    return {
        "host": host,
        "argv": list(argv),
        "stdin": base64.b64encode(stdin).decode(),
        "env": dict(env or {}),
        "cwd": cwd,
        "root": root,
        "shim": shim,
        "call": call_id,
        "limits": {"time_s": bounds.time_s, "output_bytes": bounds.output_bytes, "processes": bounds.processes, "memory_mb": bounds.memory_mb},
        "faults": [{"command": one.command, "ordinal": one.ordinal, "act": one.act, "arg": one.arg, "host": one.host} for one in faults],
    }


def rows(patches: Sequence[Patch]) -> list[list[int]]:
    """Return patches as they travel."""
    return [[one.offset, one.length, one.byte] for one in patches]


def means_of(means: Means | None) -> dict[str, Any]:
    """Return a vendor's commands as they travel; nothing if there are none."""
    if means is None:
        return {}
    return {"read": means.read, "write": means.write, "exists": means.exists, "environment": dict(means.environment)}


def printed(answer: dict[str, Any]) -> tuple[int, bytes, bytes]:
    """Return status, stdout and stderr of a command."""
    return int(answer["status"]), base64.b64decode(answer["stdout"]), base64.b64decode(answer["stderr"])


def run_of(answer: dict[str, Any]) -> Run:
    """Return what was seen of a command, from the agent's reply."""
    if "stdout" not in answer:
        return Run("world_lost")
    return Run(
        answer["ended_by"],
        answer["status"],
        answer["signal"],
        base64.b64decode(answer["stdout"]),
        base64.b64decode(answer["stderr"]),
        answer["stdout_seen"],
        answer["stderr_seen"],
        answer["duration_ns"],
        tuple(GateCommand(row["name"], tuple(row["argv"]), row["host"], row["at_ns"], row["fault"]) for row in answer["commands"]),
        tuple(base64.b64decode(one) for one in answer["datagrams"]),
        tuple(answer["leftovers"]),
        answer["stdin_left"],
        _lines_of(answer["lines"]),
    )


def _lines_of(row: dict[str, Any] | None) -> LinesRun | None:
    if row is None:
        return None
    tail = tuple(Traced(source, line, tuple(calls), function, status, word) for source, line, calls, function, status, word in row["tail"])
    last = tuple((host, source, line) for host, source, line in row["last"])
    return LinesRun(
        {name: tuple(lines) for name, lines in row["ran"].items()}, {name: tuple(lines) for name, lines in row["sent"].items()}, last, tail
    )
