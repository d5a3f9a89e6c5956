"""The plan: which cases run, and which calls a correct driver would get in each. Found by playing the traces with a driver that does nothing, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from onesim.cloud import MadConf
from onesim.errors import ConfigError, TraceError
from onesim.events import CallAsked, CallFinished, Refused
from onesim.guests import impossible
from onesim.layout import Subjected, make_cloud, shared_of
from onesim.oned import Oned
from onesim.pool_datastores import pool_able, pool_kind
from onesim.rehearsal import rehearse
from onesim.seats import on_network
from onesim.spec import ContractSpec
from onesim.trace import Step, Trace, library, read_trace

_PRINTED = {
    "source": "{base}/{id} ",
    "source_line": "{base}/{id}",
    "source_format": "{base}/{id} raw",
    "source_maybe_format": "{base}/{id} raw",
    "size": "1",
    "monitor": "USED_MB=1 TOTAL_MB=1048576 FREE_MB=1048575",
    "ignored": "",
    "text": "-1",
    "epoch": "0",
    "import_info": "<IMPORT_INFO/>",
    "disk_urls": "{{}}",
    "vm_sizes": "",
    "backup": "{id} 1",
    "backup_format": "{id} 1 raw",
    "increments": "",
}


@dataclass(frozen=True)
class PlannedCase:
    """A trace and the actions (family/name) that a correct driver is called for."""

    trace: Trace
    expects: tuple[str, ...]


def matching(spec: ContractSpec, subject: Subjected, profiles: Collection[str]) -> list[Trace]:
    """Return the traces of the library that are for these profiles and for the driver's layout.

    Where libvirt keeps the disks and cannot make them larger, those that have disks grow are none: the growth would fail whatever the driver does.
    """
    chosen = [spec.spec.profiles[name] for name in profiles]
    conf = subject.tm_conf.get(subject.system_tm_mad, MadConf())
    layout, moves = shared_of(subject, None), conf.ds_migrate
    files = (
        subject.tm_mad == subject.system_tm_mad
        and not pool_kind(subject.image_template)
        and not any(map(on_network, make_cloud(subject, layout).datastores.values()))
    )
    return [
        one
        for one in library(spec.spec, spec.version)
        if any(profile.plays(one.name, one.header.profile) for profile in chosen)
        and one.header.shared in (None, layout)
        and one.header.ds_migrate in (None, moves)
        and (files or not one.header.files)
        and (not conf.driver or not one.header.any_format)
        and (not one.header.pool or pool_kind(subject.image_template) in one.header.pool)
        and (pool_able(subject.image_template, "resize") or all(step.op != "vm.disk_resize" for step in one.steps))
    ]


def choose(
    spec: ContractSpec, subject: Subjected, paths: Sequence[Path], names: Sequence[str], profiles: Collection[str] = ("core",), text: str = ""
) -> list[PlannedCase]:
    """Return the cases to run: the traces given as files, else those of the library for these profiles and the driver's layout.

    Only those with one of `names`, or all without names; and of these those with `text` in their name, in whatever case of letters.

    Raises ConfigError for an unknown name, TraceError for a trace that oned refuses.
    """
    traces = [read_trace(path, spec.spec) for path in paths] or matching(spec, subject, profiles)
    unknown = sorted(set(names) - {one.name for one in traces})
    if unknown:
        raise ConfigError(f"case {unknown[0]!r} is unknown; there are {', '.join(one.name for one in traces)}")
    wanted = [one for one in traces if (not names or one.name in names) and text.lower() in one.name.lower()]
    return [PlannedCase(one, foresee(spec, subject, one)) for one in wanted]


def foresee(spec: ContractSpec, subject: Subjected, trace: Trace) -> tuple[str, ...]:
    """Play a trace with the null driver and return the actions called, without repetition, in order.

    Raises TraceError for an operation that oned refuses, or a guest that does not run, although nothing has failed.
    """
    seen: dict[str, None] = {}
    faults = ((n, step.arguments) for n, step in enumerate(trace.steps) if step.op == "fault.next")
    lost = [(n, fault["action"]) for n, fault in faults if fault["act"] == "lost" or fault["action"].startswith("vmm/")]

    sizes = file_sizes(trace.steps)

    def driver(asked: CallAsked) -> CallFinished:
        planned = next((one for one in lost if one[0] < asked.operation and one[1] == asked.action.key), None)
        if planned is not None:
            lost.remove(planned)
        failing = planned is not None or trace.steps[asked.operation].expect == "failure"
        return CallFinished(asked.call, not failing, null_output(spec, asked, sizes), "refused")

    def comes(n: int, step: Step) -> None:
        if clean and step.op == "guest.write" and (wrong := impossible(oned.cloud, step)):
            raise TraceError(f"{trace.path}:{step.line}: {step.op} {wrong}")

    clean = True
    oned = Oned(spec, make_cloud(subject, shared_of(subject, trace.header.shared)))
    for n, output in rehearse(oned, trace, driver, comes):
        step = trace.steps[n]
        clean = clean and step.expect == "success"
        if isinstance(output, CallAsked) and output.action.family != "vmm":
            seen[output.action.key] = None
        if isinstance(output, Refused) and clean:
            raise TraceError(f"{trace.path}:{step.line}: oned refuses {step.op}: {output.reason}")
    return tuple(seen)


#: What an operation on users' files gives a size to, and whose that is; the size of one that is made stands there.
_SIZED_AS = {"file.pack": ("path", "of"), "file.link": ("path", "to"), "url.serve": ("url", "path"), "url.redirect": ("url", "to")}


def file_sizes(steps: Iterable[Step]) -> dict[str, str]:
    """Return the sizes in MiB of the disks in users' files that these steps make or offer, by path or URL."""
    sizes: dict[str, str] = {}
    for step in steps:
        if step.op == "file.make":
            sizes[step.arguments["path"]] = str(step.arguments["size_mb"])
        elif step.op in _SIZED_AS:
            name, of = (step.arguments[word] for word in _SIZED_AS[step.op])
            sizes |= {name: sizes[of]} if of in sizes else {}
    return sizes


def null_output(spec: ContractSpec, asked: CallAsked, sizes: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a plausible line of a driver that does nothing. `sizes` are those of users' files in MiB, by path or URL."""
    known = sizes.get(str(asked.facts.get("path", "")))
    if known and asked.action.key == "ds/stat":
        return known
    return _PRINTED[spec.parser(asked.action.key)].format(base=asked.facts.get("base_path", ""), id=asked.call)
