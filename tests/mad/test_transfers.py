"""The simulated oned puts the calls into the transfer scripts into which the real one put them."""

from __future__ import annotations

from pathlib import Path

import pytest

from onesim.cloud import Cloud
from onesim.events import CallAsked, Event, Output
from onesim.oned import Oned
from onesim.oracle import recordings, situation
from onesim.oracle.installation import installation
from onesim.oracle.play import Play
from onesim.oracle.recordings import Recording
from onesim.oracle.replay import replay
from onesim.spec import ContractSpec, for_release

_DATA = Path(__file__).parents[1] / "simulator" / "data" / "oned-recordings.jsonl.gz"
#: A transfer script: the end of its name, and of each line the action and the driver.
Script = tuple[str, tuple[str, ...]]


class Watched(Oned):
    """Notes the transfer scripts that it is asked to write."""

    scripts: list[Script] | None = None

    def __init__(self, spec: ContractSpec, cloud: Cloud) -> None:
        super().__init__(spec, cloud)
        self.announced: list[list[tuple[str, tuple[str, ...]]]] = []

    def feed(self, event: Event) -> list[Output]:
        """Feed, and look at each call that follows."""
        outputs = super().feed(event)
        for asked in [one for one in outputs if isinstance(one, CallAsked) and self.scripts is not None]:
            self.note(asked)
        return outputs

    def note(self, asked: CallAsked) -> None:
        """Note the script that a call begins; those within a script are those that were announced, or they begin one that nobody has recorded."""
        end, calls = self.transfer(asked.call)
        if not end or self.scripts is None:
            return
        lines = [(one.action.key, one.argv) for one in calls]
        if lines in self.announced:
            self.announced.remove(lines)
        else:
            self.scripts.append((end.partition(".")[2], tuple(f"{one.action.name.upper()}{one.suffix} {one.mad}" for one in calls)))
        self.announced.append(lines[1:])


def recorded(recording: Recording) -> list[Script]:
    """Return the transfer scripts of a recording that have lines."""
    found = []
    for message in recording.mad:
        if message.transfer_script.strip() and " TRANSFER " in f" {message.line}":
            end = message.line.split()[-1].rpartition(".")[2]
            found.append((end, tuple(" ".join(line.split()[:2]) for line in message.transfer_script.splitlines() if line.strip())))
    return found


CHOSEN = [row for _, row in recordings.read(_DATA) if not row.fault and len(row.rpc) == 1 and row.mad]


@pytest.mark.parametrize("version", sorted({row.oned_version for row in CHOSEN}))
def test_the_transfer_scripts_are_the_recorded_ones(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their names and lines, operation by operation; and what was announced is what is then called."""
    made: list[Watched] = []

    class Made(Watched):
        def __init__(self, spec: ContractSpec, cloud: Cloud) -> None:
            super().__init__(spec, cloud)
            made.append(self)

    def forget(play: Play) -> None:
        play.changes.clear()
        assert isinstance(play.oned, Watched)
        play.oned.scripts = []

    monkeypatch.setattr(situation, "Oned", Made)
    monkeypatch.setattr(Play, "forget", forget)
    compared = 0
    for recording in CHOSEN:
        if recording.oned_version == version and not replay(for_release(version), recording, installation()).differences:
            assert made[-1].scripts == recorded(recording), f"{recording.scenario} {recording.operation}"
            compared += bool(made[-1].scripts)
    assert compared > 50
