"""The form of traces: what is refused and how, the schema that is published, and that writing and reading are each other's inverse."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from onesim.data import data_dir
from onesim.errors import TraceError
from onesim.placeholders import Names, filled
from onesim.spec import load
from onesim.trace import parse_trace, shipped
from onesim.tracetext import render
from onetck.published import json_schema

SPEC = load()
HEADER = '{"trace": 1, "name": "x", "title": "t"}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"op": "vm.deploj", "vm": "a"}', "x.jsonl:2: operation 'vm.deploj' is unknown; vm.deploy is near"),
        ('{"op": "vm.deploy", "hots": "host01", "vm": "a"}', "x.jsonl:2: vm.deploy has no argument 'hots'; it has vm, host, datastore"),
        ('{"op": "vm.migrate", "vm": "a"}', "x.jsonl:2: vm.migrate needs host"),
        ('{"op": "guest.write", "vm": "a", "disk": "0"}', "x.jsonl:2: guest.write: 'disk' is the number of a disk, from 0, not \"0\""),
        ('{"op": "vm.create", "vm": "a", "disks": [{"image": "i", "volatile": "fs"}]}', "x.jsonl:2: vm.create: 'disks' is a list of objects"),
        ('{"op": "vm.create", "vm": "a", "disks": [{"imaeg": "i"}]}', "x.jsonl:2: vm.create: 'disks' is a list of objects"),
        ('{"op": "vm.create", "vm": "a", "backup": {"keep": 2}}', "x.jsonl:2: vm.create: 'backup' is an object such as"),
        ('{"op": "datastore.update", "datastore": "images", "NOTES": {"kib": -1}}', "'NOTES' is a text, or"),
        ('{"op": "image.make", "image": "i", "size_mb": true}', "'size_mb' is a whole number of at least 0, not true"),
        ('{"seen": "tm/clone"}', 'x.jsonl:2: "seen" needs an operation above it'),
        ('{"op": "vm.lost", "vm": "a"}\n{"seen": "tm/clown"}', "x.jsonl:3: no datastore or transfer driver has an action 'tm/clown'"),
        ('{"op": "vm.lost", "vm": "a"}\n{"seen": "tm/clone", "vm_id": 3}', "x.jsonl:3: seen: Object contains unknown field `vm_id`"),
        ('{"op": "vm.lost", "vm": "a"}\n{"seen": "tm/clone", "document": "<VM/>"}', 'x.jsonl:3: "carried" says how the document travels'),
    ],
)
def test_a_line_that_is_wrong_is_refused_by_file_line_and_remedy(line: str, said: str) -> None:
    """One message, which begins with the place; the published schema refuses the line too, unless what is wrong is its place or a cross reference."""
    with pytest.raises(TraceError) as refused:
        parse_trace(HEADER + line + "\n", Path("x.jsonl"), SPEC)
    assert said in str(refused.value) and str(refused.value).startswith("x.jsonl:")


def test_lines_of_shipped_traces_fit_the_schema_and_all_are_read_back() -> None:
    """The schema admits what is read (of every 25th trace), and a trace that was written is the one that was read (of all)."""
    valid = jsonschema.Draft202012Validator(json_schema("trace"))
    for path in sorted((data_dir("spec") / "traces").rglob("*.jsonl"))[::25]:
        for line in path.read_text().splitlines():
            assert not list(valid.iter_errors(json.loads(line))), line
    for trace in shipped(SPEC):
        again = parse_trace(render(trace, SPEC), Path(trace.path), SPEC)
        assert (again.header, [(s.op, s.arguments, s.expect, s.about, s.beside, s.after) for s in again.steps]) == (
            trace.header,
            [(s.op, s.arguments, s.expect, s.about, s.beside, s.after) for s in trace.steps],
        )


@pytest.mark.parametrize(
    "line", ['{"op": "vm.deploj"}', '{"op": "vm.deploy"}', '{"op": "vm.deploy", "vm": 3}', '{"op": "vm.deploy", "vm": "a", "hots": "b"}', '{"x": 1}']
)
def test_the_schema_refuses_what_is_refused_when_read(line: str) -> None:
    """An unknown operation, a missing argument, another type, an unknown argument, no operation at all."""
    assert list(jsonschema.Draft202012Validator(json_schema("trace")).iter_errors(json.loads(line)))


NAMES = Names({("vm", 3): "web", ("image", 7): "os", ("datastore", 1): "images"}, {"/var/lib/one/datastores/1/ab12": "os"}, {"host01": "host01"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host01:/var/lib/one//datastores/1/3/disk.0", "${host:host01}:${location}/${datastore:images}/${vm:web}/disk.0"),
        ("frontend:/var/lib/one/datastores/1/ab12", "frontend:${source:os}"),
        ("/var/lib/one/datastores/1/ab12.snap/0", "${source:os}.snap/0"),
        ("/var/lib/one/datastores/1/ab123", "${place}/${datastore:images}/ab123"),
        ("/var/lib/one/datastores/1/30/disk.0", "${place}/${datastore:images}/30/disk.0"),
        ("my-host01 host01.example /x/host01", "my-host01 ${host:host01}.example /x/host01"),
        ("costs ${vm:web}", "costs $${vm:web}"),
    ],
)
def test_what_is_one_clouds_own_gets_a_placeholder(text: str, said: str) -> None:
    """Places, ids within them, names that drivers chose, hosts as words of their own; what looks like a placeholder is told from one."""
    assert NAMES.text(text) == said


def test_ids_times_and_room_in_documents_get_placeholders() -> None:
    """By their elements: a number elsewhere stays, as does an id that the trace does not know."""
    text = (
        "<VM><ID>3</ID><CPU>3</CPU><IMAGE_ID><![CDATA[7]]></IMAGE_ID><VMS><ID>3</ID><ID>4</ID></VMS>"
        "<STIME>1700000001</STIME><ETIME>0</ETIME><FREE_MB>12</FREE_MB></VM>"
    )
    assert NAMES.document(text) == (
        "<VM><ID>${vm:web}</ID><CPU>3</CPU><IMAGE_ID><![CDATA[${image:os}]]></IMAGE_ID><VMS><ID>${vm:web}</ID><ID>4</ID></VMS>"
        "<STIME>${time}</STIME><ETIME>0</ETIME><FREE_MB>${capacity}</FREE_MB></VM>"
    )


def test_placeholders_are_filled_again() -> None:
    """Each by its kind and label; an escaped one is text."""
    assert filled("${vm:web} $${vm:web} ${time}", lambda kind, label: f"<{kind} {label}>") == "<vm web> ${vm:web} <time >"
