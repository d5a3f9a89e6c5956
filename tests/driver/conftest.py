"""A scratch front-end for the tests of the reference driver: the tree, datastores, a fake `ssh` and a fake `onevm`."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from onesim.data import data_dir

# `down` does not answer; `far` sees other datastores than all others do
_SSH = """#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 != -o ]] || shift; shift; done
echo "$1" >>"$SCRATCH/ssh.log"
case $1 in
    down) echo "ssh: connect to host down port 22: No route to host" >&2; exit 255 ;;
    far) sed "s,$SCRATCH/datastores,$SCRATCH/elsewhere,g" | bash -c "${*:2}" ;;
    *) bash -c "${*:2}" ;;
esac
"""
_ONEVM = '#!/bin/bash\n[[ $* == "show -x 7" ]] || { echo "no such VM" >&2; exit 255; }\ncat "$SCRATCH/vm.xml"\n'


@dataclass(frozen=True)
class Ended:
    """How a script ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def quiet(self) -> bool:
        """Whether the action succeeded and printed nothing anywhere."""
        return self == Ended(0, "", "")

    def refused(self, *words: str) -> None:
        """Assert that the action failed, printed nothing, and says why in one line."""
        assert (self.status, self.stdout) == (1, "")
        assert self.stderr.count("\n") == 1
        assert all(word in self.stderr for word in words), self.stderr


@dataclass(frozen=True)
class FrontEnd:
    """The scratch front-end. Images lie in datastore 1, VMs in 0 and 100."""

    root: Path
    environment: Mapping[str, str]

    def with_environment(self, **variables: str) -> FrontEnd:
        """The same front-end with further variables in the environment of drivers."""
        return replace(self, environment={**self.environment, **variables})

    @staticmethod
    def qemu_img(*arguments: str | Path) -> str:
        """Run qemu-img and return what it prints."""
        return subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=True).stdout

    def datastore(self, id: int) -> Path:
        """The directory of a datastore."""
        return self.root / "datastores" / str(id)

    def file(self, name: str, content: bytes) -> Path:
        """A file of the user's."""
        path = self.root / "user" / name
        path.write_bytes(content)
        return path

    def vm(self, *disks: str, lcm: int = 3, deploy_id: str = "") -> None:
        """State what oned says of VM 7; each of `disks` is the XML inside a DISK."""
        shown = "".join(f"<DISK>{one}</DISK>" for one in disks)
        (self.root / "vm.xml").write_text(
            f"<VM><ID>7</ID><LCM_STATE>{lcm}</LCM_STATE><DEPLOY_ID>{deploy_id}</DEPLOY_ID><TEMPLATE>{shown}</TEMPLATE></VM>"
        )

    def version(self, version: str) -> None:
        """State which OpenNebula calls."""
        (self.root / "remotes" / "VERSION").write_text(version)

    def run(self, script: str, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run a script of the tree by its path, as oned's drivers do."""
        done = subprocess.run(
            [self.root / "remotes" / script, *arguments], input=stdin, capture_output=True, env=dict(self.environment), timeout=60, check=False
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def document(self, image: str, template: str = "") -> bytes:
        """The driver action document, as it travels; BASE_PATH has the doubled slash that oned writes."""
        datastore = f"<BASE_PATH><![CDATA[{self.root}//datastores/1]]></BASE_PATH><TEMPLATE>{template}</TEMPLATE>"
        return base64.b64encode(f"<DS_DRIVER_ACTION_DATA><IMAGE>{image}</IMAGE><DATASTORE>{datastore}</DATASTORE></DS_DRIVER_ACTION_DATA>".encode())

    def image(self, action: str, image: str, template: str = "") -> Ended:
        """Run a datastore action; `image` is the XML inside IMAGE, `template` that of the datastore's TEMPLATE."""
        return self.run(f"datastore/fs/{action}", "5", stdin=self.document(image, template))

    def registered(self, path: Path) -> Path:
        """The SOURCE of a file that `cp` has taken."""
        ended = self.image("cp", f"<PATH><![CDATA[{path}]]></PATH>")
        assert ended.status == 0, ended.stderr
        return Path(ended.stdout.split()[0])

    def stored(self) -> set[str]:
        """Names of the files in the image datastore."""
        return {one.name for one in self.datastore(1).iterdir()}


@pytest.fixture
def fe(tmp_path: Path) -> FrontEnd:
    """A fresh front-end."""
    shutil.copytree(data_dir("reference_driver") / "remotes", tmp_path / "remotes")
    for folder in ("datastores/0", "datastores/1", "datastores/100", "elsewhere/0", "elsewhere/100", "bin", "home", "one", "user"):
        (tmp_path / folder).mkdir(parents=True)
    for name, text in (("ssh", _SSH), ("onevm", _ONEVM)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path / "home"), "ONE_LOCATION": str(tmp_path / "one")}
    return FrontEnd(tmp_path, environment | {"SCRATCH": str(tmp_path)})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What scripts do is the same whatever Python plays them: they are tried once, with the real parts."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.components)
