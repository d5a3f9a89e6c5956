"""What a walk favours: chosen for each by chance, so that some go far in one direction, and others mix."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

#: What has to do with each other: a walk favours some of these, whole.
_KINDS = (
    ("snapshot_create", "snapshot_revert", "snapshot_delete"),
    ("snapshot_create", "snapshot_revert", "disk_saveas"),
    ("disk_resize",),
    ("disk_saveas",),
    ("attach_disk", "detach_disk"),
    ("migrate", "migrate_live", "migrate_poweroff"),
    ("stop", "undeploy"),
    ("suspend", "poweroff", "resume"),
)


@dataclass(frozen=True)
class Bent:
    """What one walk favours. Walks that favour little each go further than walks that mix all (swarm testing).

    `again`: how often in a row the same is asked, at most; `crowd`: VMs that live at once; `overlap`: operations in ten that are asked beside others;
    `writes`: guests write before most operations; `ends`: all VMs and images go at the end; `calls` to storage drivers, after which the walk ends.
    """

    asked: frozenset[str]
    again: int
    crowd: int
    overlap: int
    writes: bool
    ends: bool
    calls: int


def bent(chance: Random) -> Bent:
    """Choose what a walk favours."""
    kinds = chance.sample(_KINDS, chance.choice((1, 2, 2, 3, 4)))
    return Bent(
        asked=frozenset(name for kind in kinds for name in kind),
        again=chance.choice((1, 2, 4, 12)),
        crowd=chance.choice((1, 1, 1, 2, 2, 3, 4, 12)),
        overlap=chance.choice((0, 0, 5, 10)),
        writes=chance.random() < 0.8,
        ends=chance.random() < 0.3,
        calls=chance.choice((40, 80, 120)),
    )
