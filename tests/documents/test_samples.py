"""The examples of the storage driver guide, and what in them differs from what oned writes.

A discrepancy is an edit that mends it. With all edits a sample is valid, without any one of them not: so the list is
complete and true. One more example of the newer guide, that of `ls`, is a sketch with dots for content and no document.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onesim.validation import validate

Sample = Callable[[str], str]
Edit = tuple[str, str, str]

SNAPSHOTS = "<SNAPSHOTS><ALLOW_ORPHANS>NO</ALLOW_ORPHANS><CURRENT_BASE>-1</CURRENT_BASE><NEXT_SNAPSHOT>0</NEXT_SNAPSHOT></SNAPSHOTS>"

ANY: list[Edit] = [
    (
        "</CLONING_ID>",
        "</CLONING_ID><TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT>",
        "TARGET_SNAPSHOT is always there; the guide names it as a root element",
    ),
    ("<CLONES/>", "<CLONES/><APP_CLONES/>", "APP_CLONES came with marketplace apps; the sample is older"),
    ("</TEMPLATE></IMAGE>", f"</TEMPLATE>{SNAPSHOTS}</IMAGE>", "SNAPSHOTS of images came in 5.x; the sample is older"),
    (
        "</TM_MAD><TYPE>0</TYPE>",
        "</TM_MAD><BASE_PATH>/var/lib/one//datastores/1</BASE_PATH><TYPE>0</TYPE>",
        "BASE_PATH is missing in the first sample only",
    ),
    (
        "<DISK_TYPE>0</DISK_TYPE><CLUSTER_ID>",
        "<DISK_TYPE>0</DISK_TYPE><STATE>0</STATE><CLUSTER_ID>",
        "STATE of datastores is missing in the first sample only",
    ),
    (
        "<CLUSTER_ID>-1</CLUSTER_ID><CLUSTER/>",
        "<CLUSTERS/>",
        "one cluster for each datastore: a relic of releases before 5.0",
    ),
]
SINCE_6: list[Edit] = [
    ("<FSTYPE/>", "<FORMAT/><FS/>", "FSTYPE became FORMAT and FS in 5.13.80"),
    ("<RUNNING_VMS>", "<PREV_STATE>0</PREV_STATE><RUNNING_VMS>", "PREV_STATE came in 5.13.80"),
]
SINCE_7: list[Edit] = [
    ("<SOURCE/>", "<MODTIME>1385145541</MODTIME><SOURCE/>", "MODTIME came in 7.0"),
    ("</IMAGE><DATASTORE>", "<BACKUP_INCREMENTS/><BACKUP_DISK_IDS/></IMAGE><DATASTORE>", "backups came in 6.6, their disks in 6.10"),
]
SINCE_6_6: list[Edit] = [("</IMAGE><DATASTORE>", "<BACKUP_INCREMENTS/></IMAGE><DATASTORE>", "backups came in 6.6")]
SINCE_6_10: list[Edit] = [
    ("</IMAGE><DATASTORE>", "<BACKUP_INCREMENTS/><BACKUP_DISK_IDS/></IMAGE><DATASTORE>", "backups came in 6.6, their disks in 6.10"),
]
BACKUP_VM: list[Edit] = [
    (
        "</DS_ID>",
        "</DS_ID><PLAN_ID>-2</PLAN_ID><ACTION_ID>-1</ACTION_ID>",
        "PLAN_ID and ACTION_ID came in 7.0; the sample is of 6.10",
    ),
]
SAMPLES = {
    "cp in 5.12": ("guide-cp", "ds/cp", "5.12.13", ANY),
    "cp in 6.4": ("guide-cp", "ds/cp", "6.4.0", ANY + SINCE_6),
    "cp in 7.4": ("guide-cp", "ds/cp", "7.4.0", ANY + SINCE_6 + SINCE_7),
    "monitor in 5.12": ("guide-monitor", "tm/monitor", "5.12.13", []),
    "monitor in 7.4": ("guide-monitor", "tm/monitor", "7.4.0", []),
    "cp in 6.8": ("guide-cp", "ds/cp", "6.8.3", ANY + SINCE_6 + SINCE_6_6),
    "cp in 6.10": ("guide-cp", "ds/cp", "6.10.5", ANY + SINCE_6 + SINCE_6_10),
    "backup in 6.10": ("guide-backup", "ds/backup", "6.10.5", []),
    "backup in 7.4": ("guide-backup", "ds/backup", "7.4.0", BACKUP_VM),
    "VM of backup in 7.4": ("guide-backup", "VM", "7.4.0", BACKUP_VM),
}


def mended(text: str, edits: list[Edit]) -> bytes:
    """Return the text with all edits made; each must find its place once."""
    for old, new, _ in edits:
        # IMAGE comes first in the document; an edit that is meant for DATASTORE is unique by its own text
        where = text.rindex(old) if old == "</TEMPLATE></IMAGE>" else text.index(old)
        text = text[:where] + new + text[where + len(old) :]
    return text.encode()


def text_of(sample: Sample, name: str, kind: str) -> str:
    """Return the sample, or the VM in it."""
    text = sample(name)
    return text[text.index("<VM>") : text.index("</VM>") + len("</VM>")] if kind == "VM" else text


@pytest.mark.parametrize("case", SAMPLES)
def test_sample_is_valid_but_for_the_listed_discrepancies(sample: Sample, case: str) -> None:
    """With all listed discrepancies mended the guide's sample is valid."""
    name, kind, version, edits = SAMPLES[case]
    assert validate(kind, version, mended(text_of(sample, name, kind), edits)) == []


@pytest.mark.parametrize(("case", "left_out"), [(case, n) for case, row in SAMPLES.items() for n in range(len(row[3]))])
def test_every_listed_discrepancy_is_one(sample: Sample, case: str, left_out: int) -> None:
    """Each discrepancy alone makes the sample invalid: oned does not write such a document."""
    name, kind, version, edits = SAMPLES[case]
    remaining = [edit for n, edit in enumerate(edits) if n != left_out]
    assert validate(kind, version, mended(text_of(sample, name, kind), remaining)) != [], edits[left_out][2]


def test_datastore_of_the_backup_sample(sample: Sample) -> None:
    """The DATASTORE of the guide's backup example is valid, though its strings are escaped text and no CDATA."""
    text = sample("guide-backup")
    datastore = text[text.index("<DATASTORE>") : text.index("</DATASTORE>") + len("</DATASTORE>")]
    assert validate("ds/monitor", "7.4.0", f"<DS_DRIVER_ACTION_DATA>{datastore}</DS_DRIVER_ACTION_DATA>".encode()) == []
