"""What drivers ask oned while they run, answered from the world's present state: command lines and XML-RPC."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from onesim import api, documents, grammars
from onesim.allocation import Wanted
from onesim.cloud import Cloud
from onesim.events import Answer, QuestionAsked
from onesim.grammar_values import Template
from onesim.spec import ContractSpec

_SHORT_OPTIONS = {"-f": "--filter", "-l": "--list", "-d": "--delay", "-j": "--json"}
_OPTIONS_WITH_VALUE = frozenset({"--filter", "--operator", "--list", "--delay", "--endpoint", "--user", "--password"})
_CONDITION = re.compile(r"(\w+)(!?=)(.*)")


def answer(cloud: Cloud, spec: ContractSpec, question: QuestionAsked) -> Answer:
    """Answer a question. Unknown commands and objects are answered as the command does: a message and a non-zero status."""
    return _rpc(cloud, spec, question.body) if question.kind == "xmlrpc" else _command(cloud, spec, question.argv)


def spoken(body: bytes) -> tuple[str, ...]:
    """Return the words of an XML-RPC request for the record: the method and its parameters, without the session; one that is none has no words."""
    try:
        request = api.read(body)
    except api.Wrong:
        return ()
    return (request.method, *(str(one) for one in request.parameters))


def wanted_image(question: QuestionAsked) -> Wanted | None:
    """Return the image that a question wants to be made, None if it is about something else."""
    if question.kind != "xmlrpc":
        return None
    try:
        request = api.read(question.body)
        return _template(request) if request.method == "one.image.allocate" else None
    except api.Wrong:
        return None


def _template(request: api.Request) -> Wanted:
    return Wanted(request.text(0), request.number(1))


def made(question: QuestionAsked, id: int) -> Answer:
    """Return the answer to a question whose image is made."""
    return replace(api.success(id), question=question.number)


def not_made(question: QuestionAsked, why: str) -> Answer:
    """Return the answer to a question whose image cannot be made."""
    return replace(api.failure("one.image.allocate", why, api.INTERNAL), question=question.number)


def _command(cloud: Cloud, spec: ContractSpec, argv: tuple[str, ...]) -> Answer:
    command = argv[0].rsplit("/", 1)[-1] if argv else ""
    kind = next((row.kind for row in spec.spec.asked.values() if row.command == command), "")
    words: list[str] = []
    options: dict[str, str] = {}
    rest = iter(argv[1:])
    for word in rest:
        name, given, value = word.partition("=")
        if word.startswith("-"):
            name = _SHORT_OPTIONS.get(name, name)
            options[name] = value if given else next(rest, "") if name in _OPTIONS_WITH_VALUE else ""
        else:
            words.append(word)
    json = "--json" in options
    if not kind or not words:
        return _error(f"{argv[0] if argv else 'command'}: wrong arguments")
    if words[0] == "list" and "--csv" in options:
        return _table(cloud, kind, options)
    if words[0] == "list":
        return _shown(documents.pool_xml(kind, [build() for build in _builder(cloud, spec, kind).values()]), json)
    if words[0] == "show" and len(words) > 1:
        id = _id_of(cloud, kind, words[1])
        if id is None:
            return _error(f"{kind.upper()} named {words[1]} not found.")
        found = _one(cloud, spec, kind, id)
        return _shown(found, json) if found else _error(f"[one.{kind}.info] Error getting {spec.spec.asked[kind].called} [{id}].")
    return _error(f"{argv[0]} {words[0]}: the simulated command answers show and list only")


def _table(cloud: Cloud, kind: str, options: dict[str, str]) -> Answer:
    """Return what `onehost list --csv` prints, with --list, --filter and --operator: drivers look for bridges that way (datastore/libfs.sh:475)."""
    if kind != "host":
        return _error("the simulated command lists hosts alone as --csv")
    rows = [{"ID": str(id), "NAME": host.name, "CLUSTER": "default", "STAT": "err" if host.error else "on"} for id, host in cloud.hosts.items()]
    columns = options.get("--list", "ID,NAME,CLUSTER,STAT").split(",")
    conditions = [_CONDITION.fullmatch(one) for one in options.get("--filter", "").split(",") if one]
    known = {"ID", "NAME", "CLUSTER", "STAT"}
    if not known.issuperset(columns) or not all(one and one[1] in known for one in conditions):
        return _error(f"the simulated command has the columns {', '.join(sorted(known))}")
    meets = any if options.get("--operator", "").upper() == "OR" else all
    held = [row for row in rows if not conditions or meets((row[one[1]] == one[3]) == (one[2] == "=") for one in conditions if one)]
    return Answer("".join(f"{','.join(line)}\n" for line in [columns, *([row[name] for name in columns] for row in held)]).encode())


def _shown(xml: str, json: bool) -> Answer:
    return Answer((documents.to_json(xml) if json else xml).encode() + b"\n")


def _error(message: str) -> Answer:
    return Answer(stderr=message.encode() + b"\n", status=255)


def _builder(cloud: Cloud, spec: ContractSpec, kind: str, state: int = -1) -> dict[int, Callable[[], str]]:
    """Return how to write each member of a pool. `state` is for VMs: a number, -1 for all but DONE, -2 for all."""
    match kind:
        case "vm":
            shown = {
                id: vm for id, vm in cloud.vms.items() if state == -2 or (vm.state != "DONE" if state == -1 else _state(spec, vm.state) == state)
            }
            return {id: partial(documents.vm_xml, vm, cloud, spec, records="last") for id, vm in shown.items()}
        case "image":
            return {
                id: partial(documents.image_xml, image, cloud.datastores[image.datastore], spec.version, spec) for id, image in cloud.images.items()
            }
        case "datastore":
            return {id: partial(documents.datastore_xml, row, spec.version, cloud) for id, row in cloud.datastores.items()}
        case "host":
            return {id: partial(documents.host_xml, host, cloud, spec.version) for id, host in cloud.hosts.items()}
        case _:
            return {0: partial(documents.cluster_xml, cloud)}


def _state(spec: ContractSpec, name: str) -> int:
    return spec.spec.number("vm", name).state


def _one(cloud: Cloud, spec: ContractSpec, kind: str, id: str) -> str | None:
    """Return an object by its id: all of it, as `show` and `info` give it."""
    vm = cloud.vms.get(int(id)) if kind == "vm" else None
    if vm is not None:
        return documents.vm_xml(vm, cloud, spec)
    build = _builder(cloud, spec, kind).get(int(id))
    return build() if build else None


def _id_of(cloud: Cloud, kind: str, name: str) -> str | None:
    """Return the id that a command line means by a name or an id."""
    if name.isdigit():
        return name
    named: dict[str, list[tuple[int, str]]] = {
        "datastore": [(id, row.name) for id, row in cloud.datastores.items()],
        "host": [(id, row.name) for id, row in cloud.hosts.items()],
        "image": [(id, row.name) for id, row in cloud.images.items()],
        "vm": [(id, row.name) for id, row in cloud.vms.items() if row.state != "DONE"],
        "cluster": [(0, "default")],
    }
    return next((str(id) for id, known in named[kind] if known == name), None)


def _rpc(cloud: Cloud, spec: ContractSpec, body: bytes) -> Answer:
    try:
        request = api.read(body)
        return _method(cloud, spec, request)
    except api.Wrong as wrong:
        return wrong.answer


def _method(cloud: Cloud, spec: ContractSpec, request: api.Request) -> Answer:
    _, _, rest = request.method.partition("one.")
    family, _, verb = rest.partition(".")
    kind = family.removesuffix("pool")
    if kind in spec.spec.asked:
        if family != kind and verb in ("info", "infoextended"):
            return api.success(documents.pool_xml(kind, _page(cloud, spec, kind, request)))
        if family == kind and verb == "info":
            found = _one(cloud, spec, kind, str(request.number(0)))
            called = spec.spec.asked[kind].called
            return api.success(found) if found else api.failure(request.method, f"Error getting {called} [{request.number(0)}].", api.NO_EXISTS)
        if request.method == "one.image.allocate":
            _template(request)  # what is right in form has been dealt with as an image that is wanted
    elif request.method == "one.system.version":
        return api.success(spec.version)
    elif request.method == "one.template.allocate":
        cloud.templates.append(_images(request.text(0), spec.version))
        id, cloud.next_template = cloud.next_template, cloud.next_template + 1
        return api.success(id)
    elif kind not in spec.spec.api_families or not verb:
        return api.unknown(request.method)
    return api.failure(request.method, "The simulated oned does not carry this out for a driver.", api.ACTION)


def _images(template: str, version: str) -> tuple[int, ...]:
    """Return the images that a VM template names by their ids, in the order of its disks."""
    parsed = grammars.parse("template", template, version)
    disks = parsed.vectors("DISK") if isinstance(parsed, Template) else []
    named = (one.values.get("IMAGE_ID", "") for one in disks)
    return tuple(int(id) for id in named if id.isdigit())


def _page(cloud: Cloud, spec: ContractSpec, kind: str, request: api.Request) -> list[str]:
    """Return the members of a pool that a request asks for: whose they are does not matter; ids from, to; for VMs their state.

    A negative end counts: so many from the place that the start names (src/rm/RequestManagerPoolInfoFilter.cc).
    """
    state = request.number(3, -1) if kind == "vm" else -1
    built = _builder(cloud, spec, kind, state)
    if not spec.spec.asked[kind].pages:
        return [build() for build in built.values()]
    start, end = request.number(1, -1), request.number(2, -1)
    ids = sorted(built)
    if start >= 0 and end < -1:
        ids = ids[start : start - end]
    elif start >= 0:
        ids = [id for id in ids if id >= start and (end < 0 or id <= end)]
    return [built[id]() for id in ids]
