"""A driver that shows its secrets wherever it can, and how it is run."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from onesim.data import data_dir
from onetck.cli import main

#: What is planted: in the template of the datastore, in the environment, by reference, in a file below etc; the last one only the driver knows.
PLANTED = ("planted <one> & 'more'", "planted-two", "planted+three/x", "planted4", "planted five", "fresh42token")
_DESCRIPTION = """[driver]
paths = ["remotes"]
datastore = "fs"
tm = "shared"

[image_datastore]
ACME_PASSWORD = "planted <one> & 'more'"
RESTIC_PASSWORD = "planted five"

[environment]
ACME_API_KEY = "planted-two"

[secret.ARRAY_TOKEN]
env = "PLANTED_TOKEN"

[etc]
"tm/acme.conf" = "PASSWORD=planted4\\n"
"""
_SHOWS = r"""#!/bin/bash
document=$(cat)
curl -s --max-time 1 -u "bob:$ARRAY_TOKEN" -H "X-Auth-Token: fresh$((40 + 2))token" http://127.0.0.1:9/ >/dev/null
. /var/lib/one/remotes/etc/tm/acme.conf
touch "/var/lib/one/datastores/1/mark-$PASSWORD"
echo "INFO: $ACME_API_KEY, $(printf %s "$ARRAY_TOKEN" | base64 -w0), $(printf %s "bob:$ARRAY_TOKEN" | base64 | base64)" >&2
echo "INFO: $(base64 -d <<<"$document")" >&2
onedatastore show 1 >/dev/null
for ((n = 0; n < 400; n++)); do echo "INFO: $n $ARRAY_TOKEN" >&2; done
exec "${0%/*}/cp.orig" "$@" <<<"$document"
"""
_TRACE = """{"trace": 1, "name": "planted", "title": "An image comes into a store whose secrets show", "gates": ["curl"]}
{"op": "file.make", "path": "/var/tmp/os.raw", "format": "raw", "size_mb": 1}
{"op": "image.register", "image": "os", "path": "/var/tmp/os.raw"}
{"op": "image.delete", "image": "os"}
"""


def onetck(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = [sys.executable, "-m", "onetck.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment}, timeout=120, check=False)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which is much faster."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def play(home: Path) -> Path:
    """Make the driver in a directory and run it. Returns the directory of the run."""
    shutil.copytree(data_dir("reference_driver") / "remotes", home / "remotes", symlinks=True)
    script = home / "remotes/datastore/fs/cp"
    script.rename(script.with_name("cp.orig"))
    script.write_text(_SHOWS)
    script.chmod(0o755)
    (home / "onetck.toml").write_text(_DESCRIPTION)
    (home / "planted.jsonl").write_text(_TRACE)
    words = ("run", ".", "--trace", "planted.jsonl", "--profile", "ds-core", "--out", "out")
    ended = onetck(*words, cwd=home, PLANTED_TOKEN=PLANTED[2])
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return home / "out"
