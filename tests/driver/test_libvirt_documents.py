"""The documents that the driver for storage pools of libvirt writes, for any type of pool and with any characters in it, as virsh is given them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import pytest
from lxml import etree

from onesim.libvirt import validate_libvirt

if TYPE_CHECKING:
    from tests.driver.conftest import Ended, FrontEnd

# keeps what it is given, and knows no pool before one is defined
_VIRSH = """#!/bin/bash
echo "${*:4}" >>"$SCRATCH/virsh.log"
case $4 in
    pool-info | pool-uuid)
        [[ -e $SCRATCH/pool.xml ]] || exit 1
        printf '%s\\n' "State:          running" "Capacity:       8388608" "Allocation:     1048576" "Available:      7340032"
        ;;
    pool-define) cat >"$SCRATCH/pool.xml" ;;
    vol-create) cat >"$SCRATCH/volume.xml" ;;
esac
"""
NASTY = """a b's <"&amp;"> $(touch pwned) -- ]]> é"""
POOLS = {
    "dir": {},
    "fs": {"POOL_SOURCE": "/dev/disk/by-id/a & b", "POOL_FORMAT": "ext4"},
    "netfs": {"POOL_HOST": "nfs.example.com", "POOL_SOURCE": "/export/<one>", "POOL_FORMAT": "nfs"},
    "logical": {"POOL_SOURCE": "vg-one"},
    "disk": {"POOL_SOURCE": "/dev/vdb", "POOL_FORMAT": "gpt", "POOL_TARGET": "/dev"},
    "rbd": {
        "POOL_HOST": "mon1.example.com mon2.example.com:6789 [2001:db8::1]:6789 2001:db8::2",
        "POOL_SOURCE": "one",
        "POOL_USER": "libvirt",
        "POOL_SECRET": "2a5b08e4-3dca-4ff9-9a1d-40389758d081",
    },
    "iscsi": {"POOL_HOST": "array", "POOL_SOURCE": "iqn.2026-01.com.example:one", "POOL_INITIATOR": "iqn.2026-01.com.example:front"},
    "iscsi-direct": {
        "POOL_HOST": "array:3260",
        "POOL_SOURCE": "iqn.2026-01.com.example:one",
        "POOL_INITIATOR": "iqn.2026-01.com.example:front",
        "POOL_USER": "chap & co",
        "POOL_SECRET": "2a5b08e4-3dca-4ff9-9a1d-40389758d081",
    },
    "scsi": {"POOL_SOURCE": "host0"},
    "mpath": {"POOL_TARGET": "/dev/mapper"},
    "gluster": {"POOL_HOST": "gluster.example.com", "POOL_SOURCE": "one"},
}
MAKES = ("dir", "fs", "netfs", "logical", "rbd")


def act(fe: FrontEnd, action: str, attributes: dict[str, str], image: str = "") -> Ended:
    """Run a datastore action of the driver on a datastore with these attributes, with a virsh that keeps its documents."""
    virsh = fe.root / "bin" / "virsh"
    virsh.write_text(_VIRSH)
    virsh.chmod(0o755)
    template = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in attributes.items())
    return fe.run(f"datastore/libvirt_pool/{action}", "5", stdin=fe.document(image, template))


def document(fe: FrontEnd, name: str, pool_type: str) -> etree._Element:
    """Return a document that virsh was given; it is in order for libvirt."""
    xml = (fe.root / f"{name}.xml").read_bytes()
    assert [str(one) for one in validate_libvirt(xml, direction="input", pool_type=pool_type)] == [], xml.decode()
    return etree.fromstring(xml)


@pytest.mark.parametrize("pool_type", POOLS)
def test_a_pool_of_any_type_is_defined_in_order(fe: FrontEnd, pool_type: str) -> None:
    """The document of the pool suits its type, and its name comes through whatever stands in it."""
    ended = act(fe, "monitor", {"POOL_NAME": NASTY, "POOL_TYPE": pool_type, **POOLS[pool_type]})
    assert (ended.status, ended.stdout) == (0, "USED_MB=1\nTOTAL_MB=8\nFREE_MB=7\n"), ended.stderr
    pool = document(fe, "pool", pool_type)
    assert (pool.get("type"), pool.findtext("name")) == (pool_type, NASTY)
    shown = {text for node in pool.iter() for text in (node.text, *node.attrib.values())}
    assert {value for name, value in POOLS[pool_type].items() if name != "POOL_HOST"} <= shown
    assert not list(fe.root.rglob("pwned"))


