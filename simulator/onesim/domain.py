"""The deployment file: the libvirt domain that oned writes for a VM, as far as storage is concerned, with the least that libvirt needs besides.

Networks, graphics, processors' topology and devices passed through are left out: no VM of the simulator has any. Text and attributes are escaped as oned does.
Source: src/vmm/LibVirtDriverKVM.cc and vmm_exec_kvm.conf of OpenNebula 5.12.0 to 7.4.0; recordings of 6.4.0 and 7.0.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from onesim.cloud import Cloud
from onesim.documents import vm_uuid
from onesim.model import Disk, Vm
from onesim.spec import ContractSpec

#: Ports that a host has where its attribute names none, and the transport that is written, by protocol.
_NETWORK = {"rbd": ("6789", ""), "iscsi": ("3260", ""), "gluster": ("24007", "tcp"), "sheepdog": ("", "tcp")}
_HOSTS = {"rbd": "CEPH_HOST", "iscsi": "ISCSI_HOST", "gluster": "GLUSTER_HOST", "sheepdog": "SHEEPDOG_HOST"}
#: Who asks for what is protected: the attributes of user and secret, and how the secret is named.
_SECRETS = {"rbd": ("CEPH_USER", "CEPH_SECRET", "ceph", "uuid"), "iscsi": ("ISCSI_USER", "ISCSI_USAGE", "iscsi", "usage")}


def domain_xml(vm: Vm, cloud: Cloud, spec: ContractSpec) -> str:
    """Return the domain of a VM on the host of its last history record."""
    q35 = spec.holds(since="7.1.80")
    inside = spec.holds(since="6.7.80")
    shared = [disk for disk in vm.disks if disk.kind == "virtiofs"]
    lines = [
        "<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>",
        f"\t<name>one-{vm.id}</name>",
        f"\t<title>{escape(vm.name)}</title>",
        *([f"\t<uuid>{vm_uuid(vm)}</uuid>"] if spec.holds(since="5.13.80") else []),
        "\t<cputune>",
        f"\t\t<shares>{min(max(math.ceil(1024 * vm.cpu), 2), 262144)}</shares>",
        "\t</cputune>",
        f"\t<memory>{vm.memory_mb * 1024}</memory>",
        *([f"\t<currentMemory>{vm.memory_mb * 1024}</currentMemory>"] if spec.holds(since="6.3.80", until="6.5.80") else []),
        *_os(vm, cloud, q35),
        "\t<devices>",
        f"\t\t<emulator>{_text('/usr/bin/qemu-kvm-one' if inside else '/usr/bin/kvm')}</emulator>",
        *(line for disk in vm.disks for line in _disk(vm, disk, cloud, spec, q35)),
        *_context(vm, cloud, spec, q35),
        *(_SCSI if inside else ()),
        "\t</devices>",
        *(("\t<memoryBacking>", "\t\t<source type='memfd'/>", "\t\t<access mode='shared'/>", "\t</memoryBacking>") if shared else ()),
        "\t<features>",
        "\t\t<acpi/>",
        "\t</features>",
        *_AGENT,
        *(() if inside else ("\t<devices>", *_SCSI, "\t</devices>")),
        *_metadata(vm, cloud, spec),
        "</domain>",
    ]
    return "\n".join(lines) + "\n"


_SCSI = ("\t\t<controller type='scsi' index='0' model='virtio-scsi'>", "\t\t\t<driver queues='1'/>", "\t\t</controller>")
_AGENT = (
    "\t<devices>",
    "\t\t<channel type='unix'>",
    "\t\t\t<source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/>",
    "\t\t</channel>",
    "\t</devices>",
)


def _text(text: str) -> str:
    return f"<![CDATA[{text}]]>"


def _quoted(text: object) -> str:
    return "'" + escape(str(text), {"'": "&apos;", '"': "&quot;"}) + "'"


def _directory(vm: Vm, cloud: Cloud) -> str:
    return cloud.directory(vm.history[-1], vm)


def _os(vm: Vm, cloud: Cloud, q35: bool) -> Iterator[str]:
    yield "\t<os>"
    yield f"\t\t<type arch='x86_64'{' machine=' + _quoted('q35') if q35 else ''}>hvm</type>"
    files = {file.name: f"{_directory(vm, cloud)}/{file.name}" for file in vm.files}
    if "kernel" in files:
        yield from (f"\t\t<{name}>{_text(files[name])}</{name}>" for name in ("kernel", "initrd") if name in files)
    yield "\t</os>"


def _inherited(disk: Disk, cloud: Cloud, name: str) -> str:
    """Return an attribute that a disk has from its image or datastore (INHERIT_IMAGE_ATTR, INHERIT_DATASTORE_ATTR)."""
    image, datastore = cloud.images.get(disk.image), cloud.datastores.get(disk.datastore)
    own = image.template.get(name, "") if image is not None else ""
    return own or (datastore.template.get(name, "") if datastore is not None else "")


def storage(disk: Disk, cloud: Cloud) -> str:
    """Return what a disk is to the hypervisor: FILE, BLOCK, RBD, ISCSI, GLUSTER or SHEEPDOG; in mixed mode what its driver declares for that."""
    declared = disk.disk_type
    if declared == "FILE" and cloud.conf(disk.tm_mad).mode(disk.tm_mad_system) is None:
        declared = _inherited(disk, cloud, "DISK_TYPE") or declared
    return declared


def _disk(vm: Vm, disk: Disk, cloud: Cloud, spec: ContractSpec, q35: bool) -> Iterator[str]:
    if disk.kind == "virtiofs":
        yield from _shared(disk, cloud)
        return
    cdrom, what = disk.kind == "cdrom", storage(disk, cloud)
    device = "cdrom" if cdrom else "disk"
    path = f"{_directory(vm, cloud)}/disk.{disk.id}"
    if what == "BLOCK":
        yield f"\t\t<disk type='block' device='{device}'>"
        yield f"\t\t\t<source dev={_quoted(path)}/>"
    elif what.lower() in _NETWORK:
        yield f"\t\t<disk type='network' device='{device}'>"
        yield from _network(vm, disk, cloud, what.lower())
    else:
        yield f"\t\t<disk type='file' device='{device}'>"
        yield f"\t\t\t<source file={_quoted(path)}/>"
    bus = _bus(disk.target, cdrom, q35)
    yield f"\t\t\t<target dev={_quoted(disk.target)}{' bus=' + _quoted(bus) if bus else ''}/>"
    secret = _inherited(disk, cloud, "LUKS_SECRET")
    if secret:
        yield "\t\t\t<encryption format='luks'>"
        yield f"\t\t\t\t<secret type='passphrase' uuid={_quoted(secret)}/>"
        yield "\t\t\t</encryption>"
    if f"disk{disk.id}" in vm.boot:
        yield f"\t\t\t<boot order='{vm.boot.index(f'disk{disk.id}') + 1}'/>"
    if cdrom:
        yield "\t\t\t<readonly/>"
    driver = "raw" if cdrom else cloud.conf(disk.tm_mad).driver or disk.format or "raw"
    cache = _inherited(disk, cloud, "CACHE") or "none"
    discard = " discard='unmap'" if spec.holds(since="5.13.80") else ""
    yield f"\t\t\t<driver name='qemu' type={_quoted(driver)} cache={_quoted(cache)}{discard}/>"
    if disk.target.startswith("sd"):
        yield f"\t\t\t<address type='drive' controller='0' bus='0' target='{_number(disk.target[2:])}' unit='0'/>"
    yield "\t\t</disk>"


def _number(letters: str) -> int:
    """Return the number of a device from 0: a is 0, z is 25, aa is 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


