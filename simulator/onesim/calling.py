"""What a call is made of: the arguments bound by its row, the document that travels with it, and what the simulator knew when it called."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from onesim import documents, domain, monitoring
from onesim.changes import Prepared
from onesim.cloud import Cloud
from onesim.derived import FACTS, Subject, vm_facts
from onesim.errors import SpecError
from onesim.events import CallAsked, QuestionAsked
from onesim.model import BootFile, Datastore, Disk, History, Image, Vm
from onesim.pool_datastores import pool_kind, pool_target
from onesim.rows import Action, Phase, ScriptRow
from onesim.seats import on_network
from onesim.spec import ContractSpec
from onesim.writing import rewritten

Subjected = Vm | Image | Datastore


@dataclass
class Planned:
    """A call that a script will make: its row and what it is expanded for."""

    row: ScriptRow
    here: str = ""
    there: str = ""
    disk: Disk | None = None
    suffix: str = ""
    file: BootFile | None = None


@dataclass
class Job:
    """A phase of one object under way. `transfers` are the calls of transfer managers among its own, and `undo` those that follow a failure.

    `settled` = what becomes of the object has been decided already: the rest of the calls changes nothing. `asked` is the question of a driver that waits
    for its end, `said` what its last script printed; `refused` why oned itself does not go on.
    """

    kind: str
    subject: Subjected
    phase: Phase
    operation: int
    prepared: Prepared
    waiting: list[Planned] = field(default_factory=list)
    transfers: list[Planned] = field(default_factory=list)
    undo: list[Planned] = field(default_factory=list)
    error: str = ""
    refused: str = ""
    settled: bool = False
    asked: QuestionAsked | None = None
    said: str = ""


def compose(spec: ContractSpec, cloud: Cloud, call: int, job: Job, planned: Planned, subject: Subjected, action: Action) -> CallAsked:
    """Return the call of a row: for a VM with the arguments that the row binds, for an image or a datastore with its document."""
    if isinstance(subject, Vm):
        return _vm_call(spec, cloud, call, job, planned, subject, action)
    return _document_call(spec, cloud, call, job, subject, action)


def _vm_call(spec: ContractSpec, cloud: Cloud, call: int, job: Job, planned: Planned, vm: Vm, action: Action) -> CallAsked:
    names = spec.argv(action)
    parameters: Mapping[str, str] = job.prepared.parameters
    if "document" in names:
        encoded = base64.b64encode(carried(spec, cloud, job, planned, action).encode()).decode()
        parameters = {**parameters, "vmm_document": encoded}
    subject = Subject(spec, cloud, vm, planned.disk, planned.here, planned.there, planned.file, parameters)
    arguments = {name: str(vm.id) if name == "vm_id" else FACTS[planned.row.bind[name]](subject) for name in names}
    record, disk = vm.history[-1], planned.disk
    document = _stdin_document(spec, cloud, spec.stdin(action), vm, job) if action.family != "vmm" else ""
    return CallAsked(
        call,
        job.operation,
        action,
        _mad(cloud, action, planned, record, job),
        planned.suffix,
        # a transfer script has no quoting: every argument is split at blanks
        tuple(word for name in names for word in arguments[name].split()),
        arguments,
        document,
        spec.stdin(action) if document else "nothing",
        {**vm_facts(subject), **_saved(action, job), "suffixed": "yes" if planned.suffix else "no", **_backup_facts(spec, cloud, vm, job, action)},
        vm=vm.id,
        disk=disk.id if disk else -1,
        image=disk.image if disk else -1,
        datastore=record.datastore,
    )


def carried(spec: ContractSpec, cloud: Cloud, job: Job, planned: Planned, action: Action) -> str:
    """Return what the call of a hypervisor driver gets on standard input: the deployment file, or the driver action document (one_vmm_exec.rb)."""
    assert isinstance(job.subject, Vm), "hypervisors know VMs alone"
    vm = job.subject
    if spec.spec.carriages[spec.stdin(action)].root == "domain":
        return domain.domain_xml(vm, cloud, spec)
    subject = Subject(spec, cloud, vm, planned.disk, planned.here, planned.there, planned.file, job.prepared.parameters)
    lines, undone = (_lines(spec, cloud, job, calls) for calls in (job.transfers, job.undo))
    if action.name == "migrate":
        host, record = subject.at(planned.here)
        there, target = FACTS["host_there"](subject), FACTS["directory_path"](subject)
        lines, undone = f"MIGRATE {record.tm_mad} {host} {there} {target} {vm.id} {record.datastore}\n", ""
    elif action.name == "attach_disk" or action.name == "detach_disk":
        there, target = "", FACTS["disk_path_there" if planned.there else "disk_path_here"](subject)
    elif lines and job.transfers[0].row.each == "context":
        there, target = "", FACTS["context_path"](subject)
    else:
        there, target = "", ""
    return documents.vmm_action_data(
        {
            "HOST": subject.at(planned.here or planned.there)[0],
            "MIGR_HOST": there,
            "DEPLOY_ID": vm.deploy_id,
            "CHECKPOINT_FILE": FACTS["checkpoint_file"](subject) if "checkpoint" in spec.argv(action) else "",
            "TM_COMMAND": lines,
            "TM_COMMAND_ROLLBACK": undone,
            "DISK_TARGET_PATH": target,
        },
        documents.vm_xml(vm, cloud, spec, records="last"),
        documents.datastore_xml(cloud.datastores[subject.at(planned.here or planned.there)[1].datastore], spec.version, cloud),
    )


def _lines(spec: ContractSpec, cloud: Cloud, job: Job, calls: Iterable[Planned]) -> str:
    """Return the lines of a transfer script that ask for calls."""
    asked = [compose(spec, cloud, -1, job, one, job.subject, spec.actions[one.row.action]) for one in calls]
    return "".join(f"{one.action.name.upper()}{one.suffix} {one.mad} {' '.join(one.argv)}\n" for one in asked)


def _saved(action: Action, job: Job) -> dict[str, str]:
    """Return the fact of which image a disk is saved as."""
    return {"saved_image": str(job.prepared.the_image().id)} if action.effect == "save" else {}


def _backup_facts(spec: ContractSpec, cloud: Cloud, vm: Vm, job: Job, action: Action) -> dict[str, str]:
    """Return what is to be known of a call that makes a backup of a VM or restores it: its store, and the images that are disks of the VM themselves."""
    if not action.key.partition("_")[0].endswith(("backup", "restore")):
        return {}
    images = " ".join(disk.source for disk in vm.disks if disk.kind == "persistent")
    store = cloud.datastores.get(job.prepared.backup)
    told = {**_named(spec, store), "backup_path": store.base_path} if store is not None and action.mad == "backup" else {}
    if cloud.backup_base and "backup" in action.name:
        told["backup_folder"] = f"{cloud.backup_base}/{vm.id}/backup"
    return told | ({"own_images": images} if images else {})


def _named(spec: ContractSpec, datastore: Datastore) -> dict[str, str]:
    """Return the words of a datastore's template: those that are secret, one a line, and the others."""
    secret = [value for name, value in datastore.template.items() if name in spec.spec.encrypted]
    others = [value for name, value in datastore.template.items() if name not in spec.spec.encrypted]
    return {"secrets": "\n".join(secret), "datastore_says": " ".join(others)}


