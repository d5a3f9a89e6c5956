"""The simulated oned does what the real one was recorded to do: calls, arguments, order, documents, states, and what is left of its objects."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import onesim
from onesim.data import data_dir
from onesim.oracle import fidelity, recordings
from onesim.oracle.fidelity import Row
from onesim.oracle.installation import installation
from onesim.oracle.recordings import Recording
from onesim.oracle.replay import replay
from onesim.spec import for_release

DATA = Path(__file__).parent / "data" / "oned-recordings.jsonl.gz"
#: Recordings that are not oned's rule, by release, scenario and operation, with the evidence. Each has a second recording that says otherwise.
ARTEFACTS = {
    (
        "7.4.0",
        "B",
        "backup via backup job RUNNING",
    ): "oned starts jobs on a timer; the run fell outside the recorder's quiet window (its README says so)",
    ("7.4.0", "B", "backup incremental reset RUNNING"): "two backups of one VM in one second get one name, and the second image is refused "
    "(LifeCycleStates.cc:error_image_create; LAST_BACKUP_ID is still set in the recording)",
}


@pytest.fixture(scope="module")
def all_recordings() -> list[Recording]:
    """Every recording."""
    return [recording for _, recording in recordings.read(DATA)]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Every recording, compared."""
    return list(fidelity.compare([DATA]))


def test_the_simulator_does_what_was_recorded(rows: list[Row]) -> None:
    """All recordings but the artefacts are identical, in every release and scenario."""
    assert len(rows) == 2351
    different = {(row.version, row.scenario, row.operation): row.differences for row in rows if not row.identical}
    assert {name: why for name, why in different.items() if name not in ARTEFACTS} == {}
    assert set(different) == set(ARTEFACTS), "an artefact is listed that is none"
    counts = {name: one.records for name, one in fidelity.count(rows, lambda row: row.version).items()}
    assert counts == {"6.4.0": 235, "7.0.1": 1683, "7.4.0": 433}


@pytest.mark.parametrize("artefact", ARTEFACTS, ids=lambda name: f"{name[0]}-{name[1]}-{name[2]}")
def test_an_artefact_disagrees_with_other_recordings(artefact: tuple[str, str, str], rows: list[Row]) -> None:
    """The same operation, recorded elsewhere, is as simulated, more than once."""
    others = [row for row in rows if row.operation == artefact[2] and (row.version, row.scenario) != artefact[:2]]
    assert sum(row.identical for row in others) >= 2
    assert all(row.identical for row in others)


# what a recording says differently must be seen: otherwise the comparison would prove nothing

_Change = Callable[[dict[str, Any]], bool]


def _drop_call(row: dict[str, Any]) -> bool:
    return bool(row["calls"]) and row["calls"][-1]["kind"] != "market" and row["calls"].pop() is not None


def _double_call(row: dict[str, Any]) -> bool:
    storage = [call for call in row["calls"] if call["kind"] != "market"]
    row["calls"] += storage[-1:]
    return bool(storage)


def _swap_calls(row: dict[str, Any]) -> bool:
    tm = [n for n, call in enumerate(row["calls"]) if call["kind"] == "tm"]
    if "while" in row["operation"] or len(tm) < 2 or tm[1] != tm[0] + 1 or row["calls"][tm[0]]["argv"] == row["calls"][tm[1]]["argv"]:
        return False
    row["calls"][tm[0]], row["calls"][tm[1]] = row["calls"][tm[1]], row["calls"][tm[0]]
    return True


def _change_argument(row: dict[str, Any]) -> bool:
    for call in row["calls"]:
        if call["kind"] == "tm":
            call["argv"][-1] += "1"
            return True
    return False


def _change_action(row: dict[str, Any]) -> bool:
    for call in row["calls"]:
        if call["kind"] == "tm":
            call["action"] = "mvds" if call["action"].startswith("delete") else "delete"
            return True
    return False


def _change_driver(row: dict[str, Any]) -> bool:
    for call in row["calls"]:
        if call["kind"] in ("tm", "ds"):
            call["driver"] = "another"
            return True
    return False


def _change_host(row: dict[str, Any]) -> bool:
    for call in row["calls"]:
        for n, word in enumerate(call["argv"]):
            if word.startswith("host0"):
                call["argv"][n] = word.replace("host01", "host03").replace("host02", "host03")
                return True
    return False


def _drop_child(row: dict[str, Any]) -> bool:
    for call in row["calls"]:
        if call["kind"] in ("tm", "ds") and len(call.get("stdin_root_elements", [])) > 1:
            call["stdin_root_elements"].reverse()
            return True
    return False


def _drop_state(row: dict[str, Any]) -> bool:
    return bool(row["states"]) and row["states"].pop() is not None


def _change_final(row: dict[str, Any]) -> bool:
    for kind, other in (("final_vm_state", "ACTIVE/UNKNOWN"), ("final_image_states", "CLONE")):
        for name in row[kind]:
            row[kind][name] = other
            return True
    return False


