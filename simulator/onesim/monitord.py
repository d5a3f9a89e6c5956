"""The monitor daemon's place in a world: its configuration, its keys, and the record of what reaches its port. What it makes of that is oned's matter."""

from __future__ import annotations

from onesim import measuring
from onesim.events import DatagramReceived, Monitored
from onesim.journal import BlobStore, Writer
from onesim.layout import lay_monitor_conf
from onesim.model import FRONTEND
from onesim.oned import Oned
from onesim.records import Datagram
from onesim.rsa_keys import read_private_key
from onesim.world.interface import World

#: The message that carries the sizes of disks.
SIZES = "MONITOR_VM"


def take(oned: Oned, writer: Writer, blobs: BlobStore, case: str, call: int, data: bytes, at_ns: int, node: str = "") -> None:
    """Hand a datagram to oned, and write it down with what was made of it. `call` is the call that sent it, -1 if that is unknown or `node` itself did."""
    (made,) = oned.feed(DatagramReceived(data))
    assert isinstance(made, Monitored)
    told = measuring.told(made.text, oned.spec.version) if made.kind == SIZES else ("", "")
    writer.write(
        Datagram(
            case,
            call,
            blobs.put(data),
            at_ns,
            kind=made.kind,
            status=made.status,
            oid=made.oid,
            text=blobs.put(made.text.encode()),
            encrypted=made.encrypted,
            problem=made.problem,
            unknown=made.unknown,
            sizes=told[0],
            wrong=told[1],
            node=node,
        )
    )


def encrypt(world: World, oned: Oned) -> str:
    """Make a pair of keys for this world and name them in monitord.conf: from now on drivers are to encrypt. Returns why that could not be."""
    tables = oned.spec.spec.monitor
    daemon = tables.daemon
    run = world.run(FRONTEND, ["/bin/bash", "-c", _MAKE_KEYS, "keys", daemon.private_key, daemon.public_key, str(daemon.key_bits)])
    if run.status or run.ended_by != "exit":
        return f"no pair of keys could be made with openssl: {run.stderr.decode(errors='replace').strip()[-200:]}"
    oned.cloud.monitor_key = read_private_key(world.read(FRONTEND, daemon.private_key).decode())
    lay_monitor_conf(world, tables, encrypted=True)
    return ""


#: The public key stands by itself (PKCS #1), as drivers and nodes read it: src/mad/sh/scripts_common.sh:1391.
_MAKE_KEYS = """
umask 077
openssl genrsa -out "$1" "$3" && openssl rsa -in "$1" -RSAPublicKey_out -out "$2" && chmod 644 "$2"
"""
