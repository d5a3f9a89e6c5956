"""How the agent reads disks, without a world."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from onesim.world import disk


def test_a_device_that_knows_of_no_holes_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block device refuses to tell where data begin: its bytes are found as those of a file are."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 17) + b"x" * 4096 + bytes((1 << 18) - 4096))
    there = disk.read(str(path), "raw", {})
    seek = os.lseek

    def refuses(fd: int, offset: int, whence: int) -> int:
        if whence == os.SEEK_DATA:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return seek(fd, offset, whence)

    monkeypatch.setattr(os, "lseek", refuses)
    assert disk.read(str(path), "raw", {}) == there
    assert [one != "0" for one in there["blocks"]] == [False, False, True, False, False, False]  # type: ignore[attr-defined]
