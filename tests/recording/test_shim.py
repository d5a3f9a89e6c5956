"""A recorded driver behaves as it does bare, whatever becomes of the recording; on dash and on bash."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from installed_driver import Installed

ODD = ("two words", "", "*", "$HOME", "a\nb", "-n", "\\", "ümlaut", "'")


@pytest.mark.parametrize("script", ["tm/x/clone", "tm/alias/clone", "tm/other/clone"])
def test_arguments_output_status_and_what_lies_around_a_script_are_the_same(installed: Installed, script: str) -> None:
    """Proves that argv, both outputs and the exit status pass unchanged, and that a script finds its helpers beside it, by its own and by other names."""
    expected = installed.call(script, *ODD, bare=True)
    assert expected[0] == 3 and (b"good morning" if "other" in script else b"hello world") in expected[1]
    installed.install()
    assert installed.call(script, *ODD) == expected
    assert installed.recorded(1)[0].split()[3] == "3"
    (arguments,) = installed.spool.glob("*.a")
    assert [word.decode() for word in arguments.read_bytes().split(b"\0")[3:-1]] == list(ODD)
    assert arguments.with_suffix(".2").read_bytes() == b"said\n"


@pytest.mark.parametrize("language", [{}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": ""}, {"LANG": "de_DE.UTF-8"}], ids=str)
def test_the_environment_is_the_same(installed: Installed, language: dict[str, str]) -> None:
    """Proves that the script has each variable of its caller, those of the language too, and no other."""
    given = {"PATH": os.environ["PATH"], "A": "one two\nthree", **language}
    seen = []
    for bare in (True, False):
        if not bare:
            installed.install()
        with installed.begin("tm/x/snap_create", bare=bare, env=given) as running:
            out, _ = running.communicate(timeout=60)
        seen.append(sorted(line for line in out.splitlines() if not line.startswith((b"_=", b"SHLVL="))))
    assert seen[0] == seen[1] and b"A=one two" in seen[0]
    installed.recorded(1)


def test_much_binary_input_and_output_pass_and_the_copy_is_cut(installed: Installed) -> None:
    """Proves that input larger than any buffer passes whole in both directions, while the copies end at the limit."""
    data = os.urandom(3_000_000)
    installed.install("--call-kb", "64")
    assert installed.call("datastore/x/cp", "a", data=data) == (0, data, b"end\0\xff")
    installed.recorded(1)
    (arguments,) = installed.spool.glob("*.a")
    assert arguments.with_suffix(".0").read_bytes() == data[: 64 * 1024]
    assert arguments.with_suffix(".1").read_bytes() == data[: 64 * 1024]
    assert arguments.with_suffix(".2").read_bytes() == b"end\0\xff"


@pytest.mark.parametrize(
    "script, word, status", [("ln", "TERM", -15), ("ln", "KILL", -9), ("ln", "INT", -2), ("mvds", "140", 140), ("cpds", "255", 255)]
)
def test_death_by_a_signal_is_no_exit_status(installed: Installed, script: str, word: str, status: int) -> None:
    """Proves that who waits for the call sees the common signal that has ended the script, and that other exits above 128 stay exits."""
    assert installed.call(f"tm/x/{script}", word, bare=True)[0] == status
    installed.install()
    assert installed.call(f"tm/x/{script}", word) == (status, b"", b"")
    assert installed.recorded(1)[0].split()[3:5] == [str(128 - status if status < 0 else status), str(max(0, -status))]


@pytest.mark.parametrize("group", [False, True], ids=["process", "group"])
def test_a_signal_reaches_the_script_once(installed: Installed, tmp_path: Path, group: bool) -> None:
    """Proves that TERM for the process alone is passed on, and that TERM for its group is not handled twice."""
    installed.install()
    said = tmp_path / "said"
    with installed.begin("tm/x/mv", str(said)) as running:
        _until(said.exists)
        time.sleep(0.3)
        (os.killpg if group else os.kill)(running.pid, signal.SIGTERM)
        assert running.wait(timeout=30) == 7
    assert said.read_text() == "begun\ncaught\n"
    assert installed.recorded(1)[0].split()[3:5] == ["7", "0"]


def test_a_killed_shim_leaves_the_script_at_work(installed: Installed, tmp_path: Path) -> None:
    """Proves that the script goes on to its end, and its output arrives, where the shim was killed by -9."""
    installed.install()
    with installed.begin("tm/x/delete", str(tmp_path / "made")) as running:
        _until(lambda: any(b"tm.onetck/x/delete" in _command(one) for one in Path("/proc").glob("[0-9]*")))
        os.kill(running.pid, signal.SIGKILL)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err) == (-9, b"told\n", b"")
    assert (tmp_path / "made").read_text() == "done\n"


@pytest.mark.parametrize("harm", ["missing", "file", "unwritable", "no pipes"])
def test_a_spool_that_cannot_be_written_changes_nothing(installed: Installed, harm: str) -> None:
    """Proves that a call is made bare where the spool is away, is no directory, or takes nothing."""
    expected = installed.call("tm/x/clone", "one", bare=True)
    installed.install()
    if harm == "unwritable":
        (installed.spool / "full").touch()
        installed.spool.chmod(0o500)
    elif harm == "no pipes":
        shutil.rmtree(installed.spool / "ready")
    else:
        shutil.rmtree(installed.spool)
    if harm == "file":
        installed.spool.touch()
    assert installed.call("tm/x/clone", "one") == expected
    if harm == "no pipes":
        installed.recorded(1)


@pytest.mark.components
def test_a_full_disk_changes_nothing(installed: Installed) -> None:
    """Proves that a call is made, and says no more than it does, where the disk of the spool is full."""
    expected = installed.call("datastore/x/cp", "one", data=b"x" * 9000, bare=True)
    installed.install()
    script = f"""mount -t tmpfs -o size=64k none {installed.spool} && mkdir {installed.spool}/ready && touch {installed.spool}/calls
        head -c {{}} /dev/zero >{installed.spool}/filler 2>/dev/null
        head -c 9000 /dev/zero | tr '\\0' x | {installed.root}/datastore/x/cp one"""
    for filled in ("100000", "45000"):  # before the call, and while it runs
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script.format(filled)], capture_output=True, check=False, timeout=60)
        if b"unshare" in done.stderr:
            pytest.skip(done.stderr.decode())
        assert (done.returncode, done.stdout, done.stderr) == expected


@pytest.mark.components
def test_the_limit_ends_recording_and_not_the_calls(installed: Installed) -> None:
    """Proves that nothing is kept beyond --limit-mb, and that calls go on."""
    installed.install("--limit-mb", "1", "--call-kb", "600")
    data = b"x" * 600_000
    for _ in range(3):
        assert installed.call("datastore/x/cp", "a", data=data)[1] == data
        time.sleep(0.2)
    assert (installed.spool / "full").exists()
    assert len(installed.recorded(1)) == 1


@pytest.mark.components
def test_calls_that_overlap_are_all_recorded(installed: Installed) -> None:
    """Proves that thirty calls, fifteen at once as oned's programs make them, give the right results and thirty lines, none torn."""
    installed.install()
    with ThreadPoolExecutor(15) as pool:
        results = list(pool.map(lambda n: installed.call("datastore/x/cp", str(n), data=b"%d" % n), range(30)))
    assert [one[:2] for one in results] == [(0, b"%d" % n) for n in range(30)]
    assert all(len(line.split()) == 7 for line in installed.recorded(30))
    # what is still being written when a call has ended may be missed
    size = sum(one.stat().st_size for one in installed.spool.glob("*.[am012]"))
    assert size - 150 <= int((installed.spool / "used").read_text()) <= size


def _until(holds: object) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if holds():  # type: ignore[operator]
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