def _bus(target: str, cdrom: bool, q35: bool) -> str:
    if cdrom or target.startswith("hd"):
        return "sata" if q35 else "ide"
    return "virtio" if target.startswith("vd") else ""


def _network(vm: Vm, disk: Disk, cloud: Cloud, protocol: str) -> Iterator[str]:
    """Yield the source of a disk that the hypervisor reaches itself, with its hosts and who asks for it."""
    port, transport = _NETWORK[protocol]
    hosts = _inherited(disk, cloud, _HOSTS[protocol]).split()
    opening = f"\t\t\t<source protocol='{protocol}' name={_quoted(_name(vm, disk, cloud, protocol))}"
    yield opening + (">" if hosts else "/>")
    for host in hosts:
        name, _, own = host.partition(":")
        number = own or port
        with_port = f" port={_quoted(number)}" if number else ""
        yield f"\t\t\t\t<host name={_quoted(name)}{with_port}{' transport=' + _quoted(transport) if transport else ''}/>"
    if hosts:
        yield "\t\t\t</source>"
    if protocol in _SECRETS:
        user, secret, kind, by = _SECRETS[protocol]
        who, what = _inherited(disk, cloud, user), _inherited(disk, cloud, secret)
        if who and what:
            yield f"\t\t\t<auth username={_quoted(who)}>"
            yield f"\t\t\t\t<secret type='{kind}' {by}={_quoted(what)}/>"
            yield "\t\t\t</auth>"


