"""The mutants of the reference driver: every operator on every line of its scripts, each once, with an id that stays."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import msgspec

from onesim.errors import HarnessError
from onetck.selftest.operators import OPERATORS
from onetck.selftest.source import is_action, lines_of

_PARSE_S = 20
#: Lines from one mutant to the next, unless all are asked for.
_APART = 3
#: What a driver says to people: its wording is its own.
_MESSAGE = re.compile(r'(?:\b(?:fail|on_host|on_storage|attempt|log_\w+|error_message|problem\+?=)\s*)"(?:[^"\\]|\\.)*"')


class Mutant(msgspec.Struct, frozen=True):
    """The reference driver with one line changed. `file` is its path in the tree; `before` and `after` are the line without its indentation."""

    id: str
    file: str
    line: int
    operator: str
    before: str
    after: str


def derive(files: Mapping[str, str]) -> list[Mutant]:
    """Return the mutants of scripts, given by path and text, in the order of files and lines. Whether they parse is seen when they are chosen."""
    return [mutant for file, text in sorted(files.items()) for mutant in _of(file, text)]


def _of(file: str, text: str) -> Iterator[Mutant]:
    """Yield the mutants of one script. Of equal ones the first counts; of several that an operator makes of a line, one stands for all."""
    seen = {text}
    times: dict[tuple[str, str, str], int] = {}
    for line in lines_of(text, file.partition("/")[0] if is_action(file) else ""):
        for name, operator in OPERATORS.items():
            made = []
            for changed in operator(line):
                whole = replaced(text, line.number, changed)
                if whole in seen or _only_words(line.text, changed):
                    continue
                seen.add(whole)
                before, after = line.text.strip(), changed.strip()
                place = (name, before, after)
                times[place] = times.get(place, 0) + 1
                digest = hashlib.sha256("\0".join((file, *place, str(times[place]))).encode()).hexdigest()[:10]
                made.append(Mutant(digest, file, line.number, name, before, after))
            yield from sorted(made, key=lambda one: one.id)[:1]


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _only_words(before: str, after: str) -> bool:
    """Whether two lines differ within a message alone."""
    start = _alike(before, after)
    end = len(before) - _alike(before[:start:-1], after[:start:-1])
    return any(found.start() < start and end < found.end() for found in _MESSAGE.finditer(before))


def replaced(text: str, number: int, line: str) -> str:
    """Return a text with another line in place of one."""
    rows = text.split("\n")
    rows[number - 1] = line
    return "\n".join(rows)


def mutated(text: str, mutant: Mutant) -> str:
    """Return the script of a mutant."""
    old = text.split("\n")[mutant.line - 1]
    return replaced(text, mutant.line, old[: len(old) - len(old.lstrip())] + mutant.after)


def parses(text: str) -> bool:
    """Tell whether bash can read a script. Raises HarnessError where bash cannot be asked."""
    try:
        return subprocess.run(["bash", "-n"], input=text.encode(), capture_output=True, timeout=_PARSE_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"bash -n: {error}") from None


def choose(mutants: Sequence[Mutant], files: Mapping[str, str], seed: int, count: int = 0) -> list[Mutant]:
    """Return mutants that parse: so many of them, chosen by a seed and as even over the operators as can be; all of them if `count` is 0."""
    if not count:
        with ThreadPoolExecutor(max_workers=4) as pool:
            right = pool.map(lambda one: parses(mutated(files[one.file], one)), mutants)
            return [mutant for mutant, parsed in zip(mutants, right, strict=True) if parsed]
    chooser = random.Random(seed)
    groups: dict[str, list[Mutant]] = {}
    for mutant in chooser.sample(list(mutants), len(mutants)):
        groups.setdefault(mutant.operator, []).append(mutant)
    chosen: list[Mutant] = []
    order = sorted(groups, key=lambda name: (len(groups[name]), name))
    for n, name in enumerate(order):
        share = -(-(count - len(chosen)) // (len(order) - n))
        chosen += islice((one for one in groups[name] if parses(mutated(files[one.file], one))), max(share, 0))
    return sorted(chosen, key=lambda one: (one.file, one.line, one.operator))


def apart(mutants: Sequence[Mutant], files: Mapping[str, str]) -> list[Mutant]:
    """Return mutants that parse, of at most one of three neighbouring lines, and of a line the one with the first id: ids are hashes, so chance picks it.

    Which ones depends on the text of the script alone, not on what is found of them.
    """
    chosen: list[Mutant] = []
    for one in sorted(mutants, key=lambda one: (one.file, one.line, one.id)):
        near = bool(chosen) and chosen[-1].file == one.file and one.line - chosen[-1].line < _APART
        if not near and parses(mutated(files[one.file], one)):
            chosen.append(one)
    return chosen


def scripts(tree: Path, chosen: Iterable[str]) -> dict[str, str]:
    """Return the bash scripts of a tree whose path is chosen, by path."""
    found = {file: (tree / file).read_text() for file in sorted(chosen) if (tree / file).suffix not in (".awk", ".rb")}
    return {file: text for file, text in found.items() if text.startswith("#!/bin/bash")}
