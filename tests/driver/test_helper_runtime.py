"""The helper runtime as drivers in use call it: the functions beyond the guides' seven, in a shell with and without strict mode."""

from __future__ import annotations

import base64
import gzip
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from onesim.data import data_dir

REMOTES = data_dir("reference_driver") / "remotes"
_SSH = """#!/bin/bash
echo "$*" >>"$SCRATCH/ssh.log"
while [[ $1 == -* ]]; do [[ $1 != -o ]] || shift; shift; done
exec bash -c "${*:2}"
"""
_VM = """<VM><ID>7</ID><LCM_STATE>62</LCM_STATE><TEMPLATE><DISK><DISK_ID>0</DISK_ID><TYPE>FILE</TYPE><TM_MAD>qcow2</TM_MAD></DISK>
<DISK><DISK_ID>1</DISK_ID><TYPE>CDROM</TYPE><TM_MAD>other</TM_MAD></DISK><DISK><DISK_ID>2</DISK_ID><TM_MAD>other</TM_MAD></DISK></TEMPLATE>
<HISTORY_RECORDS><HISTORY><HOSTNAME>old</HOSTNAME></HISTORY><HISTORY><HOSTNAME>new</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>
"""
_ONEVM = f'#!/bin/bash\n[[ $* == "show -x 7" ]] || exit 255\nprintf %s {shlex.quote(_VM)}\n'
_FLAKY = """#!/bin/bash
echo x >>"$SCRATCH/tries"
(($(wc -l <"$SCRATCH/tries") > 2)) && echo done && exit
echo busy >&2
exit 9
"""
OPTIONS = pytest.mark.parametrize("options", ["", "set -euo pipefail"])


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """An environment with an ssh, an onevm, and a command that succeeds at the third time."""
    (tmp_path / "bin").mkdir()
    for name, text in (("ssh", _SSH), ("onevm", _ONEVM), ("flaky", _FLAKY)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SCRATCH": str(tmp_path)}


def bash(script: str, environment: dict[str, str], *, options: str = "", name: str = "/drivers/tm/qcow2/clone") -> str:
    """Run a script that has sourced the runtime, and return what it prints; it must succeed."""
    text = f"{options}\nsource {REMOTES}/tm/tm_common.sh\n{script}"
    done = subprocess.run(["bash", "-c", text, name], capture_output=True, text=True, env=os.environ | environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@OPTIONS
def test_questions_about_the_vm(tools: dict[str, str], options: str) -> None:
    """What transfer drivers ask of oned by the runtime: the state, a disk's type, where the VM is."""
    script = "VMID=7 DST_PATH=/x/7/disk.1; lcm_state; lcm_state 7; disk_type; is_undeployed 7 old && echo moved; is_undeployed 7 new || echo here"
    assert bash(script, tools, options=options).split() == ["62", "62", "CDROM", "moved", "here"]


@OPTIONS
def test_answers_that_are_printed(tools: dict[str, str], options: str) -> None:
    """is_disk prints 1 or 0 and succeeds for both: drivers compare what it prints."""
    script = "is_disk /0/7/disk.1; is_disk /0/7; is_yes YES && echo yes; is_yes no || echo no; make_relative /a/b/c /a/d; contains a,b b , && echo in"
    assert bash(f'{script}; contains a,b c , || echo out; xml_esc "<a&\'"', tools, options=options).split() == (
        ["1", "0", "yes", "no", "../b/c", "in", "out", "&lt;a&amp;&apos;"]
    )


@OPTIONS
def test_commands_without_and_with_a_shell(tools: dict[str, str], options: str, tmp_path: Path) -> None:
    """exec_and_log asks no shell, so that what stands in a name is not run; stdout of commands stays away from the driver's."""
    (tmp_path / "here").mkdir()
    script = f"""cd {tmp_path}/here
exec_and_log 'touch $(x) ;y'
multiline_exec_and_log 'echo noise; touch "a b"'
exec_and_set_error 'echo no >&2; false' 'It failed'; echo "$ERROR"
multiline_exec_and_set_error true; echo "[$ERROR]"
monitor_and_log 'echo told; echo noise >&2'"""
    assert bash(script, tools, options=options) == "It failed\n[]\ntold\n"
    assert {one.name for one in (tmp_path / "here").iterdir()} == {"$(x)", ";y", "a b"}


@OPTIONS
def test_commands_on_hosts(tools: dict[str, str], options: str, tmp_path: Path) -> None:
    """Directories are made and marked on the host whatever their names hold; a status that is expected is not reported."""
    directory = tmp_path / "it's $(a) dir" / "7"
    script = f"""ssh_make_path host01 {shlex.quote(str(directory))} qcow2
ssh_monitor_and_log host01 'echo "$LC_ALL"'
ssh_exec_and_log_no_error host01 'exit 4' 'Not told' 4 || echo "status $?"
ssh_forward ssh_exec_and_log host02 true
cat {shlex.quote(str(directory.parent / ".monitor"))}
disable_local_monitoring host01 {shlex.quote(str(directory))}"""
    assert bash(script, tools, options=options) == "C\nstatus 4\nqcow2\n"
    assert directory.is_dir()
    assert not (directory.parent / ".monitor").exists()
    asked = (tmp_path / "ssh.log").read_text().splitlines()
    assert [line for line in asked if "ForwardAgent=yes" in line] == ["-o ForwardAgent=yes -o ControlMaster=no -o ControlPath=none host02 bash -s"]


@OPTIONS
def test_again(tools: dict[str, str], options: str, tmp_path: Path) -> None:
    """retry_if_no_error goes on as long as the text matches; what was said last is printed. Nothing of it stays in /tmp."""
    (tmp_path / "tmp").mkdir()
    environment = {**tools, "TMPDIR": str(tmp_path / "tmp")}
    assert bash("retry_if_no_error busy 5 0 flaky", environment, options=options) == "done\n"
    (tmp_path / "tries").unlink()
    assert bash("retry_if_no_error idle 5 0 flaky 2>&1 || echo $?; retry 3 flaky && echo ok", environment, options=options).split() == [
        "busy",
        "9",
        "ok",
    ]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_command_that_takes_too_long_is_ended(tools: dict[str, str]) -> None:
    """timeout_exec_and_log ends the command itself, and leaves no timer behind when it ends before."""
    began = time.monotonic()
    bash('timeout_exec_and_log 30 "true"; (timeout_exec_and_log 0.2 "sleep 20") || [[ $? == 143 ]]', tools)
    assert time.monotonic() - began < 10


@OPTIONS
def test_other_drivers_of_a_migration(tools: dict[str, str], options: str, tmp_path: Path) -> None:
    """Each other driver of the VM's disks is called once, with the caller's name as the sixth argument and the document on its standard input."""
    for name in ("other", "qcow2"):
        (tmp_path / "tm" / name).mkdir(parents=True)
    script = tmp_path / "tm" / "other" / "premigrate"
    script.write_text('#!/bin/bash\necho "$# $6 $(base64 -d | head -c 4)"\n')
    script.chmod(0o755)
    environment = {**tools, "TEMPLATE_64": base64.b64encode(_VM.encode()).decode()}
    calls = "migrate_other a b c 7 0; migrate_other a b c 7 0 qcow2"
    assert bash(calls, environment, options=options, name=f"{tmp_path}/tm/qcow2/premigrate") == "6 qcow2 <VM>\n"


@pytest.mark.parametrize(
    ("asked", "format", "at", "sign"),
    [
        ("raw 2 '' ''", "raw", 0, b"\0"),
        ("qcow2 2 '' ''", "qcow2", 0, b"\0"),
        ("qcow2 2 ext4,xfs ext4", "qcow2", 1080, b"\x53\xef"),
        ("swap 2 '' ''", "raw", 4086, b"SWAPSPACE2"),
    ],
)
def test_empty_disks(tools: dict[str, str], tmp_path: Path, asked: str, format: str, at: int, sign: bytes) -> None:
    """The commands that mkfs_command prints make the disk that was asked for, in a place with blanks in its name."""
    disk, raw = tmp_path / "a b", tmp_path / "raw"
    bash(f"mkfs_command '{disk}' {asked} | bash -e", tools)
    subprocess.run(["qemu-img", "convert", "-f", format, "-O", "raw", disk, raw], check=True)
    content = raw.read_bytes()
    assert (len(content), content[at : at + len(sign)]) == (2 << 20, sign)


def test_one_at_a_time(tools: dict[str, str]) -> None:
    """exclusive runs one command under a name at a time; who waits longer than it may is ended. Needs a place for locks."""
    if not os.access("/var/lock", os.W_OK):
        pytest.skip("/var/lock is not writable")
    name = f"onetck-{os.getpid()}"
    script = f"""exclusive {name} 5 sleep 1 & sleep 0.3
(exclusive {name} 0 true) 2>/dev/null || echo "refused $?"
exclusive {name} 5 echo mine; wait; rm -f /var/lock/one/{name}"""
    assert bash(script, tools).split() == ["refused", "254", "mine"]


def test_helpers_of_datastore_drivers(tools: dict[str, str], tmp_path: Path) -> None:
    """libfs.sh as drivers use it: places, bridges, the arguments of the downloader and the size of what it will bring; of ours nothing else leaks."""
    (tmp_path / "bin" / "onehost").write_text("#!/bin/bash\necho '<HOST_POOL><HOST><NAME>b</NAME><STATE>3</STATE></HOST></HOST_POOL>'\n")
    (tmp_path / "bin" / "onehost").chmod(0o755)
    packed = tmp_path / "it's packed.gz"
    packed.write_bytes(gzip.compress(bytes((2 << 20) + 1)))
    script = f"""source {REMOTES}/datastore/libfs.sh
set_up_datastore /ds "/srv {tmp_path}/x" "{tmp_path}/x/safe"
echo "$(check_restricted {tmp_path}/a)$(check_restricted {tmp_path}/x/a)$(check_restricted {tmp_path}/x/safe/a)$(check_restricted "$HOME/a")"
remove_off_hosts "a b c"; BRIDGE_LIST="a b c"; get_destination_host 0; get_destination_host 1
BRIDGE_LIST=b; (get_destination_host 2>/dev/null) || echo none; BRIDGE_LIST=""; get_destination_host
ID=3; [[ $(generate_image_path) == /ds/$(generate_image_hash) ]] || generate_image_path | tr -d 0-9a-f
eval "{REMOTES}/datastore/downloader.sh $(set_downloader_args '' '' no 1M {shlex.quote(str(packed))} -)" | wc -c
fs_size {shlex.quote(str(packed))}; fs_size {shlex.quote(str(packed))} yes; fs_size /nowhere || echo failed
declare -F fail bring new_image || echo clean"""
    told = bash(script, tools | {"HOME": str(tmp_path / "home")}).splitlines()
    assert told == ["0101", "a c", "a", "c", "none", "/s/", str((2 << 20) + 1), "3", "1", "There is no file /nowhere", "failed", "clean"]