def _change_answer(row: dict[str, Any]) -> bool:
    row["rpc"][-1]["ok"] = not row["rpc"][-1].get("ok", True)
    return row["rpc"][-1]["rpc"] != "readback" and "backup job" not in row["operation"]


MUTATIONS: dict[str, _Change] = {
    "a call less": _drop_call,
    "a call twice": _double_call,
    "two calls swapped": _swap_calls,
    "another datastore": _change_argument,
    "another action": _change_action,
    "another driver": _change_driver,
    "another host": _change_host,
    "children in another order": _drop_child,
    "a state less": _drop_state,
    "another end": _change_final,
    "refused for accepted": _change_answer,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_recording_that_says_otherwise_is_seen_to_differ(name: str, all_recordings: list[Recording]) -> None:
    """Each kind of change makes every eleventh recording that it applies to differ."""
    applied = 0
    for recording in all_recordings[:: 11 if name != "children in another order" else 5]:
        if (recording.oned_version, recording.scenario, recording.operation) in ARTEFACTS:
            continue
        row = json.loads(msgspec.json.encode(recording))
        if not MUTATIONS[name](row):
            continue
        changed = msgspec.convert(row, Recording)
        if changed == recording:
            continue
        applied += 1
        assert replay(for_release(changed.oned_version), changed, installation()).differences, (recording.operation, recording.scenario)
    assert applied >= 20


# rules, not cases


class _Used(dict[Any, Any]):
    """A table that notes which rows are asked for."""

    def __init__(self, table: dict[Any, Any]) -> None:
        super().__init__(table)
        self.asked: set[Any] = set()

    def __getitem__(self, key: Any) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def test_no_scenario_has_rows_of_its_own(all_recordings: list[Recording], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever scenario is left out, the others need every phase and script that it needs; what an operation needs alone is in one scenario alone."""
    used: dict[str, set[Any]] = defaultdict(set)
    operations: dict[str, set[str]] = defaultdict(set)
    for version in ("6.4.0", "7.0.1", "7.4.0"):
        spec = for_release(version)
        phases, scripts = _Used(spec.phases), _Used(spec.scripts)
        monkeypatch.setattr(spec, "phases", phases)
        monkeypatch.setattr(spec, "scripts", scripts)
        for recording in all_recordings:
            if recording.oned_version == version:
                replay(spec, recording, installation())
                used[recording.scenario] |= phases.asked | scripts.asked
                operations[recording.scenario].add(recording.operation)
                phases.asked, scripts.asked = set(), set()
    for left_out in used:
        elsewhere = set().union(*(rows for name, rows in used.items() if name != left_out))
        shared = set().union(*(known for name, known in operations.items() if name != left_out))
        if operations[left_out] <= shared:
            assert used[left_out] <= elsewhere, left_out
        else:
            # an operation that only this scenario has may need a row that no other does, no more
            assert len(used[left_out] - elsewhere) <= len(operations[left_out] - shared), left_out


def test_no_rule_names_a_recording(all_recordings: list[Recording]) -> None:
    """Neither tables nor code of the simulator name an operation of the recordings, their drivers, or their ids."""
    code = Path(onesim.__file__).parent
    texts = {path: path.read_text() for path in [*data_dir("spec").rglob("*.toml"), *code.rglob("*.py"), *code.rglob("*.toml")]}
    names = {recording.operation for recording in all_recordings if " " in recording.operation}
    drivers = re.compile(r"\brec(shared|ssh|self|lvm|ds|bk|vmm)\b")
    for path, text in texts.items():
        assert not [name for name in names if f'"{name}"' in text], path
        if path.name != "installation.toml" and "discrepancies" not in path.name:
            assert not [line for line in text.splitlines() if drivers.search(line) and "recordings" not in line and path.parent.name != "oracle"], (
                path
            )
    counted = Counter(re.findall(r"-deploy-(\d{3,})", "".join(texts.values())))
    assert not counted


def test_a_file_that_holds_no_recording_is_refused_with_its_line(tmp_path: Path) -> None:
    """The message names file, line and what is missing."""
    (tmp_path / "a.jsonl").write_text('{"oned_version": "7.0.1"}\n')
    with pytest.raises(onesim.errors.ConfigError, match=r"a\.jsonl:1: no recording: .*scenario"):
        list(fidelity.compare(recordings.files(tmp_path)))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"{}")[:-6])
    with pytest.raises(onesim.errors.ConfigError, match=r"b\.jsonl\.gz"):
        list(fidelity.compare([tmp_path / "b.jsonl.gz"]))
    with pytest.raises(onesim.errors.ConfigError, match="no recordings here"):
        recordings.files(tmp_path / "nowhere")


def test_a_release_that_is_unknown_counts_as_different(all_recordings: list[Recording]) -> None:
    """It hides no other recording, and says which contracts there are."""
    strange = msgspec.structs.replace(all_recordings[0], oned_version="9.9.9")
    (row,) = [fidelity._compared(strange)]
    assert "choose one of" in row.differences[0]
