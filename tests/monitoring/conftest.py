"""What the tests of monitoring share: an oned with VMs, messages, keys."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from onesim.layout import Subjected, make_cloud
from onesim.model import Disk, History, Vm
from onesim.oned import Oned
from onesim.spec import for_contract


@pytest.fixture
def oned() -> Oned:
    """An oned with VM 3 (disks 0 and 1) and VM 4 (disk 0) on host01."""
    daemon = Oned(for_contract("7.4"), make_cloud(Subjected(b"", "fs", "ssh", "ssh"), shared=True))
    for id, disks in ((3, 2), (4, 1)):
        vm = Vm(id, f"vm{id}", "RUNNING", [Disk(n, "volatile", f"sd{n}", 10) for n in range(disks)], [History(0, 0, "host01", 0, "ssh")])
        daemon.cloud.vms[id] = vm
        daemon.cloud.labels["vm", vm.name] = id
    return daemon


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Callable[[bytes], bytes]]:
    """A private key in PEM that openssl made, and encryption by openssl for it, block by block."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("keys")
    private, public = folder / "private.pem", folder / "public.pem"
    subprocess.run(["openssl", "genrsa", "-out", private, "1024"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)

    def encrypt(data: bytes) -> bytes:
        command = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", str(public)]
        return b"".join(subprocess.run(command, input=data[at : at + 117], check=True, capture_output=True).stdout for at in range(0, len(data), 117))

    return Path(private).read_text(), encrypt
