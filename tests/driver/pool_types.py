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
        {"POOL_SOURCE": _TARGET, "POOL_HOST": "127.0.0.1", "POOL_INITIATOR": "iqn.2026-01.example:one", "DISK_TYPE": "ISCSI"},
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
