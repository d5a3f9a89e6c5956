"""A small installed driver, and calls of it as oned's programs make them: with a pipe for each stream."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = {
    "tm/x/clone": 'cat "$(dirname "$0")/word" "$(dirname "$0")/../shared_word"; printf "%s|" "${0##*/}" "$(basename "$(dirname "$0")")" "$@"; echo said >&2; exit 3',
    "tm/x/mv": 'trap "echo caught >>\\"$1\\"; exit 7" TERM; echo begun >>"$1"; for _ in $(seq 100); do sleep 0.05; done',
    "tm/x/ln": 'kill -s "$1" $$; sleep 5',
    "tm/x/mvds": 'exit "$1"',
    "tm/x/snap_create": "exec env",
    "tm/x/delete": 'sleep 0.5; echo done >"$1"; echo told',
    "datastore/x/cp": "cat; printf 'end\\0\\377' >&2",
}


@dataclass
class Installed:
    """The tree, its twin that is never recorded, and the recorder."""

    root: Path
    bare: Path
    spool: Path
    recorder: Path
    shell: str

    def record(self, command: str, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([self.shell, self.recorder, command, self.root, *words], capture_output=True, text=True, check=False)
        if self.shell == "bash" and command == "install":
            # as where /bin/sh is bash
            for shim in self.root.glob("*/x/*"):
                if not shim.is_symlink() and b"onetck-record-shim" in shim.read_bytes()[:60]:
                    shim.write_text(shim.read_text().replace("#!/bin/sh", "#!/bin/bash --posix", 1))
        return done

    def install(self, *words: str) -> None:
        done = self.record("install", "--driver", "x", "--spool", str(self.spool), *words)
        assert done.returncode == 0, done.stderr

    def begin(self, script: str, *argv: str, bare: bool = False, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        path = (self.bare if bare else self.root) / script
        return subprocess.Popen([path, *argv], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=env)

    def call(self, script: str, *argv: str, data: bytes = b"", bare: bool = False) -> tuple[int, bytes, bytes]:
        with self.begin(script, *argv, bare=bare) as running:
            out, err = running.communicate(data, timeout=60)
        return running.returncode, out, err

    def recorded(self, count: int) -> list[str]:
        """Return the list of the calls, when it is so long: it is written after the call has ended."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            lines = (self.spool / "calls").read_text().splitlines()
            if len(lines) >= count:
                return lines
            time.sleep(0.02)
        raise AssertionError(f"not {count} calls: {lines}")


def tree_of(root: Path) -> dict[str, tuple[object, ...]]:
    """Return what a tree is: of each file mode, owner, times, links and bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        body = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(root))] = (oct(info.st_mode), info.st_uid, info.st_gid, body, info.st_mtime_ns if not path.is_dir() else 0)
    return found