def _mad(cloud: Cloud, action: Action, planned: Planned, record: History, job: Job) -> str:
    if planned.file is not None:
        return cloud.datastores[planned.file.datastore].tm_mad
    if action.mad == "backup":
        return cloud.datastores[job.prepared.backup].ds_mad if job.prepared.backup >= 0 else ""
    disk = planned.disk.tm_mad if planned.disk else record.tm_mad
    return {"disk": disk, "system": record.tm_mad, "hypervisor": record.vm_mad}[action.mad]


def _stdin_document(spec: ContractSpec, cloud: Cloud, carriage: str, vm: Vm, job: Job) -> str:
    root = spec.spec.carriages[carriage].root
    if not root:
        return ""
    backup = cloud.datastores.get(job.prepared.backup)
    datastore = documents.datastore_xml(backup, spec.version, cloud) if backup is not None else ""
    if root == "DATASTORE":
        return datastore
    xml = documents.vm_xml(vm, cloud, spec, records="last")
    return xml if root == "VM" else documents.action_data([datastore, xml])


@dataclass(frozen=True)
class _Content:
    """What the children of a driver action document are made of."""

    spec: ContractSpec
    cloud: Cloud
    datastore: Datastore
    image: Image | None
    job: Job
    sizes: str = ""

    def the_image(self) -> Image:
        if self.image is None:
            raise SpecError("spec/actions: a call without an image asks for one in its document")
        return self.image


