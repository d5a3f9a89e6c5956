"""What the recording shim adds to a call, against the same script run bare: python benchmarks/recording.py [CALLS]

Bare and recorded calls alternate, so that what else the machine does slows both. In milliseconds: the median, and the best tenth of the calls, which is what is left
where the machine does little else. `answer` is the time until the caller has its answer; `processor` is that of all that was waited for until then;
`altogether` adds what the shim does after the answer, and what it does beside the script.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from onesim.recording.packing import packed
from onesim.spec import load

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SCRIPT = "#!/bin/bash\ncat >/dev/null\necho done\n"


def main() -> None:
    """Print a table: a call without input (tm/clone) and one with a document (datastore/cp), bare and recorded."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "recorder").write_text(packed(load()))
        for side in ("bare", "recorded"):
            for script in ("tm/x/clone", "datastore/x/cp"):
                path = root / side / script
                path.parent.mkdir(parents=True)
                path.write_text(SCRIPT)
                path.chmod(0o755)
        install = ["sh", str(root / "recorder"), "install", str(root / "recorded"), "--driver", "x", "--spool", str(root / "spool")]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        print(f"{platform.node()} {platform.machine()}, {count} calls each, ms: median, best tenth")
        print(f"{'call':16}{'':11}{'bare':>14}{'recorded':>14}{'added':>14}")
        for script, document in (("tm/x/clone", b""), ("datastore/x/cp", b"x" * 4000)):
            bare, recorded = [], []
            for _ in range(count):
                bare.append(_call(root / "bare" / script, document))
                recorded.append(_call(root / "recorded" / script, document))
            for n, what in enumerate(("answer", "processor", "altogether")):
                columns = [_typical([row[n] for row in rows]) for rows in (bare, recorded)]
                columns.append((columns[1][0] - columns[0][0], columns[1][1] - columns[0][1]))
                print(f"{script:16}{what:11}" + "".join(f"{middle:8.2f}{best:6.2f}" for middle, best in columns))


def _typical(values: list[float]) -> tuple[float, float]:
    """Return the median, and the value that a tenth of them does not exceed."""
    return statistics.median(values), sorted(values)[len(values) // 10]


def _call(script: Path, document: bytes) -> tuple[float, float, float]:
    """Return the milliseconds of a call, those of the processor, and those with what goes on after the answer."""
    begun, used = time.perf_counter(), _used_s()
    subprocess.run([script, "one", "two"], input=document, capture_output=True, check=True)
    answer, processor = time.perf_counter() - begun, _used_s() - used
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        return answer * 1000, processor * 1000, (_used_s() - used) * 1000


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
