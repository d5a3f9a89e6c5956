"""The SSH servers of hosts that have one of their own, and the clients on them: keys made for the world, configuration. Standard library only."""

from __future__ import annotations

import contextlib
import os
import subprocess

KEYS = "/run/onetck/ssh"
KEY = f"{KEYS}/key"
SSHD_CONFIG = f"{KEYS}/sshd_config"
_SERVERS = ("/sshd", "/sshd-session", "/sshd-auth")
_SFTP = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server", "/usr/lib/ssh/sftp-server")
#: The cheapest exchange of keys, as every driver's ssh begins with one: OpenSSH's first choice takes five times the processor time.
_EXCHANGE = "KexAlgorithms curve25519-sha256"
_CLIENT = f"""Host *
    {_EXCHANGE}
    IdentityFile {KEY}
    GlobalKnownHostsFile {KEYS}/known_hosts
    UserKnownHostsFile /dev/null
    BatchMode yes
    StrictHostKeyChecking yes
    ServerAliveInterval 1
    SendEnv ONETCK_CALL BASH_ENV
    LogLevel ERROR
"""
_SERVER = f"""HostKey {KEYS}/host_key
{_EXCHANGE}
AuthorizedKeysFile {KEYS}/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
PermitRootLogin no
AllowUsers oneadmin
MaxStartups 200
MaxSessions 200
ClientAliveInterval 2
ClientAliveCountMax 3
AcceptEnv ONETCK_CALL BASH_ENV
PidFile none
"""


class KeysRefused(Exception):
    """No keys can be made; the text says why."""


def make_keys(directory: str) -> dict[str, str]:
    """Make the keys of a world, one for its hosts and one for oneadmin, and return their texts by name. Raises KeysRefused; leaves nothing in the directory."""
    found = {}
    for name in ("host_key", "key"):
        path = f"{directory}/{name}"
        try:
            made = subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], capture_output=True, check=False)
        except OSError as error:
            raise KeysRefused(f"ssh-keygen: {error.strerror}; install OpenSSH's client") from None
        if made.returncode:
            raise KeysRefused(f"ssh-keygen: {made.stderr.decode(errors='replace').strip()}")
        for file in (path, f"{path}.pub"):
            with open(file) as text:
                found[os.path.basename(file)] = text.read()
            os.unlink(file)
    return found


def files(keys: dict[str, str], *, port: int = 22, gives_up_s: int = 3, client: str = "/etc/ssh/ssh_config") -> dict[str, tuple[str, int]]:
    """Return what server and clients of a host read: texts and modes by path. Clients give up after `gives_up_s` seconds without an answer."""
    sftp = next((path for path in _SFTP if os.path.exists(path)), "internal-sftp")
    patience = f"    Port {port}\n    ConnectTimeout {gives_up_s + 2}\n    ServerAliveCountMax {gives_up_s}\n"
    return {
        client: (_CLIENT + patience, 0o644),
        SSHD_CONFIG: (f"Port {port}\n{_SERVER}Subsystem sftp {sftp}\n", 0o644),
        f"{KEYS}/authorized_keys": (keys["key.pub"], 0o644),
        f"{KEYS}/known_hosts": ("* " + keys["host_key.pub"], 0o644),
        f"{KEYS}/host_key": (keys["host_key"], 0o600),
        KEY: (keys["key"], 0o600),
    }


def entry(host: str, port: int, way_in: str, directory: str) -> str:
    """Return the section of a client's configuration by which the harness itself becomes oneadmin of a host; the command `way_in` leads to its server.

    The keys of the world lie in the directory.
    """
    return (
        f"Host {host}\n    HostName 127.0.0.1\n    Port {port}\n    User oneadmin\n    IdentityFile {directory}/key\n    IdentitiesOnly yes\n"
        f"    GlobalKnownHostsFile {directory}/known_hosts\n    UserKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    BatchMode yes\n"
        f"    LogLevel ERROR\n" + (f"    ProxyCommand {way_in.replace('%', '%%')}\n" if way_in else "")
    )


def servers() -> frozenset[int]:
    """Return the processes of SSH servers, with what they start for each session."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/exe").endswith(_SERVERS):
                    found.add(int(name))
    return frozenset(found)
