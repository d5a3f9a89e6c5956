"""The XML documents that oned makes: for drivers (driver action data, VM) and for those who ask it (objects and pools).

Which elements a document has in which release, and how each is written, are rows of `schemas/documents.toml`; here the objects' values are found.
Documents are written without XML declaration, namespace and white space between elements, as oned does.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from lxml import etree

from onesim.cloud import Cloud
from onesim.model import Capacity, Datastore, Disk, History, Host, Image, Vm
from onesim.rendering import element as element
from onesim.rendering import elements as elements
from onesim.rendering import ids_xml, inner, render, template_xml
from onesim.rendering import number as number
from onesim.rendering import unwritable as unwritable
from onesim.snapshots import Snapshot, Snapshots
from onesim.spec import ContractSpec

Json: TypeAlias = "str | dict[str, Json] | list[Json]"

#: For documents whose rows have no range.
_ANY = "0"


def action_data(children: Sequence[str]) -> str:
    """Return the driver action document around ready children."""
    return f"<DS_DRIVER_ACTION_DATA>{''.join(children)}</DS_DRIVER_ACTION_DATA>"


def vmm_action_data(values: Mapping[str, str], vm: str, datastore: str) -> str:
    """Return the document of a hypervisor's driver around ready elements. The deployment files are named to one_vmm_exec alone, never to the driver."""
    named = ("HOST", "MIGR_HOST", "DEPLOY_ID", "LOCAL_DEPLOYMENT_FILE", "REMOTE_DEPLOYMENT_FILE", "CHECKPOINT_FILE")
    parts = [element(name, values.get(name, "")) if values.get(name) else f"<{name}/>" for name in named]
    lines = ((name, values.get(name, "")) for name in ("TM_COMMAND", "TM_COMMAND_ROLLBACK"))
    parts += [f"<{name}><![CDATA[{text}]]></{name}>" if text else f"<{name}/>" for name, text in lines]
    parts.append(element("DISK_TARGET_PATH", values["DISK_TARGET_PATH"]) if values["DISK_TARGET_PATH"] else "<DISK_TARGET_PATH/>")
    return f"<VMM_DRIVER_ACTION_DATA>{''.join(parts)}{vm}{datastore}</VMM_DRIVER_ACTION_DATA>"


def vm_uuid(vm: Vm) -> str:
    """Return the UUID of a VM, which is made of its number."""
    return str(uuid.UUID(int=vm.id + 1))


def image_xml(image: Image, datastore: Datastore, version: str, spec: ContractSpec) -> str:
    """Return the IMAGE element for a release. `spec` gives the numbers of states. Raises SpecError for unwritable text or an unknown state."""
    state = spec.spec.number("image", image.state).state
    # oned copies STATE to PREV_STATE whenever it stores the object: they differ only before that
    previous = spec.spec.number("image", image.prev_state).state if image.prev_state == "INIT" else state
    return render(
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
            "BACKUP_INCREMENTS": "".join(_increment_xml(image, n, version) for n in range(len(image.increments))),
            "BACKUP_DISK_IDS": ids_xml(image.backup_disks),
            "STATE": str(state),
            "PREV_STATE": str(previous),
            "RUNNING_VMS": str(len(image.vms)),
            "CLONING_OPS": str(image.cloning_ops),
            "CLONING_ID": str(image.cloning_id),
            "DATASTORE_ID": str(image.datastore),
            "DATASTORE": datastore.name,
            "VMS": ids_xml(sorted(image.vms)),
            "CLONES": ids_xml(image.clones),
            "TEMPLATE": template_xml({**image.template, "ERROR": image.error} if image.error else image.template),
            "TARGET_SNAPSHOT": str(image.target_snapshot),
            "SNAPSHOTS": _snapshots(image.snapshots, version),
        },
    )


def image_path_xml(path: str, size: str | None = None) -> str:
    """Return the reduced IMAGE of `stat`; `size` (text, may be empty) only where the user's request names a SIZE."""
    return render("STAT_IMAGE", _ANY, {"PATH": path} if size is None else {"PATH": path, "SIZE": size})


def datastore_xml(datastore: Datastore, version: str, cloud: Cloud | None = None, *, without: int = -1) -> str:
    """Return the DATASTORE element for a release. All datastores are in the only cluster, so that `cloud` does not matter yet.

    `without` is the id of an image that does not count yet: oned makes the documents of cp, mkfs and clone before it adds the new image.
    """
    return render(
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
            "IMAGES": ids_xml(sorted(datastore.images - {without})),
            "TEMPLATE": template_xml(datastore.template),
        },
    )


