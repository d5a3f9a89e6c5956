"""Signatures over a manifest, by SSH keys and offline: `ssh-keygen -Y`."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from onesim.errors import ConfigError, HarnessError

#: What the signatures are for; one that was made for something else does not count.
NAMESPACE = "onetck"
_KEY = re.compile(r"\b([A-Z0-9-]+) key (SHA256:\S+)")


@dataclass(frozen=True)
class Signature:
    """What is known of a signature: good (by somebody known), unknown (good, but nobody has said whose key it is), foreign, bad, or none."""

    state: Literal["good", "unknown", "foreign", "bad", "none"]
    by: str = ""


def sign(data: bytes, key: Path) -> bytes:
    """Return the signature of data with a private key. Raises ConfigError if the key cannot be used."""
    if not key.is_file():
        raise ConfigError(f"{key}: no such key; name a private SSH key with --sign")
    with tempfile.TemporaryDirectory(prefix="onetck-sign-") as scratch:
        text = Path(scratch) / "manifest"
        text.write_bytes(data)
        # the terminal stays there for the passphrase of a key
        done = _keygen("sign", "-q", "-f", str(key), str(text), inherited=True)
        if done.returncode:
            raise ConfigError(f"{key}: cannot sign: {_line(done.stderr)}")
        return text.with_name("manifest.sig").read_bytes()


def signed(data: bytes, signature: bytes, signers: Path | None) -> Signature:
    """Say whose a signature is. `signers` are lines as of `ssh-keygen`'s allowed signers: `name key`. Raises ConfigError if that file cannot be read."""
    if signers is not None and not signers.is_file():
        raise ConfigError(f"{signers}: no such file; give lines of a name and a public key with --signers")
    if not signature:
        return Signature("none")
    with tempfile.TemporaryDirectory(prefix="onetck-verify-") as scratch:
        path = Path(scratch) / "manifest.sig"
        path.write_bytes(signature)
        good = _keygen("check-novalidate", "-s", str(path), data=data)
        if good.returncode:
            return Signature("bad", _line(good.stderr or good.stdout))
        found = _KEY.search(good.stdout.decode(errors="replace"))
        key = f"{found[1]} {found[2]}" if found else "a key"
        if signers is None:
            return Signature("unknown", key)
        names = _keygen("find-principals", "-s", str(path), "-f", str(signers)).stdout.decode(errors="replace").split("\n")
        for name in filter(None, names):
            if not _keygen("verify", "-s", str(path), "-f", str(signers), "-I", name, data=data).returncode:
                return Signature("good", f"{name}, {key}")
        return Signature("foreign", key)


def _keygen(what: str, *words: str, data: bytes = b"", inherited: bool = False) -> subprocess.CompletedProcess[bytes]:
    # find-principals knows no namespace
    namespace = () if what == "find-principals" else ("-n", NAMESPACE)
    command = ["ssh-keygen", "-Y", what, *namespace, *words]
    try:
        return subprocess.run(command, input=None if inherited else data, capture_output=True, check=False)
    except FileNotFoundError:
        raise HarnessError("ssh-keygen is not there; apt-get install openssh-client") from None


def _line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "ssh-keygen refuses it"
