"""Every script by its own interpreter's syntax check, several at once; nothing of a script is run."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat

from onetck import cores
from onetck.lint.findings import Finding, Rules
from onetck.lint.sources import Script, Sources

_TIME_S = 20
#: What perl would run although it only checks the syntax.
_RUN_BY_PERL = re.compile(r"^\s*(BEGIN|UNITCHECK|CHECK|use\s+lib|use\s+if)\b", re.MULTILINE)
# one process for many files: `name NUL message NUL` for each that does not parse
_RUBY = """ARGV.each { |f| begin; RubyVM::InstructionSequence.compile_file(f); rescue SyntaxError => e; print f, "\\0", e.message, "\\0"; end }"""
_PYTHON = """
import sys
for f in sys.argv[1:]:
    try:
        compile(open(f, 'rb').read(), f, 'exec')
    except (SyntaxError, ValueError) as e:
        sys.stdout.write('%s\\0line %s: %s\\0' % (f, getattr(e, 'lineno', None) or 1, getattr(e, 'msg', e)))
"""
_NUMBER = re.compile(r"\bline (\d+)|:\s?(\d+):")


def check_syntax(sources: Sources, rules: Rules) -> Iterator[Finding]:
    """Yield the scripts that do not parse, and those that cannot be looked at."""
    found: list[tuple[Script, str]] = []
    with ThreadPoolExecutor(max(2, cores.count())) as pool:
        jobs: list[Iterable[tuple[Script, str]]] = []
        batches: dict[tuple[str, str], list[Script]] = {}
        for script in _once(sources):
            program = script.interpreter if script.first else script.language and _which(script.language)
            if not script.language or not program:
                continue
            if script.language in ("ruby", "python"):
                batches.setdefault((script.language, program), []).append(script)
            elif script.language == "perl" and _RUN_BY_PERL.search(script.text):
                yield rules.found("unread", script.key, 0, "perl runs parts of this script when it checks its syntax, so it was not asked")
            else:
                jobs.append(zip(repeat(script), pool.map(_alone, [script], [program]), strict=False))
        for (language, program), scripts in batches.items():
            # parts, so that every core has work
            parts = [scripts[start::2] for start in range(2) if scripts[start::2]]
            jobs.append(chain.from_iterable(pool.map(_together, parts, repeat(language), repeat(program))))
        for job in jobs:
            found += [(script, said) for script, said in job if said]
    for script, said in found:
        number = _NUMBER.search(said)
        line = int(number.group(1) or number.group(2)) if number else 0
        yield rules.found("syntax", script.key, line, _first(said, script))


def _once(sources: Sources) -> Iterator[Script]:
    """Yield every file once, whatever links lead to it."""
    seen = set()
    for script in sorted(sources.scripts.values(), key=lambda one: one.path.is_symlink()):
        real = script.path.resolve()
        if real not in seen:
            seen.add(real)
            yield script


def _which(language: str) -> str:
    from shutil import which

    return which({"python": "python3"}.get(language, language)) or ""


def _run(words: list[str]) -> subprocess.CompletedProcess[str] | None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(
            words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=_TIME_S, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _alone(script: Script, program: str) -> str:
    """Return what the interpreter says against one script; nothing if it parses."""
    options = ["-n"] if script.language in ("bash", "sh") else ["-c"]
    if script.language == "bash" and re.search(r"\bshopt\b.*\bextglob\b", script.text):
        options = ["-O", "extglob", *options]
    done = _run(
        [program, *options, "--" if script.language == "perl" else str(script.path), *([str(script.path)] if script.language == "perl" else [])]
    )
    if done is None or done.returncode == 0 or "Can't locate" in done.stderr:
        return ""
    return done.stderr or "the interpreter refuses it"


def _together(scripts: list[Script], language: str, program: str) -> list[tuple[Script, str]]:
    """Return what the interpreter says against several scripts."""
    words = {"ruby": [program, "--disable=gems", "-e", _RUBY], "python": [program, "-W", "ignore", "-c", _PYTHON]}[language]
    done = _run([*words, *(str(script.path) for script in scripts)])
    if done is None:
        return []
    parts = done.stdout.split("\0")
    said = dict(zip(parts[::2], parts[1::2], strict=False))
    return [(script, said.get(str(script.path), "")) for script in scripts]


def _first(said: str, script: Script) -> str:
    """Return the first line of what an interpreter says, without the name of the file and the number of the line."""
    line = next((line for line in said.splitlines() if line.strip()), said).replace(str(script.path), "")
    return "does not parse: " + re.sub(r"^[:\s]*(line )?\d*[:\s]*|\s+at  line \d+.*$", "", line).strip()
