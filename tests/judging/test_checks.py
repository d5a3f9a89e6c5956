"""Checks of what calls leave and how drivers work: each finds the fault that it is for, and passes the same history without it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from onesim import measuring
from onesim.datagrams import Unreadable, decode
from onesim.records import (
    Blob,
    Call,
    CaseBegin,
    Command,
    Datagram,
    FaultInjected,
    GuestWrite,
    Imported,
    Observation,
    Operation,
    Question,
    TreeChange,
)
from onesim.rows import Requirement
from onesim.spec import for_contract
from onetck.checks import CHECKS
from onetck.checks.base import Case
from onetck.checks.content import counting

SPEC = for_contract("7.4")
DS = "/var/lib/one/datastores"
VM = f"{DS}/0/7"
FACTS = {"vm_directory": VM, "system_base_path": f"{DS}/0", "host": "host01", "shared": "NO", "system_tm": "ssh", "vm": "vm"}


def call(action: str, n: int = 0, *, family: str = "tm", status: int = 0, facts: dict[str, str] | None = None, **more: Any) -> Call:
    """Return a call of an action by a VM's driver."""
    argv = more.pop("argv", ("host01:" + VM, "7", "0"))
    return Call(
        "c", n, more.pop("operation", 0), family, "ssh", action, f"/{action}", more.pop("host", "frontend"), argv, more.pop("arguments", {}), status == 0, "exit", status,
        facts={**FACTS, **(facts or {})}, vm=7, disk=more.pop("disk", 0), **more,
    )  # fmt: skip


def made(path: str, host: str = "host01", kind: str = "f", size: int = 2 << 20) -> TreeChange:
    """Return the difference of a path that has appeared."""
    return TreeChange(host, path, "created", kind, (), size)


def owned(path: str, mode: str, owner: str = "oneadmin") -> TreeChange:
    """Return the difference of a file that has appeared with a mode and an owner."""
    return TreeChange("host01", path, "created", "f", (), 1, mode=mode, owner=owner)


def marked(text: str, path: str = f"{DS}/0/.monitor", host: str = "host01") -> TreeChange:
    """Return the difference of a mark that holds this text."""
    return TreeChange(host, path, "created", "f", (), len(text), text=text)


def removed(path: str, host: str = "host01") -> TreeChange:
    """Return the difference of a path that has gone."""
    return TreeChange(host, path, "removed", "f")


def case(*calls: Call, **more: Any) -> Case:
    """Return a case with these calls and other records."""
    return Case("c", SPEC, CaseBegin("c", "A case", ("frontend", "host01", "host02"), shared=False), calls=list(calls), **more)


def verdicts(name: str, action: str, seen: Case, when: dict[str, tuple[str, ...]] | None = None) -> set[str]:
    """Return the verdicts of a check."""
    return {finding.verdict for finding in CHECKS[name](seen, Requirement("X-001", "MUST", action, "A sentence.", "nowhere", name, when=when or {}))}


def datagram(text: str, words: str = "MONITOR_VM SUCCESS -1 0", *, encrypted: bool = False) -> Datagram:
    """Return the record of a datagram that call 0 sent."""
    data = f"{words} {base64.b64encode(zlib.compress(text.encode())).decode()}"
    found = decode(data.encode(), {"MONITOR_VM"})
    if isinstance(found, Unreadable):
        return Datagram("c", 0, Blob(1, data), problem=found.what)
    told, wrong = measuring.told(found.text, "7.4.0")
    return Datagram("c", 0, Blob(1, data), kind=found.kind, status=found.status, encrypted=encrypted, sizes=told, wrong=wrong)


def sizes(vm: int, *disks: int) -> str:
    """Return the sizes of a VM's disks as the monitor daemon reads them."""
    inner = " ".join(f"DISK_SIZE=[ID={disk},SIZE=30]" for disk in disks)
    return f'VM = [ ID = {vm}, MONITOR = "{base64.b64encode(inner.encode()).decode()}" ]'


def exported(place: str, **told: str) -> Call:
    """Return a call of export for an image of 10 MiB at /d/x."""
    fields = {"IMPORT_SOURCE": place, "MD5": "0" * 32, "SIZE": "10", "FORMAT": "raw", "DISPOSE": "NO", **told}
    text = f"<IMPORT_INFO>{''.join(f'<{name}>{value}</{name}>' for name, value in fields.items())}</IMPORT_INFO>"
    return call("export", family="ds", facts={"source": "/d/x", "size_mb": "10", "format": "raw"}, stdout=Blob(1, text))


