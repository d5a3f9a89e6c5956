"""What verifying a document costs on one core: `validate` against plain lxml (parse and schema.validate) in the same run.

    python benchmarks/validation.py [DOCUMENTS]

The document is the guide's sample of the driver action data, mended to what oned 7.4.0 writes. Both ways alternate in rounds, so that what else the
machine does falls on both; the median round counts. `validate` also refuses DTDs, bounds size and tags, and verifies the root.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable

from lxml import etree

from onesim import schemas
from onesim.data import data_dir
from onesim.validation import validate

KIND, VERSION = "ds/cp", "7.4.0"
ROUNDS = 20

_PERMISSIONS = "".join(f"<{who}_{what}>0</{who}_{what}>" for who in ("OWNER", "GROUP", "OTHER") for what in "UMA")
_OWNED = "<ID>0</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME><NAME>ttylinux</NAME>"
DOCUMENT = (
    "<DS_DRIVER_ACTION_DATA>"
    f"<IMAGE>{_OWNED}<PERMISSIONS>{_PERMISSIONS}</PERMISSIONS><TYPE>0</TYPE><DISK_TYPE>0</DISK_TYPE><PERSISTENT>0</PERSISTENT>"
    "<REGTIME>1385145541</REGTIME><MODTIME>1385145541</MODTIME><SOURCE/><PATH>/tmp/ttylinux.img</PATH><FORMAT/><FS/><SIZE>40</SIZE><STATE>4</STATE>"
    "<PREV_STATE>0</PREV_STATE><RUNNING_VMS>0</RUNNING_VMS><CLONING_OPS>0</CLONING_OPS><CLONING_ID>-1</CLONING_ID>"
    "<TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT><DATASTORE_ID>1</DATASTORE_ID><DATASTORE>default</DATASTORE><VMS/><CLONES/><APP_CLONES/>"
    "<TEMPLATE><DEV_PREFIX><![CDATA[hd]]></DEV_PREFIX><PUBLIC><![CDATA[YES]]></PUBLIC></TEMPLATE>"
    "<SNAPSHOTS><ALLOW_ORPHANS>NO</ALLOW_ORPHANS><CURRENT_BASE>-1</CURRENT_BASE><NEXT_SNAPSHOT>0</NEXT_SNAPSHOT></SNAPSHOTS>"
    "<BACKUP_INCREMENTS/><BACKUP_DISK_IDS/></IMAGE>"
    f"<DATASTORE>{_OWNED}<PERMISSIONS>{_PERMISSIONS}</PERMISSIONS><DS_MAD>fs</DS_MAD><TM_MAD>shared</TM_MAD>"
    "<BASE_PATH>/var/lib/one//datastores/1</BASE_PATH><TYPE>0</TYPE><DISK_TYPE>0</DISK_TYPE><STATE>0</STATE><CLUSTERS><ID>0</ID></CLUSTERS>"
    "<TOTAL_MB>86845</TOTAL_MB><FREE_MB>20777</FREE_MB><USED_MB>1000</USED_MB><IMAGES/>"
    "<TEMPLATE><CLONE_TARGET><![CDATA[SYSTEM]]></CLONE_TARGET><DISK_TYPE><![CDATA[FILE]]></DISK_TYPE><DS_MAD><![CDATA[fs]]></DS_MAD>"
    "<LN_TARGET><![CDATA[NONE]]></LN_TARGET><TM_MAD><![CDATA[shared]]></TM_MAD><TYPE><![CDATA[IMAGE_DS]]></TYPE></TEMPLATE></DATASTORE>"
    "</DS_DRIVER_ACTION_DATA>"
).encode()


def measure(documents: int) -> tuple[float, float]:
    """Return documents per second of `validate` and of plain lxml."""
    base_url = str(data_dir("schemas") / "document.xsd")
    schema = etree.XMLSchema(etree.fromstring(schemas.schema_text(KIND, VERSION), base_url=base_url))

    def plain() -> bool:
        return schema.validate(etree.fromstring(DOCUMENT))

    def ours() -> bool:
        return validate(KIND, VERSION, DOCUMENT) == []

    if not (plain() and ours()):
        raise SystemExit("benchmarks/validation.py: the document is not valid; correct it")
    each = max(documents // ROUNDS, 1)
    rounds = [(_rate(ours, each), _rate(plain, each)) for _ in range(ROUNDS)]
    return statistics.median(one for one, _ in rounds), statistics.median(one for _, one in rounds)


def _rate(work: Callable[[], bool], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return times / (time.perf_counter() - began)


def main() -> None:
    """Print both rates and their ratio."""
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    ours, plain = measure(documents)
    libxml = ".".join(map(str, etree.LIBXML_VERSION))
    print(f"document of {len(DOCUMENT)} bytes, Python {platform.python_version()}, libxml2 {libxml}, one core")
    print(f"validate    {ours:10,.0f} documents/s")
    print(f"plain lxml  {plain:10,.0f} documents/s")
    print(f"ratio       {plain / ours:10.2f} (plain / validate; below 1 is faster than plain)")


if __name__ == "__main__":
    main()
