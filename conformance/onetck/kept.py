"""Kept worlds: one action at a time, the document of an action, a shell on a host. What a vendor uses all day."""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lxml import etree
from rich.console import Console

from onesim.errors import ConfigError, HarnessError
from onesim.events import Answer, CallAsked, CallFinished
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer
from onesim.layout import BACKUP_HOST, HOSTS, Subjected, make_cloud, shared_of
from onesim.model import FRONTEND
from onesim.oned import Oned
from onesim.records import Call
from onesim.rehearsal import rehearse
from onesim.spec import ContractSpec
from onesim.trace import Trace, library
from onesim.world import docker
from onesim.world.interface import Question
from onesim.world.runs import runtime_directory
from onesim.world.served import AgentWorld
from onetck.execution import start_world
from onetck.plan import null_output


class _Reached(Exception):
    """The action that was asked for has run."""


def _socket(name: str) -> Path:
    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(f"world {name!r}: a name is made of letters, digits, - and _")
    return runtime_directory() / f"{name}.sock"


def action_key(spec: ContractSpec, name: str) -> str:
    """Return the full name of an action; the family may be left out where one has it. Raises ConfigError otherwise."""
    found = [key for key, row in spec.actions.items() if row.family != "vmm" and name in (key, row.name)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(sorted(key for key, row in spec.actions.items() if row.family != "vmm"))
    raise ConfigError(f"action {name!r} is {'ambiguous: ' + ' or '.join(found) if found else 'unknown'}; there are {known}")


def _leading(spec: ContractSpec, subject: Subjected, key: str) -> Trace:
    """Return the shortest trace of the library in which every step succeeds, one after the other, and that calls the action."""
    best: tuple[int, Trace] | None = None
    for trace in library(spec.spec, spec.version):
        apart = trace.header.shared not in (None, shared_of(subject, None))
        if apart or any(step.expect != "success" or step.beside for step in trace.steps):
            continue
        reached = _steps_to(spec, subject, trace, key)
        if reached is not None and (best is None or reached < best[0]):
            best = reached, Trace(trace.path, trace.header, trace.steps[: reached + 1])
    if best is None:
        raise ConfigError(f"no trace of the library leads to {key}; give one with `onetck run --trace`")
    return best[1]


def _steps_to(spec: ContractSpec, subject: Subjected, trace: Trace, key: str) -> int | None:
    for n, asked in null_calls(spec, subject, trace):
        if asked.action.key == key:
            return n
    return None


def null_calls(spec: ContractSpec, subject: Subjected, trace: Trace) -> list[tuple[int, CallAsked]]:
    """Return the calls that a driver which always succeeds would get, with the step that leads to each."""
    oned = Oned(spec, make_cloud(subject, shared_of(subject, trace.header.shared)))
    played = rehearse(oned, trace, lambda asked: CallFinished(asked.call, True, null_output(spec, asked)))
    return [(n, output) for n, output in played if isinstance(output, CallAsked)]


def document(spec: ContractSpec, name: str, *, encoded: bool) -> str:
    """Return a realistic document of an action: indented for people, or as it travels."""
    key = action_key(spec, name)
    if not spec.actions[key].passing:
        raise ConfigError(f"{key} takes no document; its arguments are {' '.join(spec.argv(spec.actions[key]))}")
    subject = Subjected(b"", "fs", "shared", "shared", backup_mad="backup")
    trace = _leading(spec, subject, key)
    text = next(asked.document for _, asked in null_calls(spec, subject, trace) if asked.action.key == key)
    if encoded:
        return base64.b64encode(text.encode()).decode() + "\n"
    root = etree.fromstring(text, etree.XMLParser(strip_cdata=False))
    etree.indent(root)
    return etree.tostring(root, encoding="unicode") + "\n"


def make_room(name: str) -> Path:
    """Return the socket at which a world of that name will be kept; one that is there is removed first."""
    path = _socket(name)
    with contextlib.suppress(HarnessError):
        if path.exists():
            AgentWorld.attach(path, _unanswered).close()
            docker.remove_kept(path)
    path.unlink(missing_ok=True)
    return path


def _unanswered(question: Question) -> Answer:
    return Answer(stderr=b"nobody drives this world, so oned answers nothing\n", status=255)


def call_action(spec: ContractSpec, subject: Subjected, name: str, world_name: str) -> Call:
    """Run the calls that lead up to an action and the action itself, in a fresh kept world of that name. Returns the record of the action's call.

    Raises HarnessError if the driver fails before the action is reached.
    """
    key = action_key(spec, name)
    trace = _leading(spec, subject, key)
    holder: list[CaseRun] = []
    found: list[Call] = []

    def seen(call: Call) -> None:
        if f"{call.family}/{call.action.partition('.')[0]}" == key:
            found.append(call)
            raise _Reached

    world = start_world(subject, trace.header.shared, (), holder, make_room(world_name))
    with tempfile.TemporaryDirectory(prefix="onetck-") as scratch:
        writer = Writer(Path(scratch) / "history.jsonl")
        run = CaseRun(spec, subject, trace, world, writer, BlobStore(Path(scratch) / "blobs"), (), seen)
        holder.append(run)
        with contextlib.suppress(_Reached):
            summary = run.run()
            world.close()
            raise HarnessError(f"{key} was not reached: {summary.reason or summary.outcome}")
        writer.close()
    world.detach()
    return found[0]


def show_call(call: Call, console: Console, world_name: str) -> None:
    """Show a call as a vendor wants to see it: the command line, stdin, what came back, what changed."""

    def line(label: str, text: str) -> None:
        console.print(f"{label:>8}  {text}", markup=False)

    line("call", f"{call.family}/{call.action} as oneadmin on {call.host}, in /var/lib/one")
    line("argv", shlex.join([call.script, *(word if len(word) < 200 else word[:80] + "…" for word in call.argv)]))
    line("stdin", "nothing" if not call.stdin.size else f"{call.stdin.size} bytes of base64: {call.stdin.text[:60]}…")
    if call.stdin.size:
        line("", f"see it with: onetck dump {call.family}/{call.action}")
    line("ended", f"by {call.ended_by} with status {call.status} after {call.duration_ns / 1e6:.1f} ms")
    for label, blob in (("stdout", call.stdout), ("stderr", call.stderr)):
        for text in blob.text.splitlines()[:20]:
            line(label, text)
    for command in call.commands:
        line("command", f"{command.host}: {shlex.join([command.name, *command.argv])[:200]}")
    for change in call.tree:
        owned = f", {change.mode} of {change.owner}" if change.mode else ""
        leads = f" -> {change.target}" if change.target else ""
        line("tree", f"{change.change} {change.host}:{change.path} ({change.kind}, {change.size} bytes{owned}){leads}")
    if call.error or call.parse_error:
        line("oned", call.error or call.parse_error)
    line("world", f"kept: `onetck shell frontend --world {world_name}` enters it, `onetck down --world {world_name}` removes it")


def _attach(name: str) -> AgentWorld:
    path = _socket(name)
    if not path.exists():
        raise ConfigError(f"no world {name!r} is kept; make one with `onetck call` or `onetck run --keep`")
    return AgentWorld.attach(path, _unanswered)


@contextlib.contextmanager
def entered(name: str = "default") -> Iterator[AgentWorld]:
    """A kept world, to look around in; it stays. Raises ConfigError if there is none of that name."""
    world = _attach(name)
    try:
        yield world
    finally:
        world.detach()


def shell(name: str, host: str) -> int:
    """Open a shell on a host of a kept world. Returns its exit status."""
    machines = (FRONTEND, *HOSTS, BACKUP_HOST)
    if host not in machines:
        raise ConfigError(f"host {host!r} is unknown; there are {', '.join(machines)}")
    with entered(name) as world:
        return world.shell(host, os.environ.get("TERM", "dumb"))


def down(name: str) -> str:
    """Remove a kept world. Returns a sentence."""
    path = _socket(name)
    try:
        _attach(name).close()
        docker.remove_kept(path)
    finally:
        path.unlink(missing_ok=True)
    return f"world {name!r} is removed"