def listed(known: str, disk: str, chain: str = "0:a", increments: str = "", asked: str = "-1") -> Call:
    """Return a call of ls that lists one disk, of a backup with these increments (empty: a full one)."""
    increments = increments or " ".join(pair.partition(":")[0] for pair in sorted(chain.split(",")))
    url = f"restic://100/12/{chain}/var/lib/one/datastores/0/7/backup/disk.0.0"
    facts = {"backup_disks": known, "increments": increments}
    return call("ls", family="ds", facts=facts, arguments={"increment_id": asked}, stdout=Blob(1, json.dumps({disk: url})))


def restored(*found: str) -> Case:
    """Return a case in which the disks 0 and 1 of a busy guest, written to at the moments 1 and 2, are backed up, and images with these contents come of it."""
    writes = [GuestWrite("c", 0, 7, disk, "host01", "/", f"{letter}{moment}", moment=moment) for moment in (1, 2) for disk, letter in enumerate("ab")]
    copies = [call("cp", 1 + disk, family="ds", operation=1, image=disk) for disk in range(2)]
    seen = [
        Observation("c", 1, "image", f"image {n}", "frontend", "/", "raw", ("a",), found=one, image=n, after_call=2) for n, one in enumerate(found)
    ]
    operations = [Operation("c", 0, "vm.backup", {"image": "first"}), Operation("c", 1, "image.restore", {"image": "first"})]
    return case(call("prebackup_live"), *copies, operations=operations, writes=writes, observations=seen)


DISK, BACKUP = f"{VM}/disk.0", f"{VM}/backup"
CLONED = call("clone", tree=(made(DISK),))
STORED_BACKUP = call("backup", family="ds", parsed={"backup_id": "b1", "size_mb": "2"})
CUT_BACKUP = FaultInjected("c", 0, "tar", 1, "cut", True)
MONITOR = {"monitor_vm_disks": "1", "vms_with_disks": "7:0,1"}
LAID = [Operation("c", 0, "file.put", {"host": "host01", "path": f"{DS}/0/.monitor", "text": "another"}), Operation("c", 1, "vm.deploy")]

