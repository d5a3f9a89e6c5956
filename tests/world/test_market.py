"""Exports to a marketplace, in a real world: what IMPORT_INFO names is fetched by the driver's downloader, compared with the image, and disposed of."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from onesim.data import data_dir
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, head, read
from onesim.layout import Subjected
from onesim.records import Call, CaseEnd, Header, Imported, Observation, Record
from onesim.rows import Profile
from onesim.spec import for_contract
from onesim.trace import parse_trace
from onesim.world.namespaces import NamespaceWorld
from onetck.driver import find_driver
from onetck.judge import judge

TRACE = """{"trace": 1, "name": "market", "title": "An image goes to a marketplace", "gates": ["cp"]}
{"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 2}
{"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"}
{"op": "image.export", "image": "os", "expect": "any"}
"""
#: Tells the source, the sum of what is there, size and format; `%s` is run before, and may set other values.
EXPORT = """#!/bin/bash
if [[ -n ${1:-} && $1 =~ [^0-9-] ]]; then dump=$(base64 -d <<<"$1"); else dump=$(base64 -d); fi
source=$(grep -o '<SOURCE>.*</SOURCE>' <<<"$dump") && source=${source#*CDATA\\[} && source=${source%%%%]*}
format=raw dispose=NO command=
sum=$(md5sum <"$source"); sum=${sum%%%% *}
%s
printf '<IMPORT_INFO><IMPORT_SOURCE>%%s</IMPORT_SOURCE><MD5>%%s</MD5><SIZE>2</SIZE><FORMAT>%%s</FORMAT>' "$source" "$sum" "$format"
printf '<DISPOSE>%%s</DISPOSE><DISPOSE_CMD>%%s</DISPOSE_CMD></IMPORT_INFO>' "$dispose" "$command"
"""
COPY = 'cp "$source" /var/tmp/copy; source=/var/tmp/copy; dispose=YES command="rm /var/tmp/copy"'


def played(tmp_path: Path, how: str, *, contract: str = "7.4", downloader: bool = True) -> tuple[list[Any], dict[str, str], bool]:
    """Play the trace with an export of this kind. Returns the records, the verdicts on what was fetched, and whether the copy is left."""
    remotes = tmp_path / "remotes"
    shutil.copytree(data_dir("reference_driver") / "remotes", remotes)
    (remotes / "datastore/fs/export").write_text(EXPORT % how)
    (remotes / "datastore/fs/export").chmod(0o755)
    if not downloader:
        (remotes / "datastore/downloader.sh").unlink()
    spec = for_contract(contract)
    history = tmp_path / "history.jsonl"
    writer = Writer(history)
    writer.write(Header(1, "test", contract, spec.version, "", "fs", "shared", "shared", 0, 0.0, "", ""))
    trace = parse_trace(TRACE, Path("market.jsonl"), spec.spec)
    subject = Subjected(find_driver([remotes], "fs", "shared").archive(spec.version), "fs", "shared", "shared")
    holder: list[CaseRun] = []
    with NamespaceWorld.start(gates=trace.header.gates, on_question=lambda asked: holder[0].question(asked)) as world:
        holder.append(CaseRun(spec, subject, trace, world, writer, BlobStore(tmp_path / "blobs")))
        holder[0].run()
        left = world.exists("frontend", "/var/tmp/copy") or world.exists("frontend", "/var/tmp/onetck-market")
    writer.close()
    records: list[Any] = list(read(history, Record))
    assert [one.outcome for one in records if isinstance(one, CaseEnd)] == ["completed"]
    profile = Profile("market", "what was fetched", ("DS-EXPORT-010", "DS-EXPORT-011"))
    judged = judge(read(history, Record), spec, profile, "history.jsonl", head(history), "onetck run --case {case}")
    verdicts = {one.requirement: one.verdict for one in judged.requirements if one.requirement in profile.requirements}
    return records, verdicts, left


@pytest.mark.components
@pytest.mark.parametrize(
    ("how", "bytes_", "sum_"),
    [
        ("", "pass", "pass"),
        (COPY, "pass", "pass"),
        ('head -c 1M "$source" >/var/tmp/copy; source=/var/tmp/copy sum=$(md5sum <$source) sum=${sum%% *}', "fail", "pass"),
        ('sed "s/./X/" "$source" >/var/tmp/copy; truncate -s 2M /var/tmp/copy; source=/var/tmp/copy', "fail", "fail"),
        ("sum=d41d8cd98f00b204e9800998ecf8427e", "pass", "fail"),
        ("source=/var/tmp/there-is-no-such-file", "fail", "not_tested"),
        ("format=qcow2", "fail", "pass"),
    ],
    ids=["image", "copy", "half", "other-bytes", "other-sum", "nothing", "other-format"],
)
def test_what_a_marketplace_fetches_is_judged(tmp_path: Path, how: str, bytes_: str, sum_: str) -> None:
    """By its bytes and by its sum; the image itself stays, and what the marketplace made is gone."""
    records, verdicts, left = played(tmp_path, how)
    (call,) = [one for one in records if isinstance(one, Call) and one.action == "export"]
    (seen,) = [one for one in records if isinstance(one, Imported)]
    assert call.success and seen.call == call.n and seen.operation == call.operation
    assert verdicts == {"DS-EXPORT-010": bytes_, "DS-EXPORT-011": sum_}, seen
    assert left is (how not in ("", COPY) and "/var/tmp/copy" in how)
    assert [one.problem for one in records if isinstance(one, Observation) and one.operation == call.operation] == [""]


@pytest.mark.components
def test_a_tree_without_a_downloader_is_served_by_that_of_the_reference_driver(tmp_path: Path) -> None:
    """It is laid down beside, and taken away again."""
    records, verdicts, left = played(tmp_path, "", downloader=False)
    assert set(verdicts.values()) == {"pass"} and not left
    assert [one.problem for one in records if isinstance(one, Imported)] == [""]


@pytest.mark.components
def test_before_6_0_a_copy_was_removed_by_its_path(tmp_path: Path) -> None:
    """DISPOSE_CMD was not read then."""
    _, verdicts, left = played(tmp_path, COPY.replace('command="rm /var/tmp/copy"', "command=false"), contract="5.12")
    assert set(verdicts.values()) == {"pass"} and not left


@pytest.mark.components
def test_a_document_that_cannot_be_read_leads_to_nothing(tmp_path: Path) -> None:
    """Its grammar is another requirement's."""
    records, verdicts, _ = played(tmp_path, "echo '<IMPORT_INFO>'; exit 0")
    assert not [one for one in records if isinstance(one, Imported)]
    assert "fail" not in verdicts.values()
