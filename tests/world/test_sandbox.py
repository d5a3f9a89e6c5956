"""A world isolates, connects, limits, records and disappears."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from onesim.content import Version, Write
from onesim.events import Answer
from onesim.world.clients import ssh_words
from onesim.world.interface import Fault, Limits
from onesim.world.namespaces import NamespaceWorld

#: Tells what lives besides the agent, the children that do its own work, and this very shell.
OTHERS = """read -r -d '' agent </proc/1/cmdline
for p in /proc/[0-9]*; do
    read -r -d '' own 2>/dev/null <$p/cmdline
    [ -z "$own" ] || [ "$own" = "$agent" ] || [ $p = /proc/$$ ] || tr '\\0' ' ' <$p/cmdline
done"""


def sh(world: NamespaceWorld, script: str, host: str = "frontend", **options: object) -> str:
    """Run a shell script and return its output; it must end by itself."""
    run = world.run(host, ["/bin/bash", "-c", script], **options)  # type: ignore[arg-type]
    assert run.ended_by == "exit", run
    return run.stdout.decode()


def test_drivers_run_as_oneadmin_on_hosts_with_names_of_their_own(world: NamespaceWorld) -> None:
    """The user is 9869 without capabilities, in /var/lib/one, and each host has its name and machine id."""
    seen = {
        host: sh(world, "id -u; pwd; hostname 2>/dev/null || cat /etc/hostname; cat /etc/machine-id; grep CapEff /proc/self/status", host).split()
        for host in ("frontend", "host01", "host02")
    }
    for host, words in seen.items():
        assert words[:3] == ["9869", "/var/lib/one", host]
        assert words[-1] == "0000000000000000"
    assert len({words[3] for words in seen.values()}) == 3


def test_nothing_of_the_machine_is_within_reach(world: NamespaceWorld) -> None:
    """No secret can be read, no system file written, no address but loopback reached; not even by the world's own root."""
    assert sh(world, "cat /etc/shadow 2>/dev/null; touch /usr/bin/x /etc/x 2>/dev/null; ls /usr/bin/x /etc/x 2>/dev/null") == ""
    assert sh(world, "ls -A /root /home; ls /proc/1/root/home /proc/1/root/root 2>/dev/null; cat /proc/net/route | tail -n +2").split() in (
        [],
        ["/home:", "/root:"],
    )
    assert (
        "denied" in sh(world, "sudo -n sh -c 'echo x >/proc/sys/kernel/core_pattern' 2>&1; true").lower()
        or "read-only" in sh(world, "sudo -n sh -c 'echo x >/proc/sys/kernel/core_pattern' 2>&1; true").lower()
    )


def test_ssh_scp_and_rsync_reach_the_other_hosts(world: NamespaceWorld) -> None:
    """Commands, stdin, exit status, copies by the real scp and rsync; unknown hosts and hosts that are down give 255."""
    assert sh(world, "ssh host01 hostname 2>/dev/null || ssh host01 cat /etc/hostname").strip() == "host01"
    assert sh(world, "echo payload | ssh -o BatchMode=yes oneadmin@host02 'cat; exit 7'; echo $?").split() == ["payload", "7"]
    assert sh(world, "ssh host01 bash -s <<<'echo $((6*7))'").strip() == "42"
    assert sh(world, "echo one >/tmp/f; scp -q /tmp/f host01:/tmp/g && ssh host01 cat /tmp/g").strip() == "one"
    assert sh(world, "mkdir /tmp/d; echo two >/tmp/d/h; rsync -a /tmp/d/ host02:/tmp/d/ && ssh host02 cat /tmp/d/h").strip() == "two"
    assert sh(world, "ssh nowhere true 2>&1; echo $?").split()[-1] == "255"
    world.host_down("host01")
    assert "No route" in sh(world, "ssh host01 true 2>&1; true")
    world.host_up("host01")
    assert sh(world, "ssh host01 true; echo $?").strip() == "0"


def test_datastores_are_shared_or_not(world: NamespaceWorld, local_world: NamespaceWorld) -> None:
    """What a host writes into the datastores is there for all hosts in the shared layout, and for nobody else in the other."""
    for made, expected in ((world, True), (local_world, False)):
        sh(made, "echo x >/var/lib/one/datastores/mark", "host01")
        assert made.exists("host02", "/var/lib/one/datastores/mark") is expected
        assert made.exists("host01", "/var/lib/one/datastores/mark")


