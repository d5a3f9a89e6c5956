"""`onetck replay`: what counts as a difference in each mode, what is refused, and whole replays in memory and on hosts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from commanded import run

from onereport.likeness import differences, settled
from onesim.data import data_dir
from onesim.seen import Seen
from onesim.spec import for_contract
from onesim.trace import read_trace, shipped
from onesim.tracetext import render
from onetck.nullplay import NullPlay

SPEC = for_contract("7.4")
DOCUMENT = "<DS_DRIVER_ACTION_DATA><IMAGE><PATH>/x</PATH></IMAGE><DATASTORE><ID>${datastore:images}</ID><TM_MAD>a</TM_MAD></DATASTORE></DS_DRIVER_ACTION_DATA>"
READ = {"source": "${source:os}", "format": "raw"}
COPY = Seen(
    "ds/cp",
    ("${image:os}",),
    "${document}",
    DOCUMENT,
    "base64",
    image="os",
    stdout="${source:os} raw\n",
    parsed={"source": "${source:os}", "format": "raw"},
)
CLONE = Seen("tm/clone", ("${source:os}", "${host:host01}:${location}/0/1/disk.0", "${vm:web}", "${datastore:images}"), vm="web", disk=0, image="os")
changed = msgspec.structs.replace


@pytest.mark.parametrize(
    ("other", "exact", "contract"),
    [
        (COPY, False, False),
        (changed(COPY, argv=("${image:data}",)), True, True),
        (changed(COPY, document=DOCUMENT.replace("/x", "/y")), True, True),
        (changed(COPY, document=DOCUMENT.replace("<PATH>", "<FORMAT></FORMAT><PATH>")), True, True),
        (changed(COPY, document=DOCUMENT.replace("<TM_MAD>a", "<TM_MAD>b")), True, False),  # the name of the driver
        (changed(COPY, document=DOCUMENT.replace("><PATH>", ">\n<PATH>")), True, False),  # the same elements, written otherwise
        (changed(COPY, argv=("${document}", "${image:os}"), stdin=""), True, False),  # another way to travel
        (changed(COPY, stdout="${source:os}   raw\n"), True, False),  # oned reads the same
        (changed(COPY, stdout="${source:os} qcow2\n", parsed={"source": "${source:os}", "format": "qcow2"}), True, True),
        (changed(COPY, success=False, status=1, error="no"), True, True),
        (changed(COPY, success=False, status=0, ended_by="timeout"), True, True),
    ],
)
def test_what_counts_in_each_mode(other: Seen, exact: bool, contract: bool) -> None:
    """exact: every byte; contract: arguments by name, elements, what oned reads, the outcome; permissive as contract."""
    older = for_contract("6.2") if len(other.argv) == 2 else SPEC
    for mode, counts in (("exact", exact), ("contract", contract), ("permissive", contract)):
        calls, arguments = differences(mode, "x", [[COPY]], [[other]], (SPEC, older))
        assert bool(calls or arguments) == counts, (mode, calls, arguments)


def test_a_call_that_came_or_went_is_one_difference() -> None:
    """The others are still set beside each other."""
    calls, arguments = differences("contract", "x", [[COPY, CLONE]], [[COPY, COPY, CLONE]], (SPEC, SPEC))
    assert ([(row.action, row.change) for row in calls], arguments) == ([("ds/cp", "added")], [])


def test_permissive_forgets_the_order_of_independent_calls_alone() -> None:
    """Calls of two VMs on two images may change places; two calls of one VM, or on one image, may not."""
    other = changed(CLONE, vm="db", image="data", argv=("${source:data}", *CLONE.argv[1:]))
    moved = changed(CLONE, seen="tm/mv")
    assert settled([CLONE, other]) == settled([other, CLONE])
    assert settled([CLONE, moved]) != settled([moved, CLONE])
    for mode, counts in (("exact", True), ("contract", True), ("permissive", False)):
        assert bool(differences(mode, "x", [[CLONE, other]], [[other, CLONE]], (SPEC, SPEC))[0]) == counts, mode
    assert differences("permissive", "x", [[CLONE, moved]], [[moved, CLONE]], (SPEC, SPEC))[0]


@pytest.mark.parametrize("name", ["vm-example", "vms-together", "backup-off", "mixed-work", "nodes-live-migration-failed", "image-refused"])
def test_a_replay_on_oned_alone_repeats_what_was_seen_in_every_mode(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Overlapping operations, failures and faults among them: the null driver answers as was seen, and oned asks the same."""
    trace = next(one for one in shipped(SPEC.spec) if one.name == name)
    (tmp_path / f"{name}.jsonl").write_text(render(NullPlay(SPEC, trace).trace, SPEC.spec))
    for mode in ("exact", "contract", "permissive"):
        assert run("replay", str(tmp_path), "--driver", "null", "--mode", mode, "--contract", "7.4") == 0
    assert "nothing differs" in capsys.readouterr().out