def _datastore(content: _Content) -> str:
    # while an image is made, its datastore does not list it yet
    making = content.image.id if content.image is not None and content.image.state == "LOCKED" else -1
    return documents.datastore_xml(content.datastore, content.spec.version, content.cloud, without=making)


def _template(content: _Content) -> str:
    wanted = {name: value for name, value in content.job.prepared.parameters.items() if name.isupper()}
    return f"<TEMPLATE>{''.join(documents.element(name, value) for name, value in sorted(wanted.items()))}</TEMPLATE>"


def _marketplace(content: _Content) -> str:
    image = content.the_image()
    return documents.marketplace_xml(image, content.spec.version) if "FROM_APP" in image.template else ""


def _source_bridges(content: _Content) -> str:
    bridges = source_bridges(content.cloud, content.image, content.datastore)
    return documents.element("SOURCE_BRIDGE_LIST", bridges) if bridges else ""


def source_bridges(cloud: Cloud, image: Image | None, datastore: Datastore) -> str:
    """Return BRIDGE_LIST of the datastore of the image that is cloned, if that is another one than the clone's (ImageAPI.cc:clone)."""
    original = cloud.images.get(image.cloning_id) if image is not None else None
    return cloud.datastores[original.datastore].template.get("BRIDGE_LIST", "") if original and original.datastore != datastore.id else ""


#: The children of a driver action document by the names that spec/actions uses.
_CHILDREN: dict[str, Callable[[_Content], str]] = {
    "IMAGE": lambda content: documents.image_xml(content.the_image(), content.datastore, content.spec.version, content.spec),
    "IMAGE_PATH": lambda content: documents.image_path_xml(content.the_image().path),
    "DATASTORE": _datastore,
    "DATASTORE_LOCATION": lambda content: documents.element("DATASTORE_LOCATION", content.cloud.location),
    "MONITOR_VM_DISKS": lambda content: documents.element("MONITOR_VM_DISKS", content.sizes) if content.sizes else "",
    "MARKETPLACE": _marketplace,
    "SOURCE_BRIDGE_LIST": _source_bridges,
    "DESTINATION_DS_ID": lambda content: documents.element("DESTINATION_DS_ID", content.job.prepared.parameters["destination"]),
    "TEMPLATE": _template,
    "EXTRA_DATA": lambda content: f"<EXTRA_DATA>{documents.element('KEEP_LAST', content.job.prepared.parameters['keep_last'])}</EXTRA_DATA>",
}