def _name(vm: Vm, disk: Disk, cloud: Cloud, protocol: str) -> str:
    """Return the name of a disk in its pool: its own copy, the image itself, or what a volatile disk is made as."""
    copied, own = disk.kind == "nonpersistent", f"-{vm.id}-{disk.id}"
    match protocol:
        case "iscsi":
            return _inherited(disk, cloud, "ISCSI_IQN") or disk.source
        case "gluster":
            name = f"{vm.id}/disk.{disk.id}" if copied else disk.source.rpartition("/")[2]
            return f"{_inherited(disk, cloud, 'GLUSTER_VOLUME')}/{name}"
        case "rbd" if not disk.source:
            return f"{_inherited(disk, cloud, 'POOL_NAME') or 'one'}/one-sys{own}"
        case _:
            return disk.source + (own if copied else "")


def _shared(disk: Disk, cloud: Cloud) -> Iterator[str]:
    """Yield a directory that is shared with the guest by virtiofs."""
    yield "\t\t<filesystem type='mount' accessmode='passthrough'>"
    yield "\t\t\t<driver type='virtiofs' queue='1024'/>"
    yield "\t\t\t<binary path='/var/tmp/one/vmm/kvm/virtiofsd.sh' xattr='on'>"
    yield "\t\t\t\t<cache mode='always'/>"
    yield "\t\t\t\t<sandbox mode='namespace'/>"
    yield "\t\t\t</binary>"
    yield f"\t\t\t<source dir={_quoted(disk.source)}/>"
    yield f"\t\t\t<target dir={_quoted(_inherited(disk, cloud, 'MOUNT_TAG'))}/>"
    yield "\t\t\t<idmap>"
    yield from (f"\t\t\t\t<{kind} start='0' target='100000' count='65536'/>" for kind in ("uid", "gid"))
    yield "\t\t\t</idmap>"
    yield "\t\t</filesystem>"


def _context(vm: Vm, cloud: Cloud, spec: ContractSpec, q35: bool) -> Iterator[str]:
    if vm.context is None or not vm.context_target:
        return
    block = cloud.datastores[vm.history[-1].datastore].template.get("CONTEXT_DISK_TYPE", "FILE") == "BLOCK"
    yield f"\t\t<disk type='{'block' if block else 'file'}' device='cdrom'>"
    yield f"\t\t\t<source {'dev' if block else 'file'}={_quoted(f'{_directory(vm, cloud)}/disk.{vm.context_disk}')}/>"
    yield f"\t\t\t<target dev={_quoted(vm.context_target)} bus={_quoted(_bus(vm.context_target, True, q35))}/>"
    yield "\t\t\t<readonly/>"
    yield f"\t\t\t<driver name='qemu' type='raw'{' cache=' + _quoted('none') if spec.holds(since='7.1.80') else ''}/>"
    yield "\t\t</disk>"


def _metadata(vm: Vm, cloud: Cloud, spec: ContractSpec) -> Iterator[str]:
    told = {
        "system_datastore": _text(_directory(vm, cloud)),
        "name": _text(vm.name),
        "uname": _text("oneadmin"),
        "uid": "0",
        "gname": _text("oneadmin"),
        "gid": "0",
        "opennebula_version": spec.version,
        "stime": str(vm.stime_s),
        "deployment_time": str(cloud.now_s),
    }
    yield "\t<metadata>"
    yield '\t\t<one:vm xmlns:one="http://opennebula.org/xmlns/libvirt/1.0">'
    yield from (f"\t\t\t<one:{name}>{value}</one:{name}>" for name, value in told.items())
    if spec.holds(since="6.99.80"):
        yield "\t\t\t<one:pci_devices></one:pci_devices>"
    yield "\t\t</one:vm>"
    yield "\t</metadata>"
