"""Cases are judged when they have ended, from what stands in the file, and the judge of the whole history finds the same."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from onesim.data import data_dir
from onesim.executor import CaseSummary
from onesim.journal import head, read
from onesim.records import Record
from onetck.conclude import find_profile, repeat_command
from onetck.execution import Progress, execute
from onetck.following import Following
from onetck.judge import judge
from onetck.plan import choose
from onetck.progress import terminal_progress
from onetck.setting import Given, settle


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference driver, with a resize that does nothing."""
    root = tmp_path_factory.mktemp("driver") / "remotes"
    shutil.copytree(data_dir("reference_driver") / "remotes", root)
    (root / "tm/shared/resize").write_text("#!/bin/bash\nexit 0\n")
    return root


def test_what_is_judged_on_the_way_is_what_is_judged_at_the_end(driver: Path, tmp_path: Path) -> None:
    """Of cases that run beside each other: the same results, commands too; what fails is told with the end of the case, and to nobody else."""
    setting = settle(Given([driver], "fs", "shared"))
    profile = find_profile(setting.spec, "core, tm-resize")
    cases = choose(setting.spec, setting.subject, [], ["resize-failed", "image-make", "resize-undeployed"], ("core", "tm-resize"))
    following = Following(tmp_path / "history.jsonl", setting.spec, profile, lambda case: repeat_command(["x"]).format(case=case))
    told: dict[str, tuple[str, ...]] = {}

    def ended(summary: CaseSummary, wrong: object) -> None:
        assert isinstance(wrong, list)
        told[summary.case] = tuple(one.partition(":")[0] for one in wrong)

    execute(
        setting.spec,
        setting.driver,
        setting.subject,
        cases,
        tmp_path,
        jobs=2,
        progress=Progress(ended=ended),
        command=["test"],
        judged=following.ended,
    )
    following.close()
    history = tmp_path / "history.jsonl"
    whole = judge(read(history, Record), setting.spec, profile, history.name, head(history), repeat_command(["x"]))
    again = judge(read(history, Record), setting.spec, profile, history.name, head(history), repeat_command(["x"]), known=following.results)
    assert {one.case for one in whole.results} == following.results.keys() == {"resize-failed", "image-make", "resize-undeployed"}
    assert list(whole.records()) == list(again.records())
    assert "TM-RESIZE-002 fail" in told["resize-failed"] and told["image-make"] == ()


def test_a_failing_case_says_so_when_it_has_ended() -> None:
    """A line each where nobody looks at a terminal; on a terminal of those alone that fail or do not get to their end."""
    cases = [
        (CaseSummary("good", "completed", "", 3, 1.0), []),
        (CaseSummary("bad", "completed", "", 3, 1.0), [f"TM-MV-00{n} fail: bytes" for n in range(1, 6)]),
        (CaseSummary("gone", "error", "no room", 3, 1.0), []),
    ]
    for terminal in (False, True):
        out = io.StringIO()
        with terminal_progress(Console(file=out, width=150, force_terminal=terminal, color_system=None), 3, quiet=False) as progress:
            for case in cases:
                progress.ended(*case)
        text = out.getvalue()
        assert "FAIL  bad: 3 calls in 1.0 s (TM-MV-001 fail, TM-MV-002 fail, TM-MV-003 fail and 2 more)" in text
        assert "ERROR  gone: 3 calls in 1.0 s (no room)" in text
        assert ("ran  good" in text) != terminal