def _document_call(spec: ContractSpec, cloud: Cloud, call: int, job: Job, subject: Image | Datastore, action: Action) -> CallAsked:
    datastore = subject if isinstance(subject, Datastore) else _datastore_of(cloud, subject, action)
    image = subject if isinstance(subject, Image) else None
    shown = replace(image, state=image.prev_state) if image is not None and job.phase.shows == "before" else image
    children = [child.name for child in spec.children(action)]
    every = spec.spec.monitor.daemon.vm_disks_every if "MONITOR_VM_DISKS" in children else 0
    content = _Content(spec, cloud, datastore, shown, job, monitoring.ask_sizes(datastore, every))
    document = rewritten(documents.action_data([_CHILDREN[name](content) for name in children]), cloud.writing)
    names = spec.argv(action)
    given = {"dump": document, "dash": "-", "id": str(_number(cloud, action, image, datastore))}
    restored = {}
    if image is not None and action.key == "ds/restore":
        one, increment = (int(job.prepared.parameters.get(name) or -1) for name in ("DISK_ID", "INCREMENT_ID"))
        disks = tuple(image.backup_disks) if one < 0 else (one,)
        cloud.restores[job.operation] = (image.id, increment, disks)
        restored = {"backup_disks": ":".join(map(str, disks))}
    arguments = {name: given[name] for name in names}
    return CallAsked(
        call,
        job.operation,
        action,
        datastore.ds_mad if action.mad == "datastore" else datastore.tm_mad,
        "",
        tuple(arguments.values()),
        arguments,
        document,
        spec.stdin(action),
        {
            **image_facts(spec, cloud, image, datastore, content.sizes),
            **restored,
            **({"keep_last": keep} if (keep := job.prepared.parameters.get("keep_last")) else {}),
        },
        image=image.id if image else -1,
        datastore=datastore.id,
    )


def _datastore_of(cloud: Cloud, image: Image, action: Action) -> Datastore:
    """Return the datastore of an image's call: its own; but that of the backup is asked how large an image restored from it will be."""
    backup = image.template.get("FROM_BACKUP_DS", "")
    from_backup = action.key == "ds/stat" and backup.isdigit() and int(backup) in cloud.datastores
    return cloud.datastores[int(backup) if from_backup else image.datastore]


def _number(cloud: Cloud, action: Action, image: Image | None, datastore: Datastore) -> int:
    """Return what the id argument counts for an action: the image, the datastore, or a number of oned's own."""
    if action.id == "request":
        number, cloud.next_request = cloud.next_request, cloud.next_request + 1
        return number
    if action.id == "app":
        number, cloud.next_app = cloud.next_app, cloud.next_app + 1
        return number
    return image.id if image is not None and action.id in ("image", "new_image") else datastore.id


def image_facts(spec: ContractSpec, cloud: Cloud, image: Image | None, datastore: Datastore, sizes: str = "") -> dict[str, str]:
    """Return what is to be known of a call about an image of a datastore, or about the datastore alone."""
    facts = {"base_path": datastore.base_path, "host": cloud.frontend, "datastore": datastore.name}
    if image is not None:
        facts |= {
            "image": image.name,
            "format": image.format,
            "size_mb": str(image.size_mb),
            "source": image.source,
            "path": image.path,
            "fs": image.fs,
            "target_snapshot": str(image.target_snapshot) if image.target_snapshot >= 0 else "",
            "source_bridges": source_bridges(cloud, image, datastore),
            "original": str(image.cloning_id) if image.cloning_id >= 0 else "",
        }
    facts |= {name.lower(): datastore.template.get(name, "") for name in ("BRIDGE_LIST", "NO_DECOMPRESS")}
    facts["ds_driver"] = datastore.template.get("DRIVER", "")
    facts |= _named(spec, datastore)
    if datastore.type == "BACKUP_DS":
        facts["backup_path"] = datastore.base_path
    if image is not None and image.type == "BACKUP":
        facts["increments"] = " ".join(str(one.id) for one in image.increments)
        facts["backups"] = " ".join(one.source for one in image.increments) or image.source
    facts["pool_target"], facts["pool"] = pool_target(datastore), pool_kind(datastore.template)
    if datastore.type == "SYSTEM_DS":
        facts |= {"system_base_path": datastore.base_path, "vms_with_disks": monitoring.vms_in(cloud, datastore.id), "monitor_vm_disks": sizes}
        facts["monitor_key"] = "YES" if cloud.monitor_key is not None else "NO"
        facts["shared"] = "YES" if cloud.conf(datastore.tm_mad).shared else "NO"
        facts["disks"] = "volumes" if on_network(datastore) else "files"
    return {name: value for name, value in facts.items() if value}
