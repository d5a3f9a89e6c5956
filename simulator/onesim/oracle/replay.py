"""A recorded operation asked of the simulator, which is answered as the recorded drivers answered, and the differences between the two.

The recording leads: the next recorded call must be one that the simulator has asked and that is not answered yet; so calls may come in any order that
concurrency allows. Where a request came while a call was running the recording does not say which: every call is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from onesim.events import CallAsked
from onesim.oracle import requests
from onesim.oracle.after import compare_after
from onesim.oracle.installation import Installation
from onesim.oracle.play import Play
from onesim.oracle.recordings import Call, Recording, Request
from onesim.oracle.roads import plausible, shown
from onesim.oracle.situation import Situation, before
from onesim.spec import ContractSpec

#: Arguments that count oned's own requests, by the action: their numbers depend on what oned did before.
_COUNTED = frozenset({"ds/stat", "ds/restore", "ds/export"})
#: Calls that a request waits for: it is answered with their result.
_WAITED = frozenset({"ds/stat", "ds/restore"})
#: What a MAD says of a script that it could not start.
_NOT_STARTED = re.compile(r"FAILURE \d+ (Driver path .* does not exist|Internal error Permission denied)")
_UNKNOWN = re.compile(r"(?:SOURCE|NAME)-OF-\d+")


@dataclass
class Replayed:
    """What became of a recording: the differences (none = identical), and both lists of calls side by side."""

    differences: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)


def replay(spec: ContractSpec, recording: Recording, installation: Installation) -> Replayed:
    """Ask the simulator what the recorded oned was asked, and compare."""
    best: Replayed | None = None
    for held in _moments(recording):
        found = _Replay(spec, recording, installation, held).run()
        if best is None or len(found.differences) < len(best.differences):
            best = found
        if not best.differences:
            break
    assert best is not None
    return best


def _moments(recording: Recording) -> Iterator[int]:
    """Yield when the last request may have come: after everything (-1), or while the n-th recorded call ran."""
    hung = "driver hung" in recording.operation
    if not hung:
        yield -1
    if hung or len(recording.rpc) > 1:
        yield from range(len(recording.calls))


class _Replay:
    def __init__(self, spec: ContractSpec, recording: Recording, installation: Installation, held: int) -> None:
        self.spec, self.recording, self.installation, self.held = spec, recording, installation, held
        self.situation: Situation = before(spec, recording, installation)
        self.play: Play = self.situation.play
        self.expected = [(n, call) for n, call in enumerate(recording.calls) if not _dropped(recording, call)]
        self.result = Replayed([f"set-up: {problem}" for problem in self.situation.problems])
        self.holding: tuple[CallAsked, Call] | None = None
        self.bound: dict[str, str] = {}
        self.late: list[Request] = []
        self.lines = _lines(recording)

    def run(self) -> Replayed:
        requests_ = list(self.recording.rpc)
        if self.held >= 0:
            requests_, self.late = requests_[:-1], requests_[-1:]
        for op, arguments in self.situation.prelude:
            self._prelude(op, arguments)
        for request in requests_:
            self._request(request)
        self._release()
        self._follow()
        for request in self.late:
            self._differ("the last request never came: no call was running then", request.rpc, "")
        self._end()
        return self.result

    # asking

    def _prelude(self, op: str, arguments: dict[str, object]) -> None:
        refused = self.play.ask(op, arguments)
        if refused:
            self.result.differences.append(f"set-up: {op} is refused: {refused}")
        self._follow()

    def _request(self, request: Request) -> None:
        names = requests.Names(
            self.installation,
            str(self.play.oned.cloud.next_image),
            str(self.play.oned.cloud.next_datastore),
            str(self.situation.vm),
        )
        asked = requests.operation(request.rpc, request.args, names)
        if asked is None:
            return
        op, arguments = asked
        if "vm" in arguments and self.play.oned.cloud.find("vm", str(arguments["vm"])) is None:
            images = [{"image": str(id)} for id in self.play.oned.cloud.images]
            self._prelude("vm.create", {"vm": str(arguments["vm"]), "disks": images})
        refused = self.play.ask(op, arguments)
        waited = next((one for one in self.play.outstanding if one.action.key in _WAITED), None)
        self._follow()
        outcome = self.play.outcomes.get(waited.call) if waited is not None else None
        if outcome is not None and not outcome.success:
            refused = outcome.error or outcome.parse_error or "the call failed"
        if bool(refused) == request.ok:
            self._differ(
                f"{request.rpc}", "accepted" if request.ok else f"refused: {request.error}", f"refused: {refused}" if refused else "accepted"
            )

    # calls

    def _follow(self) -> None:
        """Answer calls as recorded until the recording has no more that were asked."""
        while self.expected and (self.play.outstanding or self.holding):
            number, seen = self.expected[0]
            asked = next((one for one in self.play.outstanding if not self._held(one) and self._same(one, seen)), None)
            if asked is None and self._unstarted():
                continue
            if asked is None and self.holding is not None:
                self._release()
                continue
            if asked is None:
                break
            self.expected.pop(0)
            self.result.calls.append((_text(seen), self._asked_text(asked)))
            self._documents(asked, seen)
            self._line(asked, seen)
            if number == self.held:
                self.holding = (asked, seen)
                self._request(self.late.pop())
            else:
                self.play.answer(asked, (seen.rc == 0, seen.stdout))
        while self._unstarted():
            pass
        self._drop_unrecorded()

    def _held(self, one: CallAsked) -> bool:
        return self.holding is not None and one is self.holding[0]

    def _release(self) -> None:
        if self.holding is not None:
            (asked, seen), self.holding = self.holding, None
            self.play.answer(asked, (seen.rc == 0, seen.stdout))

    def _drop_unrecorded(self) -> None:
        """Answer calls that the recorder does not keep: the monitoring that oned does by itself."""
        for one in list(self.play.outstanding):
            if one.action.name == "monitor" and not _keeps_monitoring(self.recording):
                self.play.answer(one, (True, "TOTAL_MB=1000\nFREE_MB=900\nUSED_MB=100"))

    def _unstarted(self) -> bool:
        """Fail a call whose script could not be started: a line of a transfer script that left no call, and the MAD reported a failure."""
        for one in self.play.outstanding:
            if one.action.family != "tm" or any(self._same(one, seen) for _, seen in self.expected):
                continue
            line = " ".join((one.action.name.upper() + one.suffix, one.mad, *one.argv))
            asked = any(line in message.transfer_script.splitlines() for message in self.recording.mad)
            if asked and any(_NOT_STARTED.search(message.line) for message in self.recording.mad):
                self.play.answer(one, (False, ""))
                return True
        return False

    def _same(self, asked: CallAsked, seen: Call) -> bool:
        action = self.installation.script(asked.mad, asked.action.name, asked.suffix)
        if (asked.action.family, asked.mad, action) != (seen.kind, seen.driver, seen.action):
            return False
        return self._arguments(asked, seen)

    def _arguments(self, asked: CallAsked, seen: Call) -> bool:
        mine = self._argv(asked)
        if len(mine) != len(seen.argv):
            return False
        bound = dict(self.bound)
        for here, there in zip(mine, seen.argv, strict=True):
            if here == "DOCUMENT":
                equal = there.startswith("<base64 ")
            else:
                equal = here == there or _unify(here, there, bound)
            if not equal:
                return False
        self.bound = bound
        return True

    def _argv(self, asked: CallAsked) -> list[str]:
        counted = asked.action.key in _COUNTED
        names = [name for name in asked.arguments for _ in asked.arguments[name].split()] if asked.action.family != "ds" else list(asked.arguments)
        words = []
        for name, word in zip(names, asked.argv, strict=True):
            if name in ("dump", "document"):
                word = "DOCUMENT"
            words.append("REQUEST" if counted and name == "id" else word)
        return words

    def _asked_text(self, asked: CallAsked) -> str:
        action = self.installation.script(asked.mad, asked.action.name, asked.suffix)
        return f"{asked.action.family}/{asked.mad}/{action} {' '.join(self._argv(asked))}"

    # documents

    def _documents(self, asked: CallAsked, seen: Call) -> None:
        argument = "dump" in asked.arguments
        root, children = (seen.arg1_root, seen.arg1_root_elements) if argument else (seen.stdin_root, seen.stdin_root_elements)
        ours = asked.document
        stdin = asked.stdin
        if asked.action.family == "vmm":
            ours, stdin = self.play.oned.carried(asked.call), self.spec.stdin(asked.action)
        carried = self.spec.spec.carriages[stdin] if stdin != "nothing" else None
        encoding = {"base64": "base64", "plain": "xml"}[carried.encoding] if carried is not None else "empty"
        if encoding != seen.stdin_encoding:
            self._differ(f"stdin of {asked.action.key}", seen.stdin_encoding, encoding)
        mine = _outline(ours)
        if mine != (root, children):
            self._differ(f"document of {asked.action.key}", f"{root}: {' '.join(children)}", f"{mine[0]}: {' '.join(mine[1])}")

    def _line(self, asked: CallAsked, seen: Call) -> None:
        """Compare the line of the transfer script that asked for a call: it has the suffix, even where the file without it ran."""
        lines = self.lines.get((asked.action.name, seen.argv))
        mine = f"{asked.action.name.upper()}{asked.suffix} {asked.mad}"
        if asked.action.family == "tm" and lines and mine not in lines:
            self._differ(f"line that asks for {_text(seen)}", " or ".join(sorted(lines)), mine)

    # the end

    def _end(self) -> None:
        for _, seen in self.expected:
            self.result.calls.append((_text(seen), ""))
            self.result.differences.append(f"recorded, not asked: {_text(seen)}")
        for asked in list(self.play.outstanding):
            self.result.calls.append(("", self._asked_text(asked)))
            self.result.differences.append(f"asked, not recorded: {self._asked_text(asked)}")
        # so that the states can still be compared
        self.play.settle(plausible(self.installation, {}))
        self._states()
        self._finals()
        compare_after(self.recording, self.situation.vm, self.play.oned.cloud, self._differ)

    def _states(self) -> None:
        seen: dict[str, list[str]] = {}
        for one in self.recording.states:
            seen.setdefault(f"VM {one.vm}" if one.vm else f"image {one.image}", []).append(one.state)
        mine: dict[str, list[str]] = {}
        for change in self.play.changes:
            if change.kind not in ("vm", "image") or change.state in _SILENT or (change.kind == "image" and change.new):
                continue
            text = shown(self.spec, change.state) if change.kind == "vm" else _IMAGE_STATES.get(change.state, change.state)
            mine.setdefault(f"{'VM' if change.kind == 'vm' else 'image'} {change.id}", []).append(text)
        for name in sorted({*seen, *mine}):
            if seen.get(name, []) != mine.get(name, []):
                self._differ(f"states of {name}", ", ".join(seen.get(name, [])), ", ".join(mine.get(name, [])))

    def _finals(self) -> None:
        cloud = self.play.oned.cloud
        for id, state in self.recording.final_vm_state.items():
            vm = cloud.vms.get(int(id))
            if vm is None or shown(self.spec, vm.state) != state:
                self._differ(f"final state of VM {id}", state, shown(self.spec, vm.state) if vm else "not there")
        for id, state in self.recording.final_image_states.items():
            image = cloud.images.get(int(id))
            now = image.state if image is not None else "GONE"
            if now != state:
                self._differ(f"final state of image {id}", state, now)

    def _differ(self, what: str, recorded: str, simulated: str) -> None:
        self.result.differences.append(f"{what}: recorded {recorded or 'nothing'} | simulated {simulated or 'nothing'}")


#: How the recorder's hooks write the states of an image (Image::state_to_str).
_IMAGE_STATES = {"USED_PERS": "USED", "LOCKED_USED": "LOCKED", "LOCKED_USED_PERS": "LOCKED"}
#: States that are no state of oned's: the object is gone.
_SILENT = frozenset({"GONE", "INIT"})


def _lines(recording: Recording) -> dict[tuple[str, tuple[str, ...]], set[str]]:
    """Return the commands and drivers that transfer scripts name, by action and arguments."""
    found: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for message in recording.mad:
        for text in (message.transfer_script, message.xml_fields.get("TM_COMMAND", ""), message.xml_fields.get("TM_COMMAND_ROLLBACK", "")):
            for command, mad, *argv in (line.split() for line in text.splitlines() if len(line.split()) > 1):
                found.setdefault((command.partition(".")[0].lower(), tuple(argv)), set()).add(f"{command} {mad}")
    return found


def _keeps_monitoring(recording: Recording) -> bool:
    return "monitor" in recording.operation or "ds-" in recording.operation


def _dropped(recording: Recording, call: Call) -> bool:
    """Tell whether a call is none of a storage driver's, or one for an older object: the recorder cleans up after the operation before."""
    if call.kind == "market":
        return True
    if call.kind == "ds" and call.action == "rm":
        known = {*map(int, recording.precondition.image_states), *recording.roles.values(), *map(int, recording.final_image_states)}
        return bool(known) and int(call.argv[-1]) < min(known)
    vms = {int(id) for word in call.argv for id in re.findall(r"/datastores/\d+/(\d+)|-deploy-(\d+)", word) for id in id if id}
    return bool(vms) and bool(recording.final_vm_state) and max(vms) < min(map(int, recording.final_vm_state))


def _text(call: Call) -> str:
    return f"{call.name} {' '.join(call.argv)}"


def _unify(here: str, there: str, bound: dict[str, str]) -> bool:
    """Tell whether a text with unknown sources equals a recorded one, and bind them; what is bound stays."""
    if here == "REQUEST":
        return there.isdigit()
    names = _UNKNOWN.findall(here)
    if not names:
        return False
    pattern = re.escape(here)
    for name in names:
        pattern = pattern.replace(re.escape(name), re.escape(bound[name]) if name in bound else f"(?P<{name.replace('-', '_')}>[^ :']+)", 1)
    found = re.fullmatch(pattern, there)
    if found is None:
        return False
    bound |= {name.replace("_", "-"): value for name, value in found.groupdict().items()}
    return True


def _outline(document: str) -> tuple[str, tuple[str, ...]]:
    """Return the root of a document and its children."""
    from lxml import etree

    if not document:
        return "", ()
    root = etree.fromstring(document.encode(), etree.XMLParser(resolve_entities=False, no_network=True))
    return str(root.tag), tuple(str(child.tag) for child in root)