def test_one_datastore_is_shared_and_another_is_not() -> None:
    """In mixed mode the hosts have the image datastore in common; what changes in it is seen once, and a machine apart has no part in it."""
    base = "/var/lib/one/datastores"
    with NamespaceWorld.start(shared=(f"{base}/1",), apart=("backup01",), on_question=lambda asked: Answer()) as world:
        for host in ("frontend", "host01", "backup01"):
            world.mkdir(host, f"{base}/0", f"{base}/1")
        world.changes()
        sh(world, f"echo image >{base}/1/x; echo disk >{base}/0/x")
        assert {(one.host, one.path) for one in world.changes() if one.path.startswith(base)} == {("frontend", f"{base}/{id}/x") for id in (0, 1)}
        assert sh(world, f"cat {base}/1/x; test -e {base}/0/x || echo none", "host01").split() == ["image", "none"]
        assert sh(world, f"ls {base}/0 {base}/1 | grep -c x; rm -r {base}/1", "backup01").split() == ["0"]
        assert sh(world, f"cat {base}/1/x").strip() == "image"


def test_a_question_is_always_answered_in_full(world: NamespaceWorld) -> None:
    """Three hundred answers of 6 kB arrive whole: a command's stdout is never taken while bash has it redirected."""
    script = 'for i in $(seq 300); do x=$(onevm show -x $i) || echo status $?; [[ $x == "<VM>onevm show -x $i"*"</VM>" ]] || echo "${#x} bytes"; done'
    assert sh(world, script) == ""


def test_xmlrpc_and_datagrams_reach_oned(world: NamespaceWorld) -> None:
    """An HTTP POST on the XML-RPC port is answered, and a datagram on the monitor's port is recorded with the call."""
    post = "exec 3<>/dev/tcp/127.0.0.1/2633; printf 'POST /RPC2 HTTP/1.1\\r\\nContent-Length: 3\\r\\n\\r\\nabc' >&3; cat <&3"
    assert sh(world, post).endswith("<methodResponse/>")
    run = world.run("frontend", ["/bin/bash", "-c", "printf 'MONITOR_VM SUCCESS -1 0 x' >/dev/udp/127.0.0.1/4124; sleep 0.2"])
    assert run.datagrams == (b"MONITOR_VM SUCCESS -1 0 x",)


@pytest.mark.parametrize(
    ("fault", "script", "expected"),
    [
        (Fault("cp", 2, "fail", "5 array is full"), "cp /etc/passwd a && cp a b; echo $?", ["array is full", "5"]),
        (Fault("cp", 1, "cut", "4"), "head -c 20000 /dev/zero >z; cp z y 2>/dev/null; stat -c %s y", ["4096"]),
        (Fault("cp", 1, "slow", "300"), "s=$(date +%s%N); cp /etc/passwd q; (($(date +%s%N) - s >= 300000000)) && echo late", ["late"]),
        (Fault("cp", 1, "fail", "5 full", "host01"), "cp /etc/passwd a; echo $?; ssh host01 cp /etc/passwd b; echo $?", ["0", "full", "5"]),
        (Fault("ssh", 1, "fail", "255 broken"), "ssh host01 true; echo $?; ssh host01 echo again", ["broken", "255", "again"]),
    ],
)
def test_faults_at_gates(world: NamespaceWorld, fault: Fault, script: str, expected: list[str]) -> None:
    """A fault strikes the named command at the named time, and the record says so."""
    run = world.run("frontend", ["/bin/bash", "-c", f"cd /tmp; exec 2>&1; {script}"], faults=[fault])
    assert [line.strip() for line in run.stdout.decode().splitlines()][-len(expected) :] == expected
    struck = [one.fault for one in run.commands if one.name == fault.command and fault.host in ("", one.host)]
    assert struck[fault.ordinal - 1] == fault.act