def marketplace_xml(image: Image, version: str) -> str:
    """Return the MARKETPLACE element of the app that an image is made from: the only marketplace, of files that a web server offers."""
    template = template_xml({"MARKET_MAD": "http", "BASE_URL": "http://market.example", "PUBLIC_DIR": "/var/tmp"})
    return render("MARKETPLACE", version, {"MARKETPLACEAPPS": ids_xml([int(image.template["FROM_APP"])]), "TEMPLATE": template})


def host_xml(host: Host, cloud: Cloud, version: str) -> str:
    """Return the HOST element; its VMS are those whose last history record names it and that are not DONE."""
    vms = [vm.id for vm in cloud.vms.values() if vm.state != "DONE" and vm.history and vm.history[-1].host == host.id]
    state = number("host_state", "ERROR" if host.error else "MONITORED")
    values = {"ID": str(host.id), "NAME": host.name, "STATE": state, "PREV_STATE": state, "VMS": ids_xml(vms)}
    if host.heard_s:
        values["HOST_SHARE"] = f"<MEM_USAGE>0</MEM_USAGE><CPU_USAGE>0</CPU_USAGE><RUNNING_VMS>{len(vms)}</RUNNING_VMS>{_datastores_xml(host)}"
    return render("HOST", version, values)


def _datastores_xml(host: Host) -> str:
    """Return the capacity of a node's datastores as its probe told it."""
    own = "".join(f"<DS>{template_xml({'ID': str(id), **_room(one)})}</DS>" for id, one in sorted(host.datastores.items()))
    whole = {"FREE_DISK": host.location.free_mb, "MAX_DISK": host.location.total_mb, "USED_DISK": host.location.used_mb}
    rest = template_xml({name: str(value) for name, value in whole.items()})
    return f"<DATASTORES><DISK_USAGE><![CDATA[0]]></DISK_USAGE>{own}{rest}</DATASTORES>"


def _room(one: Capacity) -> dict[str, str]:
    return {"FREE_MB": str(one.free_mb), "TOTAL_MB": str(one.total_mb), "USED_MB": str(one.used_mb)}


def _monitoring_xml(vm: Vm) -> str:
    """Return the sizes of a VM's disks as they were monitored last."""
    disks = [("DISK_SIZE", {"ID": str(id), "SIZE": str(size)}) for id, size in vm.disk_sizes_mb.items()]
    snapshots = [("SNAPSHOT_SIZE", {"DISK_ID": str(disk), "ID": str(id), "SIZE": str(size)}) for (disk, id), size in vm.snapshot_sizes_mb.items()]
    return "".join(f"<{name}>{template_xml(values)}</{name}>" for name, values in (*disks, *snapshots))


def cluster_xml(cloud: Cloud) -> str:
    """Return the CLUSTER element of the only cluster, `default`."""
    return render("CLUSTER", _ANY, {"HOSTS": ids_xml(list(cloud.hosts)), "DATASTORES": ids_xml(list(cloud.datastores))})


def vm_xml(vm: Vm, cloud: Cloud, spec: ContractSpec, *, records: Literal["all", "last"] = "all", more: Mapping[str, str] | None = None) -> str:
    """Return the VM element.

    `records`: `all` history records, as `onevm show` has them, or the `last`, as drivers and pools get it. `more` sets elements of VM or its TEMPLATE
    that the simulator does not keep, by tag: ready markup where the element has children. Raises SpecError for unwritable text or an unknown state.
    """
    more = more or {}
    now = spec.spec.number("vm", vm.state)
    state, lcm = str(now.state), str(max(now.lcm, 0))
    context = {**vm.context, "DISK_ID": str(vm.context_disk), "TARGET": vm.context_target} if vm.context is not None else {}
    template = inner(
        "VM_TEMPLATE",
        spec.version,
        {
            "CPU": f"{vm.cpu:g}",
            "MEMORY": str(vm.memory_mb),
            "CONTEXT": f"<CONTEXT>{template_xml(context)}</CONTEXT>" if context else "",
            "DISK": "".join(_disk_xml(disk, cloud, spec) for disk in vm.disks),
            "OS": f"<UUID><![CDATA[{vm_uuid(vm)}]]></UUID>",
            "VMID": str(vm.id),
            **_placed_in(vm),
            **more,
        },
    )
    shown = vm.history if records == "all" else vm.history[-1:]
    return render(
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
            # drivers get the VM without it
            "MONITORING": _monitoring_xml(vm) if records == "all" else "",
            "TEMPLATE": template,
            "USER_TEMPLATE": template_xml({"ERROR": vm.error} if vm.error else {}),
            "HISTORY_RECORDS": "".join(_history_xml(record, vm, spec.version) for record in shown),
            "SNAPSHOTS": "".join(_disk_snapshots_xml(disk, spec.version) for disk in vm.disks if disk.snapshots.known),
            "BACKUPS": inner("BACKUPS", spec.version, {"BACKUP_CONFIG": _backup_config(vm, spec.version), "BACKUP_IDS": ids_xml(vm.backups)}),
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
        "ATTACH": "YES" if disk.attach else "",
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
        **disk.inherited,
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
            "TYPE": _cdrom_type(kind.type, disk.disk_type) if kind.readonly == "YES" else disk.disk_type,
        }
        if disk.image in cloud.images:
            values["DEV_PREFIX"] = cloud.images[disk.image].template.get("DEV_PREFIX", "")
    return render("DISK", spec.version, {name: value for name, value in values.items() if value}, disk.kind)


