"""How oned reads the first line of an action's stdout, by contract. Each parser is named in `spec/actions/*.toml`.

A parser takes stdout as the driver printed it and returns the fields read and, where the contract makes it an error, the message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

Parsed = tuple[dict[str, str], str]


def first_line(stdout: str) -> str:
    """Return what reaches oned's parser: the first line, or `-` for no output. Further lines become separate messages."""
    return stdout.split("\n", 1)[0] or "-"


def _source(stdout: str) -> Parsed:
    tokens = first_line(stdout).split()
    return {"source": tokens[0] if tokens else "-"}, ""


def _source_line(stdout: str) -> Parsed:
    return {"source": first_line(stdout).lstrip()}, ""


def _source_format(stdout: str) -> Parsed:
    tokens = first_line(stdout).split()
    parsed = {"source": tokens[0] if tokens else "-"}
    if len(tokens) < 2:
        return parsed, "CP operation succeeded but image FORMAT was not returned."
    return {**parsed, "format": tokens[1]}, ""


def _source_maybe_format(stdout: str) -> Parsed:
    tokens = first_line(stdout).split()
    parsed = {"source": tokens[0] if tokens else "-"}
    return ({**parsed, "format": tokens[1]} if len(tokens) > 1 else parsed), ""


def _size(stdout: str) -> Parsed:
    text = first_line(stdout)
    number = re.match(r"\s*[+-]?\d+", text)
    if number is None:
        return {}, f"Cannot parse image SIZE: {text}"
    return {"size_mb": number.group().strip().lstrip("+")}, ""


@lru_cache(maxsize=256)
def _monitor(stdout: str) -> Parsed:
    from onesim import grammars
    from onesim.grammar_values import Monitor

    found = grammars.parse("monitor", stdout)
    if not isinstance(found, Monitor):
        return {}, "Error parsing datastore information; oned drops it all"
    # what is not there counts as 0, and what is no whole MiB is cut off (oned 7.4.0: include/Datastore.h:211)
    return {name: str(int(getattr(found, name))) for name in ("total_mb", "free_mb", "used_mb")}, ""


def _text(stdout: str) -> Parsed:
    return {"text": first_line(stdout)}, ""


def _whole(stdout: str) -> Parsed:
    return {"text": stdout}, ""


def _backup(stdout: str) -> Parsed:
    tokens = [*first_line(stdout).split(), "", ""]
    return {"backup_id": tokens[0], "size_mb": tokens[1]}, ""


def _backup_format(stdout: str) -> Parsed:
    tokens = first_line(stdout).split()
    return {**_backup(stdout)[0], "format": tokens[2] if len(tokens) > 2 else "raw"}, ""


def _increments(stdout: str) -> Parsed:
    # no output reads as a dash: then there is no chain, and oned keeps what it has
    size_mb, chain, *_ = [*first_line(stdout).split(), "", ""]
    for pair in filter(None, chain.split(",")):
        if not re.fullmatch(r"\d+:[^:]+", pair):
            return {}, "Error flattening backup increments"
    return {"size_mb": size_mb, "chain": chain}, ""


def _ignored(stdout: str) -> Parsed:
    return {}, ""


PARSERS: dict[str, Callable[[str], Parsed]] = {
    "source": _source,
    "source_line": _source_line,
    "source_format": _source_format,
    "source_maybe_format": _source_maybe_format,
    "size": _size,
    "monitor": _monitor,
    "ignored": _ignored,
    "text": _text,
    "epoch": _text,
    "import_info": _whole,
    "disk_urls": _whole,
    "vm_sizes": _whole,
    "backup": _backup,
    "backup_format": _backup_format,
    "increments": _increments,
}

#: Parsers of what oned hands on as it is, or never sees: no object stores it.
ELSEWHERE = frozenset({"import_info", "disk_urls", "vm_sizes"})

_SEPARATED = re.compile(r"^ERROR MESSAGE --8<------\n(.*?)\n?^ERROR MESSAGE ------>8--$", re.DOTALL | re.MULTILINE)
_LOGGED = re.compile(r"(ERROR|INFO|WARN|DEBUG):\s+\S")


def error_separated(stderr: str) -> str:
    """Error text up to 6.0.2: the first block between the separator lines, of which the first line survives."""
    block = _SEPARATED.search(stderr)
    return block.group(1).split("\n", 1)[0] if block else ""


def error_plain(stderr: str) -> str:
    """Error text since 7.0.0: the lines that are no log lines, joined without a separator."""
    return "".join(line for line in map(str.strip, stderr.splitlines()) if not _LOGGED.match(line))


def error_whole(stderr: str) -> str:
    """Error text from 6.0.3 to 6.10: the whole of stderr with blanks for newlines."""
    return " ".join(stderr.split("\n")).strip()


ERRORS: dict[str, Callable[[str], str]] = {"separated": error_separated, "whole": error_whole, "plain": error_plain}