def test_a_fault_hangs_a_command_until_the_time_is_over(world: NamespaceWorld) -> None:
    """`hang`: the command never returns, the call ends by its time limit, and the world goes on."""
    run = world.run("frontend", ["/bin/bash", "-c", "cp /etc/passwd /tmp/x"], faults=[Fault("cp", 1, "hang")], limits=Limits(time_s=0.5))
    assert run.ended_by == "timeout"
    assert run.commands[0].fault == "hang"
    assert sh(world, "cp /etc/passwd /tmp/x; echo done").strip() == "done"


def test_a_fault_kills_the_script(world: NamespaceWorld) -> None:
    """`die` ends the script itself at that command."""
    run = world.run("frontend", ["/bin/bash", "-c", "cp /etc/passwd /tmp/x; echo alive; sleep 1"], faults=[Fault("cp", 1, "die", "KILL")])
    assert (run.ended_by, run.signal, run.stdout) == ("signal", 9, b"")


@pytest.mark.parametrize(
    ("script", "limits", "ended_by"),
    [
        ("trap '' TERM; while :; do sleep 9; done", Limits(time_s=0.4), "timeout"),
        ("yes", Limits(), "output"),
        ("yes >&2", Limits(), "output"),
        ("b() { b | b & }; b; sleep 20", Limits(time_s=20, processes=64), "processes"),
        ("tail /dev/zero", Limits(time_s=20, memory_mb=100), "memory"),
    ],
)
def test_limits_end_a_call_and_everything_of_it(world: NamespaceWorld, script: str, limits: Limits, ended_by: str) -> None:
    """Time, output, processes and memory are bounded; what exceeds them ends soon, and the world goes on or says that it is broken."""
    began = time.monotonic()
    run = world.run("frontend", ["/bin/bash", "-c", script], limits=limits)
    assert run.ended_by == ended_by
    assert time.monotonic() - began < 15
    assert len(run.stdout) <= limits.output_bytes
    if not world.broken:
        assert sh(world, OTHERS) == ""


def test_ways_in_which_a_script_cannot_start(world: NamespaceWorld) -> None:
    """Missing, without run bit, with a wrong interpreter: told apart; killed: the signal is known."""
    for name, mode, text in (("plain", 0o644, "#!/bin/bash\n"), ("wrong", 0o755, "#!/no/such/sh\n"), ("kill", 0o755, "#!/bin/bash\nkill -9 $$\n")):
        world.put("frontend", f"/var/lib/one/{name}", text.encode(), mode)
    ended = [world.run("frontend", [f"/var/lib/one/{name}"]).ended_by for name in ("absent", "plain", "wrong", "kill")]
    assert ended == ["missing", "not_executable", "bad_interpreter", "signal"]


def test_a_process_left_behind_is_reported_and_ended(world: NamespaceWorld) -> None:
    """A daemon that outlives its script is named, then killed; one on another host too."""
    run = world.run("frontend", ["/bin/bash", "-c", "setsid sleep 77 >/dev/null 2>&1 & ssh host01 'setsid sleep 78 >/dev/null 2>&1 </dev/null &'"])
    assert sorted(run.leftovers) == ["sleep 77", "sleep 78"]
    assert sh(world, OTHERS) == ""


def test_what_a_script_leaves_of_standard_input_is_counted(world: NamespaceWorld) -> None:
    """Read to the end, read in part, not read at all; more than a pipe holds does not hang where nobody reads it."""
    left = [world.run("frontend", ["/bin/bash", "-c", script], stdin=b"x" * 10).stdin_left for script in ("cat >/dev/null", "head -c 4", "true")]
    assert left[0] == 0 and left[2] == 10
    assert world.run("frontend", ["/bin/true"], stdin=b"x" * 1_000_000).ended_by == "exit"


def test_a_driver_that_kills_and_removes_all_it_can_costs_only_its_world(world: NamespaceWorld) -> None:
    """`kill -9 -1` does not reach the agent, and `rm -rf /` not the machine."""
    assert world.run("frontend", ["/bin/bash", "-c", "kill -9 -1; kill -9 $$"]).ended_by == "signal"
    assert sh(world, "echo alive").strip() == "alive"
    world.run(
        "frontend", ["/bin/bash", "-c", "rm -rf --no-preserve-root / 2>/dev/null; sudo -n rm -rf --no-preserve-root /var /etc /tmp 2>/dev/null"]
    )
    assert Path("/usr/bin/env").exists() and Path("/etc/passwd").exists()


