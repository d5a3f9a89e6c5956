"""Descriptions of the driver for storage pools of libvirt by the type of the pool, made from the sample for volume groups."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from onesim.data import data_dir

REFERENCE = data_dir("reference_driver")
_SAMPLE = "libvirt_pool_logical.toml"
_POOL = "/var/lib/one/datastores/pool"
_TARGET = "iqn.2026-01.example:pool"

#: A cluster file system: the administrator's pool, which all hosts have mounted, in a directory of oneadmin's.
_MOUNTED = f"""
cat >/tmp/pool.xml <<'END'
<pool type='fs'><name>one</name><source><device path='/dev/vdc'/><format type='ocfs2'/></source><target><path>{_POOL}</path></target></pool>
END
for host in frontend host01 host02; do
    virsh -q -c "qemu+ssh://$host/system" 'pool-define /tmp/pool.xml; pool-build one; pool-start one' || exit
done
sudo -n chown oneadmin: {_POOL}
"""
_ON_DEVICE = f"find '/dev/.fs/!dev!vdc' -type f -printf '{_POOL}/%P\\n' 2>/dev/null || true"
#: For every bash of the driver: QEMU opens an image of the simulated Ceph pool as the file that holds its bytes.
_QEMU_IMG = """qemu-img() {
    local word words=()
    for word; do
        [[ $word != rbd:* ]] || word=/dev/.rbd/${word#rbd:}
        words+=("$word")
    done
    command qemu-img "${words[@]}"
}
"""


#: Where the bytes of disks lie: under the names that the hypervisor goes by.
_RBD_AT = '[ -z "$SOURCE" ] && at=ceph/one-sys-$VM_ID-$DISK_ID || { at=$SOURCE; [ "$CLONE" = NO ] || at=$SOURCE-$VM_ID-$DISK_ID; }; cd /dev/.rbd; '
_RBD_DISK = {
    "read": _RBD_AT + 'cat "$at"',
    "write": _RBD_AT + 'dd of="$at" bs=1 seek="$OFFSET" conv=notrunc status=none',
    "exists": _RBD_AT + '[ -e "$at" ]',
}


def _listed(directory: str, name: str = "*") -> str:
    return f"cd {directory} 2>/dev/null && find {name} -maxdepth 1 -type f 2>/dev/null || true"


#: By type: the attributes of the datastores, the tables of the description that differ from the sample, and what is run in every world before.
TYPES: dict[str, tuple[dict[str, str], dict[str, Any], str]] = {
    "logical": ({"POOL_SOURCE": "onevg", "DISK_TYPE": "BLOCK"}, {}, ""),
    "fs": ({"POOL_SOURCE": "/dev/vdc", "POOL_FORMAT": "ocfs2", "POOL_TARGET": _POOL}, {"probe": {"inventory": _ON_DEVICE}}, _MOUNTED),
    "disk": (
        {"POOL_SOURCE": "/dev/vdb", "POOL_FORMAT": "gpt", "DISK_TYPE": "BLOCK"},
        {"probe": {"inventory": "find /dev -maxdepth 1 -name 'vdb?*' -type f"}},
        "",
    ),
    "rbd": (
        {"POOL_SOURCE": "ceph", "POOL_HOST": "127.0.0.1", "DISK_TYPE": "RBD"},
        {"probe": {"inventory": _listed("/dev/.rbd", "ceph"), "image": {"at": "/dev/.rbd/$SOURCE"}, "disk": _RBD_DISK}},
        "",
    ),
    "iscsi-direct": (
        {
            "POOL_SOURCE": _TARGET,
            "POOL_HOST": "127.0.0.1",
            "POOL_INITIATOR": "iqn.2026-01.example:one",
            "DISK_TYPE": "ISCSI",
            "DATASTORE_CAPACITY_CHECK": "NO",
        },
        {
            "probe": {
                "inventory": _listed("/dev/.iscsi-direct", _TARGET),
                "image": {"at": "/dev/.iscsi-direct/$SOURCE"},
                "disk": {"at": "/dev/.iscsi-direct/$SOURCE"},
            }
        },
        "",
    ),
}


def described(kind: str, directory: Path) -> Path:
    """Write the description for a type of pool into a directory. Returns its path."""
    attributes, tables, setup = TYPES[kind]
    config: dict[str, Any] = tomllib.loads((REFERENCE / _SAMPLE).read_text())
    config["driver"]["paths"] = [str(REFERENCE / "remotes")]
    for datastore in ("image_datastore", "system_datastore"):
        config[datastore] = {"POOL_NAME": "one", "POOL_TYPE": kind, **attributes}
    row = config["tm_mad_conf"]["libvirt_pool"]
    if kind == "fs":
        del row["DISK_TYPE"], row["DRIVER"]
    else:
        row["DISK_TYPE"] = attributes["DISK_TYPE"]
    if kind == "iscsi-direct":
        config["ds_mad_conf"]["libvirt_pool"]["PERSISTENT_ONLY"] = "YES"
    if kind == "rbd":
        (directory / "qemu.sh").write_text(_QEMU_IMG)
        config["file"] = [{"source": "qemu.sh", "to": "/etc/one/qemu.sh"}]
        config["environment"] = {"BASH_ENV": "/etc/one/qemu.sh"}
    config |= tables
    if setup:
        config["hooks"] = {"setup": [setup]}
    path = directory / f"{kind}.toml"
    path.write_text(tomli_w.dumps(config))
    return path


#: The secret by which libvirt logs in to the real cluster, and how the driver's own qemu-img finds that.
_UUID = "6a7e2b52-0000-4000-8000-000000000001"
_SECRET = f"<secret ephemeral='no' private='no'><uuid>{_UUID}</uuid><usage type='ceph'><name>one</name></usage></secret>"
_CONF = "/etc/one/ceph.conf"


def described_on_ceph(directory: Path) -> Path:
    """Write the description for a pool of the real libvirt on a real cluster of one node, each of which every world has. Returns its path."""
    ceph, real, config = (tomllib.loads((REFERENCE / name).read_text()) for name in ("ceph.toml", "libvirt_pool_real.toml", _SAMPLE))
    key = next(line.partition("=")[2].strip() for line in (REFERENCE / "ceph" / "client.keyring").read_text().splitlines() if "key =" in line)
    attributes = {"POOL_HOST": "127.0.0.1:6789", "POOL_USER": "one", "POOL_SECRET": _UUID, "DISK_TYPE": "RBD", "CEPH_USER": "one", "CEPH_CONF": _CONF}
    for datastore in ("image_datastore", "system_datastore"):
        config[datastore] = {"POOL_NAME": "one", "POOL_TYPE": "rbd", "POOL_SOURCE": "one", **attributes}
    config["driver"]["paths"] = [str(REFERENCE / "remotes")]
    config["tm_mad_conf"]["libvirt_pool"]["DISK_TYPE"] = "RBD"
    config["libvirt"] = {"virsh": "real"}
    own = {"ceph.sh": f"export CEPH_CONF={_CONF}\n", "secret.xml": _SECRET}
    for name, text in own.items():
        (directory / name).write_text(text)
    config["file"] = [{**one, "source": str(REFERENCE / one["source"])} for one in (*ceph["file"], *real["file"])]
    config["file"] += [{"source": name, "to": f"/etc/one/{name}"} for name in own]
    config["environment"] = {"BASH_ENV": "/etc/one/ceph.sh"}
    config["service"] = [*ceph["service"], *real["service"]]
    config["hooks"] = {"setup": [f"virsh -q -c qemu:///system 'secret-define /etc/one/secret.xml; secret-set-value {_UUID} {key}'"]}
    config["probe"] = {"inventory": "CEPH_CONF=/run/one/ceph/ceph.conf rbd ls one | sed s,^,one/,"}
    path = directory / "rbd-real.toml"
    path.write_text(tomli_w.dumps(config))
    return path


#: A target of iSCSI as Debian's tgt serves it: the logical units 1 and 2, of as many MiB as the volumes that the cases have lent; 0 is its controller.
_TGTD = f"""mkdir -p /run/tgtd units
tgtd -f --iscsi portal=127.0.0.1:3260 &
until tgtadm --lld iscsi --op new --mode target --tid 1 -T {_TARGET}; do sleep 0.05; done
for unit in 1:2M 2:3M; do
    truncate -s "${{unit#*:}}" "units/${{unit%:*}}"
    tgtadm --lld iscsi --op new --mode logicalunit --tid 1 --lun "${{unit%:*}}" -b "$PWD/units/${{unit%:*}}"
done
tgtadm --lld iscsi --op bind --mode target --tid 1 -I ALL
wait
"""
_UNITS = "sudo -n tgtadm --lld iscsi --op show --mode target"


def described_on_target(directory: Path) -> Path:
    """Write the description for a pool of the real libvirt on a real target of iSCSI, both of which every world has. Returns its path."""
    path = described("iscsi-direct", directory)
    config, real = tomllib.loads(path.read_text()), tomllib.loads((REFERENCE / "libvirt_pool_real.toml").read_text())
    for datastore in ("image_datastore", "system_datastore"):
        config[datastore]["ISCSI_HOST"] = "127.0.0.1"  # the harness reads and writes a disk as QEMU does, by this and SOURCE
    (directory / "tgtd.sh").write_text(_TGTD)
    config["libvirt"] = {"virsh": "real"}
    config["file"] = [{**one, "source": str(REFERENCE / one["source"])} for one in real["file"]]
    config["file"].append({"source": "tgtd.sh", "to": "/run/one/tgtd.sh", "where": "frontend"})
    command = real["service"][0]["command"].replace("libvirtd.sh", "tgtd.sh")
    config["service"] = [
        {"name": "target", "command": command, "ready": f"{_UNITS} | grep -q 'ACL information' && {_UNITS} | grep -q ALL"},
        *real["service"],
    ]
    config["probe"] = {"inventory": f"{_UNITS} | sed -n 's,^ *LUN: ,{_TARGET}/,p'"}
    path.write_text(tomli_w.dumps(config))
    return path


_PLACE = "/run/one/devices"
#: In a lab the front-end's libvirt makes the file system, and the administrator mounts it on the hypervisors.
_EVERYWHERE = f"""
cat >/tmp/pool.xml <<'END'
<pool type='fs'><name>one</name><source><device path='%(device)s'/><format type='ext4'/></source><target><path>{_POOL}</path></target></pool>
END
virsh -q -c qemu:///system 'pool-define /tmp/pool.xml; pool-build one --overwrite; pool-start one' || exit
sudo -n rmdir {_POOL}/lost+found
sudo -n chown oneadmin: {_POOL}
for host in host01 host02; do ssh "$host" sudo -n mount %(device)s {_POOL} || exit; done
"""
#: What udev does where it runs: partitions are those of the group disk, to which oneadmin belongs.
_UDEV = "while sleep 0.02; do chgrp disk %(device)sp* && chmod 660 %(device)sp*; done 2>/dev/null"


def described_in_lab(kind: str, device: str, rows: str, directory: Path) -> Path:
    """Write the description for a pool of type fs or disk of the real libvirt on a block device that all machines of a lab have. Returns its path.

    libvirt deletes partitions of a device only where its name is what their names begin with: so it is a link that the pool is defined with.
    """
    path = described(kind, directory)
    config, real = tomllib.loads(path.read_text()), tomllib.loads((REFERENCE / "libvirt_pool_real.toml").read_text())
    config["libvirt"] = {"virsh": "real"}
    config["file"] = [{**one, "source": str(REFERENCE / one["source"])} for one in real["file"]]
    config["service"] = list(real["service"])
    link = f"{_PLACE}/{device.rpartition('/')[2]}p"
    more = {"fs": {"POOL_SOURCE": device, "POOL_FORMAT": "ext4"}, "disk": {"POOL_SOURCE": link}}[kind]
    for datastore in ("image_datastore", "system_datastore"):
        config[datastore] |= more
    if kind == "fs":
        config["hooks"] = {"setup": [_EVERYWHERE % {"device": device}]}
        config["probe"] = {"inventory": f"find {_POOL} -type f"}
    else:
        config["hooks"] = {"setup": [f"mkdir -p {_PLACE} && ln -s {device} {link}"]}
        config["probe"] = {"inventory": f"find /dev -maxdepth 1 -name '{device.rpartition('/')[2]}p?*'"}
        (directory / "udev.sh").write_text(_UDEV % {"device": device})
        config["file"].append({"source": "udev.sh", "to": "/run/one/udev.sh", "where": "frontend"})
        config["service"].append({"name": "udev", "command": real["service"][0]["command"].replace("libvirtd.sh", "udev.sh"), "ready": "true"})
    path.write_text(f"{tomli_w.dumps(config)}\n{rows}")
    return path
