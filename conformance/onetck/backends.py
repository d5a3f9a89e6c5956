"""The backends that make the hosts of a world: which there are, what each gives, whether this machine can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from onesim.errors import ConfigError, HarnessError
from onesim.layout import Subjected
from onesim.world import docker, namespaces
from onesim.world.fleet import IMAGE
from onesim.world.interface import Question, Reply
from onesim.world.probe import probe
from onesim.world.served import AgentWorld, Wanted

__all__ = ["IMAGE", "NAMES", "known", "obtainable", "require", "start"]

NAMES = ("namespaces", "docker")


def known(name: str) -> str:
    """Return the name of a backend. Raises ConfigError for one that is not there."""
    if name not in NAMES:
        raise ConfigError(f"--backend {name!r} is unknown; choose one of {', '.join(NAMES)}")
    return name


def start(subject: Subjected, on_question: Callable[[Question], Reply | None], **wanted: Unpack[Wanted]) -> AgentWorld:
    """Start a world of the backend that the subject names. Raises HarnessError with the remedy."""
    if subject.backend == "docker":
        return docker.DockerWorld.start(subject.image, on_question=on_question, **wanted)
    return namespaces.NamespaceWorld.start(on_question=on_question, **wanted)


def obtainable(subject: Subjected) -> dict[str, str]:
    """Return what the backend isolates, for the record."""
    return docker.obtainable(subject.image) if subject.backend == "docker" else namespaces.obtainable()


def require(subject: Subjected | None = None) -> None:
    """Raise HarnessError with the remedy if this machine cannot make a world."""
    if subject is not None and subject.backend == "docker":
        docker.ready(subject.image)
        return
    for finding in probe():
        if not finding.ok and finding.needed:
            raise HarnessError(f"{finding.name}: {finding.detail}; {finding.remedy}")