# check, action, a case that breaks it, the same without the fault
CASES: list[tuple[str, str, Callable[[], Case], Callable[[], Case]]] = [
    ("taken_away", "tm/delete", lambda: case(CLONED, call("delete", 1)), lambda: case(CLONED, call("delete", 1, tree=(removed(DISK),)))),
    ("taken_away", "tm/postbackup", lambda: case(call("prebackup", tree=(made(f"{BACKUP}/disk.0.0"),)), call("postbackup", 1)), lambda: case(call("prebackup", tree=(made(f"{BACKUP}/disk.0.0"),)), call("postbackup", 1, tree=(removed(BACKUP),)))),
    ("taken_away", "tm/mv", lambda: case(CLONED, call("mv", 1, disk=-1, facts={"host": "host02", "other_host": "host01", "other_vm_directory": VM})), lambda: case(CLONED, call("mv", 1, disk=-1, tree=(removed(VM),), facts={"host": "host02", "other_host": "host01", "other_vm_directory": VM}))),
    ("no_remains", "tm/clone", lambda: case(call("clone", status=1, tree=(made(DISK),))), lambda: case(call("clone", status=1))),
    ("kept_close", "tm/clone", lambda: case(call("clone", tree=(owned(DISK, "0664"),))), lambda: case(call("clone", tree=(owned(DISK, "0660"),)))),
    ("kept_close", "tm/clone", lambda: case(call("clone", tree=(owned(DISK, "0600", "root"),))), lambda: case(call("clone", tree=(owned(DISK, "0600"),)))),
    ("kept_close", "tm/mv", lambda: case(call("mv", tree=(owned(f"{VM}/x", "0644"), removed(f"{DS}/1/7/y")))), lambda: case(call("mv", tree=(owned(f"{VM}/x", "0644"), removed(f"{DS}/1/7/x"), owned(f"{VM}/z", "0600"))))),
    ("template_made", "ds/restore", lambda: case(call("restore", family="ds", parsed={"text": "-1 3"}), operations=[Operation("c", 0, "image.restore")]), lambda: case(call("restore", family="ds", parsed={"text": "-1 3"}), operations=[Operation("c", 0, "image.restore", {"disk_id": 1})])),
    ("left_alone", "tm/premigrate", lambda: case(call("premigrate", tree=(made(f"{VM}/x"),))), lambda: case(call("premigrate"))),
    ("declared_target", "tm/clone", lambda: case(call("clone", tree=(made(DISK),), facts={"clone_target": "SELF", "base_path": f"{DS}/1"})), lambda: case(call("clone", tree=(made(f"{DS}/1/x-7-0"),), facts={"clone_target": "SELF", "base_path": f"{DS}/1"}))),
    ("declared_target", "tm/ln", lambda: case(call("ln", tree=(made(DISK),), facts={"ln_target": "NONE", "base_path": f"{DS}/1"})), lambda: case(call("ln", tree=(made(DISK, kind="l"),), facts={"ln_target": "NONE", "base_path": f"{DS}/1"}))),
    ("backup_folder", "tm/prebackup", lambda: case(call("prebackup", arguments={"disks": "0:2"}, tree=(made(f"{BACKUP}/disk.0.0"),))), lambda: case(call("prebackup", arguments={"disks": "0:2"}, tree=(made(f"{BACKUP}/disk.0.0"), made(f"{BACKUP}/disk.2.0"))))),
    ("backup_folder", "tm/prebackup", lambda: case(call("prebackup", arguments={"disks": "0:"}, tree=(made(f"{BACKUP}/disk.0.0"), made(f"{BACKUP}/disk.1.0")))), lambda: case(call("prebackup", arguments={"disks": "0:"}, tree=(made(f"{BACKUP}/disk.0.0"),)))),
    ("backup_document", "tm/prebackup", lambda: case(call("prebackup", stdin=Blob(300), tree=(made(f"{BACKUP}/vm.xml", size=300),))), lambda: case(call("prebackup", stdin=Blob(300), tree=(made(f"{BACKUP}/vm.xml", size=407),)))),
    ("tells_truth", "tm/clone", lambda: case(CLONED, faults=[FaultInjected("c", 0, "cp", 1, "cut", True)], observations=[Observation("c", 0, "disk", "vm/disk.0", "host01", DISK, "raw", (), problem="bytes", vm=7)]), lambda: case(call("clone", status=1), faults=[FaultInjected("c", 0, "cp", 1, "cut", True)])),
    # a backup shows what it holds when it is restored: the restore fails, or makes fewer images than there were disks
    ("tells_truth", "ds/backup", lambda: case(STORED_BACKUP, call("restore", 1, family="ds", status=1, facts={"backups": "b1"}), faults=[CUT_BACKUP]), lambda: case(STORED_BACKUP, call("restore", 1, family="ds", facts={"backups": "b1", "backup_disks": "0"}, parsed={"text": "3 4"}), faults=[CUT_BACKUP])),
    ("tells_truth", "ds/increment_flatten", lambda: case(call("increment_flatten", family="ds", parsed={"chain": "1:b1,2:b2"}), call("restore", 1, family="ds", facts={"backups": "b1 b2", "backup_disks": "0:1"}, parsed={"text": "3 4"}), faults=[CUT_BACKUP]), lambda: case(call("increment_flatten", family="ds", status=1), faults=[CUT_BACKUP])),
    ("tells_truth", "ds/restore", lambda: case(call("restore", family="ds", facts={"backup_disks": "0:1"}, parsed={"text": "3 4 4"}), faults=[CUT_BACKUP]), lambda: case(call("restore", family="ds", facts={"backup_disks": "0:1"}, parsed={"text": "3 4 5"}), faults=[CUT_BACKUP])),
    # the copy of a disk is in no register: that it is not there must tell
    ("tells_truth", "tm/prebackup", lambda: case(call("prebackup", arguments={"disks": "0:2"}, tree=(made(f"{BACKUP}/disk.0.0"),)), faults=[FaultInjected("c", 0, "qemu-img", 2, "fail", True)]), lambda: case(call("prebackup", arguments={"disks": "0:2"}, tree=(made(f"{BACKUP}/disk.0.0"), made(f"{BACKUP}/disk.2.0"))), faults=[FaultInjected("c", 0, "qemu-img", 2, "fail", True)])),
    ("refuses", "tm/mkimage", lambda: case(call("mkimage"), operations=[Operation("c", 0, "vm.deploy", {"expect": "failure"})]), lambda: case(call("mkimage", status=1), operations=[Operation("c", 0, "vm.deploy", {"expect": "failure"})])),
    ("named_hosts", "tm/clone", lambda: case(call("clone", commands=(Command("cp", ("cp",), "host02"),))), lambda: case(call("clone", commands=(Command("cp", ("cp",), "host01"),)))),
    # a backup datastore names its host in its template; a secret may hold blanks; the places of a backup are its store and the VM's own images
    ("named_hosts", "ds/backup", lambda: case(call("backup", family="ds", facts={"datastore_says": "x@backup02"}, commands=(Command("tar", ("tar",), "backup01"),))), lambda: case(call("backup", family="ds", facts={"datastore_says": "x@backup01"}, commands=(Command("tar", ("tar",), "backup01"),)))),
    ("keeps_secrets", "ds/rm", lambda: case(call("rm", family="ds", facts={"secrets": "a long secret"}, commands=(Command("restic", ("restic", "a long secret"), "frontend"),))), lambda: case(call("rm", family="ds", facts={"secrets": "a long secret"}, tree=(removed("/x/secret"),)))),
    ("places", "ds/backup", lambda: case(call("backup", family="ds", tree=(made(f"{DS}/101/7/x"),))), lambda: case(call("backup", family="ds", facts={"backup_path": f"{DS}/101"}, tree=(made(f"{DS}/101/7/x"),)))),
    ("places", "tm/restore", lambda: case(call("restore", facts={"own_images": f"{DS}/1/a"}, tree=(made(f"{DS}/1/b"),))), lambda: case(call("restore", facts={"own_images": f"{DS}/1/a {DS}/1/b"}, tree=(made(f"{DS}/1/b"),)))),
    ("image_taken_away", "ds/rm", lambda: case(call("backup", family="ds", tree=(made(f"{DS}/101/7/a1"), made(f"{DS}/101/7/b2"))), call("rm", 1, family="ds", facts={"backups": "a1 b2", "backup_path": f"{DS}/101"}, tree=(removed(f"{DS}/101/7/b2"),))), lambda: case(call("backup", family="ds", tree=(made(f"{DS}/101/config"), made(f"{DS}/101/7/a1"))), call("rm", 1, family="ds", facts={"backups": "a1", "backup_path": f"{DS}/101"}, tree=(removed(f"{DS}/101/7/a1"),)))),
    ("backup_document", "tm/prebackup", lambda: case(call("prebackup", stdin=Blob(300), tree=(removed(f"{BACKUP}/vm.xml"),))), lambda: case(call("prebackup", stdin=Blob(300), tree=(TreeChange("host01", f"{BACKUP}/vm.xml", "changed", "f", ("size",), 407),)))),
    ("guest_resumed", "tm/cpds", lambda: case(call("cpds", commands=(Command("virsh", ("suspend", "one-7"), "host01"),))), lambda: case(call("cpds", commands=(Command("virsh", ("suspend", "one-7"), "host01"), Command("virsh", ("resume", "one-7"), "host01"))))),
    ("monitor_mark", "tm/clone", lambda: case(CLONED), lambda: case(call("clone", tree=(marked("ssh\n"),)))),
    ("monitor_mark", "tm/clone", lambda: case(call("clone", tree=(marked("another\nssh\n"),))), lambda: case(call("clone", tree=(marked("ssh"),)))),
    ("monitor_mark", "tm/clone", lambda: case(call("clone", tree=(marked("ssh\n", host="host02"),))), lambda: case(call("clone", tree=(marked("ssh\n"),)))),
    ("monitor_mark", "tm/clone", lambda: case(call("clone", facts={"shared": "YES"}, tree=(marked("ssh\n"),))), lambda: case(call("clone", facts={"shared": "YES"}))),
    ("monitor_mark", "tm/clone", lambda: case(call("clone", operation=1), operations=LAID), lambda: case(call("clone", operation=1, tree=(marked("ssh\n"),)), operations=LAID)),
    ("monitor_mark/name", "tm/clone", lambda: case(call("clone", operation=1), operations=LAID), lambda: case(call("clone", operation=1, tree=(marked("ssh\n"),)), operations=LAID)),
    ("monitor_mark_alone", "tm/mv", lambda: case(call("mv", tree=(marked("ssh\n", f"{DS}/.monitor"),))), lambda: case(call("mv", tree=(marked("ssh\n"),)))),
    ("monitor_mark_alone", "tm/clone", lambda: case(call("clone", tree=(marked("ssh\n", f"{VM}/.monitor"),))), lambda: case(call("clone"))),
    ("vm_sizes_sent", "tm/monitor", lambda: case(call("monitor", facts=MONITOR)), lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0, 1))])),
    ("vm_sizes_sent", "tm/monitor", lambda: case(call("monitor"), datagrams=[datagram(sizes(7, 0, 1))]), lambda: case(call("monitor"))),
    ("vm_sizes_grammar", "tm/monitor", lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram("VM = [ ID = 7")]), lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0, 1))])),
    ("vm_sizes_grammar/datagram", "tm/monitor", lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0, 1), "MONITOR_VM -1 0")]), lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0, 1))])),
    ("vm_sizes_true/disks", "tm/monitor", lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0))]), lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0, 1))])),
    ("vm_sizes_true", "tm/monitor", lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(8, 0, 1))]), lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0, 1))])),
    ("vm_sizes_true/disks", "tm/monitor", lambda: case(call("monitor", facts=MONITOR), datagrams=[datagram(sizes(7, 0, 1, 2))]), lambda: case(call("monitor", facts={**MONITOR, "true_sizes_mb": "7/2=30:30"}), datagrams=[datagram(sizes(7, 0, 1, 2))])),
    ("vm_sizes_true/sizes", "tm/monitor", lambda: case(call("monitor", facts={**MONITOR, "true_sizes_mb": "7/0=30:30 7/1=25:28"}), datagrams=[datagram(sizes(7, 0, 1))]), lambda: case(call("monitor", facts={**MONITOR, "true_sizes_mb": "7/0=29:90 7/1=2:31"}), datagrams=[datagram(sizes(7, 0, 1))])),
    ("vm_sizes_true/vms", "tm/monitor_ds", lambda: case(call("monitor_ds", parsed={"sizes": "8/0=1"}, facts=MONITOR)), lambda: case(call("monitor_ds", parsed={"sizes": "7/0=1 8/0=1"}, facts={**MONITOR, "true_sizes_mb": "8/0=1:1"}))),
    ("vm_sizes_grammar/text", "tm/monitor_ds", lambda: case(call("monitor_ds", parse_error="line 1: oops")), lambda: case(call("monitor_ds"))),
    ("vm_sizes_encrypted", "tm/monitor", lambda: case(call("monitor"), datagrams=[datagram(sizes(7, 0))]), lambda: case(call("monitor"), datagrams=[datagram(sizes(7, 0), encrypted=True)])),
    ("stays_on_node", "tm/monitor_ds", lambda: case(call("monitor_ds", host="host01", commands=(Command("onevm", ("show", "7"), "host01"),))), lambda: case(call("monitor_ds", host="host01", commands=(Command("du", (), "host01"),)))),
    ("stays_on_node", "tm/monitor_ds", lambda: case(call("monitor_ds", host="host01", tree=(made(DISK, "host02"),))), lambda: case(call("monitor_ds", host="host01"))),
    ("questions_allowed", "tm/clone", lambda: case(CLONED, questions=[Question("c", 0, "command", ("onevm", "terminate", "7"), 0)]), lambda: case(CLONED, questions=[Question("c", 0, "command", ("onevm", "show", "7"), 0)])),
    ("questions_allowed", "tm/clone", lambda: case(CLONED, questions=[Question("c", 0, "xmlrpc", ("one.vm.update",), 0)]), lambda: case(CLONED, questions=[Question("c", 0, "xmlrpc", ("one.vm.info",), 0)])),
    ("questions_answered", "tm/clone", lambda: case(CLONED, questions=[Question("c", 0, "command", ("onevm", "show", "8"), 1)]), lambda: case(CLONED, questions=[Question("c", 0, "command", ("onevm", "show", "7"), 0)])),
    ("context_files", "tm/context", lambda: case(call("context", arguments={"files": "/v/context.sh /a/init.sh:'start.sh'"}), observations=[Observation("c", 0, "context_files", "vm/disk.1", "host01", DISK, "iso", ("context.sh",), after_call=0, vm=7)]), lambda: case(call("context", arguments={"files": "/v/context.sh /a/init.sh:'start.sh'"}), observations=[Observation("c", 0, "context_files", "vm/disk.1", "host01", DISK, "iso", ("context.sh", "start.sh"), after_call=0, vm=7)])),
    ("one_error_line", "tm/clone", lambda: case(call("clone", status=1, stderr=Blob(1, "no space\nleft\n"))), lambda: case(call("clone", status=1, stderr=Blob(1, "INFO: x\nno space left\n")))),
    ("one_error_line/separators", "tm/clone", lambda: case(call("clone", status=1, stderr=Blob(1, "ERROR MESSAGE --8<------\nx\nERROR MESSAGE ------>8--\n"))), lambda: case(call("clone", status=1, stderr=Blob(1, "x\n")))),
    ("log_lines", "tm/clone", lambda: case(call("clone", stderr=Blob(1, "hello\n"))), lambda: case(call("clone", stderr=Blob(1, "INFO: hello\n")))),
    ("log_number", "tm/clone", lambda: case(call("clone", stderr=Blob(1, "DEBUG: 42 bytes\n"))), lambda: case(call("clone", stderr=Blob(1, "DEBUG: copied 42 bytes\n")))),
    ("keeps_secrets", "ds/cp", lambda: case(call("cp", family="ds", facts={"secrets": "hunter22"}, commands=(Command("curl", ("curl", "-u", "x:hunter22"), "frontend"),))), lambda: case(call("cp", family="ds", facts={"secrets": "hunter22"}))),
    ("output_grammar", "ds/cp", lambda: case(call("cp", family="ds", facts={"expect": "success"}, stdout=Blob(1, "Formatting...\n/x raw\n"))), lambda: case(call("cp", family="ds", facts={"expect": "success"}, stdout=Blob(1, "/x raw\n")))),
    ("output_grammar", "ds/export", lambda: case(call("export", family="ds", facts={"expect": "success"}, stdout=Blob(1, '<IMPORT_INFO></IMPORT_INFO>"\n'))), lambda: case(call("export", family="ds", facts={"expect": "success"}, stdout=Blob(1, "<IMPORT_INFO></IMPORT_INFO>\n")))),
    ("output_grammar", "ds/ls", lambda: case(call("ls", family="ds", facts={"expect": "success"}, stdout=Blob(1, "[]"))), lambda: case(call("ls", family="ds", facts={"expect": "success"}, stdout=Blob(1, '{"0": "restic://100/12/0:abc/var/lib/one/datastores/0/7/backup/disk.0.0"}')))),
    ("prints_nothing", "tm/clone", lambda: case(call("clone", stdout=Blob(1, "done\n"))), lambda: case(call("clone"))),
    ("stdin_read", "ds/cp", lambda: case(call("cp", family="ds", stdin=Blob(9), stdin_left=4)), lambda: case(call("cp", family="ds", stdin=Blob(9)))),
    ("within_wait", "ds/stat", lambda: case(call("stat", family="ds", duration_ns=95 * 10**9)), lambda: case(call("stat", family="ds", duration_ns=10**9))),
    ("changes_nothing", "ds/stat", lambda: case(call("stat", family="ds", tree=(made(f"{DS}/1/x"),))), lambda: case(call("stat", family="ds"))),
    ("image_taken_away", "ds/rm", lambda: case(call("cp", family="ds", image=3, tree=(made(f"{DS}/1/x"), made(f"{DS}/1/x.md5"))), call("rm", 1, family="ds", image=3, facts={"base_path": f"{DS}/1"}, tree=(removed(f"{DS}/1/x"),))), lambda: case(call("cp", family="ds", image=3, tree=(made(f"{DS}/1/x"),)), call("rm", 1, family="ds", image=3, facts={"base_path": f"{DS}/1"}, tree=(removed(f"{DS}/1/x"),)))),
    ("source_plain", "ds/cp", lambda: case(call("cp", family="ds", parsed={"source": "/d/a'b"})), lambda: case(call("cp", family="ds", parsed={"source": "rbd:pool/one-3"}))),
    ("name_plain", "ds/backup", lambda: case(call("backup", family="ds", parsed={"backup_id": "a:b"})), lambda: case(call("backup", family="ds", parsed={"backup_id": "4f2a-9"}))),
    ("number_alone", "ds/monitor", lambda: case(call("monitor", family="ds", stdout=Blob(1, "USED_MB=1M TOTAL_MB=2 FREE_MB=1"))), lambda: case(call("monitor", family="ds", stdout=Blob(1, "USED_MB=1 TOTAL_MB=2 FREE_MB=1")))),
    ("number_alone", "ds/stat", lambda: case(call("stat", family="ds", stdout=Blob(1, "10 MB"))), lambda: case(call("stat", family="ds", stdout=Blob(1, "10\n")))),
    ("export_true/place", "ds/export", lambda: case(exported("/elsewhere")), lambda: case(exported("/d/x"))),
    ("export_true/figures", "ds/export", lambda: case(exported("/d/x", SIZE="11")), lambda: case(exported("/d/x"))),
    ("export_true/disposal", "ds/export", lambda: case(exported("/d/x", DISPOSE="YES", DISPOSE_CMD="rm /d/x")), lambda: case(exported("/d/x"))),
    ("imported/bytes", "ds/export", lambda: case(exported("/d/x"), imports=[Imported("c", 0, 0, 5, "/d/x", problem="bytes", compared=True, offset=7)]), lambda: case(exported("/d/x"), imports=[Imported("c", 0, 0, 5, "/d/x", compared=True)])),
    ("imported/bytes", "ds/export", lambda: case(exported("/d/x"), imports=[Imported("c", 0, 0, 5, "/d/x", problem="missing")]), lambda: case(exported("/d/x"), imports=[Imported("c", 0, 0, 5, "/d/x", compared=True)])),
    ("imported/sum", "ds/export", lambda: case(exported("/d/x"), imports=[Imported("c", 0, 0, 5, "/d/x", told_sum="a", sum="b")]), lambda: case(exported("/d/x"), imports=[Imported("c", 0, 0, 5, "/d/x", told_sum="b", sum="b")])),
    ("export_true/command", "ds/export", lambda: case(exported("/d/x", DISPOSE="YES")), lambda: case(exported("/d/x"))),
    ("listing_true/disks", "ds/ls", lambda: case(listed("0:2", "0")), lambda: case(listed("0", "0"))),
    ("listing_true/chain", "ds/ls", lambda: case(listed("0", "0", "1:b,0:a")), lambda: case(listed("0", "0", "0:a,1:b"))),
    ("listing_true/chain", "ds/ls", lambda: case(listed("0", "0", "2:c,3:d", increments="2 3", asked="2")), lambda: case(listed("0", "0", "2:c", increments="2 3", asked="2"))),
    ("one_moment", "tm/prebackup_live", lambda: restored("a2", "b1"), lambda: restored("a2", "b2")),
    ("one_moment", "tm/prebackup_live", lambda: restored("before", "b1"), lambda: restored("before", "before too")),
    ("chain_true", "ds/increment_flatten", lambda: case(call("increment_flatten", family="ds", facts={"increments": "0 1 2", "keep_last": "2"}, parsed={"chain": "0:a,2:c"})), lambda: case(call("increment_flatten", family="ds", facts={"increments": "0 1 2", "keep_last": "2"}, parsed={"chain": "1:b,2:c"}))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "action", "broken", "whole"), CASES, ids=lambda value: value if isinstance(value, str) else None)
