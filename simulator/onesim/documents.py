"""The XML documents that oned makes: for drivers (driver action data, VM) and for those who ask it (objects and pools).

Which elements a document has in which release, and how each is written, are rows of `schemas/documents.toml`; here the objects' values are found.
Documents are written without XML declaration, namespace and white space between elements, as oned does.
"""

from __future__ import annotations

import json
import re
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape

import msgspec
from lxml import etree

from onesim.cloud import Cloud
from onesim.contracts import in_range
from onesim.data import data_dir
from onesim.errors import SpecError
from onesim.model import Datastore, Disk, History, Host, Image, Vm
from onesim.spec import ContractSpec

Range: TypeAlias = str | tuple[str, ...]
Json: TypeAlias = "str | dict[str, Json] | list[Json]"

_BITS = tuple(f"{who}_{what}" for who in ("OWNER", "GROUP", "OTHER") for what in "UMA")
_QUOTES = {'"': "&quot;", "'": "&apos;"}
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
#: For documents whose rows have no range.
_ANY = "0"
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Element(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An element of a document. Columns are explained at the top of `schemas/documents.toml`."""

    name: str
    form: Literal["text", "cdata", "bits", "markup", "elements"] = "text"
    default: str | None = None
    optional: bool = False
    kinds: tuple[str, ...] = ()
    since: Range = ()
    until: Range = ()


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document: its children in order."""

    elements: tuple[Element, ...]
    tag: str = ""
    short_empty: bool = False


class _Tables(msgspec.Struct, frozen=True):
    documents: dict[str, Document]
    numbers: dict[str, dict[str, int]]


@cache
def _tables() -> _Tables:
    path = data_dir("schemas") / "documents.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert({"numbers": raw.pop("numbers"), "documents": raw}, _Tables)
    except (OSError, KeyError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SpecError(f"{path}: {error}; correct the table") from error


@cache
def elements(document: str, version: str, kind: str = "") -> tuple[Element, ...]:
    """Return the elements that a document has in a release, in order, for an object of that kind (a row of the disk-kind table, or none).

    Raises SpecError if a release has an element twice.
    """
    rows = _tables().documents[document].elements
    found = tuple(row for row in rows if (not row.kinds or kind in row.kinds) and in_range(version, row.since, row.until))
    twice = {row.name for n, row in enumerate(found) if row.name in {other.name for other in found[:n]}}
    if twice:
        raise SpecError(f"schemas/documents.toml: {document} has {', '.join(sorted(twice))} twice in {version}; part their ranges")
    return found


def number(kind: str, word: str) -> str:
    """Return the number, as text, that stands for a word such as the image type OS. Raises SpecError for an unknown one."""
    known = _tables().numbers[kind]
    if word not in known:
        raise SpecError(f"{kind} {word!r} has no number; choose one of {', '.join(known)}")
    return str(known[word])


def unwritable(text: str, section: bool = True) -> str:
    """Return why a document that holds this text could not be read, or nothing. XML 1.0 has no control characters.

    In a CDATA section (`section`) oned does not split an inner `]]>`; where it escapes text there is no such limit.
    """
    if section and "]]>" in text:
        return "the text contains ]]>"
    illegal = _ILLEGAL.search(text)
    return f"the text contains the character U+{ord(illegal.group()):04X}" if illegal else ""


def element(name: str, text: str) -> str:
    """Return an element with character data; entities as oned escapes them. Raises SpecError if no document can hold the text."""
    return f"<{_tag(name)}>{escape(_writable(name, text, section=False), _QUOTES)}</{name}>"


def action_data(children: Sequence[str]) -> str:
    """Return the driver action document around ready children."""
    return f"<DS_DRIVER_ACTION_DATA>{''.join(children)}</DS_DRIVER_ACTION_DATA>"


def image_xml(image: Image, datastore: Datastore, version: str, spec: ContractSpec) -> str:
    """Return the IMAGE element for a release. `spec` gives the numbers of states. Raises SpecError for unwritable text or an unknown state."""
    state = spec.spec.number("image", image.state).state
    # oned copies STATE to PREV_STATE whenever it stores the object: they differ only before that
    previous = spec.spec.number("image", image.prev_state).state if image.prev_state == "INIT" else state
    return _render(
        "IMAGE",
        version,
        {
            "ID": str(image.id),
            "NAME": image.name,
            "TYPE": number("image_type", image.type),
            "DISK_TYPE": number("disk_type", datastore.template.get("DISK_TYPE", "FILE")),
            "PERSISTENT": "1" if image.persistent else "0",
            "REGTIME": str(image.regtime_s),
            "MODTIME": str(image.regtime_s),
            "SOURCE": image.source,
            "PATH": image.path,
            "FSTYPE": image.format,
            "FORMAT": image.format,
            "FS": image.fs,
            "SIZE": str(image.size_mb),
            "STATE": str(state),
            "PREV_STATE": str(previous),
            "RUNNING_VMS": str(len(image.vms)),
            "CLONING_OPS": str(image.cloning_ops),
            "CLONING_ID": str(image.cloning_id),
            "DATASTORE_ID": str(image.datastore),
            "DATASTORE": datastore.name,
            "VMS": _ids(image.vms),
            "CLONES": _ids(image.clones),
            "TEMPLATE": _template({**image.template, "ERROR": image.error} if image.error else image.template),
            "SNAPSHOTS": _inner("SNAPSHOTS", version, {}),
        },
    )


def image_path_xml(path: str, size: str | None = None) -> str:
    """Return the reduced IMAGE of `stat`; `size` (text, may be empty) only where the user's request names a SIZE."""
    return _render("STAT_IMAGE", _ANY, {"PATH": path} if size is None else {"PATH": path, "SIZE": size})


def datastore_xml(datastore: Datastore, version: str, cloud: Cloud | None = None, *, without: int = -1) -> str:
    """Return the DATASTORE element for a release. All datastores are in the only cluster, so that `cloud` does not matter yet.

    `without` is the id of an image that does not count yet: oned makes the documents of cp, mkfs and clone before it adds the new image.
    """
    return _render(
        "DATASTORE",
        version,
        {
            "ID": str(datastore.id),
            "NAME": datastore.name,
            "DS_MAD": datastore.ds_mad,
            "TM_MAD": datastore.tm_mad,
            "BASE_PATH": datastore.base_path,
            "TYPE": number("datastore_type", datastore.type),
            "DISK_TYPE": number("disk_type", datastore.template.get("DISK_TYPE", "FILE")),
            "STATE": number("datastore_state", "READY"),
            "TOTAL_MB": str(datastore.total_mb),
            "FREE_MB": str(datastore.free_mb),
            "USED_MB": str(datastore.used_mb),
            "IMAGES": _ids([id for id in datastore.images if id != without]),
            "TEMPLATE": _template(datastore.template),
        },
    )


def host_xml(host: Host, cloud: Cloud, version: str) -> str:
    """Return the HOST element; its VMS are those whose last history record names it and that are not DONE."""
    vms = [vm.id for vm in cloud.vms.values() if vm.state != "DONE" and vm.history and vm.history[-1].host == host.id]
    return _render("HOST", version, {"ID": str(host.id), "NAME": host.name, "VMS": _ids(vms)})


def cluster_xml(cloud: Cloud) -> str:
    """Return the CLUSTER element of the only cluster, `default`."""
    return _render("CLUSTER", _ANY, {"HOSTS": _ids(list(cloud.hosts)), "DATASTORES": _ids(list(cloud.datastores))})


def vm_xml(vm: Vm, cloud: Cloud, spec: ContractSpec, *, records: Literal["all", "last"] = "all", more: Mapping[str, str] | None = None) -> str:
    """Return the VM element.

    `records`: `all` history records, as `onevm show` has them, or the `last`, as drivers and pools get it. `more` sets elements of VM or its TEMPLATE
    that the simulator does not keep, by tag: ready markup where the element has children. Raises SpecError for unwritable text or an unknown state.
    """
    more = more or {}
    now = spec.spec.number("vm", vm.state)
    state, lcm = str(now.state), str(max(now.lcm, 0))
    context = {**vm.context, "DISK_ID": str(vm.context_disk), "TARGET": vm.context_target} if vm.context is not None else {}
    template = _inner(
        "VM_TEMPLATE",
        spec.version,
        {
            "CONTEXT": f"<CONTEXT>{_template(context)}</CONTEXT>" if context else "",
            "DISK": "".join(_disk_xml(disk, cloud, spec) for disk in vm.disks),
            "OS": f"<UUID><![CDATA[{uuid.UUID(int=vm.id + 1)}]]></UUID>",
            "VMID": str(vm.id),
            **({"TM_MAD_SYSTEM": vm.history[0].tm_mad} if vm.history else {}),
            **more,
        },
    )
    shown = vm.history if records == "all" else vm.history[-1:]
    return _render(
        "VM",
        spec.version,
        {
            "ID": str(vm.id),
            "NAME": vm.name,
            "STATE": state,
            "LCM_STATE": lcm,
            "PREV_STATE": state,
            "PREV_LCM_STATE": lcm,
            "STIME": str(vm.stime_s),
            "DEPLOY_ID": vm.deploy_id,
            "TEMPLATE": template,
            "USER_TEMPLATE": _template({"ERROR": vm.error} if vm.error else {}),
            "HISTORY_RECORDS": "".join(_history_xml(record, vm, spec.version) for record in shown),
            **more,
        },
    )


def pool_xml(kind: str, members: Sequence[str]) -> str:
    """Return a pool around ready elements; `kind` is vm, image, datastore, host or cluster."""
    return f"<{kind.upper()}_POOL>{''.join(members)}</{kind.upper()}_POOL>" if members else f"<{kind.upper()}_POOL/>"


def to_json(xml: str) -> str:
    """Return a document as the command lines print it with --json: repeated elements become lists, an element without any content is {}."""
    root = etree.fromstring(xml.encode(), etree.XMLParser(resolve_entities=False, no_network=True, strip_cdata=False))
    return json.dumps({str(root.tag): _json(root)}, indent=2, ensure_ascii=False)


def _json(node: etree._Element) -> Json:
    if not len(node):
        return {} if node.text is None else node.text
    children: dict[str, list[Json]] = {}
    for child in node:
        children.setdefault(str(child.tag), []).append(_json(child))
    return {tag: values[0] if len(values) == 1 else values for tag, values in children.items()}


def _disk_xml(disk: Disk, cloud: Cloud, spec: ContractSpec) -> str:
    kind = spec.spec.kinds[disk.kind]
    values = {
        "ALLOW_ORPHANS": disk.allow_orphans,
        "DATASTORE": disk.datastore_name,
        "DATASTORE_ID": str(disk.datastore) if disk.datastore >= 0 else "",
        "DEV_PREFIX": disk.target[:-1],
        "DISK_ID": str(disk.id),
        "DISK_TYPE": disk.disk_type,
        "DRIVER": cloud.conf(disk.tm_mad).driver or disk.format,
        "FORMAT": disk.format,
        "FS": disk.fs,
        "PERSISTENT_SNAPSHOTS": disk.persistent_snapshots,
        "SIZE": str(disk.size_mb),
        "TARGET": disk.target,
        "TM_MAD": disk.tm_mad,
        "TM_MAD_SYSTEM": disk.tm_mad_system,
        "TYPE": kind.type,
    }
    if kind.image:
        values |= {
            "CLONE": kind.clone,
            "CLONE_TARGET": disk.clone_target,
            "IMAGE": disk.image_name,
            "IMAGE_ID": str(disk.image),
            # as it was when the VM took the image
            "IMAGE_STATE": str(spec.spec.number("image", "USED_PERS" if kind.save == "YES" else "USED").state),
            "LN_TARGET": disk.ln_target,
            "ORIGINAL_SIZE": str(disk.original_size_mb),
            "READONLY": kind.readonly,
            "SAVE": kind.save,
            "SOURCE": disk.source,
            # only CDROMs keep a type of their own; others show that of the datastore
            "TYPE": kind.type if kind.readonly == "YES" else disk.disk_type,
        }
        if disk.image in cloud.images:
            values["DEV_PREFIX"] = cloud.images[disk.image].template.get("DEV_PREFIX", "")
    return _render("DISK", spec.version, {name: value for name, value in values.items() if value}, disk.kind)


def _history_xml(record: History, vm: Vm, version: str) -> str:
    following = next((one for one in vm.history if one.seq == record.seq + 1), None)
    return _render(
        "HISTORY",
        version,
        {
            "OID": str(vm.id),
            "SEQ": str(record.seq),
            "HOSTNAME": record.hostname,
            "HID": str(record.host),
            "STIME": str(record.stime_s),
            "ETIME": str(following.stime_s) if following else "0",
            "VM_MAD": record.vm_mad,
            "TM_MAD": record.tm_mad,
            "DS_ID": str(record.datastore),
        },
    )


def _render(document: str, version: str, values: Mapping[str, str], kind: str = "") -> str:
    tag = _tables().documents[document].tag or document
    return f"<{tag}>{_inner(document, version, values, kind)}</{tag}>"


def _inner(document: str, version: str, values: Mapping[str, str], kind: str = "") -> str:
    short = _tables().documents[document].short_empty
    parts = []
    for row in elements(document, version, kind):
        value = values.get(row.name, row.default)
        if value is not None:
            parts.append(_written(row, value, short))
        elif not row.optional:
            raise SpecError(f"schemas/documents.toml: {document}/{row.name} has neither a value nor a default; give it one or make it optional")
    return "".join(parts)


def _written(row: Element, value: str, short: bool) -> str:
    name = row.name
    match row.form:
        case "elements":
            return value
        case "cdata":
            return f"<{name}><![CDATA[{_writable(name, value)}]]></{name}>"
        case "bits":
            inner = "".join(f"<{bit}>{digit}</{bit}>" for bit, digit in zip(_BITS, value, strict=True))
        case "markup":
            inner = value
        case "text":
            inner = escape(_writable(name, value, section=False), _QUOTES)
    return f"<{name}/>" if short and not inner else f"<{name}>{inner}</{name}>"


def _template(values: Mapping[str, str]) -> str:
    return "".join(f"<{_tag(name)}><![CDATA[{_writable(name, values[name])}]]></{name}>" for name in sorted(values))


def _ids(ids: Sequence[int]) -> str:
    return "".join(f"<ID>{id}</ID>" for id in ids)


@cache
def _tag(name: str) -> str:
    if not _TAG.fullmatch(name):
        raise SpecError(f"{name!r} cannot be the tag of an element; use letters, digits and underscores")
    return name


def _writable(name: str, text: str, section: bool = True) -> str:
    reason = unwritable(text, section)
    if reason:
        raise SpecError(f"element {name}: {reason}, and oned's document would be unreadable; use another text")
    return text
