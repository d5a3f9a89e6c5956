"""What an operation makes or marks before its first phase: new images, VMs with their disks, history records, released images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import ascii_lowercase

from onesim import monitoring, quotas, snapshots
from onesim.cloud import Cloud
from onesim.contracts import at_least
from onesim.model import BackupConfig, BootFile, Datastore, Disk, Image, Vm
from onesim.rendering import inherited
from onesim.rows import Kind
from onesim.spec import ContractSpec

Arguments = Mapping[str, object]


class Refusal(Exception):
    """oned refuses the operation; the text is the reason that the user reads."""


def text(arguments: Arguments, name: str, default: str | None = None) -> str:
    """Return a text argument. Raises Refusal if it is required and absent, or no text."""
    value = arguments.get(name, default)
    if not isinstance(value, str):
        raise Refusal(f"argument {name!r} is needed, as text")
    return value


def number(arguments: Arguments, name: str, default: int | None = None) -> int:
    """Return a whole number of at least 0."""
    value = arguments.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refusal(f"argument {name!r} is needed, as a whole number of at least 0")
    return value


def share(arguments: Arguments, name: str, default: float | None = None) -> float:
    """Return a number of at least 0 that need not be whole, such as 0.5 processors."""
    value = arguments.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        raise Refusal(f"argument {name!r} is needed, as a number of at least 0")
    return value


def flag(arguments: Arguments, name: str) -> bool:
    """Return a truth value; absent is false."""
    value = arguments.get(name, False)
    if not isinstance(value, bool):
        raise Refusal(f"argument {name!r} is true or false")
    return value


def known(cloud: Cloud, kind: str, arguments: Arguments, name: str = "") -> int:
    """Return the id of the object of `kind` that an argument names."""
    label = text(arguments, name or kind)
    found = cloud.find(kind, label)
    if found is None:
        raise Refusal(f"no {kind} is called {label!r} at this point of the trace")
    return found


#: How oned's refusal of a second image of a name begins.
TAKEN = "NAME is already taken by IMAGE "


def name_taken(cloud: Cloud, name: str) -> str:
    """Return why an image cannot get a name; empty if it can (ImagePool::allocate)."""
    found = cloud.find("image", name)
    return f"{TAKEN}{found}." if found is not None else ""


def new_label(cloud: Cloud, kind: str, arguments: Arguments) -> str:
    """Return the label of an object to be made. Raises Refusal if it is taken."""
    label = text(arguments, kind)
    if kind == "image":
        within(name_taken(cloud, label))
    if cloud.find(kind, label) is not None:
        raise Refusal(f"a {kind} is called {label!r} already; labels are used once")
    return label


IMAGE_TYPES = ("OS", "CDROM", "DATABLOCK", "KERNEL", "RAMDISK", "CONTEXT", "FILESYSTEM")


def make_image(cloud: Cloud, version: str, arguments: Arguments, op: str) -> Image:
    """Return a new image for register, make or clone; it enters the cloud by `add_image`."""
    original = cloud.images[known(cloud, "image", arguments, "of")] if op == "clone" else None
    home = cloud.label("datastore", original.datastore) if original is not None else "images"
    datastore_id = known(cloud, "datastore", {"datastore": home, **arguments})
    kind = text(arguments, "type", "DATABLOCK" if op == "make" else "OS")
    if kind not in IMAGE_TYPES or (kind == "FILESYSTEM" and not at_least(version, "7.1.80")):
        raise Refusal(f"image type {kind!r} is not one of {', '.join(IMAGE_TYPES)}")
    # of an image with a PATH oned asks the driver for the size first
    label = text(arguments, "image") if op == "register" else new_label(cloud, "image", arguments)
    image = Image(
        id=-1,
        name=label,
        type=kind,
        datastore=datastore_id,
        persistent=flag(arguments, "persistent"),
        persistent_type=text(arguments, "persistent_type", ""),
        regtime_s=cloud.now_s,
        template={"DEV_PREFIX": "hd" if kind == "CDROM" else "sd"},
    )
    if op == "register":
        image.path = text(arguments, "path")
        driver = text(arguments, "format", "")
        if driver:
            image.template["DRIVER"] = driver
        image.template |= {name.upper(): text(arguments, name) for name in ("md5", "sha1") if name in arguments}
    elif op == "download":
        image.path, image.size_mb, image.format = text(arguments, "path"), number(arguments, "size_mb"), text(arguments, "format", "")
        image.template |= {"FROM_APP": str(number(arguments, "app", 0)), "FROM_APP_NAME": text(arguments, "app_name", label)}
        image.template["FROM_APP_MD5"] = text(arguments, "md5", "")
    elif op == "make":
        image.size_mb = number(arguments, "size_mb")
        image.format = text(arguments, "format", "raw")
        image.fs = text(arguments, "fs", "")
    elif op == "adopt":
        image.source, image.size_mb, image.format = text(arguments, "source"), number(arguments, "size_mb"), text(arguments, "format", "raw")
    elif original is not None:
        if original.state not in ("READY", "USED", "CLONE"):
            raise Refusal(f"image {arguments['of']!r} is {original.state}; only READY, USED and CLONE can be cloned")
        image.path, image.format, image.fs = original.source, original.format, original.fs
        image.size_mb, image.type, image.cloning_id = original.size_mb, original.type, original.id
        image.persistent = original.persistent
        image.template = dict(original.template)
    lacking = monitoring.shortage(cloud.datastores[datastore_id], image.size_mb)
    if op != "register":
        # of an image with a PATH the size is not known yet
        lacking = lacking or quotas.exceeded(cloud, cloud.datastores[datastore_id], image.size_mb)
    if lacking:
        raise Refusal(lacking)
    return image


def add_image(cloud: Cloud, image: Image) -> None:
    """Give the image its id and put it into the cloud."""
    image.id, cloud.next_image = cloud.next_image, cloud.next_image + 1
    cloud.images[image.id] = image
    cloud.datastores[image.datastore].images.add(image.id)
    cloud.labels["image", image.name] = image.id


def drop_image(cloud: Cloud, image: Image) -> None:
    """Take the image out of the cloud; its id is never used again."""
    cloud.images.pop(image.id, None)
    cloud.datastores[image.datastore].images.discard(image.id)
    cloud.labels.pop(("image", image.name), None)


def make_disk(cloud: Cloud, spec: ContractSpec, vm: Vm, row: object) -> Disk:
    """Return a new disk of a VM as a trace describes it; its image becomes USED or USED_PERS. The caller appends it."""
    if not isinstance(row, dict):
        raise Refusal('every disk is an object such as {"image": "os"} or {"volatile": "fs", "size_mb": 2}')
    id = len(vm.disks)
    system = cloud.datastores[vm.history[-1].datastore] if vm.history else cloud.system_datastore()
    if "image" in row:
        image = cloud.images[known(cloud, "image", row)]
        if image.state not in ("READY", "USED") or (image.persistent and image.state != "READY"):
            raise Refusal(f"image {row['image']!r} is {image.state} and cannot be used by a VM")
        if image.type not in ("OS", "CDROM", "DATABLOCK", "FILESYSTEM"):
            raise Refusal(f"image {row['image']!r} is of type {image.type}, which is no disk")
        kind = (
            "virtiofs"
            if image.type == "FILESYSTEM"
            else "cdrom"
            if image.type == "CDROM" or image.persistent_type == "IMMUTABLE"
            else "persistent"
            if image.persistent
            else "nonpersistent"
        )
        datastore = cloud.datastores[image.datastore]
        conf = cloud.conf(datastore.tm_mad)
        disk = Disk(
            id,
            kind,
            _target("hd" if kind == "cdrom" else "sd", id),
            max(number(row, "size_mb", image.size_mb), image.size_mb),
            image.size_mb,
            image.id,
            image.name,
            datastore.id,
            datastore.name,
            datastore.tm_mad,
            "",
            image.source,
            image.shown_format,
            image.fs,
            conf.clone_target,
            conf.ln_target,
            datastore.template.get("DISK_TYPE", conf.disk_type),
            conf.allow_orphans,
            inherited=_inherited(datastore),
        )
        if kind == "persistent":
            disk.snapshots = snapshots.copied(image.snapshots)
        image.vms.add(vm.id)
        image.state = "USED_PERS" if kind == "persistent" else "USED"
        return disk
    volatile = text(row, "volatile")
    kinds: dict[str, Kind] = {one.type: one for one in spec.spec.kinds.values() if not one.image}
    if volatile not in kinds:
        raise Refusal(f"volatile disk {volatile!r} is not one of {', '.join(kinds)}")
    disk = Disk(id, kinds[volatile].name, _target("sd", id), number(row, "size_mb"), format=text(row, "format", "raw"), fs=text(row, "fs", ""))
    if vm.history:
        place(cloud, disk, system)
    return disk


def _inherited(datastore: Datastore) -> dict[str, str]:
    """Return the attributes that a disk gets from its datastore (Datastore::disk_attribute)."""
    return {name: datastore.template[name] for name in inherited("DISK") if datastore.template.get(name)}


def place(cloud: Cloud, disk: Disk, datastore: Datastore) -> None:
    """Put a volatile disk into a system datastore, whose driver may decide its format (Datastore::disk_attribute)."""
    conf = cloud.conf(datastore.tm_mad)
    disk.inherited = _inherited(datastore)
    disk.datastore, disk.datastore_name, disk.tm_mad = datastore.id, datastore.name, datastore.tm_mad
    disk.disk_type, disk.allow_orphans = datastore.template.get("DISK_TYPE", "FILE"), conf.allow_orphans
    driver = conf.driver or datastore.template.get("DRIVER", "")
    if disk.kind == "volatile" and driver:
        disk.format = driver


#: Device names of a bus: a to z, then aa to zz.
_LETTERS = (*ascii_lowercase, *(f"{one}{two}" for one in ascii_lowercase for two in ascii_lowercase))


def _target(prefix: str, id: int) -> str:
    return f"{prefix}{_LETTERS[id]}"


def _assign_targets(cloud: Cloud, vm: Vm) -> None:
    """Give the disks of a new VM their device names: the first of an operating system, CDROMs, the context, then all others (VirtualMachineDisks::get_images)."""
    system = next((disk for disk in vm.disks if disk.image in cloud.images and cloud.images[disk.image].type == "OS"), None)
    cdroms = [disk for disk in vm.disks if disk.target.startswith("hd")]
    others = [disk for disk in vm.disks if disk is not system and disk not in cdroms]
    letters = {"hd": iter(_LETTERS), "sd": iter(_LETTERS)}
    for disk in ([system] if system is not None else []) + cdroms:
        disk.target = f"{disk.target[:2]}{next(letters[disk.target[:2]])}"
    if vm.context is not None:
        vm.context_target = f"hd{next(letters['hd'])}"
    for disk in others:
        disk.target = f"sd{next(letters['sd'])}"


def free_target(vm: Vm, target: str) -> str:
    """Return the first device name of the target's bus that no disk of the VM has."""
    taken = {disk.target for disk in vm.disks} | {vm.context_target}
    return next(name for name in (_target(target[:2], n) for n in range(len(_LETTERS))) if name not in taken)