def test_the_fault_is_found_and_its_absence_passes(name: str, action: str, broken: Callable[[], Case], whole: Callable[[], Case]) -> None:
    """The broken case fails the check; the same case without the fault passes it."""
    name, _, part = name.partition("/")
    when = {"part": (part,)} if part else {}
    assert "fail" in verdicts(name, action, broken(), when)
    assert verdicts(name, action, whole(), when) == {"pass"}


def test_content_is_not_blamed_on_an_action_that_never_ran() -> None:
    """A wrong disk after clone breaks no requirement of an action that this case did not call."""
    wrong = Observation("c", 0, "disk", "vm/disk.0", "host01", DISK, "raw", ("v1",), problem="bytes", vm=7, disk=0, after_call=0)
    seen = case(CLONED, observations=[wrong])
    assert verdicts("content", "tm/prebackup", seen) == set()
    assert verdicts("content", "tm/clone", seen) == {"fail"}


def test_a_script_that_the_harness_kills_has_not_crashed() -> None:
    """Only a signal that nobody else sent is the driver's."""
    died = structs.replace(call("snap_delete"), ended_by="signal", signal=15)
    assert verdicts("no_signal", "tm/*", case(died)) == {"crash"}
    assert verdicts("no_signal", "tm/*", case(died, faults=[FaultInjected("c", 0, "rmdir", 1, "die", True)])) == set()
    assert verdicts("no_signal", "tm/*", case(died, faults=[FaultInjected("c", 0, "cp", 1, "slow", True)])) == {"crash"}


