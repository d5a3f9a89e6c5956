"""A trace played on oned alone, in memory, by the null driver: it does nothing, and answers as was seen, or well where nothing was."""

from __future__ import annotations

import base64
from collections import deque
from dataclasses import replace

from onesim.cloud import Cloud
from onesim.events import CallAsked, CallFinished, Changed, Outcome, Refused
from onesim.layout import LABELS, Subjected, make_cloud, shared_of
from onesim.oned import Oned
from onesim.placeholders import Names, filled
from onesim.rehearsal import rehearse
from onesim.seen import FAMILIES, Seen, read_of, travelled
from onesim.spec import ContractSpec
from onesim.trace import Trace
from onetck.plan import file_sizes, null_output

#: What the null driver is taken for: a driver like the reference driver, with backups.
NULL = Subjected(b"", "fs", "shared", "shared", backup_mad="restic")


class NullPlay:
    """One trace, played. `trace` is it with what was seen now; `states` what every operation led to, by object; `refused` why oned refused one, by its number."""

    def __init__(self, spec: ContractSpec, trace: Trace, subject: Subjected = NULL) -> None:
        self.spec, self.states, self.refused = spec, [dict[tuple[str, str], str]() for _ in trace.steps], dict[int, str]()
        oned = Oned(spec, make_cloud(subject, shared_of(subject, trace.header.shared)))
        self._cloud: Cloud = oned.cloud
        self._script = [deque(step.seen) for step in trace.steps]
        self._sizes = file_sizes(trace.steps)
        self._expect = [step.expect for step in trace.steps]
        faults = ((n, step.arguments) for n, step in enumerate(trace.steps) if step.op == "fault.next")
        self._lost = [(n, fault["action"]) for n, fault in faults if fault["act"] == "lost" or fault["action"].startswith("vmm/")]
        self._sources: dict[str, str] = {}
        self._ids: dict[tuple[str, int], str] = {("datastore", id): label for id, label in LABELS.items()}
        self._asked: dict[int, tuple[CallAsked, CallFinished]] = {}
        outcomes: list[list[tuple[CallAsked, CallFinished, Outcome]]] = [[] for _ in trace.steps]
        for n, output in rehearse(oned, trace, self._answer):
            match output:
                case Changed():
                    self.states[n][output.kind, output.label] = output.state
                    self._ids[output.kind, output.id] = output.label
                case Outcome() if output.call in self._asked:
                    asked, finished = self._asked.pop(output.call)
                    source = output.parsed.get("source", "")
                    if source and asked.facts.get("image"):
                        self._sources[source] = asked.facts["image"]
                    if asked.action.family in FAMILIES:
                        outcomes[n].append((asked, finished, output))
                case Refused(reason=reason):
                    self.refused[n] = reason
        names = Names(self._ids, self._sources, {name: name for name in ("frontend", *subject.machines)}, self._cloud.location)
        seen = (tuple(self._seen(*one, names) for one in of) for of in outcomes)
        self.trace = replace(trace, steps=tuple(replace(step, seen=calls) for step, calls in zip(trace.steps, seen, strict=True)))

    def _answer(self, asked: CallAsked) -> CallFinished:
        n = asked.operation
        script = self._script[n] if n >= 0 and asked.action.family in FAMILIES else deque[Seen]()
        known = next((one for one in script if one.action == asked.action.key and one.disk == asked.disk and self._same(one, asked)), None)
        lost = next((one for one in self._lost if one[0] < n and one[1] == asked.action.key), None)
        if lost is not None:
            self._lost.remove(lost)
        if known is not None:
            script.remove(known)
            finished = CallFinished(asked.call, known.ended_by == "exit" and known.status == 0, self._filled(known.stdout, asked), known.error)
        else:
            fails = lost is not None or (n >= 0 and self._expect[n] == "failure")
            finished = CallFinished(asked.call, not fails, null_output(self.spec, asked, self._sizes), "refused")
        self._asked[asked.call] = asked, finished
        return finished

    def _same(self, seen: Seen, asked: CallAsked) -> bool:
        return seen.vm == (self._cloud.label("vm", asked.vm) if asked.vm >= 0 else "")

    def _filled(self, text: str, asked: CallAsked) -> str:
        def value(kind: str, label: str) -> str:
            if kind in ("vm", "image", "datastore"):
                return str(self._cloud.find(kind, label) or 0)
            known = next((source for source, of in self._sources.items() if of == label), None)
            fixed = {
                "host": label,
                "location": self._cloud.location,
                "place": self._cloud.location,
                "capacity": "1048576",
                "time": str(self._cloud.now_s),
            }
            return known or f"{asked.facts.get('base_path', '')}/{asked.call}" if kind == "source" else fixed.get(kind, "0")

        return filled(text, value)

    def _seen(self, asked: CallAsked, finished: CallFinished, outcome: Outcome, names: Names) -> Seen:
        """Return a call as a line of a trace."""
        called = self.spec.argv(asked.action)
        encoding = self.spec.spec.carriages[asked.stdin].encoding
        given = asked.argv
        if "dump" in called:
            encoded = base64.b64encode(asked.document.encode()).decode()
            given, encoding = tuple(encoded if name == "dump" else asked.arguments[name] for name in called), "none"
        words = list(zip(called if len(called) == len(given) else [""] * len(given), given, strict=True))
        argv, stdin, document, carried = travelled(words, "" if encoding == "none" else asked.document, names, asked.image)
        return Seen(
            f"{asked.action.key}{asked.suffix}",
            argv,
            stdin,
            names.document(document),
            encoding if stdin and carried else carried,
            names.ids.get(("vm", asked.vm), "") if asked.vm >= 0 else "",
            asked.disk,
            names.ids.get(("image", asked.image), "") if asked.image >= 0 else "",
            outcome.success,
            status=0 if finished.ok else 1,
            stdout=names.output(finished.stdout),
            parsed=read_of(outcome.parsed, names),
            error=names.output(outcome.error),
        )