BACKUP_MODES = ("FULL", "INCREMENT")
BACKUP_FREEZES = ("NONE", "AGENT", "SUSPEND")


def configure_backups(vm: Vm, wanted: object) -> None:
    """Set the VM's BACKUP_CONFIG from an object such as {"keep_last": 2, "mode": "INCREMENT", "volatile": true, "freeze": "SUSPEND"}.

    Raises Refusal for another.
    """
    if not isinstance(wanted, dict) or not set(wanted) <= {"keep_last", "mode", "volatile", "freeze"}:
        raise Refusal("argument 'backup' is an object with keep_last, mode, volatile and freeze")
    mode = text(wanted, "mode", vm.backup.mode)
    if mode not in BACKUP_MODES:
        raise Refusal(f"backup mode {mode!r} is not one of {', '.join(BACKUP_MODES)}")
    freeze = text(wanted, "freeze", vm.backup.freeze)
    if freeze not in BACKUP_FREEZES:
        raise Refusal(f"backup freeze {freeze!r} is not one of {', '.join(BACKUP_FREEZES)}")
    volatile = flag({"volatile": vm.backup.volatile, **wanted}, "volatile")
    vm.backup = BackupConfig(number(wanted, "keep_last", vm.backup.keep_last), mode, volatile, freeze=freeze)