def test_the_truth_of_a_call_is_told_where_the_requirement_asks() -> None:
    """A requirement that is about one special situation is not broken by a call in another one."""
    when = {"about": ("bridge",)}
    for facts, verdict in (({"about": "bridge"}, {"fail"}), ({}, set())):
        seen = case(call("cp", family="ds", facts=facts), faults=[FaultInjected("c", 0, "ssh", 1, "fail", True)])
        seen.observations.append(Observation("c", 0, "image", "os", "frontend", "/", "raw", ("v1",), problem="bytes", vm=7))
        assert verdicts("tells_truth", "ds/*", seen, when) == verdict


def test_what_lies_on_a_lost_host_is_not_left_behind() -> None:
    """A directory stays where nobody can reach it; on a host that answers it has to go."""
    for lost, verdict in (({}, {"fail"}), ({"host_lost": "yes"}, set())):
        facts = {"other_vm_directory": VM, "other_host": "host01", "host": "host02", **lost}
        seen = case(call("clone", tree=(made(f"{VM}/disk.0"),)), call("mv", 1, disk=-1, facts=facts))
        assert verdicts("taken_away", "tm/mv", seen) == verdict


def test_a_saved_image_is_no_left_over_of_the_image_that_the_disk_came_from() -> None:
    """cpds makes the new image, not something of the old one; but the new one's removal takes it away."""
    saving = call("cpds", facts={"saved_image": "9"}, image=3, tree=(made(f"{DS}/1/new", "frontend"),))
    for image, verdict in ((3, "pass"), (9, "fail")):
        removing = call("rm", 1, family="ds", image=image, facts={"base_path": f"{DS}/1"})
        assert verdicts("image_taken_away", "ds/rm", case(saving, removing)) == {verdict}


