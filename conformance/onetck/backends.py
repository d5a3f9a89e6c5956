"""The backends that make the hosts of a world: which there are, what each gives, whether this machine can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Unpack

from onesim.errors import ConfigError, HarnessError
from onesim.layout import Subjected
from onesim.world import docker, namespaces, ssh
from onesim.world.fleet import IMAGE
from onesim.world.interface import Question, Reply
from onesim.world.lab import CANNOT
from onesim.world.probe import probe
from onesim.world.served import AgentWorld, Wanted
from onetck import machines

__all__ = ["IMAGE", "NAMES", "known", "obtainable", "require", "start"]

NAMES = ("namespaces", "docker", "ssh")


def known(name: str) -> str:
    """Return the name of a backend. Raises ConfigError for one that is not there."""
    if name not in NAMES:
        raise ConfigError(f"--backend {name!r} is unknown; choose one of {', '.join(NAMES)}")
    return name


def start(subject: Subjected, on_question: Callable[[Question], Reply | None], **wanted: Unpack[Wanted]) -> AgentWorld:
    """Start a world of the backend that the subject names. Raises HarnessError with the remedy."""
    if subject.backend == "docker":
        return docker.DockerWorld.start(subject.image, on_question=on_question, **wanted)
    if subject.backend == "ssh":
        if not machines.agreed(subject.lab):
            raise ConfigError("nobody has agreed that this command works on the machines of [hosts]; give another --backend")
        return ssh.SshWorld.start(subject.lab, on_question=on_question, **wanted)
    return namespaces.NamespaceWorld.start(on_question=on_question, **wanted)


def obtainable(subject: Subjected) -> dict[str, str]:
    """Return what the backend isolates, for the record."""
    if subject.backend == "ssh":
        return ssh.obtainable(subject.lab)
    return docker.obtainable(subject.image) if subject.backend == "docker" else namespaces.obtainable()


def cannot(subject: Subjected) -> Mapping[str, str]:
    """Return the acts of faults that the backend cannot make, with the reason."""
    return CANNOT if subject.backend == "ssh" else {}


def require(subject: Subjected | None = None) -> None:
    """Raise HarnessError with the remedy if this machine cannot make a world."""
    if subject is not None and subject.backend == "docker":
        docker.ready(subject.image)
        return
    if subject is not None and subject.backend == "ssh":
        machines.require_enough(subject)
        machines.agree(subject.lab, yes=subject.agreed)
        ssh.ready(subject.lab)
        return
    for finding in probe():
        if not finding.ok and finding.needed:
            raise HarnessError(f"{finding.name}: {finding.detail}; {finding.remedy}")
