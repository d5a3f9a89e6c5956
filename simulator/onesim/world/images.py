"""Images of hosts: a Debian system from this machine's own mirror, or what a vendor's image has already, with the user and the label that worlds need."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onesim.errors import ConfigError, HarnessError
from onesim.world import fleet
from onesim.world.nsview import ONEADMIN

_PACKAGES = (
    "openssh-server,openssh-client,rsync,qemu-utils,qemu-block-extra,sudo,python3,jq,genisoimage,iproute2,file,curl,"
    "e2fsprogs,hostname,restic,openssl,procps"
)
_LEFT_OUT = ("./var/lib/apt/lists/", "./var/cache/apt/", "./dev/", "./proc/", "./sys/", "./tmp/")
#: Run as root inside: what must be there, and what is added.
_FINISH = f"""set -e
for one in /bin/bash /usr/sbin/sshd /usr/bin/ssh /usr/bin/ssh-keygen /usr/bin/python3 /usr/bin/qemu-img /usr/bin/qemu-io /usr/sbin/useradd; do
    [ -x $one ] || {{ echo "onetck: $one is not in the image"; exit 1; }}
done
[ -L /bin ] || {{ echo "onetck: /usr is not merged in the image"; exit 1; }}
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {{ echo "onetck: Python in the image is older than 3.11"; exit 1; }}
getent group oneadmin >/dev/null || groupadd -g {ONEADMIN} oneadmin
id oneadmin >/dev/null 2>&1 || useradd -u {ONEADMIN} -g oneadmin -G disk -d /var/lib/one -s /bin/bash -M oneadmin
[ "$(id -u oneadmin):$(id -g oneadmin)" = {ONEADMIN}:{ONEADMIN} ] || {{ echo "onetck: oneadmin of the image is not {ONEADMIN}:{ONEADMIN}"; exit 1; }}
usermod -p '*' oneadmin
rm -f /etc/ssh/ssh_host_*
"""


def mirror() -> tuple[str, str]:
    """Return the mirror and the release that the configuration of apt names first. Raises HarnessError if there is none."""
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(COMPONENT)", "Created-By: Packages"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise HarnessError("apt is not here to name a mirror; give an image of yours with --from") from None
    rows = [line.split() for line in text.splitlines()]
    found = next(((row[0], row[1]) for row in rows if len(row) == 3 and row[2] == "main" and "-" not in row[1]), None)
    if found is None:
        raise HarnessError("the configuration of apt names no mirror of a release; see /etc/apt/sources.list, or give an image of yours with --from")
    return found


def build(image: str, source: str, said: Callable[[str], None]) -> str:
    """Build the image from a Debian system, or from the image `source`. `said` is told of each step. Returns its id. Raises HarnessError."""
    client = fleet.connect()
    try:
        return _derived(client, image, source, said) if source else _bootstrapped(client, image, said)
    finally:
        client.close()


def _derived(client: Any, image: str, source: str, said: Callable[[str], None]) -> str:
    if image == source:
        raise ConfigError(f"--image {image} is that of --from; choose another name")
    said(f"making {image} from {source}")
    context = io.BytesIO()
    text = "\n".join(
        [
            f"FROM {source}",
            "USER root",
            "COPY finish /tmp/onetck-finish",
            "RUN sh /tmp/onetck-finish && rm /tmp/onetck-finish",
            f'LABEL {fleet.IMAGE_LABEL}="{source}"',
            "ENTRYPOINT []\n",
        ]
    )
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, data in (("Dockerfile", text.encode()), ("finish", _FINISH.encode())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    context.seek(0)
    said_last = ""
    with fleet.told(f"build {image}"):
        for row in client.api.build(fileobj=context, custom_context=True, tag=image, rm=True, forcerm=True, network_mode="none", decode=True):
            said_last = next((line for line in reversed(str(row.get("stream", "")).splitlines()) if line.startswith("onetck: ")), said_last)
            if "error" in row:
                raise HarnessError(f"the image {source} cannot hold hosts: {said_last.removeprefix('onetck: ') or row['error']}")
        return str(client.images.get(image).id)


def _bootstrapped(client: Any, image: str, said: Callable[[str], None]) -> str:
    if os.geteuid() != 0:
        raise HarnessError("debootstrap needs root; run `onetck hosts build` as root once, or give an image of yours with --from")
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise HarnessError("debootstrap is not here; apt-get install debootstrap, or give an image of yours with --from")
    site, release = mirror()
    with tempfile.TemporaryDirectory(prefix="onetck-image-") as scratch:
        root, log = Path(scratch) / "root", Path(scratch) / "log"
        said(f"{release} from {site}: downloading and unpacking, some minutes")
        _run([program, "--variant=minbase", f"--include={_PACKAGES}", release, str(root), site], log)
        said("adding oneadmin")
        _run(["chroot", str(root), "/bin/sh", "-c", _FINISH], log)
        said(f"importing as {image}")
        packed = Path(scratch) / "root.tar"
        with tarfile.open(packed, "w", dereference=False) as archive:
            archive.add(root, arcname=".", filter=lambda member: None if member.name.startswith(_LEFT_OUT) else member)
        name, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
        with fleet.told(f"import {image}"):
            client.api.import_image(str(packed), repository=name, tag=tag, changes=[f"LABEL {fleet.IMAGE_LABEL}={release}"])
            return str(client.images.get(image).id)


def _run(command: list[str], log: Path) -> None:
    with log.open("wb") as file:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:] or ["it said nothing"]
        raise HarnessError(f"{Path(command[0]).name} failed with {status}: {last[0]}")
