"""The documents of domains are read and written by several cases at once, each in a thread of its own."""

from __future__ import annotations

import subprocess
import sys

_BESIDE_EACH_OTHER = """
import faulthandler, threading
from onesim.libvirtd import domain_documents
faulthandler.enable()
for round in range(40):
    large = b"<domain>" + b"".join(b"<x%d-%d/>" % (round, n) for n in range(20_000)) + b"</domain>"
    beside = threading.Thread(target=domain_documents.read, args=(large, "domain_definition"))
    own = domain_documents.read(b"<domain/>", "domain_definition")
    beside.start()
    n = 0
    while beside.is_alive():
        own.set(f"y{round}-{n}", "1")
        n += 1
    assert len(own.attrib) == n
"""


def test_documents_of_two_threads_have_nothing_in_common() -> None:
    """One thread reads a document with new names while another writes new names into its own. In a process of its own: what goes wrong here ends it."""
    ended = subprocess.run([sys.executable, "-c", _BESIDE_EACH_OTHER], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
