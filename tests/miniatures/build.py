"""Builds miniatures (the reference driver, broken in one known way) and plays their cases. Used by the tests, and by hand to look at one vector:

python tests/miniatures/build.py NAME
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from onesim.data import data_dir
from onesim.journal import head, read
from onesim.records import Record
from onetck import faultcases
from onetck.conclude import find_profile
from onetck.execution import Progress, execute
from onetck.judge import Judgement, judge
from onetck.plan import choose
from onetck.setting import Given, settle

HERE = Path(__file__).parent


class Patch(msgspec.Struct, forbid_unknown_fields=True):
    """A script that is replaced, removed, or loses its run bit."""

    script: str
    text: str = ""
    act: str = "replace"


class Miniature(msgspec.Struct, forbid_unknown_fields=True):
    """A row of the tables; see the top of general.toml."""

    name: str
    breaks: str
    cases: tuple[str, ...]
    script: str
    text: str = ""
    act: str = "replace"
    contract: str = "7.4"
    role: str = ""
    profile: str = "core"
    time_s: float = 20.0
    memory_mb: int = 1024
    wait_scale: float = 1.0
    fault: str = ""
    more: str = ""
    and_: Patch | None = msgspec.field(name="and", default=None)


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    miniature: tuple[Miniature, ...]


def all_miniatures() -> list[Miniature]:
    """Return the rows of all tables."""
    return [row for path in sorted(HERE.glob("*.toml")) for row in msgspec.toml.decode(path.read_bytes(), type=_Table).miniature]


def _apply(remotes: Path, patch: Patch | Miniature) -> None:
    if not patch.script:
        return
    script = remotes / patch.script
    if patch.act == "remove":
        script.unlink()
    elif patch.act == "mode":
        script.chmod(0o644)
    else:
        if script.exists():
            script.rename(script.with_name(f"{script.name}.orig"))
        script.write_text(patch.text)
        script.chmod(0o755)


def play(miniature: Miniature, out: Path, backend: str = "") -> Judgement:
    """Build the miniature below `out`, play its cases on hosts of a backend, and return the judgement."""
    shutil.copytree(data_dir("reference_driver"), out, dirs_exist_ok=True)
    _apply(out / "remotes", miniature)
    if miniature.and_ is not None:
        _apply(out / "remotes", miniature.and_)
    description = out / (f"{miniature.role}.toml" if miniature.role else "onetck.toml")
    with description.open("a") as file:
        file.write(miniature.more)
    setting = settle(Given(contract=miniature.contract, config=description, timeout_s=miniature.time_s, backend=backend))
    spec, driver = setting.spec, setting.driver
    profile = find_profile(spec, miniature.profile)
    limits = replace(setting.subject.limits, memory_mb=miniature.memory_mb)
    subject = replace(setting.subject, limits=limits, wait_scale=miniature.wait_scale)
    plan = choose(spec, subject, [], miniature.cases, profile.name.split(", "))
    more = None
    if miniature.fault:
        setting = replace(setting, subject=subject)
        plan = faultcases.widened(spec, plan)
        more = partial(faultcases.follow, setting, plan, profile, out, "full", 0, only=(miniature.fault,))
    execute(spec, driver, subject, plan, out, jobs=1, progress=Progress(), command=["test"], more=more)
    history = out / "history.jsonl"
    return judge(read(history, Record), spec, profile, "history.jsonl", head(history), "onetck run --case {case}")


def vector(judgement: Judgement) -> dict[str, str]:
    """Return the verdicts that are neither pass nor untested, by requirement."""
    return {row.requirement: row.verdict for row in judgement.requirements if row.verdict not in ("pass", "not_tested", "not_applicable")}


def _main() -> None:
    rows = {row.name: row for row in all_miniatures()}
    found: dict[str, Any] = {}
    for name in sys.argv[1:] or list(rows):
        with tempfile.TemporaryDirectory() as scratch:
            judgement = play(rows[name], Path(scratch))
        found[name] = vector(judgement)
        sys.stderr.write(f"{name} ({rows[name].breaks})\n")
        for result in judgement.results:
            if result.verdict not in ("pass", "blocked"):
                sys.stderr.write(f"    {result.verdict} {result.requirement} {result.case}: {result.evidence[0].sentence}\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    _main()
