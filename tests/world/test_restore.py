"""A restore that makes images through the API while it runs, in a real world: stat within the question, cp beside the restore, every question its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from onesim.data import data_dir
from onesim.executor import CaseRun
from onesim.journal import BlobStore, Writer, read
from onesim.layout import MadProgram, Subjected
from onesim.mad.own import packed
from onesim.model import Datastore, Image
from onesim.records import Call, CaseEnd, MadFault, Observation, Question, Record, Together
from onesim.spec import for_contract
from onesim.trace import parse_trace
from onesim.world.namespaces import NamespaceWorld
from onetck.driver import find_driver

TRACE = """{"trace": 1, "name": "restore", "title": "Images come back from a backup", "gates": ["cp", "mv", "sleep"]}
{"op": "file.make", "path": "/var/tmp/backup.raw", "format": "raw", "size_mb": 2}
{"op": "image.restore", "image": "backup", "expect": "%s"}
"""
STAT = "#!/bin/bash\ncat >/dev/null\nonedatastore show -x 101 >/dev/null\necho 2\n"
# asks for two images, then for their state until both are ready; each request is written by hand, as no client is in the way
RESTORE = r"""#!/bin/bash
cat >/dev/null
rpc() {
    local method=$1 body parameter
    shift
    body="<?xml version='1.0'?><methodCall><methodName>$method</methodName><params><param><value>session</value></param>"
    for parameter in "$@"; do body+="<param><value>$parameter</value></param>"; done
    body+="</params></methodCall>"
    exec 3<>/dev/tcp/127.0.0.1/2633
    printf 'POST /RPC2 HTTP/1.1\r\nHost: oned\r\nContent-Length: %d\r\n\r\n%s' ${#body} "$body" >&3
    answer=$(tr '\r\n' '  ' <&3)
    exec 3>&-
}
made=()
for name in one two; do
    rpc one.image.allocate "NAME=$name PATH=/var/tmp/backup.raw FROM_BACKUP_DS=101 TYPE=OS" '<i4>1</i4>' '<boolean>0</boolean>'
    [[ $answer =~ '<boolean>1</boolean>'.*'<int>'([0-9]+)'</int>'.*'<int>0</int>' ]] || { echo "no image: $answer" >&2; exit 1; }
    made+=("${BASH_REMATCH[1]}")
done
for id in "${made[@]}"; do
    for ((n = 0; n < 100; n++)); do
        rpc one.image.info "<i4>$id</i4>"
        [[ $answer != *'&lt;STATE&gt;1&lt;'* ]] || break
        sleep 0.05
    done
    ((n < 100)) || { echo "image $id is not ready: ${answer:0:2000}" >&2; exit 1; }
done
rpc one.template.allocate 'NAME=vm'
echo "0 ${made[*]}"
"""


def played(tmp_path: Path, stat: str, expect: str = "success", mads: tuple[MadProgram, ...] = ()) -> list[Any]:
    """Play the restore with a datastore driver of this kind. Returns the records."""
    remotes = tmp_path / "remotes"
    shutil.copytree(data_dir("reference_driver") / "remotes", remotes)
    (remotes / "datastore/store").mkdir()
    for name, text in (("stat", stat), ("restore", RESTORE)):
        (remotes / "datastore/store" / name).write_text(text)
        (remotes / "datastore/store" / name).chmod(0o755)
    spec = for_contract("7.4")
    driver = find_driver([remotes], "fs", "shared")
    writer = Writer(tmp_path / "history.jsonl")
    trace = parse_trace(TRACE % expect, Path("restore.jsonl"), spec.spec)
    subject = Subjected(driver.archive(spec.version), "fs", "shared", "shared", mads=mads)
    holder: list[CaseRun] = []
    with NamespaceWorld.start(gates=trace.header.gates, on_question=lambda asked: holder[0].question(asked)) as world:
        run = CaseRun(spec, subject, trace, world, writer, BlobStore(tmp_path / "blobs"))
        holder.append(run)
        cloud = run.cloud
        cloud.datastores[101] = Datastore(101, "backups", "BACKUP_DS", "store", "-", f"{cloud.location}/101", images={9})
        cloud.images[9] = Image(9, "backup", "BACKUP", 101, source="abc", state="READY")
        cloud.labels |= {("datastore", "backups"): 101, ("image", "backup"): 9}
        cloud.next_image = 10
        run.run()
    writer.close()
    return list(read(tmp_path / "history.jsonl", Record))


@pytest.mark.components
@pytest.mark.parametrize("through", [False, True], ids=["direct", "through-a-program"])
def test_a_restore_makes_images_while_it_runs(tmp_path: Path, through: bool) -> None:
    """The calls, in the order in which they began; whose questions they were; and the bytes of what was restored."""
    arguments = ("-t", "15", "-d", "fs,store", "-s", "shared")
    program = MadProgram("datastore", "/usr/lib/one/mads/one_datastore", arguments, packed(for_contract("7.4"), "datastore"))
    records = played(tmp_path, STAT, mads=(program,) if through else ())
    assert not [one for one in records if isinstance(one, MadFault)]
    calls = sorted((one for one in records if isinstance(one, Call)), key=lambda call: call.n)
    assert [call.action for call in calls if call.action != "monitor"] in (
        ["restore", "stat", "cp", "stat", "cp"],
        ["restore", "stat", "stat", "cp", "cp"],
    )
    assert all(call.success and call.operation == 1 and not call.observed for call in calls), [call.error for call in calls]
    restore = calls[0]
    assert restore.stdout.text == "0 10 11\n"
    ended = [one.n for one in records if isinstance(one, Call)]
    assert all(ended.index(call.n) < ended.index(0) for call in calls if call.action in ("stat", "cp")), "the restore ends last"
    questions = [one for one in records if isinstance(one, Question)]
    of_restore = [one.argv[0] for one in questions if one.call == 0]
    assert of_restore.count("one.image.allocate") == 2 and of_restore[-1] == "one.template.allocate" and "one.image.info" in of_restore
    assert {one.call for one in questions if one.kind == "command"} == {call.n for call in calls if call.action == "stat"}
    assert all(one.status == 0 and "session" not in one.argv for one in questions)
    seen = {one.label: one.problem for one in records if isinstance(one, Observation)}
    assert seen == {"one": "", "two": ""}
    (together,) = [one for one in records if isinstance(one, Together)]
    assert together.calls == tuple(range(len(calls))) and any(one.change == "created" for one in together.tree)
    assert [one.outcome for one in records if isinstance(one, CaseEnd)] == ["completed"]


@pytest.mark.components
def test_a_restore_is_told_that_its_image_cannot_be_made(tmp_path: Path) -> None:
    """stat fails within the question: the error reaches the driver, and its own end is recorded as it was."""
    records = played(tmp_path, "#!/bin/bash\ncat >/dev/null\necho 'the backup is gone' >&2\nexit 1\n", "any")
    calls = {one.action: one for one in records if isinstance(one, Call)}
    assert set(calls) == {"restore", "stat"} and calls["restore"].status == 1
    assert "Cannot parse image SIZE: the backup is gone" in calls["restore"].stderr.text
    assert [one.status for one in records if isinstance(one, Question)] == [1]
