"""Outputs and error texts are read as the real oned was recorded, or its drivers executed, to read them."""

from __future__ import annotations

import pytest

from onesim.parsers import ERRORS, PARSERS
from onesim.spec import for_contract


@pytest.mark.parametrize(
    ("contract", "action", "printed", "parsed", "complaint"),
    [
        ("7.4", "ds/cp", "/ds/1/abc qcow2 more\n", {"source": "/ds/1/abc", "format": "qcow2"}, ""),
        ("7.4", "ds/cp", "junk line\n/src raw\n", {"source": "junk", "format": "line"}, ""),
        ("7.4", "ds/cp", "/ds/1/abc\n", {"source": "/ds/1/abc"}, "CP operation succeeded but image FORMAT was not returned."),
        ("7.4", "ds/cp", "", {"source": "-"}, "CP operation succeeded but image FORMAT was not returned."),
        ("5.12", "ds/cp", "/ds/1/abc qcow2\n", {"source": "/ds/1/abc"}, ""),
        ("7.4", "ds/mkfs", "/x qcow2\n", {"source": "/x qcow2"}, ""),
        ("7.4", "ds/mkfs", "", {"source": "-"}, ""),
        ("5.12", "ds/mkfs", "/x qcow2\n", {"source": "/x"}, ""),
        ("7.4", "ds/clone", "/x\n", {"source": "/x"}, ""),
        ("7.4", "ds/clone", "/x raw\n", {"source": "/x", "format": "raw"}, ""),
        ("7.4", "ds/stat", "10\n", {"size_mb": "10"}, ""),
        ("7.4", "ds/stat", "10MB\n", {"size_mb": "10"}, ""),
        ("7.4", "ds/stat", "", {}, "Cannot parse image SIZE: -"),
        ("7.4", "ds/stat", "big", {}, "Cannot parse image SIZE: big"),
        ("7.4", "ds/monitor", "USED_MB=1\nTOTAL_MB=300M FREE_MB=\"2\"\n", {"total_mb": "300", "free_mb": "2", "used_mb": "1"}, ""),
        ("7.4", "ds/monitor", "nonsense", {}, "Error parsing datastore information; oned drops it all"),
        ("7.4", "ds/monitor", "USED_MB=1, TOTAL_MB=2 FREE_MB=1", {}, "Error parsing datastore information; oned drops it all"),
        ("7.4", "ds/monitor", "TOTAL_MB=16777217\n", {"total_mb": "16777216", "free_mb": "0", "used_mb": "0"}, ""),
        ("7.4", "ds/stat", "-3\n", {"size_mb": "-3"}, ""),
        ("7.4", "ds/backup", "b1 100\n", {"backup_id": "b1", "size_mb": "100", "format": "raw"}, ""),
        ("6.8", "ds/backup", "b1 100 qcow2\n", {"backup_id": "b1", "size_mb": "100"}, ""),
        ("7.4", "ds/increment_flatten", "100 0:a,1:b\n", {"size_mb": "100", "chain": "0:a,1:b"}, ""),
        ("7.4", "ds/increment_flatten", "", {"size_mb": "-", "chain": ""}, ""),
        ("7.4", "ds/increment_flatten", "100 0:a:b\n", {}, "Error flattening backup increments"),
        ("7.4", "ds/rm", "whatever\n", {}, ""),
    ],
)  # fmt: skip
def test_what_an_action_prints_is_read_by_the_contracts_parser(
    contract: str, action: str, printed: str, parsed: dict[str, str], complaint: str
) -> None:
    """First line only; tokens or the whole line; what is missing counts as the real one counts it."""
    assert PARSERS[for_contract(contract).parser(action)](printed) == (parsed, complaint)


@pytest.mark.parametrize(
    ("rule", "stderr", "text"),
    [
        ("separated", "INFO: x\nERROR MESSAGE --8<------\nno space\nleft\nERROR MESSAGE ------>8--\n", "no space"),
        ("separated", "no separators\n", ""),
        ("whole", "INFO: a\nplain\n", "INFO: a plain"),
        ("plain", "INFO: a\nplain one\nERROR: b\nplain two\n", "plain oneplain two"),
        ("plain", "ERROR:text without a blank\n", "ERROR:text without a blank"),
        ("plain", "", ""),
    ],
)
def test_the_error_text_that_oned_shows(rule: str, stderr: str, text: str) -> None:
    """Between separators up to 6.0.2; the whole up to 6.10; since 7.0 the lines that are no log lines, joined without a blank."""
    assert ERRORS[rule](stderr) == text
