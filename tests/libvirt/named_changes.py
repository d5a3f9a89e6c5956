"""The named changes of documents: breaks make a valid one wrong in one place, traits keep it valid but are judged otherwise by libvirt's schemas."""

from __future__ import annotations

from strategies import LUKS, ON_BTRFS, PARTS, POOLS, SECRET, TIMES, UUID, Change

from onesim.libvirt import tables

_SAMPLES = {
    "features": "<features><cow state='no'/></features>",
    "refresh": "<refresh/>",
    "target": "<target><path>/x</path></target>",
    "source/host": "<host name='h'/>",
    "source/device": "<device path='/dev/sdz'/>",
    "source/dir": "<dir path='/x'/>",
    "source/adapter": "<adapter name='host1'/>",
    "source/initiator": "<initiator><iqn name='iqn.2013-06.com.example:i'/></initiator>",
    "source/auth": "<auth type='chap' username='u'><secret usage='s'/></auth>",
    "source/name": "<name>n</name>",
    "source/format": "<format type='auto'/>",
    "source/protocol": "<protocol ver='4'/>",
    "source/vendor": "<vendor name='v'/>",
    "source/product": "<product name='p'/>",
}


def breaks_by_type(kind: str) -> list[Change]:
    """What a type of pool needs, dropped; what it does not take, added; what it takes once, added again."""
    row = POOLS[kind]
    known = {*row.needs, *row.takes, *(["features"] if kind in ON_BTRFS else [])}
    changes = [Change(f"without {path}", path, "drop") for path in row.needs]
    for path, xml in _SAMPLES.items():
        owner, taken = path.rpartition("/")[0], path in known or any(one.startswith(f"{path}/") for one in known)
        if not taken:
            changes.append(Change(f"foreign {path}", owner, "add", xml))
        elif path not in row.several and path in PARTS and (kind, path) != ("dir", "source/dir"):
            changes.append(Change(f"second {path}", owner, "add", xml))
    for path in ("fs:mount_opts", "rbd:config_opts"):
        if path not in known:
            prefix, _, name = path.partition(":")
            changes.append(Change(f"foreign {path}", "", "add", f"<{name} xmlns='{tables().namespaces[prefix]}'/>"))
    if row.name == "own":
        changes.append(Change("without name", "name", "drop"))
    return changes


