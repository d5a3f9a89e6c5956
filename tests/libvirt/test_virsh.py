"""The simulated virsh and a real libvirtd 9.0 are given the same commands: they print the same, end with the same status, and leave the same bytes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree
from sides import PLACE, Real, Said, Side, Simulated, both, files, missing, normal

from onesim.content import Write
from onesim.libvirtd.commandline import commands, others

pytestmark = pytest.mark.components
SCENARIOS = Path(__file__).parent / "data" / "virsh"


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Real, Simulated]]:
    """A real libvirtd and a simulated one."""
    if missing():
        pytest.skip(missing())
    yield from both(tmp_path / "libvirtd.log")


def _documents(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each document of a scenario: `file NAME` and the lines behind it up to an empty one."""
    at = 0
    while at < len(lines):
        if lines[at].startswith("file "):
            end = next((n for n in range(at, len(lines)) if not lines[n].strip()), len(lines))
            yield lines[at].removeprefix("file ").strip(), "\n".join(lines[at + 1 : end]).replace("$D", PLACE) + "\n"
            at = end
        at += 1


def _steps(lines: list[str]) -> Iterator[str]:
    inside = False
    for line in lines:
        inside = line.startswith("file ") or (inside and bool(line.strip()))
        if line.strip() and not inside and not line.startswith("#"):
            yield line.replace("$D", PLACE)


_EXTENTS = r"  <source>\n +<device path='[^']*'>\n +<extent [^>]*/>\n +</device>\n  </source>\n|(<device path='[^']*')>\n(?: +<freeExtent [^>]*>\n)+ +</device>"
_OF = {"real": Real, "simulated": Simulated}


def _play(side: Side, step: str) -> Said | None:
    """Play a step: a guest's write, a command of virsh, or (with an exclamation mark; two of them: as root) any other."""
    words = shlex.split(step)
    if words[0] in _OF:  # what only a machine needs, such as a block device for a file system; and what stands for it
        assert not isinstance(side, _OF[words[0]]) or side.run(words[1:], root=True).status == 0, step
        return None
    if words[0] == "device":
        side.device(words[1])
        return None
    if words[0] == "write":
        domain, number, offset, length, byte = words[1], *(int(word) for word in words[2:])
        side.guest_writes(domain, number, Write(offset, length, byte))
        return None
    return side.run(words[1:], root=words[0] == "!!") if words[0].startswith("!") else side.run(["virsh", *words])


def _shown(step: str, said: Said) -> Said:
    """Return what is compared: of a domain's document only what it says of itself and its disks."""
    said = normal(said)
    if step.startswith("!"):
        return Said("", "", said.status)
    # where on its device a partition lies, the model does not know
    said = Said(re.sub(_EXTENTS, lambda found: f"{found[1]}/>" if found[1] else "", said.out), said.err, said.status)
    if re.match(r"(-q )?pool-(info|list|dumpxml)", step):
        # how much room there is differs from one file system to the next, and with it the width of a column
        return Said(re.sub(r"\d+\.\d\d \wi?B|(?<=>)\d+(?=<)|-{5,}", "some", re.sub(r" {2,}", " ", said.out)), said.err, said.status)
    if re.match(r"(-q )?(dumpxml|snapshot-dumpxml|checkpoint-dumpxml)\b", step) and said.status == 0:
        root = etree.fromstring(said.out.strip())
        for domain in [root] if root.tag == "domain" else root.findall("domain"):
            _shorten(domain)
        return Said(re.sub(r">\s+<", "><", etree.tostring(root, encoding="unicode")), said.err, said.status)
    return said


def _shorten(domain: etree._Element) -> None:
    for child in list(domain):
        if child.tag not in ("name", "uuid", "devices"):
            domain.remove(child)
    for device in domain.findall("devices/*"):
        if device.tag != "disk":
            domain.find("devices").remove(device)  # type: ignore[union-attr]
        for address in device.findall("address"):
            device.remove(address)


@pytest.mark.turns(4)
@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("*.txt")))
def test_the_simulated_virsh_says_and_does_what_the_real_one_does(name: str, sides: tuple[Real, Simulated]) -> None:
    """Each command of a scenario prints the same on both sides and ends with the same status; what it leaves has the same modes, formats, chains and bytes."""
    lines = (SCENARIOS / f"{name}.txt").read_text().splitlines()
    _, *needs = lines.pop(0).split() if lines[0].startswith("needs ") else [""]
    if needs and shutil.which(needs[0], path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"no {needs[0]} here; Debian: {needs[1]}")
    for side in sides:
        for path, text in _documents(lines):
            side.put(f"{PLACE}/{path}", text.encode())
    wrong = []
    for step in _steps(lines):
        real, simulated = (_play(side, step) for side in sides)
        if real is not None and simulated is not None and _shown(step, real) != _shown(step, simulated):
            wrong.append(f"virsh {step}\n    real      {_shown(step, real)}\n    simulated {_shown(step, simulated)}")
    there = [files(side) for side in sides]
    wrong += [
        f"{path}\n    real      {there[0].get(path)}\n    simulated {there[1].get(path)}"
        for path in sorted({*there[0], *there[1]})
        if there[0].get(path) != there[1].get(path)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_table_has_the_commands_and_options_of_the_real_virsh() -> None:
    """What `virsh help` lists is in the table: every command, and the options of each that is carried out, in their order."""
    if missing():
        pytest.skip(missing())
    every = subprocess.run(["virsh", "help"], capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^    ([a-z][\w-]*) ", every, re.MULTILINE))
    assert names == {*commands(), *others()}
    for name, options in commands().items():
        said = subprocess.run(["virsh", "help", name], capture_output=True, text=True, check=True).stdout.partition("OPTIONS")[2]
        assert re.findall(r"^    \[?--([\w-]+)", said, re.MULTILINE) == [one.name for one in options if not one.means], name