def test_what_was_seen_otherwise_is_the_answer_in_terminal_page_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1, the call and the argument by name; the baseline may stand in another place than the traces."""
    trace = NullPlay(SPEC, next(one for one in shipped(SPEC.spec) if one.name == "vm-plain")).trace
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "vm-plain.jsonl").write_text(render(trace, SPEC.spec, seen=False))
    text = render(trace, SPEC.spec).replace("${vm:vm01}/disk.0", "${vm:vm01}/disk.1", 1)
    (tmp_path / "seen.jsonl").write_text(text)
    words = ("replay", str(tmp_path / "traces"), "--baseline", str(tmp_path / "seen.jsonl"), "--driver", "null", "--contract", "7.4")
    assert run(*words, "--html", str(tmp_path / "page.html")) == 1
    assert "tm/clone destination" in capsys.readouterr().out and "disk.1" in (tmp_path / "page.html").read_text()
    assert run(*words, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [(row["action"], row["name"]) for row in found["arguments"]] == [("tm/clone", "destination")] and found["exit_code"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vm-plain", "--driver", "null"), "nothing was seen of vm-plain; give a run with --baseline"),
        (("no-such", "--driver", "null"), "is no file, and no trace of that name ships"),
        (("{tmp}", "--driver", "null"), "holds neither a history nor traces"),
        (("vm-plain", "--driver", "null", "--mode", "loose"), "--mode 'loose' is unknown; choose one of exact, contract, permissive"),
        (("vm-plain", "vm-plain", "--driver", "null"), "two traces are called vm-plain"),
        (("vm-plain", "--baseline", "vm-example", "--driver", "null"), "the baseline has seen nothing of vm-plain"),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 4, with the remedy."""
    assert run("replay", *(word.format(tmp=tmp_path) for word in words)) == 4
    assert said in capsys.readouterr().err


@pytest.mark.components
def test_a_stored_history_replayed_by_a_new_version_tells_the_difference(example: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same driver: nothing, byte for byte. A version whose clone fails: the calls, and the requirements that fail newly. oned alone: nothing."""
    old, new = data_dir("reference_driver") / "remotes", tmp_path / "version" / "remotes"
    assert run("replay", str(example), "--driver", str(old), "--mode", "exact", "--out", str(tmp_path / "same"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["calls"] == []
    shutil.copytree(old.parent, new.parent)
    (new / "tm" / "shared" / "clone").write_text("#!/bin/bash\necho 'ERROR MESSAGE --8<------' >&2\nexit 1\n")
    assert run("replay", str(example), "--driver", str(new), "--out", str(tmp_path / "other"), "--html", str(tmp_path / "page.html"), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert ("tm/clone", "ended otherwise") in [(row["action"], row["change"]) for row in found["calls"]]
    assert found["newly_failing"] and "tm/clone" in (tmp_path / "page.html").read_text()
    assert run("replay", str(example / "history.jsonl"), "--driver", "null", "--mode", "exact") == 0
    assert run("replay", str(example), "--driver", str(old), "--out", str(example)) == 4


def test_a_shipped_trace_is_found_by_name_and_by_file() -> None:
    """The two are the same trace."""
    found = next(one for one in shipped(SPEC.spec) if one.name == "vm-plain")
    assert read_trace(Path(found.path), SPEC.spec).steps == found.steps