def within(exceeded: str) -> None:
    """Raise Refusal if there is a reason."""
    if exceeded:
        raise Refusal(exceeded)


@contextmanager
def unchanged_if_refused(cloud: Cloud, vm: Vm, rows: Sequence[object]) -> Iterator[None]:
    """Give the images that disks name back as they were if what happens meanwhile is refused."""
    named = [cloud.labels.get(("image", str(row.get("image"))), -1) for row in rows if isinstance(row, dict)]
    before = {id: (cloud.images[id].state, set(cloud.images[id].vms)) for id in named if id in cloud.images}
    try:
        yield
    except Refusal:
        for id, (state, vms) in before.items():
            cloud.images[id].state, cloud.images[id].vms = state, vms
        raise


def context_of(arguments: Arguments) -> dict[str, str] | None:
    """Return the context that an operation gives; None if it gives none. Raises Refusal for anything but texts."""
    context = arguments.get("context")
    if context is None:
        return None
    if not isinstance(context, dict) or not all(isinstance(one, str) for one in context.values()):
        raise Refusal("argument 'context' is an object of texts")
    return dict(context)


def make_vm(cloud: Cloud, spec: ContractSpec, arguments: Arguments) -> Vm:
    """Make a VM in PENDING with its disks; its images become USED or USED_PERS. Nothing changes when it is refused."""
    label = new_label(cloud, "vm", arguments)
    vm = Vm(cloud.next_vm, label, "PENDING", stime_s=cloud.now_s)
    rows = arguments.get("disks", [])
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise Refusal("argument 'disks' is a list")
    context = context_of(arguments)
    vm.cpu, vm.memory_mb = share(arguments, "cpu", vm.cpu), number(arguments, "memory_mb", vm.memory_mb)
    vm.boot = tuple(one for one in text(arguments, "boot", "").split(",") if one)
    with unchanged_if_refused(cloud, vm, rows):
        for row in rows:
            vm.disks.append(make_disk(cloud, spec, vm, row))
        within(quotas.created(cloud, spec, vm))
    for name, kind in (("kernel", "KERNEL"), ("initrd", "RAMDISK")):
        if name in arguments:
            file = cloud.images[known(cloud, "image", arguments, name)]
            if file.type != kind:
                raise Refusal(f"image {arguments[name]!r} is of type {file.type}, not {kind}")
            vm.files.append(BootFile(name, file.source, file.datastore))
    if "backup" in arguments:
        configure_backups(vm, arguments["backup"])
    if context is not None:
        vm.context, vm.context_disk = context, len(vm.disks)
    _assign_targets(cloud, vm)
    vm.tm_mad_system = text(arguments, "tm_mad_system", "")
    for disk in vm.disks:
        disk.tm_mad_system = vm.tm_mad_system
        set_mode(cloud, disk)
    cloud.next_vm += 1
    cloud.vms[vm.id] = vm
    cloud.labels["vm", label] = vm.id
    return vm


def set_mode(cloud: Cloud, disk: Disk) -> None:
    """Give a disk the targets that its driver declares for the mode that it has."""
    mode = cloud.conf(disk.tm_mad).mode(disk.tm_mad_system)
    if mode is not None and disk.image >= 0:
        disk.clone_target, disk.ln_target, disk.disk_type = mode.clone_target, mode.ln_target, mode.disk_type


def release_images(cloud: Cloud, vm: Vm, how: str) -> list[Image]:
    """Give the VM's images back. After a forced end persistent ones are in ERROR. Returns the images whose state changed."""
    return [image for disk in vm.disks for image in release_disk(cloud, vm, disk, how)]


def release_disk(cloud: Cloud, vm: Vm, disk: Disk, how: str) -> list[Image]:
    """Give the image of one disk back; see `release_images`."""
    image = cloud.images.get(disk.image)
    if image is None:
        return []
    image.vms.discard(vm.id)
    if disk.kind == "persistent" and how == "normal":
        image.snapshots = snapshots.copied(disk.snapshots)
    goal = "ERROR" if how == "forced" and disk.kind == "persistent" else "USED" if image.vms else "READY"
    if image.state == goal:
        return []
    image.state = goal
    return [image]