@pytest.mark.parametrize(
    ("said", "answers", "verdict"),
    [
        ("domfsfreeze", (1,), "pass"),
        ("domfsfreeze", (0,), "fail"),
        ("domfsfreeze domfsthaw", (0, 0), "pass"),
        ("domfsfreeze domfsthaw", (0, 1), "fail"),
        # asked twice: the second has done it
        ("domfsfreeze domfsfreeze", (1, 0), "fail"),
        ("domfsfreeze domfsfreeze domfsthaw", (1, 0, 0), "pass"),
        # a real libvirt leaves no answer in the history
        ("domfsfreeze", (), "fail"),
        ("domfsfreeze domfsthaw", (), "pass"),
    ],
)
def test_a_freeze_that_libvirt_refuses_needs_no_thaw(said: str, answers: tuple[int, ...], verdict: str) -> None:
    """What is due goes by the answers of the libvirt of that host; another call's and another host's say nothing."""
    spoken = [(word, "one-7") for word in said.split()]
    freezing = call("snap_create_live", 1, commands=tuple(Command("virsh", argv, "host01") for argv in spoken))
    questions = [Question("c", n, "virsh", ("virsh", "domfsfreeze", "one-7"), 1, host=host) for n, host in ((0, "host01"), (1, "host02"))]
    questions += [Question("c", 1, "virsh", ("virsh", *argv), status, host="host01") for argv, status in zip(spoken, answers, strict=False)]
    assert verdicts("guest_resumed", "tm/snap_create_live", case(freezing, questions=questions)) == {verdict}


