"""The driver's reader of documents: every text that XML can hold comes out as it is, and what is no XML is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from onesim.data import data_dir

READER = data_dir("reference_driver") / "remotes" / "document.awk"
DATA = Path(__file__).parent / "data"
AWKS = ["awk", *filter(shutil.which, ("mawk", "gawk", "original-awk", "busybox"))]


def read(document: bytes, *paths: str, awk: str = "awk") -> list[str] | None:
    """Return the texts at the paths, None if the document is refused."""
    command = ["busybox", "awk"] if awk == "busybox" else [awk]
    done = subprocess.run(
        [*command, "-f", str(READER), "--", *paths], input=document, capture_output=True, env=os.environ | {"LC_ALL": "C"}, check=False
    )
    if done.returncode:
        assert done.stdout == b""
        return None
    return done.stdout.decode().split("\x1e")[:-1]


def test_guide_sample_of_cp() -> None:
    """The guide's sample is indented, with plain text, CDATA and empty elements."""
    paths = [
        "/DS_DRIVER_ACTION_DATA/IMAGE/PATH",
        "IMAGE/SOURCE",
        "IMAGE/ID",
        "IMAGE/TEMPLATE/DEV_PREFIX",
        "DATASTORE/TEMPLATE/TYPE",
        "DATASTORE/ID",
        "IMAGE/VMS",
    ]
    assert read((DATA / "guide-cp.xml").read_bytes(), *paths) == ["/tmp/ttylinux.img", "", "0", "hd", "IMAGE_DS", "1", ""]


def test_guide_sample_of_monitor() -> None:
    """The guide's sample of a system datastore, in one line as oned sends it."""
    paths = ["DATASTORE/BASE_PATH", "DATASTORE_LOCATION", "MONITOR_VM_DISKS", "DATASTORE/CLUSTERS/ID", "DATASTORE/DS_MAD"]
    assert read((DATA / "guide-monitor.xml").read_bytes(), *paths) == ["/var/lib/one//datastores/0", "/var/lib/one//datastores", "1", "0", "-"]


def test_guide_sample_of_backup() -> None:
    """In the guide's sample with a VM the right one of several elements of a name is found."""
    rule = "VM/TEMPLATE/SECURITY_GROUP_RULE"
    disk = "VM/TEMPLATE/DISK"
    paths = [f"{disk}[DISK_ID=0]/FORMAT", f"{disk}[DISK_ID=1]/FORMAT", f"{rule}/RULE_TYPE", f"{rule}[RULE_TYPE=INBOUND]/PROTOCOL", "VM/DEPLOY_ID"]
    found = read((DATA / "guide-backup.xml").read_bytes(), *paths)
    assert found == ["raw", "", "OUTBOUND", "ALL", "7c657ee7-166b-46d3-bf5f-53886f0b77dd"]


TEXTS = [
    ('<![CDATA[/var/tmp/it\'s a $(touch /tmp/x) "f"; a&b <c> é]]>', '/var/tmp/it\'s a $(touch /tmp/x) "f"; a&b <c> é'),
    ("a &lt;b&gt; &amp;amp; &quot;&apos;", "a <b> &amp; \"'"),
    ("&#233;&#xE9;&#x20ac;&#128190;&#10;", "éé€💾\n"),
    ("<![CDATA[a]]>b<![CDATA[c<!-- d -->]]>", "abc<!-- d -->"),
    ("a<!-- <B>no</B> -- > -->b<?x <y> ?>c", "abc"),
    ("<![CDATA[]]]]><![CDATA[>]]>", "]]>"),
    ("<![CDATA[</P></A>]]>", "</P></A>"),
    ("  two  blanks ", "  two  blanks "),
    ("one\ntwo\\n\t", "one\ntwo\\n\t"),
    ("0", "0"),
    ("-n", "-n"),
    ("a & b", "a & b"),
    ("", ""),
]


@pytest.mark.parametrize("awk", AWKS)
@pytest.mark.parametrize(("written", "text"), TEXTS)
def test_texts(written: str, text: str, awk: str) -> None:
    """Every way to write a text gives the text, whatever stands around it, in every awk of the machine."""
    document = f"<?xml version='1.0'?>\n<A><O><P>other</P></O><P  x='1>2' y = \"'\">{written}</P><Q/></A>\n"
    assert read(document.encode(), "/A/P", "P", "Q", "O/P", "/B/P", "P/R", awk=awk) == [text, text, "", "other", "", ""]


REFUSED = ["", " ", "<A>", "<A></B>", "</A>", "<A/><A/>", "x<A/>", "<A/>x", "<A><B></A></B>", "< A/>", "<A", "<A><P>x</P>"]
REFUSED += ["<A>&no;</A>", "<A>&#0;</A>", "<A><![CDATA[x</A>", "<A>\x01</A>", "<!DOCTYPE A [<!ENTITY e SYSTEM '/etc/passwd'>]><A>&e;</A>"]


@pytest.mark.parametrize("awk", AWKS)
@pytest.mark.parametrize("document", REFUSED)
def test_refusals(document: str, awk: str) -> None:
    """A document that is cut off, not well formed or has a DTD gives nothing at all."""
    assert read(document.encode(), "/A/P", awk=awk) is None


def test_large_documents_are_quick() -> None:
    """A document of a megabyte with thousands of elements is read within the test's patience."""
    disks = "".join(f"<DISK><DISK_ID>{n}</DISK_ID><SIZE>{n * 2}</SIZE><X><![CDATA[{'<' * 20}]]></X></DISK>" for n in range(10000))
    assert read(f"<VM>{disks}</VM>".encode(), "DISK[DISK_ID=9999]/SIZE", "DISK/SIZE") == ["19998", "0"]