def test_changes_of_the_trees_are_seen(world: NamespaceWorld) -> None:
    """Created, changed and removed files are told with their host; the harness's own views are not."""
    sh(world, "echo a >/var/lib/one/datastores/a; echo b >/var/lib/one/datastores/b")
    world.picture()
    assert world.changes() == []
    sh(world, "echo more >>/var/lib/one/datastores/a; rm /var/lib/one/datastores/b; ln -s a /var/lib/one/datastores/c; sudo -n touch /etc/made")
    seen = {(one.host, one.path, one.change) for one in world.changes()}
    base = "/var/lib/one/datastores"
    assert seen == {
        ("frontend", f"{base}/a", "changed"),
        ("frontend", f"{base}/b", "removed"),
        ("frontend", f"{base}/c", "created"),
        ("frontend", "/etc/made", "created"),
    }


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_disks_are_written_and_read_through_the_hosts_view(world: NamespaceWorld, format: str) -> None:
    """A disk made in a format holds exactly the bytes of its version, before and after a guest's write, also through a link."""
    version = Version(3 << 20, (Write(8192, 4096, 7), Write((3 << 20) - 4096, 4096, 9)))
    path = "/var/lib/one/datastores/disk"
    world.make_disk("frontend", path, format, version.size, version.writes)
    sh(world, f"ln -s {path} /var/lib/one/datastores/link", "host01")
    seen = world.read_disk("host01", "/var/lib/one/datastores/link", format)
    assert (seen.problem, seen.virtual_size, seen.blocks) == ("", version.size, version.blocks)
    more = (Write(1 << 20, 4096, 200),)
    assert world.write_disk("host01", "/var/lib/one/datastores/link", format, more) == ""
    assert world.read_disk("frontend", path, format).blocks == version.written(more).blocks
    assert world.peek("frontend", path, format, 8190, 4) == b"\0\0\7\7"


def test_a_disk_that_cannot_be_read_is_a_finding(world: NamespaceWorld) -> None:
    """Missing, forbidden, of another format: each is told; a raw disk that begins like a qcow2 one is not taken for one."""
    sh(world, "cd /var/lib/one/datastores; ln -s /etc/shadow secret; truncate -s 1M plain; qemu-img create -q -f qcow2 q 1M; mkfifo pipe")
    problems = [
        world.read_disk("frontend", f"/var/lib/one/datastores/{name}", format).problem
        for name, format in (("none", "raw"), ("secret", "raw"), ("plain", "qcow2"), ("q", "raw"), ("pipe", "raw"))
    ]
    assert problems == ["missing", problems[1], "format", "format", "unreadable"]
    assert problems[1] in ("unreadable", "missing")
    for printed in ("a_name_that_leads_nowhere", "DEBUG: starting", "--output=json", "json:{}", "rbd:", "ssh://one"):
        assert not world.exists("frontend", printed), printed
        assert world.read_disk("frontend", printed, "raw").problem == "missing", printed


@pytest.mark.parametrize("spelt", ["./disk", "/var/lib/one/datastores/disk", "disk.snap/again/0"])
def test_a_chain_that_comes_back_to_itself_is_a_finding(world: NamespaceWorld, spelt: str) -> None:
    """An image that is its own backing file, by any name, is told at once: QEMU would open it until it has no memory. A chain that ends is read."""
    base = "/var/lib/one/datastores"
    make = "qemu-img create -q -f qcow2 -F qcow2 -u -b"
    sh(world, f"cd {base}; mkdir disk.snap; ln -s . disk.snap/again; ln -s ../disk disk.snap/0; {make} {spelt} disk 1M; {make} disk over 1M")
    for name in ("disk", "over"):
        seen = world.read_disk("frontend", f"{base}/{name}", "qcow2")
        assert seen.problem == "unreadable"
        assert "comes back" in seen.detail
        assert "comes back" in world.write_disk("frontend", f"{base}/{name}", "qcow2", (Write(0, 4096, 7),))
    sh(world, f"cd {base}; rm disk; qemu-img create -q -f qcow2 disk 1M")
    assert world.write_disk("frontend", f"{base}/over", "qcow2", (Write(0, 4096, 7),)) == ""
    assert world.peek("frontend", f"{base}/over", "qcow2", 4094, 4) == b"\7\7\0\0"
    sh(world, f"cd {base}; truncate -s 1M disk; dd if=over of=disk conv=notrunc status=none; {make.replace('-F qcow2', '-F raw')} disk seen 1M")
    assert world.read_disk("frontend", f"{base}/seen", "qcow2").problem == ""