def test_servers_are_told_with_their_ports(fe: FrontEnd) -> None:
    """Each word of POOL_HOST is a host element: a name, a name with a port, an IPv6 address in brackets with one."""
    act(fe, "monitor", {"POOL_NAME": "one", "POOL_TYPE": "rbd", **POOLS["rbd"]})
    hosts = document(fe, "pool", "rbd").findall("source/host")
    assert [(one.get("name"), one.get("port")) for one in hosts] == [
        ("mon1.example.com", None),
        ("mon2.example.com", "6789"),
        ("2001:db8::1", "6789"),
        ("2001:db8::2", None),
    ]


@pytest.mark.parametrize("pool_type", MAKES)
def test_a_volume_is_made_in_order(fe: FrontEnd, pool_type: str) -> None:
    """An empty image of 3 MiB is a volume of that size: with format and owner where volumes are files, without where they are not."""
    attributes = {"POOL_NAME": "one", "POOL_TYPE": pool_type, **POOLS[pool_type]}
    assert act(fe, "mkfs", attributes, "<SIZE>3</SIZE><FORMAT>raw</FORMAT>").status == 0
    volume = document(fe, "volume", pool_type)
    assert (volume.findtext("capacity"), volume.findtext("name", "")[:12]) == ("3145728", "one-image-5-")
    format = volume.find("target/format")
    owner = volume.findtext("target/permissions/owner")
    assert (None if format is None else format.get("type"), owner) == (
        ("raw", str(os.getuid())) if pool_type in ("dir", "fs", "netfs") else (None, None)
    )


@pytest.mark.parametrize("pool_type", sorted(set(POOLS) - set(MAKES) - {"disk"}))
def test_volumes_that_libvirt_does_not_make_are_refused(fe: FrontEnd, pool_type: str) -> None:
    """Where libvirt makes no volumes the user is told what to do instead, and nothing is asked of virsh but the pool."""
    attributes = {"POOL_NAME": "one", "POOL_TYPE": pool_type, **POOLS[pool_type]}
    act(fe, "mkfs", attributes, "<SIZE>3</SIZE><FORMAT>raw</FORMAT>").refused("SOURCE", pool_type)
    assert not (fe.root / "volume.xml").exists()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({}, ("POOL_NAME",)),
        ({"POOL_NAME": "a/b"}, ("POOL_NAME",)),
        ({"POOL_NAME": "one", "POOL_TYPE": "tape"}, ("tape", "POOL_TYPE")),
    ],
    ids=["no-name", "name-with-slash", "unknown-type"],
)
def test_a_datastore_without_a_pool_is_refused(fe: FrontEnd, attributes: dict[str, str], words: tuple[str, ...]) -> None:
    """What lacks in the template is named in one line, and virsh is not asked at all."""
    act(fe, "monitor", attributes).refused(*words)
    assert not (fe.root / "virsh.log").exists()


def test_what_was_in_the_pool_before_is_left_alone(fe: FrontEnd) -> None:
    """rm of an image with another name than the driver gives is success and asks nothing; a volume of another pool is refused."""
    pool = {"POOL_NAME": "one", "POOL_TYPE": "dir", "POOL_TARGET": "/srv/pool"}
    for source in ("/srv/pool/golden.raw", "golden.raw", "/srv/pool/one-image-6-00"):
        assert act(fe, "rm", pool, f"<SOURCE>{source}</SOURCE>").quiet
    assert not (fe.root / "virsh.log").exists()
    act(fe, "rm", pool, "<SOURCE>/srv/other/one-image-5-00</SOURCE>").refused("no volume of the pool one")
    assert act(fe, "rm", pool, "<SOURCE>/srv/pool//one-image-5-00</SOURCE>").quiet
    assert "vol-delete --pool one --vol one-image-5-00" in (fe.root / "virsh.log").read_text()
