"""What drivers ask oned while they run, answered from the world's present state: command lines and XML-RPC."""

from __future__ import annotations

import xmlrpc.client
from collections.abc import Callable
from functools import partial
from xml.parsers.expat import ExpatError

from onesim import documents
from onesim.cloud import Cloud
from onesim.events import Answer, QuestionAsked
from onesim.spec import ContractSpec

_KINDS = {"onevm": "vm", "onedatastore": "datastore", "onehost": "host", "oneimage": "image", "onecluster": "cluster"}
_LONG_OPTIONS_WITH_VALUE = frozenset({"-f", "--filter", "-l", "--list", "-d", "--delay", "--endpoint", "--user", "--password"})


def answer(cloud: Cloud, spec: ContractSpec, question: QuestionAsked) -> Answer:
    """Answer a question. Unknown commands and objects are answered as the command does: a message and a non-zero status."""
    return _rpc(cloud, spec, question.body) if question.kind == "xmlrpc" else _command(cloud, spec, question.argv)


def _command(cloud: Cloud, spec: ContractSpec, argv: tuple[str, ...]) -> Answer:
    kind = _KINDS.get(argv[0].rsplit("/", 1)[-1], "") if argv else ""
    words: list[str] = []
    options: set[str] = set()
    rest = iter(argv[1:])
    for word in rest:
        if word.startswith("-"):
            options.add(word)
            if word in _LONG_OPTIONS_WITH_VALUE:
                next(rest, None)
        else:
            words.append(word)
    json = bool(options & {"-j", "--json"})
    if not kind or not words:
        return _error(f"{argv[0] if argv else 'command'}: wrong arguments")
    if words[0] == "list":
        return _shown(documents.pool_xml(kind, _members(cloud, spec, kind)), json)
    if words[0] == "show" and len(words) > 1:
        found = _one(cloud, spec, kind, words[1])
        return _shown(found, json) if found else _error(f"[one.{kind}.info] Error getting {kind} [{words[1]}].")
    return _error(f"{argv[0]} {words[0]}: the simulated command answers show and list only")


def _shown(xml: str, json: bool) -> Answer:
    return Answer((documents.to_json(xml) if json else xml).encode() + b"\n")


def _error(message: str) -> Answer:
    return Answer(stderr=message.encode() + b"\n", status=255)


def _builder(cloud: Cloud, spec: ContractSpec, kind: str) -> dict[int, Callable[[], str]]:
    match kind:
        case "vm":
            return {id: partial(documents.vm_xml, vm, cloud, spec) for id, vm in cloud.vms.items() if vm.state != "DONE"}
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


def _members(cloud: Cloud, spec: ContractSpec, kind: str) -> list[str]:
    return [build() for build in _builder(cloud, spec, kind).values()]


def _one(cloud: Cloud, spec: ContractSpec, kind: str, name: str) -> str | None:
    built = _builder(cloud, spec, kind)
    if name.isdigit():
        vm = cloud.vms.get(int(name)) if kind == "vm" else None
        if vm is not None:
            return documents.vm_xml(vm, cloud, spec)
        return built[int(name)]() if int(name) in built else None
    names: dict[str, dict[int, str]] = {
        "datastore": {id: row.name for id, row in cloud.datastores.items()},
        "host": {id: row.name for id, row in cloud.hosts.items()},
        "image": {id: row.name for id, row in cloud.images.items()},
        "vm": {id: row.name for id, row in cloud.vms.items()},
    }
    ids = [id for id, known in names.get(kind, {}).items() if known == name]
    return built[ids[0]]() if ids and ids[0] in built else None


def _rpc(cloud: Cloud, spec: ContractSpec, body: bytes) -> Answer:
    try:
        parameters, method = xmlrpc.client.loads(body)
    except (ExpatError, xmlrpc.client.Error, ValueError, TypeError) as error:
        return _rpc_answer(False, f"malformed request: {error}", 0x2000)
    _, _, rest = (method or "").partition("one.")
    kind, _, verb = rest.partition(".")
    if kind.endswith("pool") and verb.startswith("info"):
        return _rpc_answer(True, documents.pool_xml(kind.removesuffix("pool"), _members(cloud, spec, kind.removesuffix("pool"))), 0)
    if verb == "info" and kind in _KINDS.values() and len(parameters) > 1:
        found = _one(cloud, spec, kind, _word(parameters[1]))
        return _rpc_answer(True, found, 0) if found else _rpc_answer(False, f"[{method}] Error getting {kind} [{_word(parameters[1])}].", 0x400)
    if method == "one.system.version":
        return _rpc_answer(True, spec.version, 0)
    return _rpc_answer(False, f"[{method}] is not answered by the simulator", 0x2000)


def _rpc_answer(ok: bool, value: str, code: int) -> Answer:
    return Answer(xmlrpc.client.dumps(([ok, value, code],), methodresponse=True).encode())


def _word(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
