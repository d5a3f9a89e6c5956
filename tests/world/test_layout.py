"""Which directories the hosts of a world share follows from what the vendor declares of the drivers."""

from __future__ import annotations

import pytest

from onesim.cloud import MadConf
from onesim.layout import DATASTORES, Subjected, shared_directories

_ALL, _NONE, _IMAGES, _SYSTEM = (DATASTORES,), (), (f"{DATASTORES}/1",), (f"{DATASTORES}/0", f"{DATASTORES}/100")


@pytest.mark.parametrize(
    ("tm", "system_tm", "declared", "asked", "expected"),
    [
        ("a", "a", {}, None, _ALL),
        ("a", "a", {}, False, _NONE),
        ("a", "a", {"a": False}, None, _NONE),
        ("a", "b", {"a": True, "b": True}, None, _ALL),
        ("a", "b", {"a": False, "b": False}, None, _NONE),
        ("a", "b", {"a": True, "b": False}, None, _IMAGES),
        ("a", "b", {"a": False, "b": True}, None, _SYSTEM),
        ("a", "b", {"a": True, "b": True}, False, _IMAGES),
        ("a", "b", {}, None, _ALL),
        ("a", "b", {"b": False}, None, _NONE),
    ],
)
def test_each_driver_says_whether_its_datastores_are_shared(
    tm: str, system_tm: str, declared: dict[str, bool], asked: bool | None, expected: tuple[str, ...]
) -> None:
    """`asked` is what the trace wants of the system datastores; what is not declared goes with them."""
    subject = Subjected(b"", "ds", tm, system_tm, tm_conf={name: MadConf(shared=shared) for name, shared in declared.items()})
    assert shared_directories(subject, asked) == expected