POOL_BREAKS = [
    Change("unknown type", "", "@type", "nfs"),
    Change("no type", "", "@type"),
    Change("unknown attribute", "", "@id", "1"),
    Change("unknown element", "", "add", "<owner>1</owner>"),
    Change("unknown source", "source", "add", "<server/>"),
    Change("text in source", "source", "text", "x"),
    Change("second uuid", "", "add", f"<uuid>{UUID}</uuid>"),
    Change("slash in name", "name", "text", "a/b"),
    Change("empty name", "name", "text", ""),
    Change("no uuid", "uuid", "text", "12345"),
    Change("negative size", "capacity", "text", "-1"),
    Change("size in words", "capacity", "text", "10 GiB"),
    Change("unknown unit", "capacity", "@unit", "Kilo"),
    Change("cow in words", "features/cow", "@state", "on"),
    Change("host without name", "source/host", "@name"),
    Change("host with a path", "source/host", "@name", "h:/srv"),
    Change("port 0", "source/host", "@port", "0"),
    Change("port -1", "source/host", "@port", "-1"),
    Change("port 65536", "source/host", "@port", "65536"),
    Change("device without path", "source/device", "@path"),
    Change("device of a name", "source/device", "@path", "sda", ("fs", "disk", "logical", "zfs")),
    Change("target with a slash", "source/device", "@path", "a/b", ("iscsi",)),
    Change("target by a device", "source/device", "@path", "/dev/sda", ("iscsi", "iscsi-direct")),
    Change("target by a bare name", "source/device", "@path", "demo-target", ("iscsi-direct",)),
    Change("part_separator 1", "source/device", "@part_separator", "1"),
    Change("extent without end", "source/device", "add", "<freeExtent start='1'/>"),
    Change("extent in words", "source/device", "add", "<freeExtent start='1' end='end'/>"),
    Change("relative export", "source/dir", "@path", "srv", ("netfs", "gluster")),
    Change("relative directory", "source", "add", "<dir path='srv'/>", ("dir",)),
    Change("initiator in words", "source/initiator/iqn", "@name", "me"),
    Change("initiator without iqn", "source/initiator/iqn", "drop"),
    Change("auth without user", "source/auth", "@username"),
    Change("auth of type iscsi", "source/auth", "@type", "iscsi"),
    Change("auth of the other kind", "source/auth", "@type", "ceph", ("iscsi", "iscsi-direct")),
    Change("auth of the other kind", "source/auth", "@type", "chap", ("rbd",)),
    Change("auth without secret", "source/auth/secret", "drop"),
    Change("secret without reference", "source/auth/secret", "@uuid", None, ("rbd",)),
    Change("secret by both", "source/auth/secret", "@usage", "u", ("rbd",)),
    Change("secret that is no uuid", "source/auth/secret", "@uuid", "key", ("rbd",)),
    Change("unknown format", "source/format", "@type", "ntfs"),
    Change("format without type", "source/format", "@type"),
    Change("protocol in words", "source/protocol", "@ver", "v3"),
    Change("protocol without version", "source/protocol", "@ver"),
    Change("vendor without name", "source/vendor", "@name"),
    Change("relative target", "target/path", "text", "images"),
    Change("target of Windows", "target/path", "text", "C:\\images"),
    Change("second permissions", "target", "add", "<permissions/>"),
    Change("mode of digits above 7", "target/permissions/mode", "text", "0788"),
    Change("mode above 0777", "target/permissions/mode", "text", "01777"),
    Change("owner in words", "target/permissions/owner", "text", "root"),
    Change("owner -2", "target/permissions/owner", "text", "-2"),
    Change("refresh in words", "refresh/volume", "@allocation", "fast"),
    Change("option without name", "fs:mount_opts/fs:option", "@name"),
    Change("option without value", "rbd:config_opts/rbd:option", "@value"),
    Change("empty secret usage", "source/auth/secret", "@usage", "", ("iscsi",)),
    Change("adapter of another type", "source/adapter", "@type", "iscsi_host"),
    Change("adapter with half a parent", "source/adapter[@parent]", "@parent_wwnn", "20000000c9831b4c"),
    Change("adapter without wwpn", "source/adapter[@wwpn]", "@wwpn"),
    Change("adapter with a short wwnn", "source/adapter[@wwnn]", "@wwnn", "2000"),
    Change("adapter by nothing", "source/adapter[@name]", "@name"),
    Change("adapter by address without type", "source/adapter[parentaddr]", "@type"),
    Change("adapter by name and address", "source/adapter[parentaddr]", "@name", "host1"),
    Change("adapter of fc_host by name", "source/adapter[@wwnn]", "@name", "host1"),
    Change("adapter of scsi_host with wwnn", "source/adapter[@name]", "@wwnn", "20000000c9831b4c"),
    Change("address without unique_id", "source/adapter/parentaddr", "@unique_id"),
    Change("address with addr", "source/adapter/parentaddr/address", "@addr", "0x2"),
]
POOL_TRAITS = [
    Change("timestamps in the target", "target", "add", TIMES),
    Change("encryption in the target", "target", "add", LUKS),
    Change("type of the secret", "source/auth/secret", "@type", "iscsi", ("iscsi", "iscsi-direct")),
    Change("type of the secret", "source/auth/secret", "@type", "ceph", ("rbd",)),
    Change("directory of a dir pool", "source", "add", "<dir path='/x'/>", ("dir",)),
    Change("two devices of a zpool", "source", "add", "<device path='/dev/sdz'/>", ("zfs",)),
    Change("unique_id 0", "source/adapter/parentaddr", "@unique_id", "0"),
]
VOLUME_BREAKS = [
    Change("unknown type", "", "@type", "lun"),
    Change("no name", "name", "drop"),
    Change("second name", "", "add", "<name>w</name>"),
    Change("slash in name", "name", "text", "a/b"),
    Change("name ..", "name", "text", ".."),
    Change("unknown element", "", "add", "<owner/>"),
    Change("uuid", "", "add", f"<uuid>{UUID}</uuid>"),
    Change("text in target", "target", "text", "x"),
    Change("second target", "", "add", "<target/>"),
    Change("negative size", "capacity", "text", "-1"),
    Change("fraction of a size", "capacity", "text", "1.5"),
    Change("unknown unit", "capacity", "@unit", "KBs"),
    Change("size above 2^63", "capacity", "text", "9223372036854775808"),
    Change("element in a size", "capacity", "add", "<x/>"),
    Change("relative device", "source/device", "@path", "sda1"),
    Change("extent without start", "source/device/extent", "@start"),
    Change("unknown format", "target/format", "@type", "zip"),
    Change("format of a file system", "target/format", "@type", "ext4"),
    Change("format luks", "target/format", "@type", "luks"),
    Change("format of a partition", "target/format", "@type", "linux"),
    Change("empty path", "target/path", "text", ""),
    Change("relative path", "target/path", "text", "v.img"),
    Change("compat 2", "target/compat", "text", "2"),
    Change("compat 1.2", "target/compat", "text", "1.2"),
    Change("features with compat 0.10", "target/compat", "text", "0.10"),
    Change("compat of a raw file", "target/format", "@type", "raw"),
    Change("unknown feature", "target/features", "add", "<bitmaps/>"),
    Change("text in nocow", "target/nocow", "text", "yes"),
    Change("unknown unit of a cluster", "target/clusterSize", "@unit", "sectors"),
    Change("mode in words", "target/permissions/mode", "text", "rw"),
    Change("unknown permission", "target/permissions", "add", "<acl/>"),
    Change("time in words", "target/timestamps/atime", "text", "today"),
    Change("time with an empty fraction", "target/timestamps/atime", "text", "1."),
    Change("time with ten digits", "target/timestamps/atime", "text", "1.0123456789"),
    Change("encryption of another format", "target/encryption", "@format", "aes"),
    Change("encryption by type", "target/encryption", "@type", "luks"),
    Change("encryption of another engine", "target/encryption", "@engine", "kernel"),
    Change("second secret", "target/encryption", "add", SECRET),
    Change("secret of type volume", "target/encryption/secret", "@type", "volume"),
    Change("secret without reference", "target/encryption/secret", "@uuid"),
    Change("secret by both", "target/encryption/secret", "@usage", "u"),
    Change("ivgen without cipher", "target/encryption", "add", "<ivgen name='plain64'/>"),
    Change("cipher without size", "target/encryption", "add", "<cipher name='aes'/>"),
    Change("backing store without path", "backingStore/path", "drop"),
    Change("relative backing store", "backingStore/path", "text", "b.img"),
    Change("backing store of an unknown format", "backingStore/format", "@type", "zip"),
    Change("owner of the backing store in words", "backingStore/permissions/owner", "text", "root"),
]
VOLUME_TRAITS = [
    Change("no target", "target", "drop"),
    Change("type ploop", "", "@type", "ploop"),
    Change("cipher without ivgen", "target/encryption", "add", "<cipher name='aes' size='256'/>"),
]
