"""The command line: exit codes, one clear line for every mistake, and the same verdict as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from onesim.data import data_dir
from onesim.events import CallAsked
from onesim.parsers import PARSERS
from onesim.spec import for_contract, load
from onetck import terminal
from onetck.config import json_schema
from onetck.plan import null_output

REFERENCE = data_dir("reference_driver") / "remotes"


def onetck(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "onetck.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, timeout=120, check=False)


def one_line(run: subprocess.CompletedProcess[str]) -> str:
    """Return the message of a failed command: one line, no traceback."""
    assert "Traceback" not in run.stderr
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("onetck: ")
    return lines[0]


@pytest.mark.whole
def test_the_reference_driver_is_conformant_and_leaves_its_files(tmp_path: Path) -> None:
    """Exit 0, the verdict sentence, the counts and the path of the report on stdout, progress on stderr; all files are there."""
    run = onetck("run", str(REFERENCE), "--profile", "core", "--out", str(tmp_path / "out"))
    assert run.returncode == 0, run.stdout + run.stderr
    assert "CONFORMANT: The driver keeps all" in run.stdout
    for word in ("required executed", "passed", "failed", "not applicable", "blocked", "report.html"):
        assert word in run.stdout
    assert "vm-example" in run.stderr
    files = {"history.jsonl", "results.jsonl", "report.html", "junit.xml", "summary.md", "badge.svg", "results.sarif", "blobs", "spec"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == files
    links = re.findall(r'href="(spec/[^"#]+)#([^"]+)"', (tmp_path / "out" / "report.html").read_text())
    assert links and all(f'id="{anchor}"' in (tmp_path / "out" / page).read_text() for page, anchor in set(links))
    assert (
        onetck("run", str(REFERENCE), "--out", str(tmp_path / "out"), "--profile", "core", "--case", "image-raw").returncode == 3
    )  # over the files of the run before


@pytest.mark.turns(4)
@pytest.mark.components
def test_the_reference_driver_is_conformant_under_the_older_contract(tmp_path: Path) -> None:
    """The dump as an argument, SOURCE alone, errors between separators."""
    run = onetck("run", str(REFERENCE), "--contract", "5.12", "--profile", "core", "--out", str(tmp_path / "out"), "--json")
    assert run.stdout, run.stderr
    outcome = json.loads(run.stdout)
    assert (run.returncode, outcome["verdict"], outcome["version"]) == (0, "CONFORMANT", "5.12.13")
    assert run.stderr == ""


@pytest.mark.whole
def test_a_driver_that_does_nothing_is_not_conformant_and_the_bytes_are_named(tmp_path: Path) -> None:
    """Scripts that exit 0 and print a plausible line: exit 1, and the report shows the bytes that ought to be there."""
    remotes = tmp_path / "remotes"
    printed = {
        "cp": "/var/lib/one/datastores/1/image-$1 raw",
        "clone": "/var/lib/one/datastores/1/image-$1 raw",
        "mkfs": "/var/lib/one/datastores/1/image-$1",
        "stat": "2",
    }
    for folder, actions in (
        ("datastore/fs", ("cp", "mkfs", "rm", "stat", "clone", "monitor")),
        ("tm/shared", ("clone", "ln", "mv", "mvds", "delete", "context", "mkimage", "mkswap", "monitor")),
    ):
        (remotes / folder).mkdir(parents=True)
        for action in actions:
            text = (
                "USED_MB=1 TOTAL_MB=1024 FREE_MB=1023" if action == "monitor" else printed.get(action, "") if folder.startswith("datastore") else ""
            )
            script = remotes / folder / action
            script.write_text(f"#!/bin/bash\ncat >/dev/null\necho {text}\n")
            script.chmod(0o755)
    run = onetck("run", str(remotes), "--profile", "core", "--out", str(tmp_path / "out"))
    assert run.returncode == 1
    assert "NOT CONFORMANT" in run.stdout
    report = (tmp_path / "out" / "report.html").read_text()
    assert "is not there" in report
    assert "expected</th>" in report and "nothing" in report


MISTAKES = [
    (("run", "/no/such/driver"), 4, ("/no/such/driver", "remotes")),
    (("run",), 4, ("driver", "onetck.toml")),
    (("run", "{reference}", "--contract", "4.6"), 4, ("4.6", "5.12", "7.4")),
    (("run", "{reference}", "--tm", "tape"), 4, ("tape", "shared", "--tm")),
    (("run", "{reference}", "--datastore", "lvm"), 4, ("lvm", "fs")),
    (("run", "{reference}", "--case", "nothing"), 4, ("nothing", "vm-example")),
    (("run", "{reference}", "--profile", "platinum", "--case", "datastore-monitor"), 4, ("platinum", "core")),
    (("run", "{reference}", "--trace", "/no/such.jsonl"), 4, ("/no/such.jsonl",)),
    (("run", "{reference}", "--faults", "some"), 4, ("--faults 'some' is unknown", "off, basic, full")),
    (("run", "{reference}", "--trace", "{tmp}/unknown.jsonl"), 4, ("unknown.jsonl:2", "vm.fly")),
    (("run", "{reference}", "--trace", "{tmp}/malformed.jsonl"), 4, ("malformed.jsonl:2", "JSON")),
    (("run", "{reference}", "--trace", "{tmp}/refused.jsonl"), 4, ("refused.jsonl:2", "vm.stop")),
    (("run", "{reference}", "--trace", "{tmp}/empty.jsonl"), 4, ("empty.jsonl", "header")),
    (("run", "{reference}", "--out", "/proc/onetck"), 4, ("/proc/onetck", "--out")),
    (("run", "{reference}", "--out", "{tmp}"), 4, ("{tmp}", "empty directory")),
    (("run", "{reference}", "--timeout-s", "0"), 4, ("time limit",)),
    (("run", "{reference}", "--config", "{tmp}/bad.toml"), 4, ("bad.toml", "colour")),
    (("run", "{reference}", "--datastore", "fs", "--tm", "shared", "--config", "{tmp}/secret.toml"), 4, ("ARRAY_TOKEN", "NO_SUCH_VARIABLE")),
    (("run", "{reference}", "--mad", "tm"), 4, ("--mad", "tm, datastore")),
    (("run", "{reference}", "--mad", "im=./one_im"), 4, ("--mad", "im=./one_im")),
    (("run", "{reference}", "--mad", "tm=./nowhere"), 4, ("nowhere", "--mad")),
    (("run", "{reference}", "--datastore", "fs", "--tm", "shared", "--config", "{tmp}/mad.toml"), 4, ("one_tm", "[mad.tm]")),
    (("run", "{reference}", "--config", "{tmp}/im.toml"), 4, ("im.toml", "mad")),
    (("mad", "im"), 4, ("im", "tm, datastore")),
    (("run", "{reference}", "--datastore", "fs", "--tm", "shared", "--config", "{tmp}/required.toml"), 4, ("POOL_NAME", "REQUIRED_ATTRS")),
    (("run", "{tmp}"), 4, ("{tmp}", "remotes tree")),
    (("run", "--colour"), 4, ("--colour", "--help")),
    (("fly",), 4, ("fly", "--help")),
    (("call", "tm/fly", "{reference}"), 4, ("tm/fly", "tm/clone")),
    (("call", "clone", "{reference}"), 4, ("ambiguous", "ds/clone", "tm/clone")),
    (("dump", "tm/clone"), 4, ("tm/clone", "no document")),
    (("shell", "host01", "--world", "nobody"), 4, ("nobody", "--keep")),
    (("report", "/no/such/run"), 4, ("/no/such/run",)),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "words"), MISTAKES, ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None)
def test_a_mistake_is_one_line_with_the_remedy(tmp_path: Path, arguments: tuple[str, ...], code: int, words: tuple[str, ...]) -> None:
    """Wrong paths, names, traces and configurations: the thing and the remedy in one line, the documented exit code."""
    header = '{"trace": 1, "name": "x", "title": "x"}\n'
    for name, text in (
        ("unknown.jsonl", header + '{"op": "vm.fly"}\n'),
        ("malformed.jsonl", header + "{op: vm.create}\n"),
        ("refused.jsonl", header + '{"op": "vm.stop", "vm": "nobody"}\n'),
        ("empty.jsonl", ""),
        ("bad.toml", "colour = 1\n"),
        ("secret.toml", "[secret.ARRAY_TOKEN]\nenv = 'NO_SUCH_VARIABLE'\n"),
        ("mad.toml", "[mad.tm]\nprogram = 'one_tm'\n"),
        ("im.toml", "[mad.im]\nprogram = 'one_im'\n"),
        ("required.toml", "[ds_mad_conf.fs]\nREQUIRED_ATTRS = ['POOL_NAME']\n"),
    ):
        (tmp_path / name).write_text(text)
    places = {"reference": str(REFERENCE), "tmp": str(tmp_path)}
    run = onetck(*(word.format(**places) if "{" in word else word for word in arguments), cwd=tmp_path, XDG_RUNTIME_DIR=str(tmp_path))
    message = one_line(run)
    assert run.returncode == code
    for word in words:
        assert word.format(**places) in message


def test_a_kernel_without_user_namespaces_gives_no_verdict(tmp_path: Path) -> None:
    """Where namespaces are refused: exit 3 within seconds, the switch to turn in one line, and never a list of failures."""
    inner = f"echo 0 >/proc/sys/user/max_user_namespaces && exec {sys.executable} -m onetck.cli run {REFERENCE} --out {tmp_path}/out"
    run = subprocess.run(["unshare", "-U", "-r", "sh", "-c", inner], capture_output=True, text=True, timeout=60, check=False)
    message = one_line(run)
    assert run.returncode == 3
    assert "user namespaces are refused" in message and "max_user_namespaces" in message
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_a_missing_tool_gives_no_verdict(tmp_path: Path) -> None:
    """Without qemu-img: exit 3, and the package to install."""
    for name in ("bash", "setpriv"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    run = onetck("run", str(REFERENCE), "--profile", "core", "--out", str(tmp_path / "out"), PATH=str(tmp_path))
    assert run.returncode == 3
    assert "qemu-img" in one_line(run) and "apt-get install qemu-utils" in run.stderr


def test_a_trace_that_calls_nothing_is_no_success(tmp_path: Path) -> None:
    """Nothing ran: exit 5."""
    (tmp_path / "nothing.jsonl").write_text('{"trace": 1, "name": "nothing", "title": "Nothing"}\n')
    run = onetck("run", str(REFERENCE), "--trace", str(tmp_path / "nothing.jsonl"), "--out", str(tmp_path / "out"))
    assert run.returncode == 5
    assert "NOTHING RAN" in run.stdout


def test_operations_beyond_the_library_run_to_their_end(tmp_path: Path) -> None:
    """Attach, live migration, snapshots, resize, save-as, export and recreate: what the driver lacks is its answer, and is neither our error nor its fault."""
    run = onetck("run", str(REFERENCE), "--trace", str(Path(__file__).parent / "data/operations.jsonl"), "--out", str(tmp_path / "out"))
    assert run.returncode == 3, run.stdout + run.stderr
    results = [json.loads(line)["data"] for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {one["verdict"] for one in results if one["record"] == "result"}.isdisjoint({"fail", "error", "crash", "timeout"})
    records = [json.loads(line)["data"] for line in (tmp_path / "out" / "history.jsonl").read_text().splitlines()]
    assert [one["outcome"] for one in records if one["record"] == "case_end"] == ["completed"]
    assert "tm/cpds" in {f"{one['family']}/{one['action']}" for one in records if one["record"] == "call"}


def test_every_way_to_print_has_a_driver_that_does_nothing() -> None:
    """Planning without a driver answers every action of every contract with a line that its parser takes."""
    for row in load().contracts:
        spec = for_contract(row.name)
        for action in spec.actions.values():
            asked = CallAsked(1, 1, action, "", "", (), {}, "", "", {"base_path": "/var/lib/one/datastores/1"})
            assert PARSERS[spec.parser(action.key)](null_output(spec, asked))[1] == "", (row.name, action.key)


def test_two_serial_runs_have_one_normalised_history(tmp_path: Path) -> None:
    """Two runs of one driver differ in times and generated names alone."""
    digests = set()
    for name in ("one", "two"):
        assert onetck("run", str(REFERENCE), "--case", "vm-example", "--case", "image-raw", "-j", "1", "--out", str(tmp_path / name)).returncode == 3
        footer = json.loads((tmp_path / name / "history.jsonl").read_text().splitlines()[-1])["data"]
        digests.add(footer["normal_sha256"])
    assert len(digests) == 1


def test_an_unreadable_driver_directory_is_the_users_error(tmp_path: Path) -> None:
    """A directory that cannot be read is named, with the remedy (as root everything can be read: then a link to nowhere is packed as it is)."""
    remotes = tmp_path / "remotes"
    shutil.copytree(REFERENCE, remotes)
    (remotes / "tm" / "shared" / "clone").chmod(0)
    run = onetck("run", str(remotes), "--datastore", "fs", "--tm", "shared", "--case", "datastore-monitor", "--out", str(tmp_path / "out"))
    if os.geteuid() == 0:
        assert run.returncode in (0, 1, 3)
    else:
        assert "readable" in one_line(run)
        assert run.returncode == 4


def test_drivers_given_singly_get_the_helper_runtime(tmp_path: Path) -> None:
    """A tm directory alone is laid into a tree with the helpers and the reference datastore driver."""
    single = tmp_path / "tm" / "mine"
    shutil.copytree(REFERENCE / "tm" / "shared", single)
    run = onetck("run", str(single), "--case", "vm-example", "--out", str(tmp_path / "out"))
    history = (tmp_path / "out" / "history.jsonl").read_text()
    assert "/remotes/tm/mine/clone" in history and "/remotes/datastore/fs/cp" in history
    assert '"verdict":"fail"' not in (tmp_path / "out" / "results.jsonl").read_text()
    assert run.returncode == 3  # one case of many: most requirements were not tested, and that is never green


def test_a_run_that_is_cut_short_is_partial(tmp_path: Path) -> None:
    """Interrupted: exit 2 or, once nothing but a part has been judged, never 0; what was recorded is whole and can be judged."""
    command = [sys.executable, "-m", "onetck.cli", "run", str(REFERENCE), "--out", str(tmp_path / "out"), "-j", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    history = tmp_path / "out" / "history.jsonl"
    deadline = time.monotonic() + 30
    while not history.exists() or '"record":"case_end"' not in history.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" not in errors
    again = onetck("report", str(tmp_path / "out"))
    assert again.returncode == 2
    assert "PARTIAL" in (tmp_path / "out" / "report.html").read_text()


def test_changed_evidence_is_invalid(tmp_path: Path) -> None:
    """One changed byte in the history: exit 7, and the line is named."""
    out = tmp_path / "out"
    onetck("run", str(REFERENCE), "--case", "datastore-monitor", "--out", str(out))
    history = out / "history.jsonl"
    history.write_text(history.read_text().replace('"success":true', '"success":false', 1))
    run = onetck("report", str(out))
    assert run.returncode == 7
    assert "history.jsonl:" in one_line(run)


def test_one_action_in_a_kept_world(tmp_path: Path) -> None:
    """`call` shows argv, output and changes, keeps the world, and `down` removes it."""
    run = onetck("call", "tm/clone", str(REFERENCE), XDG_RUNTIME_DIR=str(tmp_path))
    assert run.returncode == 0, run.stderr
    for word in ("argv", "/var/lib/one/remotes/tm/shared/clone", "ended  by exit with status 0", "disk.0", "onetck shell frontend"):
        assert word in run.stdout
    entered = subprocess.run(
        [sys.executable, "-m", "onetck.cli", "shell", "host01"],
        input="cat /etc/hostname; ls /var/lib/one/datastores/0/0\n",
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=30,
        check=False,
    )
    assert "host01" in entered.stdout and "disk.0" in entered.stdout
    assert onetck("down", XDG_RUNTIME_DIR=str(tmp_path)).returncode == 0
    assert onetck("down", XDG_RUNTIME_DIR=str(tmp_path)).returncode == 4


def test_a_run_can_leave_its_world(tmp_path: Path) -> None:
    """With --keep the very world of the last case stays, is entered, and goes with `down`; no process of it is left then."""
    run = onetck("run", str(REFERENCE), "--case", "vm-linked-delete", "--keep", "--out", str(tmp_path / "out"), XDG_RUNTIME_DIR=str(tmp_path))
    assert "onetck shell host01" in run.stderr
    command = [sys.executable, "-m", "onetck.cli", "shell", "frontend"]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    entered = subprocess.run(
        command,
        input="ls /var/tmp /var/lib/one/datastores/1; onevm show -x 0\n",
        capture_output=True,
        text=True,
        env=environment,
        timeout=30,
        check=False,
    )
    assert "data.raw" in entered.stdout
    assert "nobody drives this world" in entered.stderr
    assert onetck("down", XDG_RUNTIME_DIR=str(tmp_path)).returncode == 0


@pytest.mark.parametrize("contract", ["5.12", "7.4"])
def test_a_document_to_pipe_by_hand(contract: str) -> None:
    """`dump` prints a document of the contract; encoded, it is one line of base64."""
    shown = onetck("dump", "ds/cp", "--contract", contract)
    assert shown.returncode == 0
    assert ("<FSTYPE>" in shown.stdout) is (contract == "5.12")
    assert "\n" not in onetck("dump", "ds/cp", "--contract", contract, "--base64").stdout.strip()


def test_doctor_is_fast_and_says_what_is_missing() -> None:
    """Under a second on an idle machine, with a remedy for every lack."""
    began = time.monotonic()
    run = onetck("doctor", "--json")
    assert run.returncode == 0, run.stdout
    assert time.monotonic() - began < 5
    for row in json.loads(run.stdout):
        assert row["ok"] or row["remedy"]


def test_the_configuration_reaches_the_world(tmp_path: Path) -> None:
    """Templates, files, environment, secrets and hooks of onetck.toml are seen by the driver, a secret as its name; the published schema admits the file."""
    remotes = tmp_path / "remotes"
    shutil.copytree(REFERENCE, remotes)
    monitor = remotes / "datastore" / "fs" / "monitor"
    monitor.rename(monitor.with_name("monitor.orig"))
    monitor.write_text(
        '#!/bin/bash\necho "$TOKEN $MODE $(cat /opt/vendor.conf) $(cat /tmp/hooked) $(cat /var/lib/one/remotes/etc/vendor.conf)" >&2\nexec "$0.orig" "$@"\n'
    )
    monitor.chmod(0o755)
    (tmp_path / "vendor.conf").write_text("file-arrived")
    (tmp_path / "onetck.toml").write_text(
        "[driver]\npaths = ['remotes']\ndatastore = 'fs'\ntm = 'shared'\n"
        "[image_datastore]\nPOOL_NAME = 'pool-arrived'\n[environment]\nMODE = 'mode-arrived'\n[secret.TOKEN]\nenv = 'MY_TOKEN'\n"
        "[[file]]\nsource = 'vendor.conf'\nto = '/opt/vendor.conf'\n[hooks]\nsetup = ['echo hook-arrived >/tmp/hooked']\n[etc]\n'vendor.conf' = 'etc-arrived'\n"
    )
    run = onetck("run", "--case", "datastore-monitor", cwd=tmp_path, MY_TOKEN="token-arrived")
    assert run.returncode == 3, run.stderr
    history = (tmp_path / "onetck-results" / "history.jsonl").read_text()
    assert "REDACTED-TOKEN mode-arrived file-arrived hook-arrived etc-arrived" in history
    schema = json_schema()
    assert schema["$schema"] and "image_datastore" in json.dumps(schema)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Yield a directory that everybody may write to; pytest's own are closed to others, and closed again by each session that begins."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        Path(path).chmod(0o777)
        yield Path(path)


@pytest.mark.turns(4)
@pytest.mark.components
def test_an_ordinary_user_gets_the_same_verdict(open_path: Path) -> None:
    """Without root: CONFORMANT under both contracts, with one mapped id and a user namespace for the driver."""
    if os.geteuid() != 0:
        pytest.skip("this run is by an ordinary user already; the other tests show it")
    python = "/usr/bin/python3"
    same = subprocess.run([python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=True).stdout.strip()
    if same != str(sys.version_info[:2]):
        pytest.skip("the system's Python is another version than this one, whose compiled packages it cannot load")
    libraries = os.pathsep.join(path for path in sys.path if path)
    copied = open_path / "reference_driver"
    shutil.copytree(REFERENCE.parent, copied)
    packages = open_path / "packages"
    for path in libraries.split(os.pathsep):
        if "site-packages" in path:
            shutil.copytree(path, packages, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "mypy*", "ruff*", "pip"))
    for contract in ("5.12", "7.4"):
        out = open_path / f"out-{contract}"
        command = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", python, "-m", "onetck.cli", "run", str(copied)]
        checkout = [
            path
            for path in libraries.split(os.pathsep)
            if "site-packages" not in path and any((Path(path) / name).is_dir() for name in ("onesim", "onereport", "onetck"))
        ]
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "PYTHONPATH": os.pathsep.join([*checkout, str(packages)])}
        run = subprocess.run(
            [*command, "--profile", "core", "--contract", contract, "--out", str(out), "--json"],
            capture_output=True,
            text=True,
            env=environment,
            cwd="/",
            timeout=300,
            check=False,
        )
        assert run.returncode == 0, run.stderr + run.stdout
        assert json.loads(run.stdout)["verdict"] == "CONFORMANT"


def test_what_the_machine_refuses_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A directory that is taken away in the midst of a run is no verdict, named in one line."""
    with pytest.raises(typer.Exit) as raised, terminal.one_line():
        (tmp_path / "gone" / "junit.xml").write_text("")
    assert raised.value.exit_code == 3
    assert capsys.readouterr().err == f"onetck: no verdict: {tmp_path}/gone/junit.xml: No such file or directory; what was recorded is partial\n"