def test_a_disk_that_is_a_link_is_opened_where_it_leads(world: NamespaceWorld) -> None:
    """The hypervisor is told what `disk.N` leads to, so a layer may name the one below it by its bare name."""
    vm = "/var/lib/one/datastores/0/7"
    sh(world, f"mkdir -p {vm}/disk.0.snap; cd {vm}/disk.0.snap; qemu-img create -q -f qcow2 0 1M; qemu-img create -q -f qcow2 -F qcow2 -b 0 1")
    sh(world, f"ln -s disk.0.snap/1 {vm}/disk.0; ln -s disk.0.snap/2 {vm}/disk.1")
    assert world.write_disk("frontend", f"{vm}/disk.0", "qcow2", (Write(0, 4096, 7),)) == ""
    assert world.peek("frontend", f"{vm}/disk.0", "qcow2", 4094, 4) == b"\7\7\0\0"
    assert world.read_disk("frontend", f"{vm}/disk.1", "qcow2").problem == "missing"


def test_the_front_ends_own_library_can_be_laid(world: NamespaceWorld) -> None:
    """/usr/lib/one is the world's own on every host: the harness writes there, a driver cannot, and the machine's /usr stays as it is."""
    world.put("frontend", "/usr/lib/one/sh/scripts_common.sh", b"hello() { echo found; }\n")
    assert sh(world, ". /usr/lib/one/sh/scripts_common.sh; hello").strip() == "found"
    assert sh(world, "touch /usr/lib/one/x 2>/dev/null || echo refused").strip() == "refused"
    assert not Path("/usr/lib/one/sh/scripts_common.sh").exists()


def test_what_ssh_is_given_is_read_as_openssh_reads_it() -> None:
    """Options with and without arguments, joined or not, before and after the host; the rest is the command."""
    assert ssh_words(["-o", "BatchMode=yes", "-q", "me@host", "-n", "ls", "-l"]) == ("host", True, False, ["ls", "-l"])
    assert ssh_words(["-p22", "-lme", "host"]) == ("host", False, False, [])
    assert ssh_words(["-qx", "-oA=b", "host", "-s", "sftp"]) == ("host", False, True, ["sftp"])
    assert ssh_words(["host", "--", "cmd", "-x"]) == ("host", False, False, ["cmd", "-x"])


_HARNESS = """
import sys, time
from onesim.events import Answer
from onesim.world.namespaces import NamespaceWorld
world = NamespaceWorld.start(on_question=lambda q: Answer())
print(world.pid, flush=True)
nap = sys.argv[1]
world.run("frontend", ["/bin/bash", "-c", f"setsid sleep {nap}1 & ssh host01 'sleep {nap}2' & sleep {nap}3"])
"""


def _machine() -> tuple[set[str], list[str]]:
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            processes.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return processes, Path("/proc/mounts").read_text().splitlines()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_harness_leaves_nothing_behind(how: signal.Signals, tmp_path: Path) -> None:
    """No process, mount, file or directory outlives the harness, however it dies. What other tests do at the same time is not looked at."""
    mounts, nap = _machine()[1], f"4{how:02}"
    harness = subprocess.Popen(
        [sys.executable, "-c", _HARNESS, nap],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert harness.stdout is not None
    pid = int(harness.stdout.readline())
    deadline = time.monotonic() + 10
    while not any(f"sleep {nap}2" in line for line in _machine()[0]):
        assert time.monotonic() < deadline, "the call never began"
        time.sleep(0.02)
    harness.send_signal(how)
    harness.wait(timeout=10)
    while Path(f"/proc/{pid}").exists() or any(f"sleep {nap}" in line for line in _machine()[0]):
        assert time.monotonic() < deadline + 10, "processes are left"
        time.sleep(0.02)
    # containers of other tests come and go
    assert [one for one in _machine()[1] if one not in mounts and "/docker" not in one] == []
    assert list(tmp_path.iterdir()) == []
