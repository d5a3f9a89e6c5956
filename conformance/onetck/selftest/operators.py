"""The mutation operators: what can be wrong in one line of a driver, each a row of OPERATORS and a function from a line to changed lines.

An operator yields whole lines. That a line parses, is new and differs is seen to by `mutants`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from onetck.selftest.source import Line, Piece

_COPIES = frozenset(("cp", "host_copy", "bring", "qemu-img", "host_keep", "carry", "host_convert", "rsync", "tar"))
_REMOVALS = frozenset(("rm", "rmdir", "trap", "host_leave"))
_MODES = frozenset(("chmod", "chown", "umask"))
_KEPT = frozenset(("local", "shift", "set", "return", "exit", "fail", "break", "continue", "declare", ":", "true", "false", "function", "in"))
_PRINTERS = frozenset(("printf", "echo"))
#: Programs whose failure matters; a function of the driver ends the action itself.
_PROGRAMS = frozenset(
    ("cp", "mv", "rm", "rmdir", "mkdir", "ln", "touch", "truncate", "tar", "cat", "dd", "df", "stat", "find", "awk", "sed", "base64", "curl", "kill")
) | frozenset(("qemu-img", "mkswap", "realpath", "readlink", "rsync", "restic"))
#: Variables that hold what users have written, blanks and all.
_USERS_WORDS = re.compile(r'"\$(?:@|\{(?:files|options|pairs|disk_words|words|@):?\d*(?:\[@\])?\}|file|from|path|name)"')
_NOWHERE = re.compile(r"\s*(?:2>&1|[12&]?>/dev/null|>&2)")
_FED = re.compile(r"<<<\s*(?:\"\$\([^()]*\)\"|\"[^\"]*\"|\S+)|<\s+<\([^()]*(?:\([^()]*\))?[^()]*\)")
_SNAPSHOT = re.compile(r"\.snap/\$(?:\{\w+\}|\w+)")


def _commands(line: Line) -> Iterator[Piece]:
    return (piece for piece in line.pieces if piece.name and not piece.tests)


def _dropped(line: Line, chosen: Callable[[Piece], bool]) -> Iterator[str]:
    for piece in _commands(line):
        if piece.name not in _KEPT and chosen(piece):
            yield line.with_piece(piece, ":")


def skip_copy(line: Line) -> Iterator[str]:
    return _dropped(line, lambda piece: piece.name in _COPIES)


def leave_file(line: Line) -> Iterator[str]:
    return _dropped(line, lambda piece: piece.name in _REMOVALS)


def forget_mode(line: Line) -> Iterator[str]:
    return _dropped(line, lambda piece: piece.name in _MODES)


def drop_command(line: Line) -> Iterator[str]:
    return _dropped(line, lambda piece: piece.name not in _COPIES | _REMOVALS | _MODES)


def negate_test(line: Line) -> Iterator[str]:
    for piece in line.pieces:
        if piece.text.startswith("[[ ") and piece.text.endswith(" ]]"):
            inner = piece.text[3:-3]
            yield line.with_piece(
                piece, f"[[ {inner[2:]} ]]" if inner.startswith("! ") and "&&" not in inner and "||" not in inner else f"! {piece.text}"
            )
        elif piece.text.startswith("((") and piece.text.endswith("))"):
            yield line.with_piece(piece, f"((!({piece.text[2:-2]})))")


def part_of_test(line: Line) -> Iterator[str]:
    """One condition of several is forgotten."""
    for piece in line.pieces:
        if piece.text.startswith("[[ ") and piece.text.endswith(" ]]"):
            parts = re.split(r"\s(&&|\|\|)\s", piece.text[3:-3])
            for n in range(0, len(parts), 2) if len(parts) > 1 else ():
                rest = parts[:n] + parts[n + 2 :] if n == 0 else parts[: n - 1] + parts[n + 1 :]
                yield line.with_piece(piece, f"[[ {' '.join(rest)} ]]")


def swap_connector(line: Line) -> Iterator[str]:
    """Of `|| :` it makes nothing: a failure that was to be ignored then counts, while `&& :` would ignore it too."""
    for before, after in pairwise(line.pieces):
        between = line.code[before.end : after.start]
        if after.text == ":" and between.strip() == "||":
            yield line.text[: before.end] + line.text[after.end :]
            continue
        for old, new in (("&&", "||"), ("||", "&&")):
            if old in between:
                yield line.text[: before.end] + between.replace(old, new, 1) + line.text[after.start :]


def ignore_failure(line: Line) -> Iterator[str]:
    for piece in line.pieces:
        if piece.tests or not line.code.endswith(piece.text) or "||" in line.code:
            continue
        called = re.search(r"\$\((\S+)", piece.text)
        if (called[1] if piece.assigns and called else piece.name) in _PROGRAMS:
            yield line.with_piece(piece, f"{piece.text} || :")


def exit_zero(line: Line) -> Iterator[str]:
    for piece in _commands(line):
        if piece.name == "fail":
            yield line.with_piece(piece, "exit 0")
        elif piece.name in ("exit", "return") and re.fullmatch(r"\w+ [1-9]\d*", piece.text):
            yield line.with_piece(piece, f"{piece.name} 0")


def exit_one(line: Line) -> Iterator[str]:
    for piece in _commands(line):
        if piece.text in ("exit 0", "return 0", "return"):
            yield line.with_piece(piece, f"{piece.name} 1")


def swap_arguments(line: Line) -> Iterator[str]:
    for piece in _commands(line):
        words = [one for one in piece.words[1:] if not one[1].startswith(("-", "<", ">", "2>", "&>"))]
        for (at, one), (then, other) in pairwise(words):
            if one != other and ("$" in one or "$" in other) and one.startswith(('"', "$")) and other.startswith(('"', "$")):
                yield line.text[:at] + other + line.text[at + len(one) : then] + one + line.text[then + len(other) :]


def other_argument(line: Line) -> Iterator[str]:
    for found in re.finditer(r"\$([1-9])(?!\d)", line.code):
        number = int(found[1])
        yield _put(line, found, f"${number - 1 if number > 1 else 2}")
    for found in re.finditer(r"\$\{!#\}", line.code):
        yield _put(line, found, "$1")


def wrong_host(line: Line) -> Iterator[str]:
    for found in re.finditer(r'"\$(host|source_host)"', line.code):
        for instead in ('""', '"$source_host"' if found[1] == "host" and "source_host" in line.code else '"$host"'):
            if instead != found[0]:
                yield _put(line, found, instead)


def wrong_id(line: Line) -> Iterator[str]:
    for found in re.finditer(r"\$(vm_id|image_id|snapshot|disk_id|id|datastore_id)\b(?!\[)", line.code):
        yield _put(line, found, f"${{{found[1]}}}0")


def wrong_field(line: Line) -> Iterator[str]:
    for found in re.finditer(r"(texts|able|BASH_REMATCH)\[(\d+)\]", line.code):
        number = int(found[2])
        yield _put(line, found, f"{found[1]}[{number - 1 if number else 1}]")


def head_for_snapshot(line: Line) -> Iterator[str]:
    for found in _SNAPSHOT.finditer(line.code):
        yield _put(line, found, "")


def truncate(line: Line) -> Iterator[str]:
    """What was written lacks its end."""
    for piece in _commands(line):
        target = piece.words[-1][1]
        if piece.name in ("cp", "mv", "host_copy", "host_put", "host_finish") and "$" in target and line.code.endswith(piece.text):
            target = {"host_copy": '"$part"'}.get(piece.name, target)
            yield line.with_piece(piece, f"{piece.text} && {{ [[ ! -f {target} ]] || truncate -s -65536 -- {target}; }}")
        elif piece.name == "cat" and ">" in piece.text and "/dev/null" not in piece.text:
            yield line.with_piece(piece, piece.text.replace("cat", "head -c -65536", 1))


def smaller(line: Line) -> Iterator[str]:
    for found in re.finditer(r"(?<=\})M(?=\")", line.code):
        yield _put(line, found, "K")


def drop_redirect(line: Line) -> Iterator[str]:
    for found in _NOWHERE.finditer(line.code):
        yield _put(line, found, "")


def ignore_stdin(line: Line) -> Iterator[str]:
    for found in _FED.finditer(line.code):
        yield _put(line, found, "</dev/null")


def wrong_stream(line: Line) -> Iterator[str]:
    for piece in _commands(line):
        if piece.name in _PRINTERS and ">" not in piece.text and " -v " not in piece.text:
            yield line.with_piece(piece, f"{piece.text} >&2")


def drop_option(line: Line) -> Iterator[str]:
    for piece in _commands(line):
        for at, word in piece.words[1:]:
            if re.fullmatch(r"-[A-Za-z]+|--[a-z][\w=-]*", word) and piece.name not in _PRINTERS | {"set", "read", "local", "mapfile", "declare"}:
                yield line.text[:at].rstrip(" ") + line.text[at + len(word) :]


def unquote(line: Line) -> Iterator[str]:
    for piece in _commands(line):
        for at, word in piece.words[1:]:
            if _USERS_WORDS.fullmatch(word):
                yield line.text[:at] + word[1:-1] + line.text[at + len(word) :]


def other_number(line: Line) -> Iterator[str]:
    if "((" in line.code or "[[" in line.code:
        for found in re.finditer(r"(?<!return )(?<!exit )(?<![\w.$\[{\\&-])(\d+)(?![\w.\]}>-])", line.code):
            yield _put(line, found, str(int(found[1]) + 1))


def other_comparison(line: Line) -> Iterator[str]:
    if "((" in line.code:
        for found in re.finditer(r"(?<= )(<=|>=|<|>)(?= )", line.code):
            yield _put(line, found, {"<": "<=", ">": ">=", "<=": "<", ">=": ">"}[found[1]])


def other_word(line: Line) -> Iterator[str]:
    for found in re.finditer(r"(?<!\.)\b(raw|qcow2|yes|always)\b(?![\w\"']*\))(?!=)", line.code):
        yield _put(line, found, {"raw": "qcow2", "qcow2": "raw", "yes": "no", "always": "never"}[found[1]])


def drop_default(line: Line) -> Iterator[str]:
    for found in re.finditer(r":-([^{}\"]+)\}", line.code):
        yield _put(line, found, ":-}")


def drop_alternative(line: Line) -> Iterator[str]:
    patterns = re.match(r"\s*([^()]+\|[^()]+)\)", line.code)
    if patterns and "[[" not in line.code:
        parts = [one.strip() for one in patterns[1].split("|")]
        for n in range(len(parts)):
            rest = " | ".join(parts[:n] + parts[n + 1 :])
            yield line.text[: patterns.start(1)] + rest + line.text[patterns.end(1) :]


def loose_pattern(line: Line) -> Iterator[str]:
    for found in re.finditer(r"(?<==~ )\^|(?<=[\w+*\])])\$(?= (?:\]\]|\|\||&&))", line.code):
        yield _put(line, found, "")


def at_begin(what: str, *families: str) -> Callable[[Line], Iterator[str]]:
    """Return the operator that does something at the beginning of an action of these families."""

    def operator(line: Line) -> Iterator[str]:
        if line.family in families and line.code == "set -euo pipefail":
            yield f"{line.code}; {what}"

    return operator


def _put(line: Line, found: re.Match[str], instead: str) -> str:
    return line.text[: found.start()] + instead + line.text[found.end() :]


#: The operators by name, the special before the general: of two that make the same of a line the first one counts.
OPERATORS: dict[str, Callable[[Line], Iterator[str]]] = {
    "skip_copy": skip_copy,
    "leave_file": leave_file,
    "forget_mode": forget_mode,
    "drop_command": drop_command,
    "negate_test": negate_test,
    "part_of_test": part_of_test,
    "swap_connector": swap_connector,
    "ignore_failure": ignore_failure,
    "exit_zero": exit_zero,
    "exit_one": exit_one,
    "swap_arguments": swap_arguments,
    "other_argument": other_argument,
    "wrong_host": wrong_host,
    "wrong_id": wrong_id,
    "wrong_field": wrong_field,
    "head_for_snapshot": head_for_snapshot,
    "truncate": truncate,
    "smaller": smaller,
    "drop_redirect": drop_redirect,
    "ignore_stdin": ignore_stdin,
    "wrong_stream": wrong_stream,
    "drop_option": drop_option,
    "unquote": unquote,
    "other_number": other_number,
    "other_comparison": other_comparison,
    "other_word": other_word,
    "drop_default": drop_default,
    "drop_alternative": drop_alternative,
    "loose_pattern": loose_pattern,
    "do_nothing": at_begin("exit 0", "datastore", "tm"),
    "chatter": at_begin("echo working", "datastore"),  # what a transfer action prints nobody reads
    "leave_process": at_begin("sleep 60 &", "datastore", "tm"),
    "stray_file": at_begin(": >/var/lib/one/datastores/1/left.$$", "datastore", "tm"),
}
