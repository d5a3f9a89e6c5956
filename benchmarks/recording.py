"""What the recording shim adds to a call, against the same script run bare: python benchmarks/recording.py [CALLS]

Bare and recorded calls alternate, so that what else the machine does slows both. Times are medians in milliseconds: until the caller has its answer, and of the
processor, which other work on the machine does not lengthen, for all that was waited for until then. What the shim does after the answer is in neither.
"""

from __future__ import annotations

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
        print(
            f"{platform.node()} {platform.machine()}, {count} calls each, median ms\n{'call':16}{'time':11}{'bare':>8}{'recorded':>10}{'added':>8}{'ratio':>7}"
        )
        for script, document in (("tm/x/clone", b""), ("datastore/x/cp", b"x" * 4000)):
            bare, recorded = [], []
            for _ in range(count):
                bare.append(_call(root / "bare" / script, document))
                recorded.append(_call(root / "recorded" / script, document))
            for n, what in enumerate(("answer", "processor")):
                one, two = (statistics.median(row[n] for row in rows) for rows in (bare, recorded))
                print(f"{script:16}{what:11}{one:8.2f}{two:10.2f}{two - one:8.2f}{two / one:7.2f}")


def _call(script: Path, document: bytes) -> tuple[float, float]:
    """Return the milliseconds of a call, and those of the processor."""
    begun, used = time.perf_counter(), _used_s()
    subprocess.run([script, "one", "two"], input=document, capture_output=True, check=True)
    return (time.perf_counter() - begun) * 1000, (_used_s() - used) * 1000


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