def _cdrom_type(plain: str, disk_type: str) -> str:
    """Return the TYPE of a CDROM: network disks have one of their own (Image::disk_attribute)."""
    return f"{disk_type}_CDROM" if disk_type in ("RBD", "GLUSTER", "SHEEPDOG") else plain


def _placed_in(vm: Vm) -> dict[str, str]:
    """Return the attributes that a VM has since its first deployment: its transfer manager, and later that it needs datastores of it."""
    found = {"TM_MAD_SYSTEM": vm.tm_mad_system} if vm.tm_mad_system else {}
    if vm.required_tm:
        found["AUTOMATIC_DS_REQUIREMENTS"] = f'("CLUSTERS/ID" @> 0) & (TM_MAD = "{vm.required_tm}")'
    return found


def _increment_xml(image: Image, n: int, version: str) -> str:
    one = image.increments[n]
    return render(
        "INCREMENT",
        version,
        {
            "DATE": str(one.date_s),
            "ID": str(one.id),
            "PARENT_ID": str(image.increments[n - 1].id) if n else "-1",
            "SIZE": str(one.size_mb),
            "SOURCE": one.source,
            "TYPE": one.type,
        },
    )


def _backup_config(vm: Vm, version: str) -> str:
    backup = vm.backup
    if not backup.mode:
        return ""
    values = {
        "BACKUP_VOLATILE": "YES" if backup.volatile else "NO",
        "FS_FREEZE": backup.freeze,
        "INCREMENTAL_BACKUP_ID": str(backup.chain),
        "KEEP_LAST": str(backup.keep_last),
        "LAST_INCREMENT_ID": str(backup.last_increment),
        "MODE": backup.mode,
        "ACTIVE_FLATTEN": backup.flatten,
        "BACKUP_JOB_ID": str(backup.job) if backup.job >= 0 else "",
        "LAST_DATASTORE_ID": str(backup.datastore) if backup.datastore >= 0 else "",
    }
    return inner("BACKUP_CONFIG", version, {name: value for name, value in values.items() if value})


def _history_xml(record: History, vm: Vm, version: str) -> str:
    following = next((one for one in vm.history if one.seq == record.seq + 1), None)
    return render(
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
            "ACTION": str(record.action),
        },
    )


def _disk_snapshots_xml(disk: Disk, version: str) -> str:
    return f"<SNAPSHOTS>{_snapshots(disk.snapshots, version, disk.id)}</SNAPSHOTS>"


def _snapshots(tree: Snapshots, version: str, disk: int | None = None) -> str:
    values = {
        "ALLOW_ORPHANS": tree.orphans,
        "CURRENT_BASE": str(tree.base),
        "NEXT_SNAPSHOT": str(tree.next),
        "SNAPSHOT": "".join(_snapshot_xml(one, one.id == tree.active, version) for one in tree.known.values()),
    }
    return inner("SNAPSHOTS", version, values if disk is None else {**values, "DISK_ID": str(disk)})


def _snapshot_xml(one: Snapshot, active: bool, version: str) -> str:
    values = {
        "ACTIVE": "YES" if active else "",
        "CHILDREN": ",".join(map(str, one.children)),
        "DATE": str(one.date_s),
        "ID": str(one.id),
        "NAME": one.name,
        "PARENT": str(one.parent),
        "SIZE": str(one.size_mb),
    }
    return render("SNAPSHOT", version, {name: value for name, value in values.items() if value})