@pytest.mark.parametrize(("said", "fault", "verdict"), [("suspend", "fail", "pass"), ("suspend", "slow", "fail"), ("suspend resume", "", "pass")])
def test_a_freeze_that_its_gate_lets_fail_needs_no_thaw(said: str, fault: str, verdict: str) -> None:
    """It was never run; one that is only slow was."""
    spoken = tuple(Command("virsh", (word, "one-7"), "host01", 0, fault) for word in said.split())
    assert verdicts("guest_resumed", "tm/snap_create_live", case(call("snap_create_live", 1, commands=spoken))) == {verdict}


def test_a_disk_has_grown_only_once_it_has() -> None:
    """What was observed before a disk grew is not judged as that of a disk that grew."""
    sizes = {"original_size_mb": "2"}
    calls = [call("clone", facts={**sizes, "size_mb": "2"}), call("snap_revert", 1, operation=1, facts={**sizes, "size_mb": "5"})]
    seen = [Observation("c", n, "disk", "vm/disk.0", "host01", f"{VM}/disk.0", "raw", ("v",), "v", after_call=n, vm=7, disk=0) for n in (0, 1)]
    operations = [Operation("c", 0, "vm.deploy", {}, "", 0), Operation("c", 1, "vm.snapshot_revert", {}, "", 0)]
    for op, found in (("vm.deploy", set()), ("vm.snapshot_revert", {"pass"})):
        history = case(*calls, observations=seen, operations=operations)
        assert verdicts("content", "tm/*", history, {"op": (op,), "grown": ("yes",)}) == found


@pytest.mark.parametrize(
    ("format", "snapshots", "vm_sees", "verdict"),
    [("qcow2", 1, "", set()), ("qcow2", 1, "bytes", {"fail"}), ("qcow2", 0, "", {"fail"}), ("raw", 1, "", {"fail"})],
)
def test_what_source_of_an_image_with_snapshots_holds_is_told_by_the_next_vm(format: str, snapshots: int, vm_sees: str, verdict: set[str]) -> None:
    """A qcow2 image with snapshots may have its present state in a layer beside SOURCE; a raw one, or one without snapshots, may not."""
    image = Observation("c", 0, "image", "data", "frontend", "/", format, ("v1",), problem="bytes", image=3, snapshots=snapshots, after_call=0)
    disk = Observation("c", 0, "disk", "vm/disk.0", "host01", DISK, format, ("v1",), problem=vm_sees, vm=7, disk=0, image=3, after_call=0)
    seen = case(call("mvds"), observations=counting([image, disk]))
    assert verdicts("content", "tm/mvds", seen, {"subject": ("image",)}) == verdict
