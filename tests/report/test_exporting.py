"""A failed case as a shell script: it does on other hosts, without the harness, what was recorded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from build import all_miniatures, play

from onesim.errors import ConfigError
from onesim.journal import BlobStore, Writer
from onesim.layout import furnish, make_cloud
from onesim.model import FRONTEND
from onesim.records import Call, CaseBegin, Header, Operation, Question
from onesim.world.namespaces import NamespaceWorld
from onetck import conclude, exporting
from onetck.setting import Given, settle

pytestmark = pytest.mark.components


def played(name: str, out: Path) -> Path:
    """Play a miniature and judge it; return the directory."""
    row = next(one for one in all_miniatures() if one.name == name)
    play(row, out)
    spec = settle(Given(contract=row.contract, config=out / "onetck.toml")).spec
    conclude.conclude(spec, out, conclude.find_profile(spec, row.profile), "onetck run --case {case}")
    return out


def repeated(out: Path, script: str) -> tuple[str, bytes]:
    """Run a script on the front-end of fresh hosts with the driver of a run; return what it says and the first disk of VM 0."""
    setting = settle(Given(config=out / "onetck.toml"))
    with NamespaceWorld.start(on_question=lambda asked: pytest.fail(f"it asks: {asked}")) as world:
        furnish(world, make_cloud(setting.subject, shared=True), setting.subject)
        world.put(FRONTEND, "/var/tmp/repeat", script.encode(), 0o755)
        run = world.run(FRONTEND, ["/var/tmp/repeat"], call_id="repeat")
        assert (run.status, run.stderr) == (0, b""), run.stderr
        assert world.run(FRONTEND, ["/bin/sh", "-c", "ls -d /tmp/tmp.*"], call_id="ls").stdout == b""
        return run.stdout.decode(), world.read(FRONTEND, "/var/lib/one/datastores/0/0/disk.0", 4 << 20)


def test_the_script_of_a_failure_repeats_it(tmp_path: Path) -> None:
    """The disk lacks the end of the image there too; the right driver makes it whole by the same script."""
    out = played("tm-clone-loses-the-end", tmp_path)
    chosen = exporting.choose(out, "", "TM-CLONE-002")
    script = exporting.render(out, chosen)
    assert (
        script.startswith("#!/bin/bash\n# Case vm-siblings ") and "# TM-CLONE-002: After clone, the VM's disk has the bytes of the image." in script
    )
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    said, disk = repeated(out, script)
    assert said.count("exit status 0 (recorded: 0)") == chosen.call + 1
    assert disk and not any(disk[-4096:])
    shutil.copy(tmp_path / "remotes/tm/shared/clone.orig", tmp_path / "remotes/tm/shared/clone")
    _, whole = repeated(out, script)
    assert len(whole) == len(disk) and any(whole[-4096:])


def test_the_script_of_an_older_contract_hands_the_document_over_as_an_argument(tmp_path: Path) -> None:
    """The document stands in clear and travels in base64; an action that failed fails again, with its message."""
    row = next(one for one in all_miniatures() if one.contract == "5.12" and one.script.startswith("datastore/") and not one.role)
    out = played(row.name, tmp_path)
    script = exporting.render(out, exporting.choose(out, "", row.breaks))
    assert "@document" in script and "<DS_DRIVER_ACTION_DATA>" in script
    said, _ = repeated(out, script)
    assert "(recorded: " in said


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path) -> None:
    """A requirement that held, one that is none, a case that did not run."""
    out = played("tm-clone-loses-the-end", tmp_path)
    for case, requirement, word in (("", "TM-LN-002", "nothing of TM-LN-002 failed there"), ("", "TM-NONE-001", "knows no requirement")):
        with pytest.raises(ConfigError, match=word):
            exporting.choose(out, case, requirement)
    with pytest.raises(ConfigError, match="no case 'vm-none' was run there"):
        exporting.render(out, exporting.choose(out, "vm-none", ""))


def test_no_text_of_a_run_gets_out_of_its_place(tmp_path: Path) -> None:
    """Line ends in names, in what a driver asks and in what it is answered stay text: the script runs none of them."""
    writer, blobs = Writer(tmp_path / "history.jsonl"), BlobStore(tmp_path / "blobs")
    evil = "x\ntouch PROOF\rtouch PROOF\u2028touch PROOF\x1b[2J"
    answer = blobs.put(f"{evil}\nANSWER\ntouch PROOF\n".encode(), inline=0).sha256
    stdin = blobs.put(f"<A>\nDOCUMENT\ntouch PROOF\nDOCUMENT_\ntouch PROOF\n{evil}</A>".encode())
    writer.write(Header(1, evil, "7.4", evil, evil, "fs", "shared", "shared", 0, 0, "", ""))
    writer.write(CaseBegin("c", evil, (), True))
    for op in ("file.make", "file.link", "file.put", "vm.create"):
        writer.write(Operation("c", 0, op, {"path": evil, "to": evil, "size_mb": evil, "format": evil}, "", 0))
    for kind in ("xmlrpc", "command"):
        writer.write(Question("c", 0, kind, (evil, evil), 0, answer, 0, evil))
    for n, family in enumerate(("tm", "vmm")):
        writer.write(Call("c", n, 0, family, evil, evil, evil, evil, (evil,), {}, success=False, ended_by=evil, stdin=stdin, parsed={"source": evil}))
    writer.close()
    script = exporting.render(tmp_path, exporting.Chosen("c", -1, (evil,)))
    done = subprocess.run(
        ["bash"], input=script, cwd=tmp_path, env={**os.environ, "REMOTES": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert not (tmp_path / "PROOF").exists() and "== call 0: x\n" in done.stdout and done.stderr.count("command not found") == 0, done
    assert "\x1b" not in "".join(line for line in script.split("\n") if line.startswith("#"))
